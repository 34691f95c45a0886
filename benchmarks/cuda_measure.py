"""What benchmarks on a GPU have in common: how much is read, rows with goals, and what failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import regionio
from benchmarks.measure import Row, UnableError, compare, library, machine, rate_text
from benchmarks.works import touch_memory, warm


@dataclass(frozen=True)
class Scale:
    """How much is read.

    Parameters
    ----------
    large, side
        Width and height of the slide whose tiles are touched sparsely, and of the others.
    patches
        Random patches of a round, and tiles that are wanted exactly once.
    slices
        Of the uncompressed volume.
    cine
        How many times the frames of the cine file are repeated in the longer one.
    mammograms
        Frames of each mammography file: two batches.
    """

    large: int = 65536
    side: int = 16384
    patches: int = 4096
    slices: int = 128
    cine: int = 10
    mammograms: int = 64


FULL = Scale()
QUICK = Scale(large=16384, side=4096, patches=512, slices=16, cine=2, mammograms=8)


@dataclass
class CudaRow(Row):
    """One line of the results of a GPU.

    Parameters
    ----------
    goals
        Peer → how many times as fast as it regionio is meant to be.
    left_out
        Peer → why it is not in the row.
    notes
        What else was found: the form in which a peer is fastest, how pixels compare.
    details
        Peer → form → its rate, of the forms that were tried.
    """

    goals: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    details: dict[str, dict[str, float]] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def note_form(self, peer: str, form: str, rates: dict[str, float]) -> None:
        """Note in which form a peer is fastest."""
        self.note(f"{peer} is fastest {form}")
        self.details[peer] = rates

    def note_stats(self, stats: Any) -> None:
        """Note what a loader has counted in its only epoch."""
        self.tiles_decoded, self.bytes_read = int(stats.tiles_decoded), int(stats.bytes_read)
        by_kvikio = getattr(stats, "bytes_kvikio", 0)
        if by_kvikio:
            by_cufile = getattr(stats, "bytes_cufile", 0)
            self.note(
                f"regionio reads {by_kvikio / stats.bytes_read:.0%} of the bytes by KvikIO, "
                f"{by_cufile / stats.bytes_read:.0%} past the host's memory"
            )


Job = Callable[[], CudaRow]
WORTH_AGAIN_SECONDS = 0.5
"""What takes less is tried twice, to see which form is fastest."""


def cupy() -> Any:
    """Return CuPy."""
    try:
        return library("cupy")
    except ImportError as error:
        msg = f"CuPy is not installed ({error}): pip install cupy-cuda12x or cupy-cuda13x"
        raise UnableError(msg) from error


def gpu_machine() -> dict[str, object]:
    """Return what this machine and its GPU are.

    Raises
    ------
    UnableError
        There is no GPU, no driver or no CuPy.
    """
    runtime = cupy().cuda.runtime
    try:
        runtime.getDeviceCount()
        name = runtime.getDeviceProperties(0)["name"].decode()
    except runtime.CUDARuntimeError as error:
        msg = f"there is no GPU that can be used: {error}"
        raise UnableError(msg) from error
    return {
        **machine(),
        "gpu": name,
        "cuda_of_driver": runtime.driverGetVersion(),
        "cuda_of_cupy": runtime.runtimeGetVersion(),
        "nvidia_fs": Path("/proc/driver/nvidia-fs/stats").exists(),
        "compiled_parts": [name for name in ("_compiled", "_jpeg2000") if _has_part(name)],
    }


def _has_part(name: str) -> bool:
    try:
        library(f"regionio.{name}")
    except ImportError:
        return False
    return True


def synchronize() -> None:
    """Wait until the GPU has nothing left to do."""
    cupy().cuda.Device().synchronize()


def copied(pixels: Any) -> Any:
    """Return an array of main memory as one of the GPU's, as a training loop makes it."""
    return cupy().asarray(np.asarray(pixels))


def whole_image(row: CudaRow, image: regionio.Image, workers: int) -> Any:
    """Return the whole image from the GPU's memory, and note in the row what reading it costs."""
    axes = "XYZ" if image.is_volume else "XY"
    origin = [(0,) * len(axes)]
    loader = image.read_region(origin, image.size(axes), num_workers=workers, device="cuda")
    with loader:
        pixels = next(loader).array
        synchronize()
    row.note_stats(loader.stats)
    return pixels


