"""Which part of JPEG tiles CPU threads decode beside the hardware engine."""

from __future__ import annotations

__all__ = ["Sharing"]

PIXELS = 256 * 256
"""To which the figures below refer; 4:2:0 of quality 80."""

THREAD_SECONDS = 300e-6
"""A tile takes a CPU thread, to begin with; measured then."""

ENGINE_LATENCY, ENGINE_SECONDS = 13e-3, 17e-6
"""What a call of the hardware engine takes, and each of its tiles besides; the sum is measured."""

LEAST_TILES = 64
"""Fewer are not worth a call of the engine."""

MEMORY = 0.8
"""How much of what was measured before counts."""


class Sharing:
    """Divides tiles so that neither waits for the other, by what both have taken so far.

    Their pixels differ by no more than 1, and hardly ever.

    Attributes
    ----------
    has_engine
        Whether the GPU has a hardware engine; unknown is True.
    """

    def __init__(self) -> None:
        self.has_engine = True
        self._thread_seconds: dict[int, float] = {}
        self._slower = 1.0

    def cpu_count(self, tiles: int, threads: int, pixels: int) -> int:
        """Return how many tiles threads decode.

        Parameters
        ----------
        tiles
            How many there are.
        threads
            Of the CPU.
        pixels
            Of a tile.

        Examples
        --------
        >>> sharing = Sharing()
        >>> [sharing.cpu_count(1000, threads, 256 * 256) for threads in (0, 4, 16)]
        [0, 327, 840]
        >>> sharing.cpu_count(100, 16, 256 * 256)
        100
        """
        if threads == 0 and self.has_engine:
            return 0
        if not self.has_engine or tiles <= LEAST_TILES:
            return tiles
        start = THREAD_SECONDS * pixels / PIXELS
        by_threads = self._thread_seconds.get(pixels, start) / threads
        by_engine = ENGINE_SECONDS * pixels / PIXELS * self._slower
        count = (tiles * by_threads - ENGINE_LATENCY * self._slower) / (by_engine + by_threads)
        return tiles if count < LEAST_TILES else tiles - int(count)

    def note_threads(self, tiles: int, pixels: int, seconds: float) -> None:
        """Take in how long threads have worked for tiles, all of them together."""
        if tiles:
            before = self._thread_seconds.get(pixels, seconds / tiles)
            self._thread_seconds[pixels] = MEMORY * before + (1 - MEMORY) * seconds / tiles

    def note_engine(self, tiles: int, pixels: int, seconds: float) -> None:
        """Take in how long the engine took."""
        expected = ENGINE_LATENCY + ENGINE_SECONDS * tiles * pixels / PIXELS
        self._slower = MEMORY * self._slower + (1 - MEMORY) * seconds / expected
