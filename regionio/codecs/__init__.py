"""Compressed tiles to stored values."""

from __future__ import annotations

from functools import lru_cache

from regionio._errors import UnsupportedFormatError
from regionio._index import Encoding
from regionio.codecs._contract import BoxDecoder, Decoder, PieceDecoder, Target

__all__ = [
    "BoxDecoder",
    "Decoder",
    "PieceDecoder",
    "Target",
    "box_decoder_for",
    "decoder_for",
    "piece_decoder_for",
]


@lru_cache(maxsize=256)
def decoder_for(encoding: Encoding, tile_shape: tuple[int, int]) -> Decoder:
    """Return the CPU decoder for tiles of one encoding and (height, width).

    Raises
    ------
    UnsupportedFormatError
        No decoder reads this encoding.
    """
    from regionio.codecs.cpu import DECODERS  # libraries of codecs, at the first tile only

    try:
        make = DECODERS[encoding.compression]
    except KeyError:
        known = ", ".join(sorted(DECODERS))
        msg = f"compression {encoding.compression!r} is not supported; known are {known}"
        raise UnsupportedFormatError(msg) from None
    return make(encoding, tile_shape)


@lru_cache(maxsize=256)
def piece_decoder_for(encoding: Encoding, tile_shape: tuple[int, int]) -> PieceDecoder | None:
    """Return what decodes such tiles straight into pieces of regions, if there is such a thing."""
    from regionio.codecs.cpu import PIECE_DECODERS

    make = PIECE_DECODERS.get(encoding.compression)
    return None if make is None else make(encoding, tile_shape)


@lru_cache(maxsize=256)
def box_decoder_for(encoding: Encoding, tile_shape: tuple[int, int]) -> BoxDecoder | None:
    """Return what decodes parts of such tiles in a part of the time, if there is such a thing."""
    from regionio.codecs.cpu import BOX_DECODERS

    make = BOX_DECODERS.get(encoding.compression)
    return None if make is None else make(encoding, tile_shape)
