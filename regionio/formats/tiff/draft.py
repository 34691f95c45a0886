"""What a vendor's module finds in a TIFF: scenes, their levels and the pages that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFrame, TiffPage

from regionio._index import Placement

__all__ = ["EmbeddedJpeg", "FileDraft", "LevelDraft", "Page", "SceneDraft"]

Page: TypeAlias = TiffPage | TiffFrame


@dataclass(frozen=True)
class EmbeddedJpeg:
    """A picture that stands in the file as base64 text of a JPEG stream.

    Parameters
    ----------
    offset, nbytes
        Where the text is.
    width, height
        Size in pixels.
    samples
        1 for gray, 3 for RGB.
    """

    offset: int
    nbytes: int
    width: int
    height: int
    samples: int


@dataclass
class LevelDraft:
    """One resolution: the pages that hold its planes.

    Parameters
    ----------
    pages
        One a (t, plane, z), row-major; None where the file has none.
    counts
        Sizes along (t, plane, z).
    width, height
        Size in pixels; None takes the first page's.
    downsample
        (x, y) to level 0 where the file states it.
    positions
        As `TileTable.position`, of one plane, where tiles are not on a grid.
    tile_order
        ``int64[n]``, position in the file's tile table of the tile at each place of the grid,
        where the file numbers its tiles in another order; -1 for none.
    """

    pages: Sequence[Page | None]
    counts: tuple[int, int, int] = (1, 1, 1)
    width: int | None = None
    height: int | None = None
    downsample: tuple[float, float] | None = None
    positions: NDArray[np.int64] | None = None
    tile_order: NDArray[np.int64] | None = None


@dataclass
class SceneDraft:
    """One image.

    Parameters
    ----------
    levels
        From the largest to the smallest.
    name
        As the file calls it.
    spacing
        Axis letter → µm a pixel at level 0, where the vendor states it.
    spacing_unit
        ``"micrometer"``, or ``"millimeter"`` where that is the spacing's unit.
    associated
        ``"label"``, ``"macro"``, ``"thumbnail"`` → page.
    embedded
        The same for pictures that are no pages.
    channel_names
        One a plane, where the file names them.
    offset
        (x, y) on the common canvas, in level-0 pixels.
    is_volume
        Whether places in it have three coordinates.
    placement
        Where it lies in a patient, where the file tells.
    """

    levels: list[LevelDraft]
    name: str = ""
    spacing: dict[str, float] = field(default_factory=dict)
    spacing_unit: str = "micrometer"
    associated: dict[str, Page] = field(default_factory=dict)
    embedded: dict[str, EmbeddedJpeg] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    offset: tuple[int, int] | None = None
    is_volume: bool = False
    placement: Placement | None = None


@dataclass
class FileDraft:
    """What a TIFF holds, by the vendor that wrote it.

    Parameters
    ----------
    format
        Name of the format.
    scenes
        At least one.
    metadata
        Vendor's name → what the file says, as plain types.
    white_background
        Whether what is outside an RGB image is white.
    """

    format: str
    scenes: list[SceneDraft]
    metadata: dict[str, Any] = field(default_factory=dict)
    white_background: bool = False
