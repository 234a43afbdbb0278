"""The HDF5 feature store: ingest a dataset once, read it at memory speed. Imports no torch."""

from featurestore.errors import DrinFsError
from featurestore.store import Store, open
from featurestore.table import Row, Table

__version__ = "0.1.0"
__all__ = ["DrinFsError", "Row", "Store", "Table", "open"]
