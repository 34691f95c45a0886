"""Tiles that overlap: plans show what painting them one after the other shows."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from regionio._index import Encoding, ImageIndex, Level, TileTable
from regionio._irregular import Layouts
from regionio._plan import plan_regions
from regionio._window import View, Window
from regionio.formats.tiff.build import build_index
from regionio.formats.tiff.draft import FileDraft, LevelDraft, SceneDraft

SLIDE = Path(__file__).parent / "data" / "CMU-1-Small-Region.svs"
NOTHING = -1


def table_of(
    position: NDArray[np.int64],
    nbytes: NDArray[np.int64],
    grid: tuple[int, int, int, int, int],
    tile_shape: tuple[int, int],
) -> TileTable:
    offset = np.arange(len(nbytes), dtype=np.int64) * 1000
    return TileTable(offset, nbytes, grid, tile_shape, position=position)


def view_of(table: TileTable, size: tuple[int, int], planes: tuple[int, ...] = (0,)) -> View:
    """Return a view of an image of (height, width) whose only level is this table."""
    level = Level(size[1], size[0], (1.0, 1.0), table)
    encoding = Encoding("none", "uint8")
    names = tuple(str(number) for number in range(table.grid[1]))
    return View(ImageIndex("test", ("file",), (level,), (encoding,), names), 0, 0, planes)


def painted(table: TileTable, size: tuple[int, int]) -> NDArray[np.int64]:
    """Paint tiles one after the other: ``[plane, y, x]`` says which pixel of which tile is seen.

    A tile's pixel is ``(tile * tile_height + y) * tile_width + x``.
    """
    assert table.position is not None
    _, _, _, rows, columns = table.grid
    height, width = table.tile_shape
    planes = len(table.nbytes) // (rows * columns)
    pixels = np.arange(len(table.nbytes) * height * width).reshape(-1, height, width)
    margin = 200
    canvas = np.full((planes, size[0] + 2 * margin, size[1] + 2 * margin), NOTHING)
    fine = table.position.ndim == 3
    down = table.position.shape[0] // rows if fine else 1
    across = table.position.shape[1] // columns if fine else 1
    for plane in range(planes):
        for place, (y, x) in enumerate(table.position.reshape(-1, 2).tolist()):
            if fine:
                row, column = divmod(place, table.position.shape[1])
                tile = plane * rows * columns + row // down * columns + column // across
            else:
                row = column = 0
                shared = len(table.position) == rows * columns
                if not shared and place // (rows * columns) != plane:
                    continue
                tile = plane * rows * columns + place % (rows * columns)
            if table.nbytes[tile] == 0:
                continue
            top = math.floor(row % down * height / down)
            bottom = math.ceil((row % down + 1) * height / down)
            left = math.floor(column % across * width / across)
            right = math.ceil((column % across + 1) * width / across)
            part = pixels[tile, top:bottom, left:right]
            y, x = y + margin, x + margin  # noqa: PLW2901
            canvas[plane, y : y + part.shape[0], x : x + part.shape[1]] = part
    return canvas[:, margin : margin + size[0], margin : margin + size[1]]


def shown(
    window: Window, regions: int, shape: tuple[int, int, int, int], tile_shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Carry out a plan: ``[region, plane, z, y, x]`` as `painted`, each pixel painted but once."""
    result = np.full((regions, *shape), NOTHING)
    height, width = tile_shape
    pixels = np.arange(height * width).reshape(height, width)
    for number in range(len(window)):
        tile = int(window.tiles["tile"][number])
        first, stop = window.first_piece[number : number + 2]
        for piece in window.pieces[first:stop].tolist():
            region, plane, z, y, x, tile_y, tile_x, rows, columns = piece
            assert rows > 0
            assert columns > 0
            assert 0 <= tile_y <= tile_y + rows <= height
            assert 0 <= tile_x <= tile_x + columns <= width
            place = result[region, plane, z, y : y + rows, x : x + columns]
            assert place.shape == (rows, columns)
            assert (place == NOTHING).all()
            source = pixels[tile_y : tile_y + rows, tile_x : tile_x + columns]
            place[...] = source + tile * height * width
    return result


