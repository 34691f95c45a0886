"""Compressed samples that nvCOMP decompresses: which tiles it is given, and what is left to undo.

Source: RFC 1950 (zlib), RFC 8878 (Zstandard); TIFF 6.0, section 14 (differencing predictor).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._index import Encoding

__all__ = ["ByteStreams", "adler_of", "byte_streams", "source_text"]

HEADER_BYTES, CHECKSUM_BYTES = 2, 4
"""Of zlib, before and after the deflate stream."""

DEFLATE, DICTIONARY = 8, 0x20
MODULUS = 65521

BITS = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}


@dataclass(frozen=True)
class ByteStreams:
    """How tiles are compressed.

    Parameters
    ----------
    kind
        As nvCOMP calls it: ``Deflate`` or ``Zstd``.
    itemsize
        Of samples, in bytes.
    differences
        Whether each sample is stored as its difference from the one before.
    swapped
        Whether samples are in the other byte order.
    """

    kind: str
    itemsize: int
    differences: bool
    swapped: bool

    @property
    def around(self) -> tuple[int, int]:
        """Bytes before and after what nvCOMP takes."""
        return (HEADER_BYTES, CHECKSUM_BYTES) if self.kind == "Deflate" else (0, 0)

    def are_plain(self, heads: NDArray[np.uint8], nbytes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which tiles can be given to it.

        Parameters
        ----------
        heads
            ``uint8[n, 2]``, the first bytes of each.
        nbytes
            ``int64[n]``, of each.
        """
        enough = nbytes > sum(self.around)
        if self.kind != "Deflate":
            return enough
        first, second = heads.astype(np.int64).T
        is_zlib = (first & 0xF == DEFLATE) & ((first * 256 + second) % 31 == 0)
        plain: NDArray[np.bool_] = enough & is_zlib & (second & DICTIONARY == 0)
        return plain


def byte_streams(encoding: Encoding) -> ByteStreams | None:
    """Return how tiles are compressed, None if the CPU has to decompress them."""
    kind = {"deflate": "Deflate", "zstd": "Zstd"}.get(encoding.compression)
    dtype = np.dtype(encoding.dtype)
    is_whole = encoding.bits == 8 * dtype.itemsize and dtype.kind in "uif"
    is_usual = encoding.predictor in {1, 2} and not encoding.reverse_bits and encoding.has_options()
    if kind is None or not is_whole or not is_usual:
        return None
    native = np.dtype(encoding.byteorder + "u2").isnative
    return ByteStreams(kind, dtype.itemsize, encoding.predictor == 2, not native)


def source_text(streams: ByteStreams) -> str:
    """Return the source of the kernels, with the definitions that they need before it."""
    lines = [
        f"#define BITS {BITS[streams.itemsize]}",
        f"#define SWAPPED {int(streams.swapped and streams.itemsize > 1)}",
        f"#define DIFFERENCES {int(streams.differences)}",
    ]
    body = files("regionio.codecs.cuda").joinpath("bytestream.cu").read_text(encoding="utf-8")
    return "\n".join([*lines, body])


def adler_of(sums: NDArray[np.uint64], sizes: NDArray[Any]) -> NDArray[np.uint32]:
    """Return the checksums of tiles of the sums that the kernel gives.

    Parameters
    ----------
    sums
        ``uint64[n, 2]``.
    sizes
        ``[n]``, bytes of each tile.

    >>> import zlib
    >>> sums = np.array([[97 + 98, 2 * 97 + 98]], np.uint64)
    >>> adler_of(sums, np.array([2])) == zlib.adler32(b"ab")
    array([ True])
    """
    low = (sums[:, 0] + np.uint64(1)) % np.uint64(MODULUS)
    high = (sums[:, 1] + sizes.astype(np.uint64)) % np.uint64(MODULUS)
    return (high << np.uint64(16) | low).astype(np.uint32)
