"""ImageSlide: an ordinary picture that behaves as a slide of one level."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from regionio.compat.openslide._abstract import AbstractSlide, Filename
from regionio.compat.openslide._errors import OpenSlideError

__all__ = ["ImageSlide"]


class ImageSlide(AbstractSlide):
    """A picture that Pillow reads, as a slide of one level.

    Parameters
    ----------
    file
        Path of the file, or a Pillow image, which `close` leaves open.

    Raises
    ------
    OSError
        The file is missing, or no picture; later a ValueError, if it is used after `close`.

    Examples
    --------
    >>> from PIL import Image
    >>> slide = ImageSlide(Image.new("RGB", (30, 20), "red"))
    >>> slide.read_region((-1, 0), 0, (2, 1)).getpixel((1, 0))
    (255, 0, 0, 255)
    """

    def __init__(self, file: Filename | Image.Image) -> None:
        self._file = file
        self._owned = not isinstance(file, Image.Image)
        self._picture = file if isinstance(file, Image.Image) else Image.open(file)
        self._closed = False
        self._profile = self._picture.info.get("icc_profile")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._file!r})"

    @classmethod
    def detect_format(cls, filename: Filename) -> str | None:
        """Return Pillow's name of the file's format, or None if it can't be opened.

        Parameters
        ----------
        filename
            Path of the file.
        """
        try:
            with Image.open(filename) as picture:
                return picture.format
        except OSError:
            return None

    def close(self) -> None:
        """Let go of the file; a Pillow image that was given stays open."""
        if self._owned and not self._closed:
            self._picture.close()
        self._closed = True

    @property
    def level_count(self) -> int:
        """Number of levels: 1."""
        return 1

    @property
    def level_dimensions(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of the picture in pixels, in a tuple."""
        return (self._usable().size,)

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        """1.0, in a tuple."""
        return (1.0,)

    @property
    def properties(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    @property
    def associated_images(self) -> Mapping[str, Image.Image]:
        """Nothing."""
        return {}

    def get_best_level_for_downsample(self, downsample: float) -> int:
        """Return 0.

        Parameters
        ----------
        downsample
            Any.
        """
        return 0

    def read_region(
        self, location: tuple[int, int], level: int, size: tuple[int, int]
    ) -> Image.Image:
        """Read a region.

        Parameters
        ----------
        location
            (x, y) of its first pixel.
        level
            0.
        size
            (width, height) in pixels.

        Returns
        -------
        PIL.Image.Image
            RGBA; (0, 0, 0, 0) outside the picture.

        Raises
        ------
        OpenSlideError
            There is no such level, or `size` is negative.
        """
        picture = self._usable()
        if level != 0:
            msg = f"level {level}: a picture has only level 0"
            raise OpenSlideError(msg)
        if min(size) < 0:
            msg = f"size {size} is negative"
            raise OpenSlideError(msg)
        region = Image.new("RGBA", size)
        left, top = (max(0, start) for start in location)
        right = min(location[0] + size[0], picture.width)
        bottom = min(location[1] + size[1], picture.height)
        if left < right and top < bottom:
            inside = picture.crop((left, top, right, bottom))
            region.paste(inside, (left - location[0], top - location[1]))
        return self._with_profile(region)

    def _usable(self) -> Image.Image:
        if self._closed:
            msg = f"picture {self._file!r} is closed; open it again"
            raise ValueError(msg)
        return self._picture