def cut(level: NDArray[np.int64], y: int, x: int, size: tuple[int, int]) -> NDArray[np.int64]:
    """Return a region of a level that is surrounded by nothing."""
    margin = 100
    padded = np.pad(level, margin, constant_values=NOTHING)
    return padded[y + margin : y + margin + size[0], x + margin : x + margin + size[1]]


@st.composite
def tables(draw: st.DrawFn) -> tuple[TileTable, tuple[int, int]]:
    """Return a table of few tiles anywhere, and the size of its level."""
    tile_shape = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    planes, depth = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    number = planes * depth * rows * columns
    kind = draw(st.sampled_from(["shared", "own", "parts"]))
    down, across = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    shape: tuple[int, ...] = {
        "shared": (rows * columns, 2),
        "own": (number, 2),
        "parts": (rows * down, columns * across, 2),
    }[kind]
    where = draw(st.sampled_from([st.integers(-12, 40), st.integers(0, 6)]))
    flat = draw(st.lists(where, min_size=math.prod(shape), max_size=math.prod(shape)))
    present = draw(st.lists(st.booleans(), min_size=number, max_size=number))
    position = np.array(flat, dtype=np.int64).reshape(shape)
    nbytes = np.where(draw(st.booleans()), 10, np.array(present) * 10)
    grid = (1, planes, depth, rows, columns)
    size = (draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    return table_of(position, nbytes, grid, tile_shape), size


@settings(max_examples=400, deadline=None)
@given(
    tables(),
    st.lists(st.tuples(st.integers(-1, 3), st.integers(-15, 45), st.integers(-15, 45)), max_size=6),
    st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(1, 30)),
)
def test_plans_show_what_painting_shows(
    level: tuple[TileTable, tuple[int, int]],
    locations: list[tuple[int, int, int]],
    size: tuple[int, int, int],
) -> None:
    table, level_size = level
    _, planes, depth, _, _ = table.grid
    chosen = tuple(range(planes))[::-1]
    location = np.array(locations, dtype=np.int64).reshape(-1, 3)
    view = view_of(table, level_size, chosen)
    window = plan_regions([view], np.zeros(len(location), np.int64), location, size)
    actual = shown(window, len(location), (planes, *size), table.tile_shape)
    expected = painted(table, level_size).reshape(planes, depth, *level_size)
    for region, (z, y, x) in enumerate(locations):
        for number, plane in enumerate(chosen):
            for layer in range(size[0]):
                inside = 0 <= z + layer < depth
                whole = expected[plane, z + layer] if inside else np.full(level_size, NOTHING)
                wanted = cut(whole, y, x, size[1:])
                np.testing.assert_array_equal(actual[region, number, layer], wanted)


