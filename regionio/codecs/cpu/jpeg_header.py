"""What stands before the entropy-coded data of a JPEG stream.

Source: ITU-T T.81, annex B.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Header"]

SEQUENTIAL_FRAMES = {0xC0, 0xC1}
OTHER_FRAMES = {0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
START_OF_SCAN = 0xDA
LARGEST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a stream with one sequential scan of all its components.

    Parameters
    ----------
    content
        The bytes up to the first entropy-coded one.
    height, width
        Size in pixels; height 0 for all other kinds of streams.
    height_at
        Where the height stands: two bytes, most significant first.
    components
        Number of components, 0 where no frame header was found.
    """

    content: bytes
    height: int
    width: int
    height_at: int
    components: int = 0

    @classmethod
    def nothing(cls) -> Header:
        """Return a header that no stream begins with."""
        return cls(b"\0", 0, 0, 0)

    @classmethod
    def of(cls, data: memoryview) -> Header:
        """Read a stream's header.

        >>> import simplejpeg, numpy
        >>> stream = simplejpeg.encode_jpeg(numpy.zeros((24, 32, 3), numpy.uint8))
        >>> header = Header.of(memoryview(stream))
        >>> header.height, header.width
        (24, 32)
        """
        head = bytes(data[:LARGEST_BYTES])
        place, frame = 2, 0
        while place + 10 <= len(head) and head[place] == 0xFF:
            marker = head[place + 1]
            length = int.from_bytes(head[place + 2 : place + 4], "big")
            if marker in OTHER_FRAMES:
                return cls(b"\0", 0, 0, 0, head[place + 9])
            if marker in SEQUENTIAL_FRAMES:
                frame = place
            if marker == START_OF_SCAN:
                if frame and head[frame + 9] == head[place + 4]:
                    height = int.from_bytes(head[frame + 5 : frame + 7], "big")
                    width = int.from_bytes(head[frame + 7 : frame + 9], "big")
                    content = head[: place + 2 + length]
                    return cls(content, height, width, frame + 5, head[frame + 9])
                break
            place += 2 + length
        return cls.nothing()

    def begins(self, data: memoryview) -> bool:
        """Return whether a stream has this very header."""
        return bytes(data[: len(self.content)]) == self.content
