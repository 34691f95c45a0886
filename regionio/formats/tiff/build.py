"""From what a vendor's module found to the index."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage

from regionio._errors import CorruptFileError, UnsupportedFormatError
from regionio._index import Encoding, ImageIndex, Level, SceneInfo, TileTable
from regionio.codecs import decoder_for
from regionio.formats.pyramid import downsample_factor
from regionio.formats.tiff.draft import FileDraft, LevelDraft, Page, SceneDraft
from regionio.formats.tiff.embedded import embedded_fields
from regionio.formats.tiff.page import encoding_of, keyframe_of, ranges_of, tile_grid
from regionio.formats.tiff.resolution import spacing_from_tags

__all__ = ["build_index", "scene_number"]

ICC_TAG = 34675
ORIENTATION_TAG = 274
RAW_BAND_BYTES = 256 * 1024


def scene_number(draft: FileDraft, scene: int | str, path: str) -> int:
    """Return the number of a scene given by number or name.

    Raises
    ------
    IndexError, KeyError
        There is none; the message lists those that there are.
    """
    names = [scene_name(draft, number) for number in range(len(draft.scenes))]
    if isinstance(scene, str):
        if scene not in names:
            msg = f"{path!r} has no scene {scene!r}; it has {names}"
            raise KeyError(msg)
        return names.index(scene)
    if not 0 <= scene < len(names):
        msg = f"{path!r} has no scene {scene}; it has {len(names)}: {names}"
        raise IndexError(msg)
    return scene


def scene_name(draft: FileDraft, number: int) -> str:
    """Return a scene's name, or its number where the file gives it none."""
    return draft.scenes[number].name or str(number)


def build_index(tiff: TiffFile, draft: FileDraft, number: int, path: str) -> ImageIndex:
    """Build the index of one scene.

    Parameters
    ----------
    tiff
        The open file.
    draft
        What its vendor's module found.
    number
        Number of the scene.
    path
        Absolute path of the file.
    """
    scene = draft.scenes[number]
    fields = _image(draft, scene, path)
    fields["raw_metadata"] = str(tiff.pages.first.description or "")
    return ImageIndex(
        **fields,
        associated={
            name: ImageIndex(**inner, scenes=(SceneInfo(name, None, (), ""),))
            for name, inner in _associated(draft, scene, path).items()
        },
        scenes=tuple(_scene_info(draft, i) for i in range(len(draft.scenes))),
        scene=number,
        metadata={**draft.metadata, "tiff": _tiff_tags(tiff.pages.first)},
    )


def _image(draft: FileDraft, scene: SceneDraft, path: str) -> dict[str, Any]:
    """Return the fields that an image and its associated images have in common."""
    parts = _Parts(path)
    levels: list[Level] = []
    for level in scene.levels:
        levels.append(parts.level(level, levels))
    first_page = _first(scene.levels[0].pages)
    encodings = tuple(parts.encodings)
    photometric = encodings[0].photometric
    channels = levels[0].tiles.grid[1] * encodings[0].samples
    if len({(encoding.dtype, encoding.samples) for encoding in encodings}) > 1:
        msg = f"{path!r}: the levels differ in type or number of samples"
        raise UnsupportedFormatError(msg)
    return {
        "format": draft.format,
        "sources": tuple(parts.sources),
        "levels": tuple(levels),
        "encodings": encodings,
        "channel_names": _channel_names(scene.channel_names, photometric, channels),
        "spacing": scene.spacing or spacing_from_tags(first_page),
        "spacing_unit": scene.spacing_unit,
        "is_volume": scene.is_volume,
        "placement": scene.placement,
        "orientation": int(first_page.tags.valueof(ORIENTATION_TAG) or 1),
        "icc_profile": _bytes_or_none(first_page.tags.valueof(ICC_TAG)),
        "raw_metadata": str(first_page.description or ""),
        "background": _background(draft, encodings[0], channels),
    }


def _background(draft: FileDraft, encoding: Encoding, channels: int) -> tuple[float, ...]:
    """Return white for RGB of recognised slide formats, else zero."""
    dtype = np.dtype(encoding.dtype)
    color = encoding.photometric in {"rgb", "ycbcr"} and channels == 3 and dtype.kind in "ui"
    return (float(np.iinfo(dtype).max),) if color and draft.white_background else (0.0,)


def _associated(draft: FileDraft, scene: SceneDraft, path: str) -> dict[str, dict[str, Any]]:
    """Return for each associated image the fields of its index."""
    source = {"format": draft.format, "sources": (path,)}
    embedded = {n: {**source, **embedded_fields(jpeg)} for n, jpeg in scene.embedded.items()}
    pages = {
        name: _image(draft, SceneDraft([LevelDraft([page])]), path)
        for name, page in scene.associated.items()
        if _readable(page)
    }
    return {**embedded, **pages}


