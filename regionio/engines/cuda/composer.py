"""Writes tiles into regions: one launch of one kernel for all that lie together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._window import Window, runs
from regionio.compose.canvas import ChannelMap
from regionio.compose.gather import BatchLayout, GatherKind, channel_table, piece_table
from regionio.engines.cuda.fetch import places_for
from regionio.engines.cuda.streams import Context
from regionio.values import Conversion

__all__ = ["Composer", "uploaded"]

THREADS = 32, 4
"""Of a block, along a row and down."""

ROWS, BLOCKS = 32, 4096
"""A block has so many rows of a piece, fewer where there would be less than so many blocks."""

MOST_BLOCKS_DOWN = 65_535
"""Which CUDA can launch."""


@dataclass(frozen=True, eq=False)
class Composer:
    """Where the regions of a job lie, and what becomes of values on their way there.

    Parameters
    ----------
    layout
        Of the batches.
    planes
        The channel map of each plane of the view.
    channels
        Channels of a region.
    conversion
        From the image's values to the region's.
    """

    layout: BatchLayout
    planes: list[ChannelMap]
    channels: int
    conversion: Conversion

    def prepared(
        self, context: Context, kind: GatherKind, window: Window, tiles: NDArray[Any]
    ) -> Callable[[], None]:
        """Copy to the GPU what the kernel needs; return what launches it, on the compose stream.

        Parameters
        ----------
        context
            Of the GPU.
        kind
            How samples lie there.
        window
            Tiles, with their pieces.
        tiles
            ``GATHER_PIECE[n]``, of each tile, as `piece_table` wants it.
        """
        pieces = window.pieces
        if len(pieces) == 0:
            return lambda: None
        owner, _ = runs(np.diff(window.first_piece))
        table, of_plane = channel_table(self.planes, self.channels, self.layout.strides[4])
        rows = piece_table(pieces, tiles[owner], self.layout, of_plane)
        scale, offset = (
            self._per_channel(values, neutral)
            for values, neutral in ((self.conversion.scale, 1), (self.conversion.offset, 0))
        )
        with context.compose_stream:
            given = uploaded(context, rows, table, scale, offset)
        kernel = self._kernel(context, kind)
        grid = len(rows), _blocks_down(len(rows), int(pieces["height"].max()))
        strides = [np.int64(stride) for stride in self.layout.strides[2:4]]
        arguments = *given[:2], *strides, *given[2:]
        return partial(_launch, context, kernel, grid, arguments)

    def _per_channel(self, values: NDArray[Any] | None, neutral: float) -> NDArray[Any]:
        working = self.conversion.working
        if values is None:
            return np.full(self.channels, neutral, dtype=working)
        return np.ascontiguousarray(np.broadcast_to(values, self.channels), dtype=working)

    def _kernel(self, context: Context, stored: GatherKind) -> Any:
        scaled = self.conversion.scale is not None or self.conversion.offset is not None
        target, working = str(self.conversion.dtype), str(self.conversion.working)
        kind = replace(stored, target=target, scaled=scaled, working=working)
        if kind not in context.kernels:
            half = "float16" in {kind.target, kind.stored}
            text = ("#include <cuda_fp16.h>\n" if half else "") + kind.source_text()
            kernel = context.cupy.RawKernel(text, "gather", options=("--std=c++17",))
            context.kernels[kind] = kernel
        return context.kernels[kind]


def _launch(
    context: Context, kernel: Any, grid: tuple[int, int], arguments: tuple[Any, ...]
) -> None:
    with context.compose_stream:
        kernel(grid, THREADS, arguments)


def _blocks_down(pieces: int, rows: int) -> int:
    """Return how many blocks share the rows of a piece, of which the highest has so many."""
    wanted = max(-(-rows // ROWS), -(-BLOCKS // pieces))
    return min(wanted, -(-rows // THREADS[1]), MOST_BLOCKS_DOWN)


def uploaded(context: Context, *tables: NDArray[Any]) -> list[Any]:
    """Copy tables to the GPU in one go, on the current stream; return the part that each is in."""
    places, total = places_for(np.array([table.nbytes for table in tables], dtype=np.int64))
    size = 1 << max(0, total - 1).bit_length()  # CuPy keeps pinned memory of every size
    together = np.zeros(size, dtype=np.uint8)
    for table, place in zip(tables, places.tolist(), strict=True):
        together[place : place + table.nbytes] = table.reshape(-1).view(np.uint8)
    device = context.cupy.asarray(together)
    return [device[place:] for place in places.tolist()]
