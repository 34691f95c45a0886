"""From attributes of an image to what decodes its frames.

Source: DICOM PS3.3, C.7.6.3 (image pixel module), C.7.6.24 and C.7.6.25 (floating-point pixels);
PS3.5, 8.1 and 8.2 (encoding of pixels).
"""

from __future__ import annotations

from regionio._errors import CorruptFileError, UnsupportedFormatError
from regionio._index import Encoding
from regionio.formats.dicom.header import DOUBLE_PIXELS, FLOAT_PIXELS, Header
from regionio.formats.dicom.stream import UNDEFINED
from regionio.formats.dicom.syntaxes import codec_of, is_encapsulated

__all__ = ["encoding_of", "frame_bits", "word_bits"]

GRAY = {"MONOCHROME1": "miniswhite", "MONOCHROME2": "minisblack", "PALETTE COLOR": "palette"}
COLOR = frozenset(
    (
        "RGB",
        "YBR_FULL",
        "YBR_FULL_422",
        "YBR_PARTIAL_422",
        "YBR_PARTIAL_420",
        "YBR_ICT",
        "YBR_RCT",
        "XYB",
    )
)
RETIRED = frozenset(("HSV", "ARGB", "CMYK"))
CONVERTED = frozenset(("YBR_FULL", "YBR_FULL_422"))
"""Photometric interpretations that have a conversion to RGB."""

DECODED_TO_RGB = frozenset(("YBR_ICT", "YBR_RCT", "XYB"))
"""Photometric interpretations that decoders undo, as the streams state them, too."""

SUBSAMPLED = "YBR_FULL_422"
PARTIAL = frozenset(("YBR_PARTIAL_422", "YBR_PARTIAL_420"))

FLOAT_BITS = {FLOAT_PIXELS: 32, DOUBLE_PIXELS: 64}
INTEGER_BITS = (1, 8, 16, 32, 64)

JPEG_CODECS = frozenset(("jpeg", "jpeg-lossless"))
STREAM_KNOWS_BITS = frozenset(("jpeg2000", "htj2k", "jpeg-ls"))
"""Codecs whose streams say how many bits there are; pydicom does not mask theirs."""

UNCOMPRESSED = frozenset(("native", "deflated-frame"))
JPEG_XL_AS_STORED = "1.2.840.10008.1.2.4.110"
"""JPEG XL syntax whose streams hold whatever components there were; others decode to RGB."""


