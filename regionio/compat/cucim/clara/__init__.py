"""cuCIM's module of image reading."""

from __future__ import annotations

from regionio.compat.cucim.clara import cache, filesystem, io
from regionio.compat.cucim.clara._cuimage import CuImage, CuImageIterator
from regionio.compat.cucim.clara._dtype import DLDataType, DLDataTypeCode

__all__ = [
    "CuImage",
    "CuImageIterator",
    "DLDataType",
    "DLDataTypeCode",
    "cache",
    "filesystem",
    "io",
]
