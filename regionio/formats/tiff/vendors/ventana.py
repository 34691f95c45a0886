"""Ventana (Roche) BIF: frames of a camera, which overlap, in the tiles of a TIFF.

Level 0 has one frame a tile, row by row from the top left (only the XML's joints count frames to
and fro from the lower left; its list of frames is not used). The XML of its page says which
rectangles of frames (areas) were scanned, where they lie on the slide, and by how many pixels
neighbouring frames overlap. A tile of a lower level holds as many frames, each shrunk by itself,
as the level is smaller: they are placed one by one, where level 0 has them.

Frames lie where OpenSlide puts them, rounded to whole pixels: all areas have one step across and
one down, from the mean of the overlaps, weighted by their confidence. Scanners named VENTANA DP
overlap frames in some columns only, and count positions from the corner of the stage: there each
boundary between columns or rows has a mean of its own, and the leftmost frame lies at 0.
Right and lower frames lie over left and upper ones. What no frame covers is background.

A page without that XML is a plain grid of tiles; XML that contradicts itself or the page is an
error.

Source: openslide.org/formats/ventana; Roche Digital Pathology, BIF whitepaper (2020).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage

from regionio._errors import CorruptFileError
from regionio.formats.tiff.draft import FileDraft, LevelDraft, SceneDraft
from regionio.formats.tiff.page import LARGEST_SIDE, tile_grid
from regionio.formats.tiff.vendors.generic import pages_of

__all__ = ["describe", "recognises"]

XMP_TAG = 700
LEVEL = re.compile(r"\blevel=(\d+)")
ASSOCIATED = {
    "Label Image": "macro",
    "Label_Image": "macro",
    "Thumbnail": "thumbnail",
    "Probability_Image": "probability",
}
HORIZONTAL, VERTICAL = {"LEFT", "RIGHT"}, {"UP", "DOWN"}
MOST_CELLS = 2**22
"""Places for frames in a level; more would be a damaged size."""

ROUNDING = 2
"""Pixels that a level's size may be off after it was halved several times."""


def recognises(tiff: TiffFile) -> bool:
    """Return whether the XMP of the first page is that of a Ventana scanner."""
    return b"<iScan" in _xmp(tiff.pages.first)


def describe(tiff: TiffFile) -> FileDraft:
    """Pages that are described as levels are stitched; others are associated images."""
    pages = pages_of(tiff)
    scanner = _scanner(pages[0])
    levels = _level_pages(pages)
    scene = SceneDraft(_levels(levels, scanner))
    scene.spacing = _spacing(scanner)
    for page in pages:
        name = ASSOCIATED.get(str(page.description).strip())
        if name is not None:
            scene.associated.setdefault(name, page)
    metadata: dict[str, Any] = dict(scanner.attrib)
    metadata["AOIs"] = [dict(child.attrib) for child in scanner if child.tag.startswith("AOI")]
    return FileDraft("ventana", [scene], {"ventana": metadata}, white_background=True)


def _xmp(page: TiffPage) -> bytes:
    value = page.tags.valueof(XMP_TAG)
    if isinstance(value, str):
        return value.encode()
    return bytes(value or b"").strip(b"\0 \r\n")


def _xml(page: TiffPage) -> ET.Element:
    return ET.fromstring(_xmp(page))  # noqa: S314  expat bounds what entities expand to


def _scanner(page: TiffPage) -> ET.Element:
    root = _xml(page)
    scanner = root if root.tag == "iScan" else root.find(".//iScan")
    if scanner is None:
        raise _damaged(page, "its XMP has no iScan element")
    return scanner


def _spacing(scanner: ET.Element) -> dict[str, float]:
    try:
        spacing = float(scanner.attrib["ScanRes"])
    except (KeyError, ValueError):
        return {}
    return {"X": spacing, "Y": spacing} if 0 < spacing < math.inf else {}


def _level_pages(pages: list[TiffPage]) -> list[TiffPage]:
    """Return the pages of the levels in their order."""
    numbered: dict[int, TiffPage] = {}
    for page in pages:
        match = LEVEL.search(str(page.description))
        if match and page.is_tiled:
            numbered.setdefault(int(match[1]), page)
    if 0 not in numbered:
        raise _damaged(pages[0], "no tiled page is described as 'level=0'")
    return [numbered[number] for number in sorted(numbered)]


def _levels(pages: list[TiffPage], scanner: ET.Element) -> list[LevelDraft]:
    base = pages[0]
    if b"<EncodeInfo" not in _xmp(base):
        return [LevelDraft([page]) for page in pages]
    modern = scanner.get("ScannerModel", "").startswith("VENTANA DP")
    frames = _frames(_areas(_xml(base), base), base, modern=modern)
    return [_level(page, base, frames) for page in pages]


