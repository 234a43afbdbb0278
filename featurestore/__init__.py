"""The HDF5 feature store: ingest a dataset once, read it at memory speed. Imports no torch."""

from featurestore.errors import DrinFsError
from featurestore.store import Row, Store, Table, open

__version__ = "0.1.0"
__all__ = ["DrinFsError", "Row", "Store", "Table", "open"]
