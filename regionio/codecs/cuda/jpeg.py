"""JPEG tiles as whole streams for nvJPEG, of those whose colours it takes as libjpeg does.

Source: ITU-T T.81; T.871; TIFF Technical Note 2; DICOM PS3.5, A.4.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regionio._errors import DecodeError
from regionio._index import Encoding
from regionio.codecs.cpu.items import HEADER_BYTES, ITEM, is_one_item
from regionio.codecs.cpu.jpeg import END, START, is_plain, tables_of
from regionio.codecs.cpu.jpeg_facts import TAIL_BYTES, JpegFacts, has_end
from regionio.codecs.cpu.jpeg_frame import JpegColors

__all__ = ["Colors", "JpegStreams", "jpeg_streams"]

Colors = Literal["gray", "rgb", "as is"]
"""What a decoder makes of components: one as it is, RGB of YCbCr, or three as they are."""

BASELINE = 0xC0
USUAL_SAMPLING = {(across, 0x11, 0x11) for across in (0x11, 0x12, 0x21, 0x22)}
"""4:4:4, 4:4:0, 4:2:2 and 4:2:0: what is compared with libjpeg."""

YCBCR_COMPONENTS = {(1, 2, 3), (0, 1, 2)}
"""Identifiers of components that decoders take for Y, Cb and Cr where nothing else is said."""


def jpeg_streams(encoding: Encoding, tile_shape: tuple[int, int]) -> JpegStreams | None:
    """Return what makes streams of an encoding's tiles, None if the CPU has to decode them."""
    is_frame = encoding.option("items") == 1
    is_usual = encoding.has_options("items", "ybr", "to_rgb")
    if encoding.compression != "jpeg" or encoding.dtype != "uint8" or not is_usual:
        return None
    if not is_frame and (not is_plain(encoding) or _state_colors(tables_of(encoding) or b"")):
        return None
    return JpegStreams(encoding, tile_shape)


def _state_colors(tables: bytes) -> bool:
    """Return whether tables have a segment that is looked for in the tiles alone."""
    return b"Adobe" in tables or b"JFIF" in tables


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
        self._of_frames = JpegColors(encoding) if encoding.option("items") else None
        self._is_rgb = encoding.stored_colorspace == "rgb"
        self._known: tuple[JpegFacts, Colors | None] | None = None
        if self._of_frames is not None:
            self.prefix, self.skipped = b"", HEADER_BYTES
        else:
            self.prefix, self.skipped = tables_of(encoding) or START, len(START)

    def colors(self, data: memoryview) -> Colors | None:
        """Return what nvJPEG has to do with a tile's components, None if it may not be given it.

        Parameters
        ----------
        data
            The tile, as it stands in the file.
        """
        stream = data
        if self._of_frames is not None:
            if not is_one_item(data, len(data)):
                return None
            stream = data[HEADER_BYTES:]
        if not has_end(data):  # cut short, which nvJPEG does not say
            return None
        known = self._known
        if known is None or not known[0].begin(stream):  # mostly all tiles have the same
            try:
                facts = JpegFacts.of(stream)
                facts.check(self._shape)
            except DecodeError:
                return None
            known = self._known = facts, self._colors_of(facts)
        return known[1]

    def alike(
        self, buffer: NDArray[np.uint8], ranges: NDArray[np.int64]
    ) -> tuple[Colors | None, NDArray[np.bool_]] | None:
        """Return what `colors` has said last, and of which tiles it would say the same for sure.

        Parameters
        ----------
        buffer, ranges
            As of `GpuStreams.alike`.
        """
        if self._known is None:
            return None
        facts, colors = self._known
        begin, end = ranges.T
        start = begin + HEADER_BYTES * (self._of_frames is not None)
        head = np.frombuffer(facts.head, np.uint8)
        if len(buffer) < max(len(head), TAIL_BYTES, HEADER_BYTES):
            return None
        same = end - start >= len(head) + TAIL_BYTES
        start, tail = np.where(same, start, 0), np.where(same, end - TAIL_BYTES, 0)
        same &= (buffer[start[:, None] + np.arange(len(head))] == head).all(axis=1)
        last = buffer[tail[:, None] + np.arange(TAIL_BYTES)]
        same &= ((last[:, :-1] == END[0]) & (last[:, 1:] == END[1])).any(axis=1)
        if self._of_frames is not None:
            items = np.ascontiguousarray(buffer[(start - HEADER_BYTES)[:, None] + np.arange(8)])
            same &= items[:, :4].view("<u4")[:, 0] == int.from_bytes(ITEM, "little")
            same &= items[:, 4:].copy().view("<u4")[:, 0] == end - begin - HEADER_BYTES
        return colors, same

    def _colors_of(self, facts: JpegFacts) -> Colors | None:
        if facts.process != BASELINE or facts.precision != 8:
            return None
        if len(facts.components) == 1:
            return "gray" if facts.sampling == (0x11,) else None
        if self._are_as_is(facts):
            return "as is" if set(facts.sampling) == {0x11} else None
        if facts.sampling not in USUAL_SAMPLING:
            return None
        if self._of_frames is not None and (
            self._of_frames.overlooked(facts) or not self._of_frames.left_to_libjpeg(facts)
        ):
            return None
        is_ycbcr = facts.jfif or facts.components in YCBCR_COMPONENTS
        return "rgb" if (is_ycbcr if facts.adobe is None else facts.adobe == 1) else None

    def _are_as_is(self, facts: JpegFacts) -> bool:
        """Return whether components are not to be converted, whatever the stream says of them."""
        if self._of_frames is None:
            return self._is_rgb
        return not facts.jfif and not self._of_frames.left_to_libjpeg(facts)
