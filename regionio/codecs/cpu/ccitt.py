"""Bilevel tiles compressed as CCITT run lengths, fax group 3 or 4.

Source: TIFF 6.0 sections 10 and 11; ITU-T T.4 and T.6.
"""

from __future__ import annotations

from typing import Any

import imagecodecs
from numpy.typing import NDArray

from regionio._errors import DecodeError
from regionio._index import Encoding

__all__ = ["CcittDecoder"]


class CcittDecoder:
    """Decode with imagecodecs; `Encoding.option` ``"scheme"`` is the TIFF compression 2, 3 or 4."""

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._encoding = encoding
        self._tile_shape = tile_shape

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        encoding = self._encoding
        stream = imagecodecs.bitorder_decode(bytes(data)) if encoding.reverse_bits else bytes(data)
        rows, columns = valid[0], self._tile_shape[1]
        scheme = encoding.option("scheme")
        try:
            if scheme == 2:
                pixels = imagecodecs.ccittrle_decode(stream, rows, columns)
            elif scheme == 3:
                options = encoding.option("t4options")
                pixels = imagecodecs.ccittfax3_decode(stream, rows, columns, t4options=options)
            else:
                pixels = imagecodecs.ccittfax4_decode(stream, rows, columns)
        except (RuntimeError, ValueError) as error:
            msg = f"CCITT stream is damaged: {error}"
            raise DecodeError(msg) from error
        return pixels.reshape(rows, columns, 1).astype(out.dtype, copy=False)
