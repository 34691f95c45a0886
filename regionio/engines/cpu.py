"""The CPU engine: ranged reads, decoders that free the GIL, NumPy pastes."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._cache import Claim, TileCache
from regionio._errors import CorruptFileError, RegionIOError
from regionio._opened import SourceStorages
from regionio._window import Window
from regionio.codecs import PieceDecoder, piece_decoder_for
from regionio.compose import Canvas
from regionio.engines.group import TileGroup, groups_of
from regionio.engines.stats import ReadStats
from regionio.engines.together import do_together, portions
from regionio.storage import NO_RANGES, FetchCount
from regionio.values import TileConversion

__all__ = ["CpuEngine", "Failure", "Source"]

LARGEST_SCRATCH_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, eq=False)
class Source:
    """What an engine reads a view from.

    Parameters
    ----------
    storages
        One for each of `ImageIndex.sources`.
    cache_key
        Identifies the view's tiles in the cache, or None: they are not cached.
    convert
        Applied to each decoded tile, or None: its values are wanted as they are.
    keep_eagerly
        Keep every tile that is not used up, instead of waiting for evidence of reuse.
    """

    storages: SourceStorages
    cache_key: Hashable = None
    convert: TileConversion | None = None
    keep_eagerly: bool = False


@dataclass(frozen=True)
class Failure:
    """A tile that could not be read.

    Parameters
    ----------
    regions
        Numbers of the regions that need it.
    error
        Names file, level and tile.
    """

    regions: list[int]
    error: RegionIOError


class CpuEngine:
    """Renders windows, in the calling thread and others if it may.

    Parameters
    ----------
    sources
        What each of the window's views is read from.
    cache
        The cache of decoded tiles.
    """

    def __init__(self, sources: Sequence[Source], cache: TileCache) -> None:
        self._sources = sources
        self._storages = [source.storages for source in sources]
        self._cache = cache

    def has_own_threads(self, window: Window) -> bool:
        """Return whether compiled code decodes a window's tiles, in threads of its own."""
        most = 1 + max(len(view.index.encodings) for view in window.views)
        kinds = np.unique(window.tiles["view"] * most + window.tiles["encoding"]).tolist()
        for number, encoding in (divmod(kind, most) for kind in kinds):
            view = window.views[number]
            known = view.index.encodings[encoding]
            if self._sources[number].convert is not None:
                return False
            if piece_decoder_for(known, view.table.tile_shape) is None:
                return False
        return len(window) > 0 and self._is_file(window)

    def _is_file(self, window: Window) -> bool:
        """Return whether compiled code reads what the first of a window's tiles is in."""
        number, source = (int(window.tiles[name][0]) for name in ("view", "source"))
        try:
            return self._storages[number][source].ranges(NO_RANGES) is not None
        except (RegionIOError, OSError):  # it is told when the tile is read
            return False

    def render(
        self, window: Window, canvas: Canvas, threads: int = 1
    ) -> tuple[list[Failure], ReadStats]:
        """Read, decode and paste every tile of a window.

        Parameters
        ----------
        window
            Usually a few tiles of a larger one.
        canvas
            Holds the batches of all the window's regions.
        threads
            Most threads that work at it, the caller's included.

        Returns
        -------
        failures
            Tiles that could not be read; the others were pasted all the same.
        stats
            What it cost.
        """
        run = _Run(canvas, threads)
        for group in groups_of(window, self._storages):
            source = self._sources[group.view_number]
            if source.cache_key is None or group.by_rows or self._cache.capacity == 0:
                run.decode(group, range(len(group)), source.convert)
            else:
                self._render_cached(group, source, run)
        return run.failures, run.stats

    def _render_cached(self, group: TileGroup, source: Source, run: _Run) -> None:
        """Take tiles from the cache, decode the others, and wait for those that others decode."""
        keys = [(source.cache_key, tile) for tile in group.tile]
        offer = _Offer(self._cache, keys, self._worth_keeping(group, source))
        try:
            mine = offer.claim()
            if mine:
                run.decode(group, mine, source.convert, offer)
        finally:
            offer.end()
        lucky: dict[int, NDArray[Any]] = {}
        unlucky = []
        for i in sorted(set(range(len(keys))).difference(mine)):
            item = offer.found[i]
            pixels = item.wait() if isinstance(item, Claim) else item
            if pixels is None:
                unlucky.append(i)
            else:
                lucky[i] = pixels
        if lucky:
            members = np.array(list(lucky), dtype=np.int64)
            run.canvas.paste_tiles(list(lucky.values()), *group.pieces_of(members))
            run.stats.cache_hits += len(lucky)
        if unlucky:  # whoever had them failed, or decoded only what he needed
            run.decode(group, unlucky, source.convert)

    def _worth_keeping(self, group: TileGroup, source: Source) -> list[bool]:
        """Note that tiles are used, and return which of them to keep."""
        tiles = group.window.tiles
        used_up = tiles["used"] >= tiles["rows"] * tiles["columns"]
        history = self._cache.history(group.view.table)
        keep = history.note(tiles["tile"], group.tile_bytes, used_up, self._cache.capacity)
        eager = source.keep_eagerly and group.box_decoder is None
        kept: list[bool] = (keep | ~used_up if eager else keep).tolist()
        return kept


