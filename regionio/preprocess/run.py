"""Many files: side by side, resumed where a run was interrupted, failures told and counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import tifffile

import regionio
from regionio import RegionIOError
from regionio._extras import package
from regionio._workers import default_num_workers
from regionio.engines.cuda.device import device_number, opened_device
from regionio.preprocess.arrays import on_host
from regionio.preprocess.chain import Preprocessed, Preprocessor
from regionio.preprocess.files import Source, result_path
from regionio.preprocess.source import (
    Origin,
    SourceFrames,
    file_states,
    instance_uids,
    read_frames,
)
from regionio.preprocess.tiff import (
    Compressor,
    Provenance,
    plain_steps,
    provenance_of_whole,
    write_tiff,
)

__all__ = ["Outcome", "Task", "run"]


@dataclass(frozen=True)
class Task:
    """What is done with each file.

    Parameters
    ----------
    steps
        The preprocessor.
    compressor
        Of the TIFFs.
    window
        (center, width), or None: the file's.
    device
        Where frames are decoded and pictures made: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
    read, write
        `read_frames` and `write_tiff`, or others that do the same in another way.
    """

    steps: Preprocessor
    compressor: Compressor = "packbits"
    window: tuple[float, float] | None = None
    device: str = "cpu"
    read: Callable[..., SourceFrames] = read_frames
    write: Callable[[Path, Preprocessed, Provenance, Compressor], None] = write_tiff


@dataclass(frozen=True)
class Outcome:
    """What became of one file or series.

    Parameters
    ----------
    source
        The file; of a series, the folder that holds its slices.
    state
        ``"done"``; ``"skipped"``: its result was there; ``"failed"``.
    result
        The TIFF, None if it failed.
    error
        Why it failed, or None.
    """

    source: Path
    state: Literal["done", "skipped", "failed"]
    result: Path | None = None
    error: Exception | None = None


def run(
    sources: Iterable[Path | Source],
    output: Path,
    task: Task,
    *,
    threads: int | None = None,
    overwrite: bool = False,
) -> Iterator[Outcome]:
    """Preprocess files.

    As many files as there are threads are worked on at a time, each with one of them; with fewer
    files than threads, frames of one file are decoded side by side.

    Memory, for each file that is worked on: the frames that the volume handler wants, times their
    pixels, times 2 bytes (1 of 8 bits; 6 and 5 of files without a window, whose values are looked at
    as floats first), the frames that come out, twice if they are padded, and two frames as floats. Of
    64 frames of 2457 × 1890 that is 0.6 GB and what comes out, or 1.8 GB without a window.

    Parameters
    ----------
    sources
        DICOM files, or series as `by_series` finds them.
    output
        A folder, in which results get names as of `result_path`; or a file, for one source.
    task
        What to do.
    threads
        None is as many as there are CPUs for this process.
    overwrite
        Write results again that are there.

    Yields
    ------
    Outcome
        Of each file or series, in the order in which they are done.

    Raises
    ------
    NotADirectoryError
        There are several sources, and `output` is no folder that is there.
    DeviceError, MissingPackageError
        The GPU that the task names can't be used, or a package that it needs is missing.
    """
    _check_means(task)
    every = [one if isinstance(one, Source) else Source((one,)) for one in sources]
    if len(every) > 1 and not output.is_dir():
        msg = f"{str(output)!r} has to be a folder that is there, for {len(every)} sources"
        raise NotADirectoryError(msg)
    count = default_num_workers() if threads is None else max(1, threads)
    at_once = max(1, min(count, len(every)))
    each = max(1, count // at_once)

    failed: set[Source] = set()

    def one(claimed: tuple[Source, Path | Exception]) -> Outcome:
        source, result = claimed
        try:
            if isinstance(result, Exception):
                raise result
            return _preprocess(source, result, task, each, overwrite=overwrite)
        except Exception as error:  # noqa: BLE001  the others go on
            failed.add(source)
            return Outcome(source.path, "failed", error=error)

    again: list[tuple[Source, Path, Source]] = []
    with ThreadPoolExecutor(at_once, thread_name_prefix="regionio preprocess") as pool:
        yield from _as_done(pool, one, _claimed(every, output, again), 2 * at_once)
    for source, result, owner in again:  # of two with the same UIDs, the one that can be read
        if owner in failed:
            yield one((source, result))
            continue
        msg = (
            f"{str(source.path)!r}: it has the UIDs of {str(owner.path)!r}, of which its result was "
            "made"
        )
        yield Outcome(source.path, "failed", error=FileExistsError(msg))


def _check_means(task: Task) -> None:
    """Raise where no file could be preprocessed, whatever it is."""
    number = device_number(task.device)
    if number is not None:
        opened_device(number)
    if task.steps.crop and task.steps.components:
        package("scipy.ndimage", "preprocess")


def _claimed(
    sources: Iterable[Source], output: Path, again: list[tuple[Source, Path, Source]]
) -> Iterator[tuple[Source, Path | Exception]]:
    """Yield sources and where their results go, or why they can't.

    The first has a name for itself; what else would go there is added to `again`, with the first.
    """
    owners: dict[Path, Source] = {}
    is_folder = output.is_dir()
    for source in sources:
        try:
            result = result_path(output, _named(source)) if is_folder else output
        except Exception as error:  # noqa: BLE001  the others go on
            yield source, error
            continue
        owner = owners.setdefault(result, source)
        if owner is source:
            yield source, result
        else:
            again.append((source, result, owner))


def _as_done(
    pool: ThreadPoolExecutor,
    work: Callable[[tuple[Source, Path | Exception]], Outcome],
    waiting: Iterator[tuple[Source, Path | Exception]],
    most: int,
) -> Iterator[Outcome]:
    """Yield outcomes as they come; no more than so many wait in the pool."""
    running: set[Future[Outcome]] = {pool.submit(work, one) for one in islice(waiting, most)}
    try:
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                running.update(pool.submit(work, one) for one in islice(waiting, 1))
                yield future.result()
    finally:
        for future in running:
            future.cancel()


def _preprocess(
    source: Source, result: Path, task: Task, num_workers: int, *, overwrite: bool
) -> Outcome:
    """Preprocess one source."""
    if result.exists() and not overwrite:
        _check_made_of(result, source, task)
        return Outcome(source.path, "skipped", result)
    found = task.read(
        source.files, task.steps.volume_handler, task.window, num_workers, task.device
    )
    made = task.steps.process(found.frames)
    made = replace(made, pixels=on_host(made.pixels))
    provenance = Provenance.of(found.origin, task.steps, made, task.compressor)
    result.parent.mkdir(parents=True, exist_ok=True)
    task.write(result, made, provenance, task.compressor)
    return Outcome(source.path, "done", result)


def _check_made_of(result: Path, source: Source, task: Task) -> None:
    """Raise where a result that is there was made of other files, or in another way.

    Other files are those with the same UIDs, or a series that was not whole.

    Raises
    ------
    FileExistsError
        It was.
    """
    what = f"{str(source.path)!r}: its result {str(result)!r}"
    try:
        made = provenance_of_whole(result)
    except (RegionIOError, OSError, tifffile.TiffFileError) as error:
        msg = f"{what} is there, and damaged or not made by this: {error}"
        raise FileExistsError(msg) from error
    if made is None:
        if task.write is write_tiff:
            msg = f"{what} was made with --compat: --overwrite makes it again"
            raise FileExistsError(msg)
        return
    others = {path for path in made.origin.paths if os.path.exists(path)}  # else they were moved
    files = {os.path.abspath(file) for file in source.files}
    copies = files - others  # are left out
    if not (others <= files and set(made.origin.instances).issuperset(instance_uids(copies))):
        made_of = f"was made of {min(others)!r}"
        if len(others) > 1:
            made_of += f" and {len(others) - 1} more"
        msg = f"{what} {made_of}"
        raise FileExistsError(msg)
    if _were_changed(made.origin, source):
        msg = f"{what} was made before it was changed: --overwrite makes it again"
        raise FileExistsError(msg)
    changed = ", ".join(_changed(made, task))
    if changed:
        msg = f"{what} was made with another {changed}: --overwrite makes it again"
        raise FileExistsError(msg)


def _were_changed(origin: Origin, source: Source) -> bool:
    """Return whether files are others than when they were read; of those that were moved, as long."""
    before = dict(zip(origin.paths, origin.files, strict=False))
    for file, (size, time) in zip(source.files, file_states(source.files), strict=True):
        known = before.get(os.path.abspath(file))
        if known is not None and known != (size, time):
            return True
        if known is None and size not in {size for size, _ in origin.files}:
            return True
    return False


def _changed(made: Provenance, task: Task) -> list[str]:
    """Return the names of options that were others when a result was made."""
    steps = plain_steps(task.steps)
    changed = [name for name, value in steps.items() if made.steps.get(name) != value]
    if made.compressor != task.compressor:
        changed.append("compressor")
    window = made.origin.window  # None of colours
    before = window if isinstance(window, tuple) else None
    if window is not None and before != task.window:
        changed.append("window")
    if task.write is not write_tiff:
        changed.append("compat")
    return changed


def _named(source: Source) -> Origin:
    """Return a source's UIDs, of which its result's name is made."""
    first = os.fspath(source.files[0])
    with regionio.open([first], values="stored") as image:
        dicom = image.metadata.get("dicom", {})
    study, series, instance = (
        str(dicom.get(f"{name}InstanceUID") or "") for name in ("Study", "Series", "SOP")
    )
    instances = (instance,) * len(source.files)  # of a series, only how many counts
    return Origin((first,), study, series, instances, (), 0, None, 0)
