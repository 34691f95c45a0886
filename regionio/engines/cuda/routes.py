"""By which way tiles get into the memory of a GPU.

================  ==========================================================================
``nvjpeg``        JPEG of 8 bits whose colours libjpeg and nvJPEG understand alike: bytes in
                  pinned memory, decoded in batches by nvImageCodec (the hardware engine first)
``raw``           uncompressed samples in whole bytes: copied as they stand; the kernel that
                  writes regions swaps bytes and masks bits
``cpu``           everything else, and whatever another way leaves: decoded by CPU threads into
                  pinned memory
================  ==========================================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np

from regionio._index import Encoding
from regionio.codecs.cuda import JpegStreams
from regionio.engines.group import TileGroup
from regionio.values import TileConversion

__all__ = ["route_of"]


def route_of(group: TileGroup, convert: TileConversion | None, streams: JpegStreams | None) -> str:
    """Return the name of the way.

    Parameters
    ----------
    group
        The tiles.
    convert
        What happens to their values before they are pasted.
    streams
        What makes streams for nvJPEG of the tiles, None where it can't have them.
    """
    if convert is not None:
        return "cpu"
    encoding = group.encoding
    if group.by_rows and _is_plain(encoding):
        return "raw"
    return "cpu" if streams is None else "nvjpeg"


def _is_plain(encoding: Encoding) -> bool:
    dtype = np.dtype(encoding.dtype)
    whole: Any = encoding.bits == 8 * dtype.itemsize
    return (
        bool(whole)
        and dtype.kind in "uif"
        and encoding.predictor == 1
        and not encoding.reverse_bits
    )