class _Parts:
    """Collects the distinct sources and encodings that the levels of an image use."""

    def __init__(self, path: str) -> None:
        self.sources = [path]
        self.encodings: list[Encoding] = []
        self._encoding_of_page: dict[int, int] = {}

    def level(self, draft: LevelDraft, larger: Sequence[Level]) -> Level:
        """Build one level; `larger` are those before it."""
        first = _first(draft.pages)
        rows, columns, tile_height, tile_width = tile_grid(first)
        width = draft.width or int(first.imagewidth)
        height = draft.height or int(first.imagelength)
        layers = int(first.imagedepth)
        tiles, inner = self._tables(draft, first, layers * rows * columns)
        times, planes, depth = draft.counts
        table = TileTable(
            grid=(times, planes * inner, depth * layers, rows, columns),
            tile_shape=(tile_height, tile_width),
            position=draft.positions,
            **tiles,
        )
        table = _banded(table, self.encodings, width, height)
        if draft.downsample is not None:
            downsample = draft.downsample
        elif not larger:
            downsample = (1.0, 1.0)
        else:
            base = (larger[0].width, larger[0].height)
            previous = larger[-1].downsample[0]
            downsample = downsample_factor(base, (width, height), previous)
        return Level(width, height, downsample, table)

    def _tables(
        self, draft: LevelDraft, first: TiffPage, page_tiles: int
    ) -> tuple[dict[str, Any], int]:
        """Join the pages' tables; also return the number of planes inside a page."""
        separate = self.encodings_of(first).separate
        inner = first.samplesperpixel if separate else 1
        count = page_tiles * inner
        offsets: list[NDArray[Any]] = []
        sizes: list[NDArray[Any]] = []
        sources: list[NDArray[Any]] = []
        codes: list[NDArray[Any]] = []
        for page in draft.pages:
            if page is None:
                offset = nbytes = np.zeros(count, dtype=np.int64)
                source = code = 0
            else:
                _check_alike(first, keyframe_of(page))
                offset, nbytes = ranges_of(page, count)
                source, code = self._source(page), self._encoding(page)
            offsets.append(offset)
            sizes.append(nbytes)
            sources.append(np.full(count, source, dtype=np.int32))
            codes.append(np.full(count, code, dtype=np.int16))
        joined = [np.concatenate(parts) for parts in (offsets, sizes, sources, codes)]
        if inner > 1 and draft.counts[2] > 1:
            # pages run over (t, plane, z), samples lie inside each page: bring z behind them
            shape = (*draft.counts, inner, page_tiles)
            joined = [a.reshape(shape).swapaxes(2, 3).ravel() for a in joined]
        if draft.tile_order is not None:
            joined = [_reordered(a, draft.tile_order) for a in joined]
        offset, nbytes, source_of, code_of = joined
        if draft.tile_order is not None:
            nbytes.reshape(-1, len(draft.tile_order))[:, draft.tile_order < 0] = 0
        return {
            "offset": offset,
            "nbytes": nbytes,
            "source": source_of if source_of.any() else None,
            "encoding": code_of if code_of.any() else None,
        }, inner

    def encodings_of(self, page: TiffPage) -> Encoding:
        """Return a page's encoding."""
        return self.encodings[self._encoding(page)]

    def _encoding(self, page: Page) -> int:
        keyframe = keyframe_of(page)
        number = self._encoding_of_page.get(id(keyframe))
        if number is None:
            encoding = encoding_of(keyframe)
            _refuse_undecodable(encoding, keyframe)
            if encoding not in self.encodings:
                self.encodings.append(encoding)
            number = self.encodings.index(encoding)
            self._encoding_of_page[id(keyframe)] = number
        return number

    def _source(self, page: Page) -> int:
        name = os.path.abspath(page.parent.filehandle.path)
        if name not in self.sources:
            self.sources.append(name)
        return self.sources.index(name)


def _refuse_undecodable(encoding: Encoding, page: TiffPage) -> None:
    """Raise while the file is being opened what would be raised at the first tile."""
    try:
        decoder_for(encoding, tile_grid(page)[2:])
    except UnsupportedFormatError as error:
        msg = f"{page.parent.filehandle.path!r}, page {page.index}: {error}"
        raise UnsupportedFormatError(msg) from error


