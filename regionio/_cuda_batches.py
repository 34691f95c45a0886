"""The memory of batches that are rendered together on a GPU."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._reader import Reader
from regionio.compose.gather import BatchLayout
from regionio.engines.cuda.averager import averaged
from regionio.engines.cuda.composer import Composer
from regionio.engines.cuda.memory import BatchMemory, GivenMemory
from regionio.engines.cuda.streams import Context

__all__ = ["CudaBatches"]


class CudaBatches:
    """Batches of regions, and what they are made of where regions are resampled.

    Parameters
    ----------
    reader
        What regions have in common.
    first_batch, batch_size
        Number of the first batch, regions a batch.
    counts
        Regions of each batch.
    incomplete
        ``bool[n]``, which regions have pixels that no piece covers.
    begin
        ``float64[n, 2]``, where in its first pixel (x, y) each region begins.
    given
        The memory of the only region and the event after which it may be written, or None.
    """

    def __init__(
        self,
        reader: Reader,
        first_batch: int,
        batch_size: int,
        counts: list[int],
        incomplete: NDArray[np.bool_],
        begin: NDArray[np.float64] | None,
        given: tuple[Any, Any] | None,
    ) -> None:
        self._reader = reader
        self.first_batch, self.batch_size, self.counts = first_batch, batch_size, counts
        self._incomplete, self._begin = incomplete, begin
        self._given = given
        self._arrays: list[Any] = []
        self._sources: list[Any] = []
        self._memories: list[BatchMemory | GivenMemory] = []

    @property
    def nbytes(self) -> int:
        """Bytes that all of them take, what they are made of included."""
        reader = self._reader
        result = math.prod(reader.layout.shape) * reader.conversion.dtype.itemsize
        source = 0 if reader.resampling is None else reader.region_bytes
        return (result + source) * sum(self.counts)

    def allocate(self, context: Context) -> Composer:
        """Take memory, fill the regions that will not be covered; return what writes to them."""
        reader, stream = self._reader, context.compose_stream
        dtype, layout = reader.conversion.dtype, reader.source_layout
        for count in self.counts:
            memory: BatchMemory | GivenMemory
            if self._given is None:
                nbytes = math.prod(reader.layout.shape) * count * dtype.itemsize
                make = partial(BatchMemory, context.cupy, nbytes, stream, context.retired)
                memory = context.allocated(make)
                array = memory.array((count, *reader.layout.shape), dtype)
            else:
                array, event = self._given
                memory = GivenMemory(array)
                stream.wait_event(event)
            self._memories.append(memory)
            self._arrays.append(array)
            source = array
            if reader.resampling is not None:
                with stream:
                    shape = count, *layout.shape
                    source = context.allocated(partial(context.cupy.empty, shape, dtype))
            self._sources.append(source)
        self._fill(context)
        address = np.array([source.data.ptr for source in self._sources], dtype=np.int64)
        region, z, y, x, channel = layout.ordered(self._sources[0]).strides
        strides = region, z, y, x, channel
        batches = BatchLayout(address, self.first_batch, self.batch_size, strides)
        return Composer(batches, reader.planes, layout.channels, reader.conversion)

    def _fill(self, context: Context) -> None:
        for place, source in enumerate(self._sources):
            part = self._incomplete[place * self.batch_size :][: self.counts[place]]
            if part.any():
                with context.compose_stream:
                    ordered = self._reader.source_layout.ordered(source)
                    fill = context.cupy.asarray(self._reader.fill)
                    ordered[context.cupy.asarray(np.flatnonzero(part))] = fill

    def complete(self, context: Context) -> None:
        """Make regions of what was read for them, where they are resampled."""
        reader = self._reader
        if reader.resampling is None or self._begin is None:
            return
        for place, (source, array) in enumerate(zip(self._sources, self._arrays, strict=True)):
            begin = self._begin[place * self.batch_size :][: self.counts[place]]
            edges = reader.resampling.edges(begin)
            ordered = reader.source_layout.ordered(source), reader.layout.ordered(array)
            averaged(context, *ordered, edges)
        self._sources.clear()

    def drop(self) -> None:
        """Let go of all memory."""
        self._arrays, self._sources, self._memories = [], [], []

    def take(self, number: int) -> tuple[Any, BatchMemory | GivenMemory] | None:
        """Return a batch and its memory, which are the caller's then; None: there is none."""
        if not self._arrays:
            return None
        place = number - self.first_batch
        array, memory = self._arrays[place], self._memories[place]
        self._arrays[place] = None
        self._memories[place] = None  # type: ignore[call-overload]  # it is the caller's now
        if self._sources:
            self._sources[place] = None
        return array, memory
