"""openslide-python's interface over regionio.

``from regionio.compat import openslide`` in place of ``import openslide``. It needs Pillow
(``pip install regionio[openslide]``), and nothing else of regionio imports it.

Where it differs from openslide-python:

- It opens what regionio opens, stripped TIFFs included, as far as pixels are gray, RGB or RGBA
  of 8 bits; anything else is an `OpenSlideUnsupportedFormatError`. Levels are those of the file.
- Regions begin at whole level pixels, ``location // downsample``. OpenSlide interpolates between
  pixels where a location falls between them.
- Downsamples are the factors that made the levels (4.0), not ratios of rounded sizes (4.0020),
  so that ``get_best_level_for_downsample(4)`` finds the level. Of DICOM they are the ratios, and
  a location between pixels of a level is that of the nearest one.
- ``openslide.mpp-x`` is left out where resolution tags hold a placeholder such as 72 dpi;
  ``openslide.quickhash-1`` is there for DICOM only.
- DICOM slides may have any codec, several focal planes (the first is shown), tiles beside a grid,
  and files of one size that OpenSlide does not tell apart. A folder of one slide opens too. Texts
  of ``dicom.*`` are in the file's character set. Where no pixel spacing is stated, the imaged
  volume gives ``openslide.mpp-x``.
- All slides share the process's cache, whose size `OpenSlide.set_cache` sets.
- Slides can be pickled.

`openslide.deepzoom.DeepZoomGenerator` of openslide-python takes these slides as they are. As it finds
the level of a downsample of exactly 4 here, tiles at the right and lower edge may be a pixel smaller
than its `get_tile_dimensions` says, where the file rounded the level's size down.

>>> from regionio.compat import openslide
>>> with openslide.open_slide("tests/data/CMU-1-Small-Region.svs") as slide:
...     tile = slide.read_region((300, 400), 0, (224, 224))
...     slide.properties[openslide.PROPERTY_NAME_MPP_X], tile.mode, tile.size
('0.499', 'RGBA', (224, 224))
"""

from __future__ import annotations

import regionio
from regionio.compat import _pillow  # noqa: F401  first, as it says what to install
from regionio.compat.openslide._abstract import AbstractSlide, Filename
from regionio.compat.openslide._cache import OpenSlideCache
from regionio.compat.openslide._errors import (
    OpenSlideError,
    OpenSlideUnsupportedFormatError,
    OpenSlideVersionError,
)
from regionio.compat.openslide._imageslide import ImageSlide
from regionio.compat.openslide._properties import (
    PROPERTY_NAME_BACKGROUND_COLOR,
    PROPERTY_NAME_BARCODE,
    PROPERTY_NAME_BOUNDS_HEIGHT,
    PROPERTY_NAME_BOUNDS_WIDTH,
    PROPERTY_NAME_BOUNDS_X,
    PROPERTY_NAME_BOUNDS_Y,
    PROPERTY_NAME_COMMENT,
    PROPERTY_NAME_MPP_X,
    PROPERTY_NAME_MPP_Y,
    PROPERTY_NAME_OBJECTIVE_POWER,
    PROPERTY_NAME_QUICKHASH1,
    PROPERTY_NAME_VENDOR,
)
from regionio.compat.openslide._slide import OpenSlide

__version__ = "1.4.7"
"""Version of openslide-python whose interface this is."""

__library_version__ = regionio.__version__
"""Version of the library that reads: regionio."""

__all__ = [
    "PROPERTY_NAME_BACKGROUND_COLOR",
    "PROPERTY_NAME_BARCODE",
    "PROPERTY_NAME_BOUNDS_HEIGHT",
    "PROPERTY_NAME_BOUNDS_WIDTH",
    "PROPERTY_NAME_BOUNDS_X",
    "PROPERTY_NAME_BOUNDS_Y",
    "PROPERTY_NAME_COMMENT",
    "PROPERTY_NAME_MPP_X",
    "PROPERTY_NAME_MPP_Y",
    "PROPERTY_NAME_OBJECTIVE_POWER",
    "PROPERTY_NAME_QUICKHASH1",
    "PROPERTY_NAME_VENDOR",
    "AbstractSlide",
    "ImageSlide",
    "OpenSlide",
    "OpenSlideCache",
    "OpenSlideError",
    "OpenSlideUnsupportedFormatError",
    "OpenSlideVersionError",
    "__library_version__",
    "__version__",
    "open_slide",
]


def open_slide(filename: Filename) -> OpenSlide | ImageSlide:
    """Open a slide, or else an ordinary picture.

    Parameters
    ----------
    filename
        Path of the file.

    Returns
    -------
    OpenSlide or ImageSlide
        The latter for what Pillow reads and regionio does not.

    Raises
    ------
    OSError
        Neither can read it, or it is missing.
    OpenSlideError
        It is a damaged slide.
    """
    try:
        return OpenSlide(filename)
    except OpenSlideUnsupportedFormatError:
        return ImageSlide(filename)
