"""The kernel that composes batches on the GPU, compiled for the CPU and compared with NumPy."""

from __future__ import annotations

import ctypes
import itertools
from typing import Any

import numpy as np
import pytest

from regionio._window import PIECE
from regionio.compose.canvas import ChannelMap
from regionio.compose.gather import (
    GATHER_PIECE,
    BatchLayout,
    GatherKind,
    channel_table,
    piece_table,
)
from tests.kernels import COMPILER, compiled_gather

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")

ROWS, COLUMNS, DEPTH, HEIGHT, WIDTH = 24, 40, 2, 30, 33
BATCH, TILES = 3, 5


def random_values(dtype: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    kind = np.dtype(dtype)
    if kind.kind in "fc":
        return random.normal(size=shape).astype(kind)
    return np.frombuffer(random.bytes(int(np.prod(shape)) * kind.itemsize), kind).reshape(shape)


def random_pieces(random: np.random.Generator, planes: int) -> np.ndarray:
    """Return pieces that lie apart in their regions, two batches and all planes among them."""
    pieces = []
    for region, plane, z, part in itertools.product(
        range(2 * BATCH), range(planes), range(DEPTH), (0, 1)
    ):
        height, width = (int(n) for n in random.integers(1, [ROWS + 1, WIDTH // 2 + 1]))
        y = int(random.integers(0, HEIGHT - height + 1))
        x = part * (WIDTH // 2) + int(random.integers(0, WIDTH // 2 - width + 1))
        tile_y = int(random.integers(0, ROWS - height + 1))
        tile_x = int(random.integers(0, COLUMNS - width + 1))
        pieces.append((region, plane, z, y, x, tile_y, tile_x, height, width))
    return np.array(pieces, dtype=PIECE)


def kept(values: np.ndarray, bits: int) -> np.ndarray:
    """Return values of which only the lowest bits count."""
    shift = values.itemsize * 8 - bits
    return values if bits == 0 else (values << shift) >> shift


STORED = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
KINDS = [
    *[GatherKind(stored, stored, swapped=swapped) for stored in STORED for swapped in (False, True)],
    *[GatherKind(stored, stored, used_bits=bits, swapped=swapped)
      for stored, bits in (("uint8", 5), ("int8", 7), ("uint16", 10), ("int16", 12), ("int32", 20))
      for swapped in (False, True)],
    *[GatherKind(stored, "float32", scaled=True, swapped=stored == "uint16", used_bits=bits)
      for stored, bits in (("uint8", 0), ("int16", 0), ("uint16", 12), ("float32", 0))],
    GatherKind("uint8", "float16", scaled=True),
    GatherKind("int32", "float64", scaled=True, working="float64"),
    GatherKind("uint8", "float32"),
    GatherKind("complex64", "complex64"),
    GatherKind("complex128", "complex128", working="float64"),
    GatherKind("uint16", "int32"),
    GatherKind("int16", "float32", table="float32", table_values=1),
    GatherKind("uint16", "uint8", table="uint8", table_values=1, used_bits=12),
    GatherKind("uint16", "float16", table="float32", table_values=1, scaled=True),
    GatherKind("uint8", "uint8", table="uint8", table_values=3),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_kernel_does_what_numpy_does(kind: GatherKind) -> None:
    run = compiled_gather(kind.source_text())
    for layout, planar, planes in itertools.product(("YXC", "CYX"), (False, True), (1, 2)):
        check(run, kind, layout, planar=planar, planes=planes)


def check(run: Any, kind: GatherKind, layout: str, *, planar: bool, planes: int) -> None:
    random = np.random.default_rng(3)
    samples = 1 if kind.table_values else 3
    channels = 3 if kind.table_values == 3 else samples
    shape = (TILES, samples, ROWS, COLUMNS) if planar else (TILES, ROWS, COLUMNS, samples)
    tiles = random_values(kind.stored, shape, random)
    pixels = np.moveaxis(tiles, 1, 3) if planar else tiles
    stored = tiles.byteswap() if kind.swapped else tiles
    maps = [ChannelMap(slice(0, None), slice(0, None))]
    count = channels
    if (
        planes == 2
    ):  # the second plane gives one channel more, the first its own the other way round
        maps = [
            ChannelMap(list(range(channels)), list(range(channels))[::-1]),
            ChannelMap([0], [channels]),
        ]
        count += 1
    pieces = random_pieces(random, planes)
    regions = np.zeros((2 * BATCH, DEPTH, count, HEIGHT, WIDTH), kind.target)
    if layout == "YXC":
        regions = np.moveaxis(np.zeros((2 * BATCH, DEPTH, HEIGHT, WIDTH, count), kind.target), 4, 2)
    expected = regions.copy()
    which = random.integers(0, TILES, len(pieces))
    tables = (
        random_values(
            kind.table,
            (2, 256 ** np.dtype(kind.stored).itemsize, max(1, kind.table_values)),
            random,
        )
        if kind.table_values
        else None
    )
    scale, offset = (random.normal(size=count).astype(kind.working) for _ in range(2))
    strides = regions.strides
    address = np.array([regions.ctypes.data + BATCH * n * strides[0] for n in range(2)])
    batches = BatchLayout(
        address, 7, BATCH, (strides[0], strides[1], strides[3], strides[4], strides[2])
    )
    pieces["region"] += 7 * BATCH
    table, of_plane = channel_table(maps, count, strides[2])
    source = np.zeros(len(pieces), dtype=GATHER_PIECE)
    source["source"] = stored.ctypes.data + which * stored.strides[0]
    at = {"row": 2, "pixel": 3, "channel": 1} if planar else {"row": 1, "pixel": 2, "channel": 3}
    for name, axis in at.items():
        source[f"{name}_stride"] = stored.strides[axis]
    if tables is not None:
        source["table"] = tables.ctypes.data + (which % 2) * tables.strides[0]
    rows = piece_table(pieces, source, batches, of_plane)
    pointer = ctypes.c_void_p
    run(
        pointer(rows.ctypes.data), len(rows), pointer(table.ctypes.data),
        ctypes.c_longlong(strides[3]), ctypes.c_longlong(strides[4]),
        pointer(scale.ctypes.data), pointer(offset.ctypes.data),
    )  # fmt: skip
    for piece, number in zip(pieces, which, strict=True):
        paste(expected, piece, pixels[number], maps, kind, tables, number % 2, scale, offset)
    np.testing.assert_array_equal(regions, expected)


@pytest.mark.parametrize("samples", [1, 3])
def test_rows_that_are_moved_begin_and_end_anywhere(samples: int) -> None:
    kind = GatherKind("uint8", "uint8")
    run = compiled_gather(kind.source_text())
    random = np.random.default_rng(5)
    pieces = np.zeros(16 * 16, dtype=PIECE)
    pieces["tile_x"], pieces["x"] = np.divmod(np.arange(256), 16)
    pieces["width"], pieces["height"] = random.integers(1, 70, 256), random.integers(1, 5, 256)
    pieces["region"] = np.arange(256)
    tile = random_values("uint8", (5, 90, samples), random)
    regions = np.zeros((256, 4, 90, samples), np.uint8)
    expected = regions.copy()
    strides = regions.strides
    layout = BatchLayout(
        np.array([regions.ctypes.data]), 0, 256, (strides[0], 0, strides[1], strides[2], 1)
    )
    table, of_plane = channel_table([ChannelMap(slice(0, None), slice(0, None))], samples, 1)
    source = np.zeros(256, dtype=GATHER_PIECE)
    source["source"] = tile.ctypes.data
    for name, axis in (("row", 0), ("pixel", 1), ("channel", 2)):
        source[f"{name}_stride"] = tile.strides[axis]
    rows = piece_table(pieces, source, layout, of_plane)
    pointer = ctypes.c_void_p
    run(
        pointer(rows.ctypes.data), len(rows), pointer(table.ctypes.data),
        ctypes.c_longlong(strides[1]), ctypes.c_longlong(strides[2]), None, None,
    )  # fmt: skip
    for piece, place in zip(pieces, expected, strict=True):
        _, _, _, y, x, tile_y, tile_x, height, width = piece.tolist()
        part = tile[tile_y : tile_y + height, tile_x : tile_x + width]
        place[y : y + height, x : x + width] = part
    np.testing.assert_array_equal(regions, expected)


def paste(
    expected: np.ndarray, piece: Any, pixels: np.ndarray, maps: list[ChannelMap], kind: GatherKind,
    tables: np.ndarray | None, table: int, scale: np.ndarray, offset: np.ndarray,
) -> None:  # fmt: skip
    region, plane, z, y, x, tile_y, tile_x, height, width = piece.tolist()
    values = kept(pixels[tile_y : tile_y + height, tile_x : tile_x + width], kind.used_bits)
    if tables is not None:
        places = np.ascontiguousarray(values[..., 0]).view(f"u{values.itemsize}")
        values = tables[table][places]
    chosen = maps[plane]
    samples = range(values.shape[2]) if isinstance(chosen.samples, slice) else chosen.samples
    channels = range(values.shape[2]) if isinstance(chosen.channels, slice) else chosen.channels
    for sample, channel in zip(samples, channels, strict=True):
        part = values[..., sample]
        if kind.scaled:
            part = part.astype(kind.working) * scale[channel] + offset[channel]
        place = expected[region - 7 * BATCH, z, channel, y : y + height, x : x + width]
        with np.errstate(all="ignore"):
            place[...] = part.astype(kind.target)
