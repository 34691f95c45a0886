"""JPEG tiles as whole streams for nvJPEG, of those whose colours it takes as libjpeg does.

Source: ITU-T T.81; T.871; TIFF Technical Note 2; DICOM PS3.5, A.4.
"""

from __future__ import annotations

from regionio._errors import DecodeError
from regionio._index import Encoding
from regionio.codecs.cpu.items import HEADER_BYTES, is_one_item
from regionio.codecs.cpu.jpeg import START, is_plain, tables_of
from regionio.codecs.cpu.jpeg_facts import JpegFacts
from regionio.codecs.cpu.jpeg_frame import JpegColors

__all__ = ["JpegStreams", "jpeg_streams"]

YCBCR_COMPONENTS = {(1, 2, 3), (0, 1, 2)}
"""Identifiers of components that decoders take for Y, Cb and Cr where nothing else is said."""


def jpeg_streams(encoding: Encoding, tile_shape: tuple[int, int]) -> JpegStreams | None:
    """Return what makes streams of an encoding's tiles, None if the CPU has to decode them."""
    is_frame = encoding.option("items") == 1
    unusual = encoding.option("whole_header") or encoding.option("used_bits")
    if encoding.compression != "jpeg" or encoding.dtype != "uint8" or unusual:
        return None
    if not is_frame and (not is_plain(encoding) or encoding.stored_colorspace == "rgb"):
        return None
    return JpegStreams(encoding, tile_shape)


class JpegStreams:
    """Tells which tiles can be decoded, and what to put in front of them.

    Parameters
    ----------
    encoding, tile_shape
        Of the tiles.

    Attributes
    ----------
    prefix
        What goes in front of each tile's content.
    skipped
        Bytes of a tile that its content does not have: the header of an item, or the start of
        image that tables have, too.
    """

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._shape = (*tile_shape, encoding.samples)
        self._colors = JpegColors(encoding) if encoding.option("items") else None
        self._facts: JpegFacts | None = None
        if self._colors is not None:
            self.prefix, self.skipped = b"", HEADER_BYTES
        else:
            self.prefix, self.skipped = tables_of(encoding) or START, len(START)

    def accepts(self, data: memoryview) -> bool:
        """Return whether a tile, as it stands in the file, may be given to nvJPEG."""
        stream = data
        if self._colors is not None:
            if not is_one_item(data, len(data)):
                return False
            stream = data[HEADER_BYTES:]
        facts = self._facts
        if facts is None or not facts.begin(stream):  # mostly all tiles have the same
            try:
                facts = JpegFacts.of(stream)
                facts.check(self._shape)
            except DecodeError:
                return False
            self._facts = facts
        return self._is_usual(facts)

    def _is_usual(self, facts: JpegFacts) -> bool:
        if facts.lossless or facts.precision != 8:
            return False
        if self._colors is not None and (
            self._colors.overlooked(facts) or not self._colors.left_to_libjpeg(facts)
        ):
            return False
        if len(facts.components) == 1:
            return True
        if facts.adobe is not None:
            return facts.adobe == 1
        return facts.jfif or facts.components in YCBCR_COMPONENTS
