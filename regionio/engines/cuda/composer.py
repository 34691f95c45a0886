"""Writes the tiles of a chunk into regions: one launch of one kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._irregular import runs
from regionio.compose.canvas import ChannelMap
from regionio.compose.gather import BatchLayout, GatherKind, channel_table, piece_table
from regionio.engines.cuda.chunk import TileChunk
from regionio.engines.cuda.streams import Context
from regionio.values import Conversion

__all__ = ["Composer"]

THREADS = 128
BLOCKS_DOWN = 8
"""Blocks that share the rows of a piece."""


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

    def __call__(self, context: Context, chunk: TileChunk) -> None:
        """Launch the kernel for a chunk's pieces, on the compose stream."""
        pieces, tiles = self._pieces(chunk)
        if len(pieces) == 0:
            return
        table, of_plane = channel_table(self.planes, self.channels, self.layout.strides[4])
        rows = piece_table(pieces, tiles, self.layout, of_plane)
        scale, offset = (
            self._per_channel(values, neutral)
            for values, neutral in ((self.conversion.scale, 1), (self.conversion.offset, 0))
        )
        stream = context.compose_stream
        cupy = context.cupy
        with stream:
            arguments = [cupy.asarray(part.view(np.uint8)) for part in (rows, table, scale, offset)]
            kernel = self._kernel(context, chunk.kind)
            grid = len(rows), min(BLOCKS_DOWN, int(pieces["height"].max()))
            strides = [np.int64(stride) for stride in self.layout.strides[2:4]]
            kernel(grid, (THREADS,), (*arguments[:2], *strides, *arguments[2:]))

    def _pieces(self, chunk: TileChunk) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the pieces of the tiles that are there, and of each its tile."""
        group = chunk.group
        owner, _ = runs(np.diff(group.window.first_piece))
        pieces = group.window.pieces
        if chunk.failed:
            there = ~np.isin(owner, list(chunk.failed))
            owner, pieces = owner[there], pieces[there]
        return pieces, chunk.rows()[owner]

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
