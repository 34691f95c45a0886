"""Types of pixels, as DLPack names them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from regionio._errors import UnsupportedFormatError

__all__ = ["DLDataType", "DLDataTypeCode"]


class DLDataTypeCode(IntEnum):
    """Kind of number."""

    DLInt = 0
    DLUInt = 1
    DLFloat = 2
    DLBfloat = 4


CODES = {
    "b": DLDataTypeCode.DLUInt,
    "u": DLDataTypeCode.DLUInt,
    "i": DLDataTypeCode.DLInt,
    "f": DLDataTypeCode.DLFloat,
}
"""NumPy's kind → DLPack's."""


@dataclass(frozen=True, repr=False)
class DLDataType:
    """Type of a pixel's values.

    Parameters
    ----------
    code
        Kind of number.
    bits
        Its size.
    lanes
        Numbers together, 1 for all images.

    Examples
    --------
    >>> DLDataType(DLDataTypeCode.DLUInt, 8, 1)
    <cucim.clara.DLDataType code:DLUInt(1) bits:8 lanes:1>
    """

    code: DLDataTypeCode
    bits: int
    lanes: int

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> DLDataType:
        """Return the DLPack type of a NumPy dtype.

        Parameters
        ----------
        dtype
            Of integers, floats or booleans.

        Raises
        ------
        UnsupportedFormatError
            cuCIM has no name for it.
        """
        if dtype.kind not in CODES:
            msg = f"cuCIM's interface has no type for {dtype} pixels: use regionio.open"
            raise UnsupportedFormatError(msg)
        return cls(CODES[dtype.kind], dtype.itemsize * 8, 1)

    def __repr__(self) -> str:
        return (
            f"<cucim.clara.DLDataType code:{self.code.name}({self.code.value}) "
            f"bits:{self.bits} lanes:{self.lanes}>"
        )
