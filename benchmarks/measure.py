"""Same work on every peer, in turn, in one run: medians, and the ratio of each round."""

from __future__ import annotations

import importlib
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import regionio


@dataclass
class Row:
    """One line of the results.

    Parameters
    ----------
    work
        What was done.
    slide
        On which slide.
    workers
        Threads of every contestant.
    units
        How many of `unit` one round reads.
    unit
        ``patches``, ``MB`` or ``reads``.
    seconds
        Contestant → seconds of each round.
    floor_seconds
        Seconds of each round that decoding alone takes, or nothing.
    tiles_decoded, bytes_read, cache
        Of regionio: tiles decoded and bytes read in one round, and bytes of its cache.
    """

    work: str
    slide: str
    workers: int
    units: float
    unit: str
    cache: int = 0
    tiles_decoded: int = 0
    bytes_read: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    floor_seconds: list[float] = field(default_factory=list)

    def rate(self, name: str) -> float:
        """Return units a second, by the median round."""
        return self.units / statistics.median(self.seconds[name])

    def ratio(self, peer: str) -> float:
        """Return how many times as fast as a peer regionio is: the median over rounds."""
        ours, theirs = self.seconds["regionio"], self.seconds[peer]
        return statistics.median(b / a for a, b in zip(ours, theirs, strict=True))

    def floor_share(self) -> float | None:
        """Return the share of the time that decoding alone would take."""
        if not self.floor_seconds:
            return None
        ours = self.seconds["regionio"]
        return statistics.median(f / a for a, f in zip(ours, self.floor_seconds, strict=True))

    def peers(self) -> list[str]:
        return [name for name in self.seconds if name != "regionio"]

    def as_dict(self) -> dict[str, object]:
        """Return plain values, with rates and ratios beside the raw seconds."""
        plain = asdict(self)
        plain["rates"] = {name: self.rate(name) for name in self.seconds}
        plain["ratios"] = {name: self.ratio(name) for name in self.peers()}
        plain["floor_share"] = self.floor_share()
        return plain


def compare(
    row: Row,
    contestants: dict[str, Callable[[], None]],
    rounds: int,
    floor: Callable[[], None] | None = None,
    prepare: Callable[[], None] = lambda: None,
) -> Row:
    """Time every contestant once a round, after a round that is not counted.

    Parameters
    ----------
    row
        Is completed.
    contestants
        Name → what it does in one round. They raise `UnableError` where they can't.
    rounds
        Number of rounds.
    floor
        Decoding alone.
    prepare
        Runs before everything that is timed.
    """
    able = dict(contestants)
    for name, run in contestants.items():
        try:
            timed(run, row.cache)
        except UnableError as reason:
            print(f"  {name} left out: {reason}")
            del able[name]
    row.seconds = {name: [] for name in able}
    for _ in range(rounds):
        if floor is not None:
            prepare()
            row.floor_seconds.append(timed(floor, row.cache))
        for name, run in able.items():
            prepare()
            row.seconds[name].append(timed(run, row.cache))
    report(row)
    return row


class UnableError(Exception):
    """A peer can't do this work; the message says why."""


def library(name: str) -> Any:
    """Import a peer, by its name: not all are typed, or installed where types are checked."""
    return importlib.import_module(name)


def timed(run: Callable[[], None], cache: int) -> float:
    """Return the seconds of one round, begun with empty caches."""
    regionio.cache.capacity = cache
    regionio.cache.clear()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def rate_text(rate: float) -> str:
    """Return a rate as text: of slow ones, what is behind the point matters."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def report(row: Row) -> None:
    parts = [f"{row.work:34s} {row.slide:22s} {row.workers} workers"]
    parts += [f"{name} {rate_text(row.rate(name))} {row.unit}/s" for name in row.seconds]
    parts += [f"{row.ratio(name):.2f}× {name}" for name in row.peers()]
    share = row.floor_share()
    if share is not None:
        parts.append(f"floor share {share:.2f}")
    print(" | ".join(parts), flush=True)


def machine() -> dict[str, object]:
    """Return what this machine is."""
    model = platform.processor()
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    except OSError:
        pass
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    return {"processor": model, "cores": cores, "python": platform.python_version()}
