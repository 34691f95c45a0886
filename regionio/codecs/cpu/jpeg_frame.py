"""JPEG frames of DICOM: any process that libjpeg decodes, in the colours that attributes state.

A stream of TIFF or of a web page states its colours itself. In DICOM the photometric
interpretation does, and a stream may contradict it; what pydicom makes of that is done here:
stored values are the components as they are, except that an Adobe segment is obeyed.

8-bit streams go to simplejpeg, which reports damage; others to imagecodecs, which hides libjpeg's
warnings, so that at least their end has to be there.

Source: DICOM PS3.5, 8.2.1 and annex F; ITU-T T.81; T.871; Adobe Technical Note 5116 (APP14).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import imagecodecs
from numpy.typing import NDArray

from regionio._index import Encoding
from regionio.codecs.cpu.jpeg import START, TurboDecoder
from regionio.codecs.cpu.jpeg_facts import JpegFacts, check_end
from regionio.codecs.cpu.samples import decoded, rgb_of_ybr, room_in, stored

__all__ = ["FrameJpegDecoder", "JpegColors", "plain_encoding"]


class FrameJpegDecoder:
    """Decode baseline, extended, progressive and lossless streams.

    Parameters
    ----------
    encoding
        How frames are encoded. Options: ``"ybr"``, the photometric interpretation is one of YBR;
        ``"to_rgb"``, colours are wanted as RGB, else as stored.
    tile_shape
        (height, width) of a frame.
    """

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        plain = plain_encoding(encoding)
        self._shape = tile_shape
        self._samples = encoding.samples
        self._colors = JpegColors(encoding)
        self._is_uint8 = encoding.dtype == "uint8"
        self._by_itself = TurboDecoder(plain, tile_shape)
        self._as_is = TurboDecoder(replace(plain, stored_colorspace="rgb"), tile_shape)
        self._facts: JpegFacts | None = None

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        facts = self._facts
        if facts is None or not facts.begin(data):  # mostly all frames have the same
            facts = self._facts = JpegFacts.of(data)
        facts.check(out.shape)
        if not self._is_uint8 or facts.precision != 8 or (facts.lossless and self._samples == 3):
            pixels = stored(
                _components(data, self._samples, facts, out), out.shape, out.dtype, "JPEG"
            )
            return rgb_of_ybr(pixels) if self._colors.are_ybr(facts) else pixels
        if self._colors.left_to_libjpeg(facts):
            pixels = self._by_itself(data, self._shape, rows, out)
            return rgb_of_ybr(pixels) if self._colors.overlooked(facts) else pixels
        if facts.jfif and not facts.after_jfif:
            return stored(
                _components(data, self._samples, facts, out), out.shape, out.dtype, "JPEG"
            )
        return self._as_is(_without_jfif(data, facts), self._shape, rows, out)


class JpegColors:
    """What becomes of the components of a stream that were transformed by cosines.

    Parameters
    ----------
    encoding
        As of `FrameJpegDecoder`.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._is_gray = encoding.samples == 1
        self._is_ybr = encoding.option("ybr") == 1
        self._to_rgb = encoding.option("to_rgb") == 1

    def are_ybr(self, facts: JpegFacts) -> bool:
        """Return whether components are YBR and have to become RGB."""
        if not self._to_rgb or self._is_gray:
            return False
        if facts.named_rgb and (self._is_ybr or not facts.jfif):
            return False
        return self._is_ybr or facts.jfif or facts.adobe == 1

    def left_to_libjpeg(self, facts: JpegFacts) -> bool:
        """Return whether libjpeg finds out by itself what to convert, if anything."""
        return self._is_gray or facts.adobe is not None or self.are_ybr(facts)

    def overlooked(self, facts: JpegFacts) -> bool:
        """Return whether libjpeg takes YBR for RGB."""
        return facts.adobe == 0 and not facts.jfif and self.are_ybr(facts)


def plain_encoding(encoding: Encoding) -> Encoding:
    """Return the encoding that a decoder of plain streams is made for."""
    return replace(encoding, compression="jpeg", photometric="rgb", options=())


def _components(
    data: memoryview, samples: int, facts: JpegFacts, out: NDArray[Any]
) -> NDArray[Any]:
    """Return the components of a stream as they are, in `out` if they fit."""
    check_end(data)
    colorspace = "RGB" if samples == 3 else None
    room = room_in(out, facts.precision)
    options = {"colorspace": colorspace, "outcolorspace": colorspace, "out": room}
    return decoded("JPEG", imagecodecs.jpeg_decode, data, **options)


def _without_jfif(data: memoryview, facts: JpegFacts) -> memoryview:
    """Return a stream without the segment that makes libjpeg take components for YCbCr."""
    if not facts.after_jfif:
        return data
    return memoryview(b"".join((START, data[facts.after_jfif :])))
