"""What slides and ordinary pictures have in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from io import BytesIO
from typing import Any, Literal, Self, TypeAlias

from PIL import Image, ImageCms

from regionio.compat.openslide._cache import OpenSlideCache
from regionio.compat.openslide._properties import PROPERTY_NAME_BACKGROUND_COLOR

__all__ = ["AbstractSlide", "Filename"]

Filename: TypeAlias = str | bytes | os.PathLike[Any]


class AbstractSlide(ABC):
    """A slide or a picture, from which regions are read. It is a context manager."""

    _profile: bytes | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        self.close()
        return False

    @classmethod
    @abstractmethod
    def detect_format(cls, filename: Filename) -> str | None:
        """Return what kind of file it is, or None if it can't be opened.

        Parameters
        ----------
        filename
            Path of the file.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""

    @property
    @abstractmethod
    def level_count(self) -> int:
        """Number of levels."""

    @property
    @abstractmethod
    def level_dimensions(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level in pixels."""

    @property
    def dimensions(self) -> tuple[int, int]:
        """(width, height) of level 0 in pixels."""
        return self.level_dimensions[0]

    @property
    @abstractmethod
    def level_downsamples(self) -> tuple[float, ...]:
        """By how much each level is smaller than level 0."""

    @property
    @abstractmethod
    def properties(self) -> Mapping[str, str]:
        """What the file says of itself."""

    @property
    @abstractmethod
    def associated_images(self) -> Mapping[str, Image.Image]:
        """Label, macro and thumbnail, as far as there are."""

    @property
    def color_profile(self) -> ImageCms.ImageCmsProfile | None:
        """The ICC profile of the pixels. It is not applied to them."""
        if self._profile is None:
            return None
        return ImageCms.getOpenProfile(BytesIO(self._profile))

    @abstractmethod
    def get_best_level_for_downsample(self, downsample: float) -> int:
        """Return the smallest level that has at least the resolution wanted.

        Parameters
        ----------
        downsample
            By how much what is wanted is smaller than level 0.
        """

    @abstractmethod
    def read_region(
        self, location: tuple[int, int], level: int, size: tuple[int, int]
    ) -> Image.Image:
        """Read a region.

        Parameters
        ----------
        location
            (x, y) of its first pixel in level-0 pixels, whatever the level.
        level
            Number of the level.
        size
            (width, height) in pixels of the level.

        Returns
        -------
        PIL.Image.Image
            RGBA; (0, 0, 0, 0) where the slide has no pixels.

        Raises
        ------
        OpenSlideError
            `size` is negative, or pixels can't be read.
        """

    def set_cache(self, cache: OpenSlideCache) -> None:  # noqa: B027  a picture has no cache
        """Do nothing: a picture is read as a whole.

        Parameters
        ----------
        cache
            Is not used.
        """

    def get_thumbnail(self, size: tuple[int, int]) -> Image.Image:
        """Return the whole image, small, on its background colour.

        Parameters
        ----------
        size
            Most (width, height) in pixels; proportions are kept.

        Returns
        -------
        PIL.Image.Image
            RGB.
        """
        width, height = self.dimensions
        level = self.get_best_level_for_downsample(max(width / size[0], height / size[1]))
        region = self.read_region((0, 0), level, self.level_dimensions[level])
        color = self.properties.get(PROPERTY_NAME_BACKGROUND_COLOR, "ffffff")
        thumbnail = Image.new("RGB", region.size, f"#{color}")
        thumbnail.paste(region, mask=region)
        thumbnail.thumbnail(size, Image.Resampling.LANCZOS)
        return self._with_profile(thumbnail)

    def _with_profile(self, image: Image.Image) -> Image.Image:
        if self._profile is not None:
            image.info["icc_profile"] = self._profile
        return image
