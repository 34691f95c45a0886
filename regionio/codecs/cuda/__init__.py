"""Which tiles a GPU's decoders are given, and in what form."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from regionio._index import Encoding
from regionio.codecs.cuda.bytestream import ByteStreams, adler_of, byte_streams, source_text
from regionio.codecs.cuda.jpeg import Colors, JpegStreams, jpeg_streams
from regionio.codecs.cuda.jpeg2000 import Jpeg2000Facts, Jpeg2000Streams, jpeg2000_streams
from regionio.codecs.cuda.jpeg_lossless import LosslessJpegStreams, lossless_jpeg_streams

__all__ = [
    "ByteStreams",
    "Colors",
    "GpuStreams",
    "Jpeg2000Facts",
    "Jpeg2000Streams",
    "JpegStreams",
    "LosslessJpegStreams",
    "adler_of",
    "byte_streams",
    "gpu_streams",
    "source_text",
]


class GpuStreams(Protocol):
    """Makes streams for a GPU's decoder of tiles as they stand in the file.

    Attributes
    ----------
    prefix
        What goes in front of each tile's content.
    skipped
        Bytes at a tile's start that its content does not have.
    """

    prefix: bytes
    skipped: int

    def colors(self, data: memoryview) -> Colors | None:
        """Return what is to be made of a tile's components, None if the CPU has to decode it."""
        ...

    def alike(
        self, buffer: NDArray[np.uint8], ranges: NDArray[np.int64]
    ) -> tuple[Colors | None, NDArray[np.bool_]] | None:
        """Return what `colors` has said last, and of which tiles it would say the same for sure.

        Parameters
        ----------
        buffer
            The memory that tiles are in.
        ranges
            ``int64[n, 2]``, where each begins and ends.

        Returns
        -------
        tuple or None
            The colours, and ``bool[n]``; None where tiles have to be looked at one by one.
        """
        ...


def gpu_streams(encoding: Encoding, tile_shape: tuple[int, int]) -> GpuStreams | None:
    """Return what makes streams of an encoding's tiles, None if the CPU has to decode them."""
    return (
        jpeg_streams(encoding, tile_shape)
        or lossless_jpeg_streams(encoding, tile_shape)
        or jpeg2000_streams(encoding, tile_shape)
    )