def _check_alike(first: TiffPage, page: TiffPage) -> None:
    """Raise where a plane has other sizes than the first one of its level: they share a grid."""
    sizes = [(int(p.imagewidth), int(p.imagelength), *tile_grid(p)[2:]) for p in (first, page)]
    if sizes[0] != sizes[1]:
        width, height, tile_height, tile_width = sizes[1]
        msg = (
            f"{page.parent.filehandle.path!r}, page {page.index}: {width}×{height} pixels in tiles "
            f"of {tile_width}×{tile_height}, but the first plane of this level has "
            f"{sizes[0][0]}×{sizes[0][1]} in {sizes[0][3]}×{sizes[0][2]}"
        )
        raise UnsupportedFormatError(msg)


def _reordered(values: NDArray[Any], order: NDArray[np.int64]) -> NDArray[Any]:
    """Bring the tiles of every plane into the order of the grid."""
    return values.reshape(-1, len(order))[:, np.maximum(order, 0)].ravel()


def _banded(table: TileTable, encodings: Sequence[Encoding], width: int, height: int) -> TileTable:
    """Cut contiguous uncompressed strips anew, into bands that are neither tiny nor huge."""
    times, planes, depth, rows, columns = table.grid
    encoding = encodings[0]
    raw = encoding.compression == "none" and isinstance(encoding.bits, int)
    if not raw or columns != 1 or table.encoding is not None or table.source is not None:
        return table
    if table.tile_shape[1] != width or table.position is not None or not table.complete:
        return table
    row_bytes = (width * encoding.samples * int(encoding.bits) + 7) // 8  # type: ignore[arg-type]
    offset = table.offset.reshape(-1, rows)
    nbytes = table.nbytes.reshape(-1, rows)
    contiguous = (offset[:, 1:] == offset[:, :-1] + nbytes[:, :-1]).all()
    if not contiguous or (nbytes.sum(axis=1) != row_bytes * height).any():
        return table
    band = min(height, max(1, RAW_BAND_BYTES // row_bytes))
    starts = np.arange(0, height, band)
    band_rows = np.minimum(band, height - starts)
    return TileTable(
        offset=(offset[:, :1] + starts * row_bytes).ravel(),
        nbytes=np.broadcast_to(band_rows * row_bytes, (len(offset), len(starts))).ravel(),
        grid=(times, planes, depth, len(starts), 1),
        tile_shape=(band, width),
    )


def _first(pages: Sequence[Page | None]) -> TiffPage:
    for page in pages:
        if page is not None:
            return keyframe_of(page)
    msg = "a level has no pages at all"
    raise CorruptFileError(msg)


def _readable(page: Page) -> bool:
    """Return whether an associated image can be read; one that can't does not spoil the slide."""
    try:
        keyframe = keyframe_of(page)
        decoder_for(encoding_of(keyframe), tile_grid(keyframe)[2:])
    except (UnsupportedFormatError, CorruptFileError):
        return False
    return True


def _channel_names(named: tuple[str, ...], photometric: str, channels: int) -> tuple[str, ...]:
    if len(named) == channels:
        return named
    if photometric in {"rgb", "ycbcr"} and channels in {3, 4}:
        return ("R", "G", "B", "A")[:channels]
    if photometric == "separated" and channels == 4:
        return ("C", "M", "Y", "K")
    return tuple(str(number) for number in range(channels))


def _scene_info(draft: FileDraft, number: int) -> SceneInfo:
    scene = draft.scenes[number]
    level = scene.levels[0]
    page = _first(level.pages)
    times, planes, depth = level.counts
    sizes = {
        "T": times,
        "Z": depth * int(page.imagedepth),
        "Y": level.height or int(page.imagelength),
        "X": level.width or int(page.imagewidth),
        "C": planes * page.samplesperpixel,
    }
    dims = "".join(axis for axis in "TZYXC" if sizes[axis] > 1 or axis in "YX")
    shape = tuple(sizes[axis] for axis in dims)
    return SceneInfo(scene_name(draft, number), scene.offset, shape, dims)


def _bytes_or_none(value: Any) -> bytes | None:
    return bytes(value) if value else None


def _tiff_tags(page: TiffPage) -> dict[str, Any]:
    """Return the short tags of a page as plain types."""
    tags: dict[str, Any] = {}
    for tag in page.tags:
        if tag.count > 64 and tag.dtype != 2:
            continue  # tables, profiles, JPEG tables
        tags[tag.name] = _plain(tag.value)
    return tags


def _plain(value: Any) -> Any:
    """Return a value made of str, int, float, bytes and lists of them only."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, (str, float, bytes)):
        return value
    return str(value)
