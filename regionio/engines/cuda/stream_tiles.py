"""Compressed tiles of a chunk in pinned memory, as whole streams, and the slots they go to."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from regionio.codecs.cuda import Colors, GpuStreams
from regionio.engines.cuda.chunk import TileChunk
from regionio.engines.cuda.fetch import places_for
from regionio.engines.cuda.slots import Slots

__all__ = ["SortedStreams", "StreamTiles"]


@dataclass(frozen=True)
class SortedStreams:
    """What a decoder is to make of tiles.

    Parameters
    ----------
    by_colors
        Numbers of the tiles whose components become the same.
    ranges
        ``int64[n, 2]``, where the stream of each tile begins and ends in the buffer.
    unsuited
        Numbers of those that it may not be given.
    """

    ranges: NDArray[np.int64]
    by_colors: dict[Colors, list[int]] = field(default_factory=dict)
    unsuited: list[int] = field(default_factory=list)


class StreamTiles:
    """Tiles of a chunk as streams, and their slots in a slab.

    Parameters
    ----------
    chunk
        Whose tiles they are.
    members
        Their numbers in its group, sorted by offset.
    streams
        Tells which tiles may be decoded, and how.

    Attributes
    ----------
    slots
        Where pixels go.
    placed
        ``int64[n, 3]``, as `read_to_places` takes it.
    total
        Bytes of memory for the streams.
    """

    def __init__(self, chunk: TileChunk, members: list[int], streams: GpuStreams) -> None:
        self.slots = Slots(chunk, members)
        self._streams = streams
        ranges = chunk.ranges[members]
        place, self.total = places_for(ranges[:, 1], len(streams.prefix))
        self.placed = np.column_stack([ranges, place])

    def sort(self, buffer: NDArray[np.uint8]) -> SortedStreams:
        """Make whole streams of tiles that have been read.

        Parameters
        ----------
        buffer
            The pinned memory that they are in; what goes before a tile is written over its start.
        """
        prefix, skipped = self._streams.prefix, self._streams.skipped
        memory = buffer.data
        _, nbytes, place = self.placed.T
        stands = np.column_stack([place, place + nbytes])
        content = place + skipped
        found = SortedStreams(np.column_stack([content - len(prefix), place + nbytes]))
        left: list[int] = np.arange(len(stands)).tolist()
        alike = self._streams.alike(buffer, stands)
        if alike is not None:
            colors, same = alike
            self._sort_in(found, colors, np.flatnonzero(same).tolist())
            left = np.flatnonzero(~same).tolist()
        for number in left:
            colors = self._streams.colors(memory[slice(*stands[number].tolist())])
            self._sort_in(found, colors, [number])
        if len(prefix) > skipped:  # else it is what stands there
            for numbers in found.by_colors.values():
                for start in content[numbers].tolist():
                    memory[start - len(prefix) : start] = prefix
        return found

    def _sort_in(self, found: SortedStreams, colors: Colors | None, numbers: list[int]) -> None:
        if colors is None:
            found.unsuited.extend(numbers)
        elif numbers:
            found.by_colors.setdefault(colors, []).extend(numbers)
