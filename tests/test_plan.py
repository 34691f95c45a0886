"""Plans cover every pixel of every region once, with the right pixel of the right tile."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from regionio._index import Encoding, ImageIndex, Level, TileTable
from regionio._plan import plan_region, plan_regions
from regionio._window import View, Window

BATCH = 3


def image(
    width: int,
    height: int,
    tile: tuple[int, int],
    planes: int,
    depth: int,
    absent: float,
    seed: int,
) -> ImageIndex:
    rows, columns = -(-height // tile[0]), -(-width // tile[1])
    count = planes * depth * rows * columns
    random = np.random.default_rng(seed)
    present = random.random(count) >= absent
    table = TileTable(
        offset=random.permutation(count).astype(np.int64) * 10 + 8,
        nbytes=np.where(present, 10, 0).astype(np.int64),
        grid=(1, planes, depth, rows, columns),
        tile_shape=tile,
    )
    encoding = Encoding("none", "uint8", separate=planes > 1)
    level = Level(width, height, (1.0, 1.0), table)
    names = tuple(map(str, range(planes)))
    return ImageIndex("tiff", ("a",), (level,), (encoding,), names)


def paint(window: Window, count: int, size: tuple[int, int, int], planes: int) -> np.ndarray:
    """Return (plane, z, y, x, times painted) of every pixel of every region."""
    depth, height, width = size
    painted = np.zeros((count, planes, depth, height, width, 5), dtype=np.int64)
    for number, tile in enumerate(window.tiles):
        view = window.views[tile["view"]]
        _, all_planes, layers, _, columns = view.table.grid
        plane_z, in_plane = divmod(int(tile["tile"]), view.table.plane_tiles)
        plane, z = divmod(plane_z, layers)
        row, column = divmod(in_plane, columns)
        assert plane < all_planes
        for piece in window.pieces[window.first_piece[number] : window.first_piece[number + 1]]:
            assert view.planes[piece["plane"]] == plane
            y0, x0 = piece["y"], piece["x"]
            h, w = piece["height"], piece["width"]
            assert h > 0
            assert w > 0
            assert 0 <= piece["tile_y"] <= view.table.tile_shape[0] - h
            assert 0 <= piece["tile_x"] <= view.table.tile_shape[1] - w
            part = painted[piece["region"], piece["plane"], piece["z"], y0 : y0 + h, x0 : x0 + w]
            assert part.shape[:2] == (h, w)
            part[..., 0] = plane
            part[..., 1] = z
            part[..., 2] = (row * view.table.tile_shape[0] + piece["tile_y"] + np.arange(h))[
                :, None
            ]
            part[..., 3] = column * view.table.tile_shape[1] + piece["tile_x"] + np.arange(w)
            part[..., 4] += 1
    return painted


sizes = st.integers(1, 40)


@st.composite
def cases(draw: st.DrawFn) -> tuple[ImageIndex, np.ndarray, tuple[int, int, int]]:
    width, height = draw(sizes), draw(sizes)
    tile = (draw(st.integers(1, 16)), draw(st.integers(1, 16)))
    planes, depth = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    absent = draw(st.sampled_from([0.0, 0.4]))
    index = image(width, height, tile, planes, depth, absent, draw(st.integers(0, 99)))
    places = st.tuples(st.integers(-4, 4), st.integers(-50, 50), st.integers(-50, 50))
    locations = np.array(draw(st.lists(places, min_size=1, max_size=7)), dtype=np.int64)
    size = (draw(st.integers(1, 4)), draw(sizes), draw(sizes))
    return index, locations, size


def check(
    window: Window, index: ImageIndex, locations: np.ndarray, size: tuple[int, int, int]
) -> None:
    planes = index.levels[0].tiles.grid[1]
    painted = paint(window, len(locations), size, planes)
    level, table = index.levels[0], index.levels[0].tiles
    _, _, depth, _, columns = table.grid
    for region, (z0, y0, x0) in enumerate(locations):
        z, y, x = np.meshgrid(*(np.arange(n) for n in size), indexing="ij")
        z, y, x = z + z0, y + y0, x + x0
        inside = (
            (z >= 0) & (z < depth) & (y >= 0) & (y < level.height) & (x >= 0) & (x < level.width)
        )
        for plane in range(planes):
            tile = (plane * depth + z) * table.plane_tiles
            tile = tile + y // table.tile_shape[0] * columns + x // table.tile_shape[1]
            present = inside & (table.nbytes[np.where(inside, tile, 0)] > 0)
            got = painted[region, plane]
            np.testing.assert_array_equal(got[..., 4], present)
            wanted = np.stack([np.full_like(z, plane), z, y, x], axis=-1)
            np.testing.assert_array_equal(got[present][:, :4], wanted[present])


def order_is_right(window: Window) -> None:
    tiles = window.tiles
    assert len(np.unique(tiles[["view", "tile"]])) == len(tiles)
    keys = [
        (int(t["batch"]), int(t["view"]), int(window.views[t["view"]].table.offset[t["tile"]]))
        for t in tiles
    ]
    assert keys == sorted(keys)
    for number, tile in enumerate(tiles):
        pieces = window.pieces[window.first_piece[number] : window.first_piece[number + 1]]
        assert tile["batch"] == pieces["region"].min() // BATCH


@given(cases())
@settings(max_examples=150, deadline=None)
def test_every_pixel_is_painted_once_from_its_tile(
    case: tuple[ImageIndex, np.ndarray, tuple[int, int, int]],
) -> None:
    index, locations, size = case
    view = View(index, 0, 0, tuple(range(index.levels[0].tiles.grid[1])))
    window = plan_regions([view], np.zeros(len(locations), np.int64), locations, size, 0, BATCH)
    check(window, index, locations, size)
    order_is_right(window)


@given(cases(), st.integers(0, 7), st.integers(0, 50))
@settings(max_examples=100, deadline=None)
def test_joined_windows_and_slices_lose_nothing(
    case: tuple[ImageIndex, np.ndarray, tuple[int, int, int]], cut: int, taken: int
) -> None:
    index, locations, size = case
    view = View(index, 0, 0, tuple(range(index.levels[0].tiles.grid[1])))
    cut = min(cut, len(locations))
    parts = [
        plan_regions([view], np.zeros(len(part), np.int64), part, size, first, BATCH)
        for first, part in ((0, locations[:cut]), (cut, locations[cut:]))
    ]
    joined = parts[0].joined(parts[1], BATCH)
    check(joined, index, locations, size)
    order_is_right(joined)
    taken = min(taken, len(joined))
    head, tail = joined[:taken], joined[taken:]
    assert len(head) + len(tail) == len(joined)
    check(head.joined(tail, BATCH), index, locations, size)


def test_requests_of_several_images_share_one_window() -> None:
    images = [image(30, 20, (7, 9), 1, 1, 0.0, seed) for seed in (1, 2)]
    images.append(image(50, 40, (16, 16), 1, 1, 0.0, 3))
    views = [View(index, 0) for index in images]
    random = np.random.default_rng(0)
    view_of = random.integers(0, 3, 20)
    locations = np.column_stack([np.zeros(20, np.int64), random.integers(-9, 40, (20, 2))])
    size = (1, 12, 13)
    window = plan_regions(views, view_of, locations, size, 0, BATCH)
    order_is_right(window)
    painted = paint(window, 20, size, 1)
    for number, index in enumerate(images):
        chosen = view_of == number
        alone = plan_regions(
            [views[number]], np.zeros(chosen.sum(), np.int64), locations[chosen], size
        )
        check(alone, index, locations[chosen], size)
        np.testing.assert_array_equal(painted[chosen], paint(alone, chosen.sum(), size, 1))


@given(cases())
@settings(max_examples=150, deadline=None)
def test_one_region_is_planned_as_many_are(
    case: tuple[ImageIndex, np.ndarray, tuple[int, int, int]],
) -> None:
    index, locations, size = case
    view = View(index, 0, 0, tuple(range(index.levels[0].tiles.grid[1])))
    location = locations[:1]
    many = plan_regions([view], np.zeros(1, np.int64), location, size, 5)
    one = plan_region(view, tuple(location[0].tolist()), size, 5)
    np.testing.assert_array_equal(one.tiles, many.tiles)
    np.testing.assert_array_equal(one.pieces, many.pieces)
    np.testing.assert_array_equal(one.first_piece, many.first_piece)
