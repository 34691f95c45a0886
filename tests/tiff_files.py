"""TIFF files made for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile


def tiff(path: Path, picture: np.ndarray, **options: Any) -> Path:
    """Write a picture of small tiles."""
    tifffile.imwrite(path, picture, tile=(64, 64), metadata=None, **options)
    return path
