"""A store written out in other forms: the release's ``.npy`` files, JSON lines, parquet.

    with featurestore.open("wikimel.h5") as store:
        export_npy(store, "arrays/wikimel")

Each form is a folder that stands at its place only when it is complete.
"""

from featurestore.export.folder import ExportSummary
from featurestore.export.jsonl import export_jsonl
from featurestore.export.npy import export_npy
from featurestore.export.parquet import export_parquet
from featurestore.export.release import ReleaseArray, release_arrays

__all__ = [
    "ExportSummary",
    "ReleaseArray",
    "export_jsonl",
    "export_npy",
    "export_parquet",
    "release_arrays",
]
