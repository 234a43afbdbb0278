"""What writes a store, for its provenance."""

from __future__ import annotations

import platform

import hdf5plugin
import numpy as np


def program_versions() -> dict[str, str]:
    """Versions of this program and of what decides the bytes it writes."""
    from featurestore import __version__

    return {
        "drin-fs": __version__,
        "python": platform.python_version(),
        "hdf5plugin": hdf5plugin.version,
        "numpy": np.__version__,
    }