class _Offer:
    """Claimed tiles on their way into the cache, or to others who wait for them.

    Parameters
    ----------
    cache
        The cache.
    keys, keep
        What identifies each tile of a group, and whether to keep it.
    """

    def __init__(self, cache: TileCache, keys: Sequence[Hashable], keep: list[bool]) -> None:
        self._cache = cache
        self._keys = keys
        self._keep = keep
        self.found: list[NDArray[Any] | Claim] = []

    def claim(self) -> list[int]:
        """Look all tiles up; return those that must be decoded here."""
        self.found, mine = self._cache.claim(self._keys, self)
        return mine

    def keeps(self, member: int) -> bool:
        """Return whether a tile's memory will belong to the cache."""
        return self._keep[member]

    def wants_whole(self, member: int) -> bool:
        """Return whether a tile must be decoded whole, for the cache or for others."""
        claim = self.found[member]
        return self._keep[member] or (isinstance(claim, Claim) and claim.awaited)

    def give(self, member: int, pixels: NDArray[Any]) -> None:
        """Hand over a whole tile, if anybody has a use for it."""
        if self.wants_whole(member):
            self._cache.fulfil(self._keys[member], pixels, keep=self._keep[member])

    def end(self) -> None:
        """Let those who wait for what was not handed over go on."""
        self._cache.release(self._keys, self)


