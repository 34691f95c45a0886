"""Pieces of tiles into regions by one kernel: what it is compiled for, and what it is given.

The kernel stands in ``gather.cu``. Everything that it is given is computed here, with NumPy and
plain integers, so that it can be checked without a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio.compose.canvas import ChannelMap

__all__ = [
    "CHANNEL",
    "C_TYPES",
    "GATHER_PIECE",
    "BatchLayout",
    "GatherKind",
    "channel_table",
    "piece_table",
]

GATHER_PIECE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "source",
            "row_stride",
            "pixel_stride",
            "channel_stride",
            "target",
            "height",
            "width",
            "first_channel",
            "channel_count",
            "table",
        )
    ]
)
"""``struct Piece`` of the kernel."""

CHANNEL = np.dtype([(name, np.int64) for name in ("sample", "offset", "number")])
"""``struct Channel`` of the kernel."""

C_TYPES = {
    "bool": "unsigned char",
    "uint8": "unsigned char",
    "int8": "signed char",
    "uint16": "unsigned short",
    "int16": "short",
    "uint32": "unsigned int",
    "int32": "int",
    "uint64": "unsigned long long",
    "int64": "long long",
    "float16": "__half",
    "float32": "float",
    "float64": "double",
    "complex64": "Complex64",
    "complex128": "Complex128",
}
UNSIGNED = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}


@dataclass(frozen=True, slots=True)
class GatherKind:
    """What a kernel is compiled for.

    Parameters
    ----------
    stored
        Dtype of samples.
    target
        Dtype of the region's values.
    swapped
        Samples are in the other byte order.
    used_bits
        Bits that count in a sample, 0: all of them.
    scaled, working
        Values become ``value * scale + offset``, computed in this dtype.
    table, table_values
        Dtype of tables that give what comes out, and how many values they give for a stored one;
        0: there are none.
    """

    stored: str
    target: str
    swapped: bool = False
    used_bits: int = 0
    scaled: bool = False
    working: str = "float32"
    table: str = "uint8"
    table_values: int = 0

    @property
    def _is_moved(self) -> bool:
        """Whether a value's bytes stay as they are."""
        itemsize = np.dtype(self.stored).itemsize
        is_masked = 0 < self.used_bits < 8 * itemsize
        is_swapped = self.swapped and itemsize > 1
        changes = is_swapped or is_masked or self.scaled or self.table_values
        return self.stored == self.target and not changes

    def source_text(self, half: str = "__half") -> str:
        """Return the kernel's source, with the definitions that it needs before it.

        Parameters
        ----------
        half
            Name of the type of 16-bit floats.
        """
        stored = np.dtype(self.stored)
        is_double = self.working == "float64"
        definitions = {
            "SOURCE": C_TYPES[self.stored],
            "BITS": UNSIGNED.get(stored.itemsize, "unsigned char"),
            "TARGET": C_TYPES[self.target],
            "WORKING": C_TYPES[self.working],
            "TABLE": C_TYPES[self.table],
            "SWAPPED": int(self.swapped and stored.itemsize > 1),
            "USED": self.used_bits if self.used_bits < 8 * stored.itemsize else 0,
            "SIGNED": int(stored.kind == "i"),
            "SCALED": int(self.scaled),
            "OPAQUE": int(stored.kind == "c"),
            "TABLED": self.table_values,
            "MOVED": int(self._is_moved),
            "MULTIPLY": "__dmul_rn" if is_double else "__fmul_rn",
            "ADD": "__dadd_rn" if is_double else "__fadd_rn",
        }
        lines = [f"#define {name} {value}" for name, value in definitions.items()]
        body = files("regionio.compose").joinpath("gather.cu").read_text(encoding="utf-8")
        return "\n".join([*lines, body]).replace("__half", half)


@dataclass(frozen=True, eq=False)
class BatchLayout:
    """How the regions of batches lie in memory.

    Parameters
    ----------
    address
        ``int64[batches]``, where each batch begins.
    first_batch
        Number of the first of them.
    batch_size
        Regions a batch.
    strides
        Bytes along (region, z, y, x, channel).
    """

    address: NDArray[np.int64]
    first_batch: int
    batch_size: int
    strides: tuple[int, int, int, int, int]


def piece_table(
    pieces: NDArray[Any],
    tile: NDArray[Any],
    layout: BatchLayout,
    channels: NDArray[np.int64],
) -> NDArray[Any]:
    """Return what the kernel copies.

    Parameters
    ----------
    pieces
        ``PIECE[n]``.
    tile
        ``GATHER_PIECE[n]``, of each piece's tile: its address, strides and table; ``height`` holds
        the row of the tile at which what lies at the address begins.
    layout
        Of the regions.
    channels
        ``int64[planes, 2]``, of each plane the first of its channels, and how many it has.

    Returns
    -------
    ndarray
        ``GATHER_PIECE[n]``.
    """
    table = tile.copy()
    row, column = pieces["tile_y"] - tile["height"], pieces["tile_x"]
    table["source"] += row * tile["row_stride"] + column * tile["pixel_stride"]
    batch, slot = np.divmod(pieces["region"], layout.batch_size)
    place = layout.address[batch - layout.first_batch] + slot * layout.strides[0]
    for axis, stride in zip("zyx", layout.strides[1:4], strict=True):
        place += pieces[axis] * stride
    table["target"] = place
    table["height"], table["width"] = pieces["height"], pieces["width"]
    table["first_channel"], table["channel_count"] = channels[pieces["plane"]].T
    return table


def channel_table(
    planes: list[ChannelMap], count: int, channel_stride: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the channels of all planes, and which of them each plane has.

    Parameters
    ----------
    planes
        The channel map of each plane.
    count
        Channels of a region.
    channel_stride
        Bytes from one channel to the next.

    Returns
    -------
    channels
        ``CHANNEL[n]``.
    of_plane
        ``int64[planes, 2]``, of each plane the first of its channels, and how many it has.
    """
    rows: list[tuple[int, int, int]] = []
    of_plane = []
    for plane in planes:
        pairs = list(
            zip(_numbers(plane.samples, count), _numbers(plane.channels, count), strict=True)
        )
        of_plane.append((len(rows), len(pairs)))
        rows += [(sample, channel * channel_stride, channel) for sample, channel in pairs]
    return np.array(rows, dtype=CHANNEL), np.array(of_plane, dtype=np.int64)


def _numbers(chosen: slice | list[int], count: int) -> list[int]:
    """Return the numbers that a slice or a list chooses; a slice without end has `count`."""
    if isinstance(chosen, slice):
        return list(range(chosen.start, count if chosen.stop is None else chosen.stop))
    return chosen