class _Attributes:
    """The attributes of one image's pixels, each checked."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self.codec = codec_of(header.path, header.transfer_syntax)
        self.syntax = header.transfer_syntax
        self.encapsulated = is_encapsulated(self.syntax)
        pixels = header.pixels
        self.pixel_vr = b"" if pixels is None else pixels.vr
        if pixels is not None and pixels.length == UNDEFINED and not self.encapsulated:
            self.wrong("TransferSyntaxUID", self.syntax, "but pixels are in items")
        self.rows = self._within("Rows", 1, 65535)
        self.columns = self._within("Columns", 1, 65535)
        self.samples = self._samples()
        self.photometric = self._photometric()
        self.dtype, self.bits, self.used_bits = self._depth(0 if pixels is None else pixels.tag)
        self.planar = self._planar()
        self.subsampled = self.codec in UNCOMPRESSED and self.photometric == SUBSAMPLED
        if self.subsampled:
            self._check_subsampled()

    def wrong(self, keyword: str, value: object, what: str) -> None:
        """Raise the error that says what is wrong with an attribute."""
        msg = f"{self._header.path!r}: {keyword} is {value!r}, {what}; the file is damaged"
        raise CorruptFileError(msg)

    def unsupported(self, keyword: str, value: object, what: str) -> None:
        """Raise the error that says what is not supported."""
        msg = f"{self._header.path!r}: {keyword} is {value!r}, which is not supported; {what}"
        raise UnsupportedFormatError(msg)

    def _within(self, keyword: str, least: int, most: int) -> int:
        value = self._header.number(keyword)
        if not least <= value <= most:
            self.wrong(keyword, value, f"it should be from {least} to {most}")
        return value

    def _samples(self) -> int:
        value = self._header.number("SamplesPerPixel")
        if value not in {1, 3}:
            self.unsupported("SamplesPerPixel", value, "1 and 3 are")
        return value

    def _photometric(self) -> str:
        value = str(self._header.value("PhotometricInterpretation") or "").strip()
        expected = GRAY if self.samples == 1 else COLOR
        if value in RETIRED:
            self.unsupported("PhotometricInterpretation", value, "it is retired; convert the file")
        if value not in GRAY and value not in COLOR:
            known = ", ".join(sorted(expected))
            self.wrong("PhotometricInterpretation", value, f"it should be one of {known}")
        if value not in expected:
            self.wrong("PhotometricInterpretation", value, f"but SamplesPerPixel {self.samples}")
        if value in PARTIAL and self.codec in UNCOMPRESSED:
            self.unsupported("PhotometricInterpretation", value, "it is retired; convert the file")
        return value

    def _depth(self, tag: int) -> tuple[str, int, int]:
        """Return dtype, bits allocated and bits used."""
        allocated = self._header.number("BitsAllocated")
        if tag in FLOAT_BITS:
            if allocated != FLOAT_BITS[tag]:
                self.wrong("BitsAllocated", allocated, f"floats have {FLOAT_BITS[tag]}")
            if self.codec not in UNCOMPRESSED:
                self.wrong("TransferSyntaxUID", self.syntax, "floats have none")
            return f"float{allocated}", allocated, allocated
        if allocated not in INTEGER_BITS:
            self.unsupported("BitsAllocated", allocated, "1, 8, 16, 32 and 64 are")
        used = self._within("BitsStored", 1, allocated)
        signed = self._within("PixelRepresentation", 0, 1)
        if allocated == 1:
            if self.codec not in UNCOMPRESSED | STREAM_KNOWS_BITS:
                self.unsupported("BitsAllocated", 1, f"{self.codec} frames have whole bytes")
            return "uint8", 1, 1
        return f"{'int' if signed else 'uint'}{allocated}", allocated, used

    def _planar(self) -> bool:
        """Return whether uncompressed samples lie in planes; compressed streams tell themselves."""
        if self.samples == 1 or self.codec not in UNCOMPRESSED:
            return False
        return self._within("PlanarConfiguration", 0, 1) == 1

    def _check_subsampled(self) -> None:
        """Raise where pairs of pixels can't share their chroma, or do not.

        Some files say YBR_FULL_422 and have all of it.
        """
        if self.rows * self.columns % 2:
            self.wrong("Columns", self.columns, f"an odd number can't be {SUBSAMPLED}")
        header, pixels = self._header, self._header.pixels
        if self.encapsulated or pixels is None:
            return
        count = header.number("NumberOfFrames", 1)
        if pixels.length >= count * self.rows * self.columns * 3 * (self.bits // 8):
            self.wrong(
                "PhotometricInterpretation",
                SUBSAMPLED,
                "but there are as many bytes as of YBR_FULL or RGB",
            )


def encoding_of(header: Header, first_bit: int = 0, *, to_rgb: bool = False) -> Encoding:
    """Return how the frames of a file are encoded.

    Parameters
    ----------
    header
        Of the file.
    first_bit
        The bit of their first byte at which frames begin: `FrameTable.first_bit`.
    to_rgb
        Decode colour to RGB. Else colour is what the streams hold, as in pydicom's raw array;
        `Encoding.photometric` is then ``"ybr"`` where that is YBR. Indices into a palette and
        gray values stay what they are.

    Returns
    -------
    Encoding
        Its dtype and samples are those of pydicom's raw array.

    Raises
    ------
    CorruptFileError
        An attribute is missing, or contradicts another.
    UnsupportedFormatError
        The transfer syntax or an attribute's value is not supported.
    """
    image = _Attributes(header)
    options: dict[str, int] = {"items": int(image.encapsulated)}
    codec, is_ybr = image.codec, image.photometric.startswith("YBR")
    if codec in UNCOMPRESSED:
        swapped = word_bits(header) == 16
        options |= {"planar": image.planar, "subsampled": image.subsampled, "swapped": swapped}
        options["first_bit"] = first_bit
        if codec == "native" and image.bits > 1 and not any(options.values()):
            codec = "none"  # of which rows can be read alone
    if codec in JPEG_CODECS:
        options |= {"ybr": is_ybr, "to_rgb": to_rgb and image.samples == 3}
    if image.used_bits < image.bits and codec not in STREAM_KNOWS_BITS:
        options["used_bits"] = image.used_bits
    if to_rgb and _holds_ybr(image):
        if image.dtype != "uint8" or image.photometric not in CONVERTED:
            what = f"{image.dtype} of it can't be converted to RGB; read the values as stored"
            image.unsupported("PhotometricInterpretation", image.photometric, what)
        options["ybr_to_rgb"] = codec not in JPEG_CODECS
    return Encoding(
        compression=codec,
        dtype=image.dtype,
        samples=image.samples,
        bits=image.bits,
        byteorder="<" if image.encapsulated else header.stream.order,
        photometric=GRAY.get(
            image.photometric, "ybr" if _holds_ybr(image) and not to_rgb else "rgb"
        ),
        options=tuple(sorted((name, int(value)) for name, value in options.items() if value)),
    )


def _holds_ybr(image: _Attributes) -> bool:
    """Return whether decoded frames are YBR unless they are converted."""
    if image.codec == "jpegxl" and image.syntax != JPEG_XL_AS_STORED:
        return False
    return image.photometric.startswith("YBR") and image.photometric not in DECODED_TO_RGB


def frame_bits(header: Header) -> int:
    """Return the bits of one frame as it is before compression, that is, of a native frame.

    Raises
    ------
    CorruptFileError, UnsupportedFormatError
        As `encoding_of` raises them.
    """
    image = _Attributes(header)
    samples = image.rows * image.columns * image.samples
    return (samples // 3 * 2 if image.subsampled else samples) * image.bits


def word_bits(header: Header) -> int:
    """Return the bits of the words in which native pixels are stored, as far as it matters.

    Big-endian files may have samples of 8 bits in words of 16, and then each two bytes stand in
    the opposite order.
    """
    pixels = header.pixels
    big = header.stream.order == ">" and not is_encapsulated(header.transfer_syntax)
    in_words = pixels is not None and pixels.vr == b"OW"
    return 16 if big and in_words and header.number("BitsAllocated", 0) == 8 else 8