class _Run:
    """One call of `render`: where pixels go, what failed, what it cost.

    Parameters
    ----------
    canvas, threads
        As of `CpuEngine.render`.
    """

    def __init__(self, canvas: Canvas, threads: int = 1) -> None:
        self.canvas = canvas
        self._threads = threads
        self.failures: list[Failure] = []
        self.stats = ReadStats()

    def decode(
        self,
        group: TileGroup,
        members: Sequence[int],
        convert: TileConversion | None,
        offer: _Offer | None = None,
    ) -> None:
        """Fetch, decode and paste some tiles of a group."""
        count = FetchCount()
        if convert is None and group.piece_decoder is not None:
            members = self._decode_pieces(group, group.piece_decoder, members, offer, count)
            self.stats.add_fetched(count)
        if self._threads == 1:
            self._decode_each(group, members, convert, offer)
            return

        def work(part: Sequence[int]) -> _Run:
            run = _Run(self.canvas)
            run._decode_each(group, part, convert, offer)
            return run

        for run in do_together(work, portions(members, self._threads), self._threads):
            self.failures += run.failures
            self.stats.add(run.stats)

    def _decode_each(
        self,
        group: TileGroup,
        members: Sequence[int],
        convert: TileConversion | None,
        offer: _Offer | None,
    ) -> None:
        """Fetch, decode and paste some tiles of a group, one after the other."""
        count = FetchCount()
        if convert is None and group.by_rows:
            members = [i for i in members if not self._read_in_place(group, i, count)]
        for i, data in group.fetch(members, count) if members else ():
            if isinstance(data, RegionIOError):
                self._fail(group, i, data)
            else:
                self._decode_tile(group, i, data, convert, offer)
        self.stats.add_fetched(count)

    def _decode_tile(
        self,
        group: TileGroup,
        member: int,
        data: memoryview,
        convert: TileConversion | None,
        offer: _Offer | None,
    ) -> None:
        """Decode one tile and paste its pieces."""
        keep = offer is not None and offer.keeps(member)
        covers = group.rows[member], group.columns[member]
        rows = covers[0] if keep else group.last_row[member]
        if not keep and self._decode_box(group, member, data, convert, offer):
            return
        place = None if convert is not None or keep else self._place(group, member)
        out = _scratch(group) if place is None else place
        if keep:
            out = np.empty_like(out)
        try:
            pixels = group.decoder(data, covers, rows, out)
            if convert is not None:
                pixels = convert(pixels, group.tile[member])
        except Exception as error:  # noqa: BLE001  whatever a codec makes of damaged bytes
            self._fail(group, member, error)
            return
        if place is None or not _same_memory(pixels, place):
            self.canvas.paste(pixels, group.pieces(member), group.first_row[member])
        if offer is not None and len(pixels) >= covers[0]:
            part_of_more = keep and pixels.size < out.size  # the budget counts what is kept
            offer.give(member, pixels.copy() if part_of_more else pixels)
        self.stats.tiles_decoded += 1

    def _decode_box(
        self,
        group: TileGroup,
        member: int,
        data: memoryview,
        convert: TileConversion | None,
        offer: _Offer | None,
    ) -> bool:
        """Decode no more of a tile than its pieces need, if that can be and nobody needs more."""
        if group.box_decoder is None or (offer is not None and offer.wants_whole(member)):
            return False
        box = group.box(member)
        pixels = None if box is None else group.box_decoder(data, box)
        if box is None or pixels is None:
            return False
        if convert is not None:
            pixels = convert(pixels, group.tile[member])
        self.canvas.paste(pixels, group.pieces(member), box[0], box[1])
        self.stats.tiles_decoded += 1
        return True

    def _read_in_place(self, group: TileGroup, member: int, count: FetchCount) -> bool:
        """Read uncompressed rows straight to where they belong, if they are wanted as they are."""
        place = self._place(group, member)
        if place is None:
            return False
        try:
            data = group.read_into(member, place, count)
            if data is None:
                return False
            covers = group.rows[member], group.columns[member]
            pixels = group.decoder(data, covers, covers[0], place)
        except RegionIOError as error:
            self._fail(group, member, error)
            return True
        if not _same_memory(pixels, place):
            self.canvas.paste(pixels, group.pieces(member), group.first_row[member])
        self.stats.tiles_decoded += 1
        return True

    def _place(self, group: TileGroup, member: int) -> NDArray[Any] | None:
        """Return the region's memory, if a tile can be decoded into it."""
        shape = group.tile_shape
        if group.by_rows:
            shape = group.rows[member], *shape[1:]
        return self.canvas.place_of(
            group.pieces(member), shape, group.dtype, group.first_row[member]
        )

    def _decode_pieces(
        self,
        group: TileGroup,
        decoder: PieceDecoder,
        members: Sequence[int],
        offer: _Offer | None,
        count: FetchCount,
    ) -> Sequence[int]:
        """Decode tiles straight into their regions, and into memory of their own if they are kept.

        Returns
        -------
        sequence of int
            The tiles that are left to `_decode_tile`.
        """
        inside = group.sorted_inside(members)
        first, pieces = group.pieces_of(inside)
        targets = self.canvas.targets(pieces) if len(inside) else None
        if targets is None:
            return members
        try:
            source = group.bytes_of(inside, count)
        except CorruptFileError:  # `fetch` will say which tiles are affected
            return members
        kept: dict[int, NDArray[Any]] = {}
        keep = None
        if offer is not None:
            keep = np.zeros((len(inside), 3), dtype=np.int64)
            for row, i in zip(keep, inside.tolist(), strict=True):
                if offer.wants_whole(i):
                    kept[i] = np.empty(group.tile_shape, dtype=group.dtype)
                    row[:] = kept[i].ctypes.data, group.rows[i], group.columns[i]
        arguments = source, first, targets.boxes, targets.layout, keep, self._threads
        done, requests, nbytes = decoder(*arguments)
        count.requests += requests
        count.bytes_read += nbytes
        finished = inside[np.frombuffer(bytes(done), dtype=np.bool_)].tolist()
        if offer is not None:
            for i in set(kept).intersection(finished):
                offer.give(i, kept[i])
        self.stats.tiles_decoded += len(finished)
        return sorted(set(members).difference(finished)) if len(finished) < len(members) else []

    def _fail(self, group: TileGroup, member: int, error: Exception) -> None:
        self.failures.append(Failure(group.regions(member), group.located(member, error)))


def _same_memory(pixels: NDArray[Any], place: NDArray[Any]) -> bool:
    """Return whether a decoder has put its pixels where they belong."""
    return (
        pixels.ctypes.data == place.ctypes.data
        and pixels.shape == place.shape
        and pixels.dtype == place.dtype
        and pixels.strides == place.strides
    )


_thread = threading.local()


def _scratch(group: TileGroup) -> NDArray[Any]:
    """Return memory for one decoded tile, which the thread uses again and again."""
    nbytes = group.tile_bytes
    if group.by_rows:  # pixels are used as they were read
        return np.empty((0, *group.tile_shape[1:]), dtype=group.dtype)
    if nbytes > LARGEST_SCRATCH_BYTES:
        return np.empty(group.tile_shape, dtype=group.dtype)
    memory: NDArray[np.uint8] | None = getattr(_thread, "scratch", None)
    if memory is None or len(memory) < nbytes:
        memory = _thread.scratch = np.empty(nbytes, dtype=np.uint8)
    return memory[:nbytes].view(group.dtype).reshape(group.tile_shape)
