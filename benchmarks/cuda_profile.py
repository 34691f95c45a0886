"""Where the time of batches goes that are read into the memory of a GPU.

Methods of the CUDA engine are replaced, for as long as it is measured, by ones that note how long
they take, each without what it calls of the others. What the GPU itself takes is noted by events
on the stream that a method works on.
"""

from __future__ import annotations

import functools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import regionio
from benchmarks.cuda_measure import Scale, cupy, reason_of, synchronize
from benchmarks.cuda_patches import TILE, tile_locations
from benchmarks.measure import library
from benchmarks.slides import Slide
from benchmarks.works import PATCH, grid_locations, random_locations, warm

BATCH = 256


@dataclass(frozen=True)
class Hook:
    """A function whose time is noted.

    Parameters
    ----------
    module, name
        Where it is; the name may have dots.
    part
        What its time counts as.
    stream
        On which it has the GPU work: an attribute of one of its arguments, or ``argument``, one of
        them itself. Empty: it has none.
    """

    module: str
    name: str
    part: str
    stream: str = ""


ENGINE = "regionio.engines.cuda."
HOOKS = (
    Hook("regionio._cuda_work", "CudaWork.add", "plan"),
    Hook("regionio._cuda_work", "CudaWork.finish", "wait for a batch"),
    Hook("regionio._cuda_job", "CudaJob.done", "finish a job"),
    Hook("regionio._cuda_job", "CudaJob._chunk", "choose the way"),
    Hook("regionio._cuda_batches", "CudaBatches.allocate", "allocate"),
    Hook(ENGINE + "held", "HeldTiles.find", "find held tiles"),
    Hook(ENGINE + "held", "HeldTiles.expire", "find held tiles"),
    Hook(ENGINE + "streams", "_Pipeline.step", "rest of the loop"),
    Hook(ENGINE + "streams", "_Pipeline._start_next", "wait for jobs, cut them into chunks"),
    Hook(ENGINE + "streams", "_Pipeline._start_while_waiting", "wait for threads"),
    Hook(ENGINE + "memory", "PinnedBuffer.wait", "wait for the GPU"),
    Hook(ENGINE + "memory", "PinnedBuffer.take", "allocate"),
    Hook(ENGINE + "slabs", "SlabPool.take", "allocate"),
    Hook(ENGINE + "chunk", "TileChunk.finish", "rest of finishing"),
    Hook(ENGINE + "chunk", "TileChunk.upload", "upload", "copy_stream"),
    Hook(ENGINE + "chunk", "read_to_places", "fetch"),
    Hook(ENGINE + "pictures", "StreamChunk.start", "prepare"),
    Hook(ENGINE + "pictures", "JpegChunk._decode", "rest of the threads' work, wait for bytes"),
    Hook(ENGINE + "pictures", "decode_together", "rest of the threads' work"),
    Hook(ENGINE + "pictures", "decode_left", "decode what is left"),
    Hook(ENGINE + "stream_tiles", "StreamTiles.__init__", "prepare"),
    Hook(ENGINE + "stream_tiles", "StreamTiles.sort", "parse"),
    Hook(ENGINE + "nvimagecodec", "slot_views", "make views"),
    Hook(ENGINE + "nvjpeg", "JpegDecoder.decode", "make tables"),
    Hook(ENGINE + "nvjpeg", "NvJpeg.prepare", "nvJPEG's call"),
    Hook(ENGINE + "nvjpeg", "NvJpeg.decode", "nvJPEG's call"),
    Hook(ENGINE + "nvimagecodec", "Jpeg2000Decoder.decode", "nvImageCodec's call", "argument"),
    Hook(ENGINE + "decoded", "CpuTiles.decode", "decode by the CPU"),
    Hook(ENGINE + "decoded", "CpuChunk.start", "prepare"),
    Hook(ENGINE + "raw", "RawChunk.start", "prepare"),
    Hook(ENGINE + "raw", "KvikioChunk.start", "start KvikIO"),
    Hook(ENGINE + "raw", "KvikioChunk.bring", "wait for KvikIO"),
    Hook(ENGINE + "composer", "Composer.prepared", "prepare to compose"),
    Hook(ENGINE + "composer", "_launch", "compose", "compose_stream"),
    Hook("nvidia.nvimgcodec", "CodeStream", "make CodeStreams"),
)
"""Parts of the engine, by where they are now; what is not found is reported."""

