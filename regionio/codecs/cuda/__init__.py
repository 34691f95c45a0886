"""Which tiles a GPU's decoders are given, and in what form."""

from __future__ import annotations

from regionio.codecs.cuda.jpeg import JpegStreams, jpeg_streams

__all__ = ["JpegStreams", "jpeg_streams"]
