"""openslide-python's exceptions.

Wrong types and the use of a closed slide are `ctypes.ArgumentError`, as there.
"""

from __future__ import annotations

from regionio._errors import RegionIOError

__all__ = ["OpenSlideError", "OpenSlideUnsupportedFormatError", "OpenSlideVersionError"]


class OpenSlideError(RegionIOError):
    """A slide is damaged or can't be read. From then on it refuses everything but `close`."""


class OpenSlideVersionError(OpenSlideError):
    """OpenSlide is too old for a call. It is never raised here, but scripts name it."""


class OpenSlideUnsupportedFormatError(OpenSlideError):
    """The file is missing, or is no slide whose pixels are gray, RGB or RGBA of 8 bits."""