WITHIN = "GPU's thread"


@dataclass
class Part:
    """What a part of the work took.

    Parameters
    ----------
    who
        ``GPU``, ``GPU's thread``, ``decoders' threads``, ``consumer`` or ``workers``.
    part
        As in `Hook`.
    calls, seconds
        How often, and together how long.
    """

    who: str
    part: str
    calls: int = 0
    seconds: float = 0.0


@dataclass
class Profile:
    """What reading took, and where.

    Parameters
    ----------
    work, slide
        What was read, of which slide.
    plain_seconds, seconds
        Of the median round without hooks, and of the one with them.
    tiles
        Decoded in a round.
    parts
        Where the time went.
    missing
        Hooks that could not be set, and why.
    """

    work: str
    slide: str
    plain_seconds: float = 0.0
    seconds: float = 0.0
    tiles: int = 0
    parts: list[Part] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def rest(self) -> Part:
        """Return what of the time of the GPU's thread is in no part."""
        noted = sum(part.seconds for part in self.parts if part.who == WITHIN)
        return Part(WITHIN, "idle, or without a hook", 1, max(0.0, self.seconds - noted))

    def table(self) -> list[str]:
        """Return the lines of a table."""
        lines = [
            f"## {self.work}, {self.slide}",
            "",
            f"{1e3 * self.plain_seconds:.0f} ms, with hooks {1e3 * self.seconds:.0f} ms; "
            f"{self.tiles} tiles decoded.",
            "",
            "| who | part | calls | ms | share of the time | µs a tile |",
            "|---|---|---|---|---|---|",
        ]
        parts = [*self.parts, self.rest()]
        for part in sorted(parts, key=lambda part: (part.who, -part.seconds)):
            if round(1e4 * part.seconds) == 0:
                continue
            each = f"{1e6 * part.seconds / self.tiles:.2f}" if self.tiles else ""
            lines.append(
                f"| {part.who} | {part.part} | {part.calls} | {1e3 * part.seconds:.1f} | "
                f"{part.seconds / self.seconds:.0%} | {each} |"
            )
        lines += ["", *(f"- not hooked: {text}" for text in self.missing), ""]
        return lines


