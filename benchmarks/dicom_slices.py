"""Volumes, slices and patches of slices of a DICOM file as large as one of tomosynthesis."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array

import regionio
from benchmarks.dicom_elements import compressed_frames
from benchmarks.dicom_volumes import COLUMNS, DECODE, ROWS, SYNTAXES, DicomVolume
from benchmarks.measure import Row, UnableError, compare, library
from benchmarks.works import in_threads, touch_memory, warm

BATCH, PATCH = 64, 512


class Pydicom:
    """Frames by pydicom, with whichever of its installed plugins is fastest.

    Those that hold Python's lock gain nothing from threads, so that another may be faster there.

    Parameters
    ----------
    volume, path
        The volume.
    workers
        Threads, where there are threads.
    """

    def __init__(self, volume: DicomVolume, path: Path, workers: int) -> None:
        self._path, self._workers = path, workers
        self._shape = volume.shape
        self._decoder = get_decoder(SYNTAXES[volume.syntax])
        self._dataset: pydicom.Dataset = pydicom.dcmread(path)
        encapsulated = self._decoder.UID.is_encapsulated
        plugins = self._decoder.available_plugins if encapsulated else ("",)
        self._plugins = {
            threads: min(plugins, key=lambda plugin: self._seconds(plugin, threads))
            for threads in (1, workers)
            if plugins
        }

    def _seconds(self, plugin: str, threads: int) -> float:
        """Return the seconds of a few frames, at the better of two attempts."""
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda number: self._decode(number, plugin), range(2 * threads)))
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    def forget(self) -> None:
        """Let go of the file's bytes, which only `frame` needs to have in memory."""
        self._dataset = pydicom.Dataset()

    def _decode(self, number: int, plugin: str) -> np.ndarray:
        options: dict[str, Any] = {"raw": True, "decoding_plugin": plugin}
        return self._decoder.as_array(self._dataset, index=number, **options)[0]

    def plugin(self, threads: int = 1) -> str:
        """Return the plugin that is fastest alone or in threads."""
        if not self._plugins:
            needs = "; or ".join(self._decoder.missing_dependencies)
            msg = f"none of its plugins for this is installed: {needs}"
            raise UnableError(msg)
        return self._plugins[threads]

    def __str__(self) -> str:
        names = dict.fromkeys(self._plugins.values())
        return " / ".join(name or "NumPy" for name in names) or "no plugin"

    def whole(self) -> np.ndarray:
        """Return the volume."""
        return pixel_array(self._path, raw=True, decoding_plugin=self.plugin())

    def whole_by_threads(self) -> np.ndarray:
        """Return the volume, its frames shared out among threads."""
        self._dataset = pydicom.dcmread(self._path)
        volume = np.empty(self._shape, np.uint16)

        def fill(number: int, frame: np.ndarray) -> None:
            volume[number] = frame

        self.each_by_threads(fill, range(len(volume)))
        return volume

    def each_by_threads(
        self, use: Callable[[int, np.ndarray], None], numbers: Iterable[int]
    ) -> None:
        """Decode frames in threads, which hand each to `use`."""
        plugin = self.plugin(self._workers)
        with ThreadPoolExecutor(self._workers) as pool:
            list(pool.map(lambda number: use(number, self._decode(number, plugin)), numbers))

    def frame(self, number: int) -> np.ndarray:
        """Return one frame of the dataset, which is in memory."""
        return self._decode(number, self.plugin())


def whole(volume: DicomVolume, path: Path, workers: int, rounds: int) -> Row:
    """Compare reading the whole volume."""
    other = Pydicom(volume, path, workers)
    work = f"whole volume (pydicom by {other})"
    row = Row(work, volume.name, workers, volume.nbytes / 1e6, "MB")
    image = regionio.open(path)

    def ours() -> None:
        _check(image.read_region(num_workers=workers), volume.shape)

    contestants: dict[str, Callable[[], None]] = {
        "regionio": ours,
        "pydicom": lambda: _check(other.whole(), volume.shape),
        "pydicom in threads": lambda: _check(other.whole_by_threads(), volume.shape),
    }
    frames, decode = compressed_frames(path), DECODE[volume.syntax]

    def floor() -> None:
        out = np.empty(volume.shape, np.uint16)  # fresh memory, as everybody has

        def decode_part(part: range) -> None:
            for number in part:
                decode(frames[number], out[number])

        in_threads(decode_part, len(frames), workers)

    def prepare() -> None:
        warm(path)
        touch_memory(int(1.1 * volume.nbytes))

    return compare(row, contestants, rounds, floor, prepare)