@pytest.mark.parametrize("first", [(0, 0), (-2, -3), (8, 10), (8, 14), (11, 10), (11, 14)])
def test_two_tiles_cover_each_other_from_all_sides(first: tuple[int, int]) -> None:
    size = (20, 26)
    location = np.zeros((1, 3), np.int64)
    for down in range(-5, 6):
        for across in range(-6, 7):
            second = (first[0] + down, first[1] + across)
            position = np.array([first, second], dtype=np.int64)
            table = table_of(position, np.array([9, 9]), (1, 1, 1, 1, 2), (4, 5))
            window = plan_regions([view_of(table, size)], location[:, 0], location, (1, *size))
            actual = shown(window, 1, (1, 1, *size), (4, 5))[0, 0]
            np.testing.assert_array_equal(actual, painted(table, size), str(second))


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(0, 2**32 - 1))
def test_tiles_that_are_not_seen_are_not_read(
    level: tuple[TileTable, tuple[int, int]], seed: int
) -> None:
    table, size = level
    location = np.random.default_rng(seed).integers([0, -5, -5], [1, 30, 30], (3, 3))
    window = plan_regions([view_of(table, size)], np.zeros(3, np.int64), location, (1, 11, 13))
    whole = painted(table, size)[0]
    seen = np.concatenate([cut(whole, y, x, (11, 13)).ravel() for _, y, x in location.tolist()])
    wanted = np.unique(seen[seen != NOTHING] // math.prod(table.tile_shape))
    np.testing.assert_array_equal(np.sort(window.tiles["tile"]), wanted)


def many_tiles(jitter: int) -> tuple[TileTable, tuple[int, int]]:
    """Return 50,000 tiles that overlap by a tenth, and the size of their level."""
    rows, columns = 200, 250
    random = np.random.default_rng(0)
    position = np.indices((rows, columns)).reshape(2, -1).T * np.array([230, 228])
    position += random.integers(0, jitter + 1, position.shape)
    nbytes = np.where(random.random(len(position)) < 0.9, 5000, 0)
    table = table_of(position, nbytes, (1, 1, 1, rows, columns), (256, 256))
    return table, (rows * 230 + 26, columns * 228 + 28)


@pytest.mark.parametrize("jitter", [0, 12])
def test_many_tiles_are_planned_quickly(jitter: int) -> None:
    table, size = many_tiles(jitter)
    view = view_of(table, size)
    start = time.process_time()
    Layouts.of(table).tiles(0)
    built = time.process_time() - start
    random = np.random.default_rng(1)
    location = random.integers(0, [1, *size], (64, 3))
    plans = []
    for _ in range(5):
        start = time.process_time()
        window = plan_regions([view], np.zeros(64, np.int64), location, (1, 224, 224))
        plans.append(time.process_time() - start)
    assert len(window) > 100
    assert built < 2.0  # 0.2 to 0.4 s alone on a machine
    assert min(plans) < 0.02  # 1 ms


def test_a_pile_of_tiles_costs_little() -> None:
    number = 50_000
    position = np.full((number, 2), 7, dtype=np.int64)
    table = table_of(position, np.full(number, 9), (1, 1, 1, number, 1), (64, 64))
    start = time.process_time()
    location = np.zeros((1, 3), np.int64)
    window = plan_regions([view_of(table, (99, 99))], location[:, 0], location, (1, 99, 99))
    assert time.process_time() - start < 1.0
    assert window.tiles["tile"].tolist() == [number - 1]


PIXELS = tifffile.imread(SLIDE)[500 : 500 + 5 * 48, 700 : 700 + 4 * 64]
ORDER = np.random.default_rng(4).permutation(20)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tile_order_says_which_tile_of_the_file_lies_where(tmp_path: Path, planar: str) -> None:
    order = np.where(ORDER == 11, -1, ORDER)
    index = built(tmp_path, planar, LevelDraft([], tile_order=order))
    table = index.levels[0].tiles
    with tifffile.TiffFile(tmp_path / "tiles.tif") as tiff:
        offsets = np.reshape(tiff.pages.first.dataoffsets, (-1, 20))
    np.testing.assert_array_equal(table.nbytes.reshape(-1, 20) == 0, [order < 0] * len(offsets))
    expected = offsets[:, ORDER][:, order >= 0]
    np.testing.assert_array_equal(table.offset.reshape(-1, 20)[:, order >= 0], expected)


def test_positions_are_kept_for_uncompressed_columns_of_tiles(tmp_path: Path) -> None:
    path = tmp_path / "column.tif"
    tifffile.imwrite(path, PIXELS[:, :64], tile=(48, 64), photometric="rgb", metadata=None)
    positions = np.array([[48 * row, 0] for row in range(5)])[::-1].copy()
    with tifffile.TiffFile(path) as tiff:
        level = LevelDraft([tiff.pages.first], positions=positions)
        index = build_index(tiff, FileDraft("test", [SceneDraft([level])]), 0, str(path))
    np.testing.assert_array_equal(index.levels[0].tiles.position, positions)


def built(folder: Path, planar: str, level: LevelDraft) -> ImageIndex:
    """Return the index of a file of 5×4 tiles."""
    path = folder / "tiles.tif"
    pixels: NDArray[Any] = np.moveaxis(PIXELS, 2, 0) if planar == "separate" else PIXELS
    options: dict[str, Any] = {"photometric": "rgb", "planarconfig": planar}
    tifffile.imwrite(path, pixels, tile=(48, 64), compression="zlib", metadata=None, **options)
    with tifffile.TiffFile(path) as tiff:
        level.pages = [tiff.pages.first]
        return build_index(tiff, FileDraft("test", [SceneDraft([level])]), 0, str(path))
