"""Read regions of whole slides and volumes in batches.

>>> import regionio
>>> with regionio.open("tests/data/CMU-1-Small-Region.svs") as slide:
...     patch = slide.read_region((1000, 1000), (224, 224))
>>> patch.shape
(224, 224, 3)
"""

from __future__ import annotations

from regionio._cache import CacheStats, TileCache, cache
from regionio._errors import (
    ChangedFileError,
    ClosedError,
    CorruptFileError,
    DecodeError,
    DeviceError,
    MissingPackageError,
    RegionIOError,
    UnsupportedFormatError,
)
from regionio._image import Image
from regionio._index import SceneInfo
from regionio._level import LevelInfo
from regionio._loader import Loader
from regionio._open import open
from regionio._region import Region
from regionio._version import __version__
from regionio.engines.stats import ReadStats

__all__ = [
    "CacheStats",
    "ChangedFileError",
    "ClosedError",
    "CorruptFileError",
    "DecodeError",
    "DeviceError",
    "Image",
    "LevelInfo",
    "Loader",
    "MissingPackageError",
    "ReadStats",
    "Region",
    "RegionIOError",
    "SceneInfo",
    "TileCache",
    "UnsupportedFormatError",
    "__version__",
    "cache",
    "open",
]