def slices(volume: DicomVolume, path: Path, rounds: int, count: int = 8) -> Row:
    """Compare random slices, one at a time.

    pydicom has the file in memory, or it would parse the header for each.
    """
    other = Pydicom(volume, path, 1)
    work = f"random slices (pydicom by {other})"
    row = Row(work, volume.name, 1, count, "slices")
    image = regionio.open(path)
    numbers = np.random.default_rng(4).integers(0, volume.frames, count).tolist()
    reader = library("highdicom").io.ImageFileReader(path)
    reader.open()
    shape = ROWS, COLUMNS

    def each(read: Callable[[int], Any]) -> None:
        for number in numbers:
            _check(read(number), shape)

    def ours() -> None:
        each(lambda z: image.read_region((0, 0, z), (COLUMNS, ROWS), num_workers=0))

    def highdicom() -> None:
        other.plugin()  # by which it decodes
        each(lambda z: reader.read_frame(z, correct_color=False))

    contestants: dict[str, Callable[[], None]] = {
        "regionio": ours,
        "pydicom": lambda: each(other.frame),
        "highdicom": highdicom,
    }
    floor = decode_floor(volume, path, numbers, 1)
    compare(row, contestants, rounds, floor, lambda: warm(path))
    reader.close()
    return row


def patches(volume: DicomVolume, path: Path, workers: int, rounds: int) -> Row:
    """Compare a batch of random patches of random slices.

    What is taken with pydicom is what a careful user would write: each slice is decoded once.
    """
    other = Pydicom(volume, path, workers)
    work = f"batch of {BATCH} random {PATCH}² patches (pydicom by {other})"
    row = Row(work, volume.name, workers, BATCH, "patches")
    image = regionio.open(path)
    beyond = COLUMNS - PATCH, ROWS - PATCH, volume.frames
    locations = np.random.default_rng(6).integers(0, beyond, (BATCH, 3))
    distinct = np.unique(locations[:, 2]).tolist()
    shape = BATCH, PATCH, PATCH

    def ours() -> None:
        loader = image.read_region(locations, (PATCH, PATCH), batch_size=BATCH, num_workers=workers)
        for batch in loader:
            _check(batch, shape)
        row.tiles_decoded, row.bytes_read = loader.stats.tiles_decoded, loader.stats.bytes_read

    def by_pydicom() -> None:
        batch = np.empty(shape, np.uint16)

        def cut(number: int, frame: np.ndarray) -> None:
            for index in np.flatnonzero(locations[:, 2] == number):
                x, y, _ = locations[index]
                batch[index] = frame[y : y + PATCH, x : x + PATCH]

        other.each_by_threads(cut, distinct)

    contestants = {"regionio": ours, "pydicom in threads": by_pydicom}
    floor = decode_floor(volume, path, distinct, workers)
    return compare(row, contestants, rounds, floor, lambda: warm(path))


def decode_floor(
    volume: DicomVolume, path: Path, numbers: list[int], workers: int
) -> Callable[[], None]:
    """Return what decodes frames, each thread into one buffer, and does nothing else."""
    frames = compressed_frames(path)
    decode = DECODE[volume.syntax]
    buffers = np.ones((workers, ROWS, COLUMNS), np.uint16)

    def decode_part(part: range) -> None:
        buffer = buffers[part.start % workers]
        for position in part:
            decode(frames[numbers[position]], buffer)

    return lambda: in_threads(decode_part, len(numbers), workers)


def _check(pixels: Any, shape: tuple[int, ...]) -> None:
    found = np.asarray(pixels).shape
    assert found[: len(shape)] == shape, f"{found} instead of {shape}"


def peak_memory(volume: DicomVolume, path: Path, workers: int) -> dict[str, float]:
    """Return how many MB beside the result each contestant takes to read the whole volume.

    Each runs in a process of its own. Those that can't read it are left out.
    """
    fresh = multiprocessing.get_context("spawn")
    beside = {}
    for name in ("regionio", "pydicom", "pydicom in threads"):
        with fresh.Pool(1) as pool:
            try:
                megabytes = pool.apply(_peak_beside_result, (name, volume, path, workers))
            except UnableError:
                continue
        beside[f"{name} {volume.syntax}"] = megabytes
    return beside


def _peak_beside_result(name: str, volume: DicomVolume, path: Path, workers: int) -> float:
    regionio.cache.capacity = 0
    run: Callable[[], Any]
    if name == "regionio":
        image = regionio.open(path)
        image.read_region((0, 0, 0), (COLUMNS, ROWS))  # libraries are loaded
        run = partial(image.read_region, num_workers=workers)
    else:
        other = Pydicom(volume, path, workers)
        other.forget()
        run = other.whole if name == "pydicom" else other.whole_by_threads
    Path("/proc/self/clear_refs").write_text("5")  # the highest use starts from what is used now
    before = _memory("VmRSS")
    result = np.asarray(run())
    return (_memory("VmHWM") - before - result.nbytes) / 1e6


def _memory(name: str) -> int:
    """Return bytes of this process, as Linux counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
