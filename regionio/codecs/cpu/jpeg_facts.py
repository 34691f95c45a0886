"""What a JPEG or JPEG-LS stream says of its picture before the first coefficient.

Source: ITU-T T.81, annex B; T.87, annex C; T.871 (JFIF); Adobe Technical Note 5116 (APP14).
"""

from __future__ import annotations

from dataclasses import dataclass

from regionio._errors import DecodeError

__all__ = ["TAIL_BYTES", "JpegFacts", "check_end", "has_end"]

JFIF_MARKER, ADOBE_MARKER, JPEG_LS_FRAME = 0xE0, 0xEE, 0xF7
START_OF_FRAME = frozenset((*range(0xC0, 0xD0), JPEG_LS_FRAME)) - {0xC4, 0xC8, 0xCC}
LOSSLESS_FRAMES = frozenset((0xC3, 0xC7, 0xCB, 0xCF))
WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
ADOBE_BYTES = 12
"""Content of a whole Adobe segment; libjpeg does not believe shorter ones."""

END = b"\xff\xd9"
TAIL_BYTES = 64
"""How near to the end of a frame the end of its stream is looked for, as padding may follow."""


def has_end(data: memoryview) -> bool:
    """Return whether a stream, JPEG's or JPEG 2000's, has its end marker, which padding may follow."""
    return END in bytes(data[-TAIL_BYTES:])


def check_end(data: memoryview) -> None:
    """Raise where a stream lacks its end marker.

    libjpeg makes do with what there is, which imagecodecs does not report; CharLS takes seconds
    to find it out.

    Raises
    ------
    DecodeError
        It does.
    """
    if not has_end(data):
        msg = "JPEG stream is cut short: it has no end marker"
        raise DecodeError(msg)


@dataclass(frozen=True, slots=True)
class JpegFacts:
    """The facts that depth, size and colour of a picture depend on.

    Parameters
    ----------
    head
        The bytes that say so, from the start of the stream.
    precision, height, width
        Bits a sample, size in pixels.
    components
        Identifiers of the components.
    sampling
        Factors of the components, across in the higher four bits, down in the lower.
    process
        Marker of the frame: 0xC0 is baseline.
    after_jfif
        Where the stream goes on after a JFIF segment that stands first, 0 where there is none.
    jfif
        Whether there is a JFIF segment anywhere: components are YCbCr.
    adobe
        Transform that an Adobe segment states (0 none, 1 YCbCr), None where there is none.
    """

    head: bytes
    precision: int
    height: int
    width: int
    components: tuple[int, ...]
    sampling: tuple[int, ...]
    process: int
    after_jfif: int
    jfif: bool
    adobe: int | None

    @property
    def lossless(self) -> bool:
        """Whether the process is one without a cosine transform."""
        return self.process in LOSSLESS_FRAMES

    @property
    def named_rgb(self) -> bool:
        """Whether the components are called R, G and B."""
        return bytes(self.components) in {b"RGB", b"rgb"}

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise where the picture has another (height, width, samples), before it is decoded.

        Raises
        ------
        DecodeError
            It has.
        """
        found = self.height, self.width, len(self.components)
        if found != shape:
            msg = f"JPEG stream holds {found} samples, but the attributes of the image say {shape}"
            raise DecodeError(msg)

    def begin(self, data: memoryview) -> bool:
        """Return whether a stream begins with these very facts."""
        return bytes(data[: len(self.head)]) == self.head

    @classmethod
    def of(cls, data: memoryview) -> JpegFacts:
        """Read them from a stream.

        Raises
        ------
        DecodeError
            There is no start of a frame: the stream is damaged, or no JPEG.

        Examples
        --------
        >>> import simplejpeg, numpy
        >>> stream = simplejpeg.encode_jpeg(numpy.zeros((24, 32, 3), numpy.uint8))
        >>> facts = JpegFacts.of(memoryview(stream))
        >>> facts.precision, facts.height, facts.width, facts.components, facts.jfif
        (8, 24, 32, (1, 2, 3), True)
        """
        if bytes(data[:2]) != b"\xff\xd8":
            msg = f"JPEG stream starts with {bytes(data[:2]).hex() or 'nothing'}, ffd8 expected"
            raise DecodeError(msg)
        place, after_jfif, jfif, adobe = 2, 0, False, None
        while place + 4 <= len(data) and data[place] == 0xFF:
            marker = data[place + 1]
            if marker == 0xFF:  # fill byte
                place += 1
                continue
            if marker in WITHOUT_LENGTH:
                place += 2
                continue
            end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
            content = bytes(data[place + 4 : end])
            if marker in START_OF_FRAME and len(content) >= 6:
                return cls(
                    head=bytes(data[:end]),
                    precision=content[0],
                    height=int.from_bytes(content[1:3], "big"),
                    width=int.from_bytes(content[3:5], "big"),
                    components=tuple(content[6 : 6 + 3 * content[5] : 3]),
                    sampling=tuple(content[7 : 6 + 3 * content[5] : 3]),
                    process=marker,
                    after_jfif=after_jfif,
                    jfif=jfif,
                    adobe=adobe,
                )
            if marker == JFIF_MARKER and content.startswith(b"JFIF\0"):
                jfif = True
                after_jfif = end if place == 2 else 0
            if marker == ADOBE_MARKER and content.startswith(b"Adobe"):
                adobe = content[11] if len(content) >= ADOBE_BYTES else adobe
            place = end
        msg = "JPEG stream has no start of a frame: it is damaged or cut short"
        raise DecodeError(msg)