def compare_on_gpu(
    row: CudaRow,
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    path: Path,
    host_bytes: int = 0,
) -> CudaRow:
    """Time contestants in turn, each until the GPU has done what it was given.

    Parameters
    ----------
    row
        Is completed. A peer that fails is in its `left_out`.
    contestants
        Name → what it does in one round.
    rounds
        Number of rounds.
    path
        Is read before everything that is timed, so that the page cache holds it.
    host_bytes
        Main memory that contestants will ask for.
    """

    def prepare() -> None:
        warm(path)
        touch_memory(host_bytes)
        synchronize()

    guarded = {name: _guarded(row, name, run) for name, run in contestants.items()}
    compare(row, guarded, rounds, prepare=prepare)
    return row


def _guarded(row: CudaRow, name: str, run: Callable[[], object]) -> Callable[[], None]:
    def until_done() -> None:
        result = run()
        synchronize()
        del result  # it is held until it is there

    def or_left_out() -> None:
        try:
            until_done()
        except Exception as error:  # whatever a peer raises: it is reported, and others go on
            row.left_out[name] = reason_of(error)
            raise UnableError(row.left_out[name]) from error

    return until_done if name == "regionio" else or_left_out


def reason_of(error: BaseException) -> str:
    """Return an error as a line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UnableError) else f"{type(error).__name__}: {text}"


def fastest(
    forms: Mapping[str, Callable[[], object]],
) -> tuple[str, dict[str, float]]:
    """Return the name of the fastest of several ways, and the seconds of each that is able.

    Raises
    ------
    UnableError
        None of them is able; the message says why each is not.
    """
    seconds: dict[str, float] = {}
    failed: dict[str, str] = {}
    for name, run in forms.items():
        try:
            run()  # what is made once is made now
            synchronize()
            seconds[name] = _seconds(run)
            if seconds[name] < WORTH_AGAIN_SECONDS:
                seconds[name] = min(seconds[name], _seconds(run))
        except Exception as error:  # noqa: BLE001  as above
            failed[name] = reason_of(error)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
    if not seconds:
        raise UnableError(reasons)
    if reasons:
        print(f"  {reasons}")
    return min(seconds, key=lambda name: seconds[name]), seconds


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    result = run()
    synchronize()
    del result
    return time.perf_counter() - start


def page(
    title: str,
    rows: list[CudaRow],
    failed: dict[str, str],
    about: dict[str, object],
    workers: int,
    rounds: int,
) -> str:
    """Return the results as a page."""
    lines = [
        f"# {title}",
        "",
        f"{about['gpu']}; {about['processor']}, {about['cores']} cores, Python {about['python']}; "
        f"{workers} workers, median of {rounds} rounds in turn, warm page cache, caches cleared "
        "before every round. Every contestant leaves its pixels in the GPU's memory, and the "
        "device is synchronised at the end of each round.",
        "",
        "Ratio: regionio's speed over the peer's, the median over rounds; in brackets the peer's "
        "rate, and the ratio that is aimed at. nvimgcodec is nvImageCodec alone: as many tiles or "
        "frames as regionio decoded, bitstreams in memory already. Reading too: by as many threads "
        "into pinned memory, a batch while another is decoded, whose memory is used again. cpu + "
        "copy: read by the CPU, copied with cupy.asarray.",
        "",
        "| work | data | regionio | ratio | tiles decoded | MB read |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.work} | {row.slide} | {rate_text(row.rate('regionio'))} {row.unit}/s | "
            f"{', '.join(_ratio_text(row, peer) for peer in row.peers())} | "
            f"{row.tiles_decoded or ''} | "
            f"{f'{row.bytes_read / 1e6:,.0f}' if row.bytes_read else ''} |"
        )
    said: dict[str, list[str]] = {}
    for row in rows:
        for text in row.notes:
            said.setdefault(text, []).append(f"{row.work}, {row.slide}")
    notes = [f"- {_rows_text(where)}: {text}." for text, where in said.items()]
    missing = [
        f"- {row.work}, {row.slide}: {peer} left out: {reason}"
        for row in rows
        for peer, reason in row.left_out.items()
    ]
    broken = [f"- {name}: no row: {reason}" for name, reason in failed.items()]
    for part in (notes, [*missing, *broken]):
        if part:
            lines += ["", *part]
    return "\n".join([*lines, ""])


def _rows_text(names: list[str]) -> str:
    return "; ".join(names) if len(names) <= 3 else f"{len(names)} rows"


def _ratio_text(row: CudaRow, peer: str) -> str:
    goal = f"; aim {row.goals[peer]:g}" if peer in row.goals else ""
    return f"{row.ratio(peer):.2f}× {peer} ({rate_text(row.rate(peer))}{goal})"