class Clock:
    """Notes the time of functions: of each thread without what it called of others, and the GPU's.

    Attributes
    ----------
    missing
        Hooks that could not be set, and why.
    """

    def __init__(self) -> None:
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._parts: dict[tuple[str, str], Part] = {}
        self._events: list[tuple[str, Any, Any]] = []
        self._runs = False
        self.missing: list[str] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have all hooks set as long as the context lasts."""
        undo: list[Callable[[], None]] = []
        try:
            for hook in HOOKS:
                try:
                    undo.append(self._set(hook))
                except (ImportError, AttributeError, TypeError) as error:
                    self.missing.append(f"{hook.module}.{hook.name}: {reason_of(error)}")
            self._runs = True
            yield
        finally:
            self._runs = False  # of calls that have not come back, as those that wait for work
            for back in reversed(undo):
                back()

    def _set(self, hook: Hook) -> Callable[[], None]:
        *path, name = hook.name.split(".")
        owner = functools.reduce(getattr, path, library(hook.module))
        before = getattr(owner, name)
        inherited = name not in vars(owner)
        setattr(owner, name, self._timed(before, hook))

        def back() -> None:
            if inherited:
                delattr(owner, name)
            else:
                setattr(owner, name, before)

        return back

    def _timed(self, function: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            inside = self._inside()
            stream = _stream(hook.stream, [*args, *kwargs.values()])
            begun = stream.record() if stream is not None else None
            inside.append(0.0)
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.perf_counter() - start
                own = spent - inside.pop()
                if inside:
                    inside[-1] += spent
                if self._runs:
                    self._add(_who(), hook.part, own)
                    if stream is not None:
                        self._events.append((hook.part, begun, stream.record()))

        return timed

    def _inside(self) -> list[float]:
        """Return the seconds that what this thread is in has spent in others, innermost last."""
        if not hasattr(self._mine, "inside"):
            self._mine.inside = []
        inside: list[float] = self._mine.inside
        return inside

    def _add(self, who: str, name: str, seconds: float) -> None:
        with self._lock:
            part = self._parts.setdefault((who, name), Part(who, name))
            part.calls += 1
            part.seconds += seconds

    def parts(self) -> list[Part]:
        """Return what was noted."""
        for name, begun, ended in self._events:
            self._add("GPU", name, cupy().cuda.get_elapsed_time(begun, ended) / 1e3)
        self._events.clear()
        return list(self._parts.values())


def _who() -> str:
    name = threading.current_thread().name
    if name.startswith("regionio cuda"):
        return "decoders' threads" if " decode" in name else WITHIN
    return "consumer" if threading.current_thread() is threading.main_thread() else "workers"


def _stream(name: str, arguments: list[Any]) -> Any:
    """Return the stream that a call works on, None if it has none."""
    if name == "argument":
        return next((value for value in arguments if hasattr(value, "record")), None)
    return next(
        (getattr(value, name) for value in arguments if name and hasattr(value, name)), None
    )


def profiles(folder: Path, workers: int, rounds: int, scale: Scale) -> Iterator[Profile]:
    """Yield where the time of each work goes."""
    large, dense = (Slide("jpeg420", side, TILE) for side in (scale.large, scale.side))
    patch, tile = (PATCH, PATCH), (TILE, TILE)
    works: list[tuple[str, Slide, Any, tuple[int, int]]] = [
        ("each tile once", large, tile_locations(large.side, 4 * scale.patches), tile),
        ("random sparse", large, random_locations(large.side, scale.patches), patch),
        ("grid", dense, grid_locations(dense.side), patch),
        ("random dense", dense, random_locations(dense.side, dense.tiles), patch),
        ("whole level", dense, [(0, 0)], (dense.side, dense.side)),
    ]
    for work, slide, locations, size in works:
        path = slide.path(folder)
        warm(path)
        image = regionio.open(path)
        batch = BATCH if len(locations) > 1 else 1
        loader = image.read_region(
            locations, size, batch_size=batch, num_workers=workers, device="cuda"
        )
        yield profile(Profile(work, slide.name), loader, rounds)


def profile(found: Profile, loader: Any, rounds: int) -> Profile:
    """Read a loader's batches several times, then with hooks: the median of those is kept."""

    def seconds() -> float:
        before = loader.stats.tiles_decoded
        start = time.perf_counter()
        for _ in loader:
            pass
        synchronize()
        found.tiles = loader.stats.tiles_decoded - before
        return time.perf_counter() - start

    regionio.cache.capacity = 0
    seconds()  # is not counted
    found.plain_seconds = statistics.median(seconds() for _ in range(rounds))
    hooked: list[tuple[float, Clock]] = []
    for _ in range(rounds):
        clock = Clock()
        with clock.running():
            hooked.append((seconds(), clock))
    found.seconds, clock = sorted(hooked, key=lambda pair: pair[0])[len(hooked) // 2]
    found.parts, found.missing = clock.parts(), clock.missing
    return found


def page(found: list[Profile], about: dict[str, object], workers: int) -> str:
    """Return the results as a page."""
    lines = [
        "# Where the time goes on a GPU",
        "",
        f"{about['gpu']}; {about['processor']}, {about['cores']} cores, Python {about['python']}; "
        f"{workers} workers, batches of {BATCH}, warm page cache.",
        "",
        "Of threads, the time in each part without what it calls of the others; the GPU's thread "
        "does one thing at a time, the workers several at once. Of the GPU, the time between "
        "events before and after a call, on the stream that it works on: what the GPU waits for "
        "inside the call counts too.",
        "",
    ]
    for each in found:
        lines += each.table()
    return "\n".join(lines)


def plot(found: list[Profile], path: Path) -> None:
    """Draw what the GPU's thread does in each work."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(p.part for each in found for p in each.parts if p.who == WITHIN))
    figure, axes = plt.subplots(figsize=(10, 0.5 * len(found) + 1.6), layout="constrained")
    left = [0.0] * len(found)
    for number, name in enumerate(names):
        shares = [
            sum(p.seconds for p in each.parts if (p.who, p.part) == (WITHIN, name)) / each.seconds
            for each in found
        ]
        color = plt.get_cmap("tab20")(number % 20)
        axes.barh(range(len(found)), shares, left=left, label=name, color=color)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.set_yticks(range(len(found)), [f"{each.work}, {each.slide}" for each in found])
    axes.invert_yaxis()
    axes.set_xlabel("share of the time, GPU's thread")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7)
    figure.savefig(path, dpi=110)
