"""Compressed tiles to stored values."""

from __future__ import annotations

from regionio.codecs._contract import Decoder
from regionio.codecs.cpu import DECODERS, decoder_for

__all__ = ["DECODERS", "Decoder", "decoder_for"]
