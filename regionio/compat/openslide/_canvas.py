"""The plane of an OpenSlide: one image, or several areas on a glass slide."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image as Picture

from regionio._image import Image
from regionio._open import open as open_image
from regionio.compat.openslide._pixels import rgba

__all__ = ["Area", "Canvas", "canvas_of", "plain_canvas"]

ROUNDING = 1e-9
"""A product that is so near to an integer is taken for it."""


@dataclass(frozen=True)
class Area:
    """An image that lies somewhere on the canvas.

    Parameters
    ----------
    image
        The image.
    offset
        (x, y) of its first pixel in level-0 pixels of the canvas.
    """

    image: Image
    offset: tuple[int, int]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) in level-0 pixels of the canvas."""
        width, height = self.image.size("XY")
        return (*self.offset, width, height)


class Canvas:
    """What a slide's locations refer to.

    Parameters
    ----------
    areas
        What lies on it; later ones over earlier ones. All have the same levels.
    level_dimensions
        (width, height) of each level of the canvas.
    """

    def __init__(self, areas: list[Area], level_dimensions: tuple[tuple[int, int], ...]) -> None:
        self.areas = areas
        self.level_dimensions = level_dimensions

    @property
    def image(self) -> Image:
        """The first area's image, which speaks for all."""
        return self.areas[0].image

    @property
    def is_one_image(self) -> bool:
        """Whether one image covers the canvas."""
        return self.level_dimensions[0] == self.image.size("XY")

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        """By how much each level is smaller than level 0, the mean of both axes."""
        return tuple(sum(level.downsample) / 2 for level in self.image.levels)

    def read(self, location: tuple[int, int], size: tuple[int, int], level: int) -> Picture.Image:
        """Read a region in RGBA.

        Parameters
        ----------
        location
            (x, y) in level-0 pixels of the canvas.
        size
            (width, height) in pixels of the level.
        level
            Number of the level.
        """
        regions = []
        for area in self.areas:
            x, y = (place - start for place, start in zip(location, area.offset, strict=True))
            regions.append(rgba(area.image, (x, y), size, level))
        for upper in regions[1:]:
            regions[0].paste(upper, mask=upper.getchannel("A"))
        return regions[0]

    def close(self) -> None:
        """Let go of the file."""
        for area in self.areas:
            area.image.close()


class _DicomCanvas(Canvas):
    """One pyramid, whose downsamples are ratios of sizes as OpenSlide's.

    A script multiplies pixels of a level by them, which gives places between the pixels: that of
    the nearest one is meant.
    """

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        """By how much each level is smaller than level 0, the mean of both axes."""
        width, height = self.level_dimensions[0]
        return tuple((width / w + height / h) / 2 for w, h in self.level_dimensions)

    def read(self, location: tuple[int, int], size: tuple[int, int], level: int) -> Picture.Image:
        """Read a region in RGBA, from the pixel of the level on that is nearest to `location`."""
        ratio = self.level_downsamples[level]
        x, y = (
            math.ceil(math.floor(place / ratio + 0.5) * factor - ROUNDING)
            for place, factor in zip(location, self.image.levels[level].downsample, strict=True)
        )
        return super().read((x, y), size, level)


def canvas_of(image: Image) -> Canvas:
    """Return the canvas of a slide.

    Parameters
    ----------
    image
        Its first scene.
    """
    if image.format == "leica":
        return _glass_slide(image)
    if image.format == "dicom":
        return _DicomCanvas([Area(image, (0, 0))], _dimensions(image))
    return plain_canvas(image)


def plain_canvas(image: Image) -> Canvas:
    """Return a canvas that one image covers.

    Parameters
    ----------
    image
        A slide or an associated image.
    """
    return Canvas([Area(image, (0, 0))], _dimensions(image))


def _dimensions(image: Image) -> tuple[tuple[int, int], ...]:
    return tuple((level.width, level.height) for level in image.levels)


def _glass_slide(image: Image) -> Canvas:
    """Return the whole glass of a Leica scan, as large as its XML says in nanometres."""
    areas = []
    for number, scene in enumerate(image.scenes):
        if scene.offset is None:
            continue
        other = image if number == 0 else open_image(image.path, scene=number)
        if _resolution(other) == _resolution(image):
            areas.append(Area(other, scene.offset))
        else:
            other.close()
    collection = image.metadata["leica"]
    [spacing] = image.spacing("X")
    assert spacing is not None
    dimensions = []
    for level in image.levels:
        nanometers = spacing * 1000 * image.levels[0].width / level.width
        width, height = (float(collection[key]) / nanometers for key in ("sizeX", "sizeY"))
        dimensions.append((math.ceil(width), math.ceil(height)))
    return Canvas(areas, tuple(dimensions))


def _resolution(image: Image) -> tuple[object, ...]:
    """Return what areas have in common that one canvas can show."""
    downsamples = tuple(level.downsample for level in image.levels)
    spacing = tuple(round(value or 0, 6) for value in image.spacing("XY"))
    return image.channel_names, image.dtype, spacing, downsamples