@dataclass(frozen=True)
class _Joints:
    """Overlaps of neighbours, along one axis.

    Parameters
    ----------
    boundary
        ``int64[n]``: number of the column or row whose far side the joint is at.
    overlap, weight
        ``float64[n]``, pixels, and how much to trust them.
    """

    boundary: NDArray[np.int64]
    overlap: NDArray[np.float64]
    weight: NDArray[np.float64]

    def mean(self) -> float:
        """Return the mean overlap, 0 where none is known."""
        total = float(self.weight.sum())
        return float((self.overlap * self.weight).sum()) / total if total > 0 else 0.0

    def by_boundary(self, count: int) -> NDArray[np.float64]:
        """Return the mean overlap at each of `count` boundaries, that of all where none is known."""
        weight = np.bincount(self.boundary, self.weight, minlength=count)
        total = np.bincount(self.boundary, self.overlap * self.weight, minlength=count)
        known = weight > 0
        return np.where(known, total / np.where(known, weight, 1), self.mean())

    @classmethod
    def joined(cls, parts: list[_Joints]) -> _Joints:
        """Return the joints of all areas as one."""
        return cls(
            np.concatenate([part.boundary for part in parts]),
            np.concatenate([part.overlap for part in parts]),
            np.concatenate([part.weight for part in parts]),
        )


@dataclass(frozen=True)
class _Area:
    """A rectangle of frames that was scanned.

    Parameters
    ----------
    row, column, rows, columns
        Its place in the tile grid of level 0.
    left, bottom
        Pixels from the stage's origin, which is at the lower left.
    down, across
        Joints of frames above each other, and beside each other.
    """

    row: int
    column: int
    rows: int
    columns: int
    left: int
    bottom: int
    down: _Joints
    across: _Joints


def _areas(encoded: ET.Element, page: TiffPage) -> list[_Area]:
    rows, columns, tile_height, tile_width = tile_grid(page)
    infos = encoded.findall(".//SlideStitchInfo/ImageInfo")
    origins = encoded.findall(".//AoiOrigin/*")
    if len(infos) != len(origins):
        raise _damaged(page, f"it has {len(infos)} areas, but origins of {len(origins)}")
    areas = []
    for info, origin in zip(infos, origins, strict=True):
        if not int(info.attrib["AOIScanned"]):
            continue
        size = (int(info.attrib["Width"]), int(info.attrib["Height"]))
        column, across = divmod(int(origin.attrib["OriginX"]), tile_width)
        row, down = divmod(int(origin.attrib["OriginY"]), tile_height)
        shape = (int(info.attrib["NumRows"]), int(info.attrib["NumCols"]))
        inside = row >= 0 <= column and row + shape[0] <= rows and column + shape[1] <= columns
        if size != (tile_width, tile_height) or across or down or not inside or min(shape) < 1:
            what = (
                f"an area of {shape[1]}×{shape[0]} frames of {size[0]}×{size[1]} pixels with "
                f"{origin.attrib} does not fit {columns}×{rows} tiles of {tile_width}×{tile_height}"
            )
            raise _damaged(page, what)
        areas.append(
            _Area(
                row,
                column,
                *shape,
                left=int(float(info.attrib["Pos-X"])),
                bottom=int(float(info.attrib["Pos-Y"])),
                down=_joints(info, shape, "OverlapY", page),
                across=_joints(info, shape, "OverlapX", page),
            )
        )
    if not areas:
        raise _damaged(page, f"none of its {len(infos)} areas was scanned")
    return areas


