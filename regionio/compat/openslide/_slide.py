"""OpenSlide: a whole slide, opened."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from ctypes import ArgumentError
from typing import Any, TypeVar

from PIL import Image as Picture

from regionio._cache import cache as tile_cache
from regionio.compat.openslide._abstract import AbstractSlide, Filename
from regionio.compat.openslide._cache import OpenSlideCache
from regionio.compat.openslide._canvas import plain_canvas
from regionio.compat.openslide._errors import OpenSlideError
from regionio.compat.openslide._handle import SlideHandle, open_checked
from regionio.compat.openslide._pixels import check_pixels
from regionio.compat.openslide._vendors import vendor_of

__all__ = ["OpenSlide"]

T = TypeVar("T")


class OpenSlide(AbstractSlide):
    """An open whole slide.

    Parameters
    ----------
    filename
        Path of the file.

    Raises
    ------
    OpenSlideUnsupportedFormatError
        The file is missing, or no slide that has gray, RGB or RGBA pixels of 8 bits.
    OpenSlideError
        It is damaged.
    ctypes.ArgumentError
        `filename` is no path; later, if the slide is used after `close`.

    Examples
    --------
    >>> with OpenSlide("tests/data/CMU-1-Small-Region.svs") as slide:
    ...     slide.dimensions, list(slide.associated_images)
    ((2220, 2967), ['label', 'macro', 'thumbnail'])
    """

    def __init__(self, filename: Filename) -> None:
        self._filename = filename
        self._handle = SlideHandle(filename)
        self._profile = self._handle.image.icc_profile

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._filename!r})"

    @classmethod
    def detect_format(cls, filename: Filename) -> str | None:
        """Return OpenSlide's name of the file's format, or None if it can't be opened.

        Parameters
        ----------
        filename
            Path of the file.
        """
        try:
            with open_checked(filename) as image:
                return vendor_of(image)
        except OpenSlideError:
            return None

    def close(self) -> None:
        """Let go of the file."""
        self._handle.close()

    @property
    def level_count(self) -> int:
        """Number of levels."""
        return len(self._handle.canvas.level_dimensions)

    @property
    def level_dimensions(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level in pixels."""
        return self._handle.canvas.level_dimensions

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        """By how much each level is smaller than level 0, the mean of both axes."""
        return self._handle.canvas.level_downsamples

    @property
    def properties(self) -> Mapping[str, str]:
        """What the file says of itself: ``openslide.*``, ``tiff.*`` and the vendor's."""
        return _PropertyMap(self._handle)

    @property
    def associated_images(self) -> Mapping[str, Picture.Image]:
        """Label, macro and thumbnail in RGBA, as far as there are."""
        return _AssociatedImageMap(self._handle)

    def get_best_level_for_downsample(self, downsample: float) -> int:
        """Return the smallest level that has at least the resolution wanted.

        Parameters
        ----------
        downsample
            By how much what is wanted is smaller than level 0.
        """
        downsamples = self.level_downsamples
        return max((n for n, value in enumerate(downsamples) if value <= downsample), default=0)

    def read_region(
        self, location: tuple[int, int], level: int, size: tuple[int, int]
    ) -> Picture.Image:
        """Read a region.

        Parameters
        ----------
        location
            (x, y) of its first pixel in level-0 pixels; at other levels that is level pixel
            ``location // downsample``.
        level
            Number of the level; a region of a level that does not exist is transparent.
        size
            (width, height) in pixels of the level.

        Returns
        -------
        PIL.Image.Image
            RGBA; (0, 0, 0, 0) outside the slide and where it has no tile.

        Raises
        ------
        OpenSlideError
            `size` is negative, or pixels can't be read; then the slide can't be used any more.
        ctypes.ArgumentError
            Something is no integer, or the slide is closed.
        """
        canvas = self._handle.canvas
        x, y, number, width, height = _integers(*location, level, *size)
        if width < 0 or height < 0:
            msg = f"size ({width}, {height}) is negative"
            raise OpenSlideError(msg)
        if width == 0 or height == 0 or not 0 <= number < len(canvas.level_dimensions):
            region = Picture.new("RGBA", (width, height))
        else:
            region = self._handle.read(canvas, (x, y), (width, height), number)
        return self._with_profile(region)

    def set_cache(self, cache: OpenSlideCache) -> None:
        """Set the size of the cache that all slides of the process share.

        Parameters
        ----------
        cache
            The size. Where slides are given different ones, the last counts.

        Raises
        ------
        TypeError
            `cache` is none.
        """
        try:
            capacity = cache.capacity
        except AttributeError:
            msg = f"cache is an OpenSlideCache, not {type(cache).__name__}"
            raise TypeError(msg) from None
        tile_cache.capacity = capacity


class _SlideMap(Mapping[str, T]):
    def __init__(self, handle: SlideHandle) -> None:
        self._handle = handle

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {dict(self)!r}>"

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    @abstractmethod
    def _names(self) -> list[str]:
        pass


class _PropertyMap(_SlideMap[str]):
    def __getitem__(self, key: str) -> str:
        return self._handle.properties[key]

    def _names(self) -> list[str]:
        return list(self._handle.properties)


class _AssociatedImageMap(_SlideMap[Picture.Image]):
    def __getitem__(self, key: str) -> Picture.Image:
        with self._handle.image.associated_image(key) as associated:
            check_pixels(associated)
            canvas = plain_canvas(associated)
            picture = self._handle.read(canvas, (0, 0), canvas.level_dimensions[0], 0)
            if associated.icc_profile is not None:
                picture.info["icc_profile"] = associated.icc_profile
            return picture

    def _names(self) -> list[str]:
        return sorted(self._handle.image.associated_images)


def _integers(*values: Any) -> list[int]:
    try:
        return [operator.index(value) for value in values]
    except TypeError:
        msg = f"location, level and size are made of integers, not {values}"
        raise ArgumentError(msg) from None