def _joints(info: ET.Element, shape: tuple[int, int], key: str, page: TiffPage) -> _Joints:
    """Return the joints across (key OverlapX) or down (OverlapY) that were found by the scanner."""
    directions, others = (HORIZONTAL, VERTICAL) if key == "OverlapX" else (VERTICAL, HORIZONTAL)
    found = []
    for joint in info.iter("TileJointInfo"):
        direction = joint.get("Direction")
        if direction in directions and joint.get("FlagJoined") != "0":
            found.append([float(joint.attrib[k]) for k in ("Tile1", "Tile2", key, "Confidence")])
        elif direction not in directions | others:
            raise _damaged(page, f"a joint of frames has direction {direction!r}")
    first, second, overlap, confidence = np.array(found, dtype=np.float64).reshape(-1, 4).T
    cells = [_cell(number.astype(np.int64), shape) for number in (first, second)]
    along, other = (1, 0) if key == "OverlapX" else (0, 1)
    neighbours = np.abs(cells[0][along] - cells[1][along]) == 1
    neighbours &= cells[0][other] == cells[1][other]
    for row, column in cells:
        neighbours &= (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    if not neighbours.all():
        bad = found[int(np.argmin(neighbours))]
        what = f"frames {bad[0]:g} and {bad[1]:g} of {shape[1]}×{shape[0]} are no neighbours"
        raise _damaged(page, what)
    boundary = np.minimum(cells[0][along], cells[1][along])
    return _Joints(boundary, overlap, np.maximum(confidence, 0))


def _cell(
    number: NDArray[np.int64], shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (row, column) of frames, which count from 1 at the lower left, to and fro, upwards."""
    up, along = np.divmod(number - 1, shape[1])
    return shape[0] - 1 - up, np.where(up % 2 == 0, along, shape[1] - 1 - along)


def _frames(areas: list[_Area], page: TiffPage, *, modern: bool) -> NDArray[np.float64]:
    """Return (y, x) of every frame in level 0, ``float64[rows, columns, 2]``, NaN where none is.

    Parameters
    ----------
    areas, page
        The areas of level 0, and its page.
    modern
        Whether each boundary has an overlap of its own.
    """
    *grid, height, width = tile_grid(page)
    down = _Joints.joined([area.down for area in areas]).mean()
    across = _Joints.joined([area.across for area in areas]).mean()
    starts = []
    for area in areas:
        if modern:
            y = _starts(area.down.by_boundary(area.rows - 1), height)
            x = _starts(area.across.by_boundary(area.columns - 1), width)
        else:
            y = np.arange(area.rows, dtype=np.float64) * (height - down)
            x = np.arange(area.columns, dtype=np.float64) * (width - across)
        if (np.diff(y) * 2 < height).any() or (np.diff(x) * 2 < width).any():
            raise _damaged(page, "its frames overlap by more than half")
        starts.append((y, x))
    top = max(area.bottom + y[-1] + height for area, (y, _) in zip(areas, starts, strict=True))
    frames = np.full((*grid, 2), np.nan)
    for area, (y, x) in zip(areas, starts, strict=True):
        place = frames[area.row : area.row + area.rows, area.column : area.column + area.columns]
        if not np.isnan(place).all():
            raise _damaged(page, "two of its areas have a tile in common")
        place[..., 0] = (top - area.bottom - height - y[-1] + y)[:, None]
        place[..., 1] = area.left + x
    if modern:
        frames[..., 1] -= np.nanmin(frames[..., 1])
    return frames


def _starts(overlap: NDArray[np.float64], tile: int) -> NDArray[np.float64]:
    """Return where frames start that overlap the one before by so much."""
    return np.concatenate([[0.0], np.cumsum(tile - overlap)])


def _level(page: TiffPage, base: TiffPage, frames: NDArray[np.float64]) -> LevelDraft:
    """Place the frames, or what is left of them, in one level."""
    rows, columns, *shape = tile_grid(page)
    tile = np.array(shape)
    factor = max(1, round(int(base.imagewidth) / int(page.imagewidth)))
    placed = ~np.isnan(frames[..., 0])
    cells, corners = np.argwhere(placed), frames[placed]
    size = np.ceil((corners.max(axis=0) + tile) / factor)
    last = cells.max(axis=0) + 1
    fine = (rows * factor, columns * factor)
    is_level = (
        abs(int(base.imagewidth) / factor - int(page.imagewidth)) < ROUNDING
        and abs(int(base.imagelength) / factor - int(page.imagelength)) < ROUNDING
        and (*shape,) == tile_grid(base)[2:]
        and (last <= fine).all()
        and fine[0] * fine[1] <= MOST_CELLS
    )
    if not is_level or not 0 < size.min() <= size.max() <= LARGEST_SIDE:
        what = (
            f"page {page.index} of {page.imagewidth}×{page.imagelength} pixels in tiles of "
            f"{shape[1]}×{shape[0]} is no level of a scan of {base.imagewidth}×{base.imagelength}"
        )
        raise _damaged(base, what)
    draft = LevelDraft(
        [page],
        width=int(size[1]),
        height=int(size[0]),
        downsample=(float(factor), float(factor)),
    )
    if placed[: last[0], : last[1]].all() and (corners == cells * tile).all():
        return draft  # nothing overlaps
    inner = cells % factor * tile / factor  # where the frame starts in its tile
    draft.positions = np.empty((*fine, 2), dtype=np.int64)
    draft.positions[:] = -tile  # outside the level
    # whole tiles are moved by whole pixels: their frames stay together where they touch
    corner_of_tile = np.floor(corners / factor - inner + 0.5)
    draft.positions[tuple(cells.T)] = corner_of_tile + np.floor(inner)
    return draft


def _damaged(page: TiffPage, what: str) -> CorruptFileError:
    return CorruptFileError(f"{page.parent.filehandle.path!r} is damaged: {what}")
