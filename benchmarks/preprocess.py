"""DICOM to TIFFs that models are trained on, and reading single frames of those.

The peer is the script that most people would write: pydicom decodes and windows, NumPy crops,
Pillow resizes and writes. It takes one file after another, or one in each of as many processes as
regionio has threads.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pydicom
import tifffile
from PIL import Image as PillowImage
from pydicom.pixels.processing import apply_voi_lut

import regionio
from benchmarks.dicom_elements import compressed_frames
from benchmarks.dicom_volumes import COLUMNS, DECODE, ROWS, DicomVolume
from benchmarks.measure import Row, compare
from benchmarks.works import in_threads, touch_memory, warm
from regionio.preprocess import CentralSlice, Keep, Preprocessor, VolumeHandler
from regionio.preprocess.run import Task, run
from regionio.preprocess.source import read_frames
from regionio.preprocess.tiff import Compressor

SIZE = 768, 1024
MEGABYTE = 1e6
VOLUMES = {
    syntax: [DicomVolume(syntax, 64 - n) for n in range(2)] for syntax in ("j2k", "jpeg-lossless")
}
MAMMOGRAMS = {
    syntax: [DicomVolume(syntax, 1, ROWS - n, COLUMNS) for n in range(24)]
    for syntax in ("j2k", "jpeg-lossless")
}
READ_FRAMES, FRAMES_A_BATCH = 128, 16
BY_BYTES: tuple[Compressor, ...] = ("uncompressed", "packbits", "lzw", "deflate", "zstd")
WAVELETS: tuple[Compressor, ...] = ("jpeg2000", "htj2k")


def script(path: Path, target: Path, central: bool) -> None:
    """Preprocess a file with pydicom, NumPy and Pillow."""
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    frames = pixels if pixels.ndim == 3 else pixels[None]
    if central:
        frames = frames[len(frames) // 2][None]
    shared = dataset.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    levels = np.stack([_windowed(frame, shared) for frame in frames])
    filled = (levels != 0) & (levels != 65535)
    rows = np.flatnonzero(filled.any(axis=(0, 2)))
    columns = np.flatnonzero(filled.any(axis=(0, 1)))
    cropped = levels[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = min(SIZE[0] / cropped.shape[2], SIZE[1] / cropped.shape[1])
    width, height = round(cropped.shape[2] * scale), round(cropped.shape[1] * scale)
    pages = []
    for frame in cropped:
        small = PillowImage.fromarray(frame.astype(np.float32)).resize(
            (width, height), PillowImage.Resampling.BILINEAR
        )
        page = np.zeros(SIZE[::-1], np.uint16)
        page[:height, :width] = np.asarray(small).round()
        pages.append(PillowImage.fromarray(page))
    pages[0].save(target, save_all=True, append_images=pages[1:], compression="packbits")


def _windowed(frame: np.ndarray, window: pydicom.Dataset) -> np.ndarray:
    shown = apply_voi_lut(frame, _with_window(window))
    low, high = float(window.WindowCenter) - 256, float(window.WindowCenter) + 256
    levels: np.ndarray = ((shown - low) / (high - low) * 65535).clip(0, 65535).astype(np.uint16)
    return levels


def _with_window(window: pydicom.Dataset) -> pydicom.Dataset:
    """Return the attributes that pydicom's windowing reads."""
    flat = pydicom.Dataset()
    flat.WindowCenter, flat.WindowWidth = window.WindowCenter, window.WindowWidth
    flat.PhotometricInterpretation, flat.BitsStored, flat.PixelRepresentation = "MONOCHROME2", 10, 0
    return flat


def folder_of(
    volumes: list[DicomVolume], handler: VolumeHandler, folder: Path, workers: int, rounds: int
) -> Row:
    """Compare preprocessing a folder of files."""
    paths = [volume.path(folder / "dicom") for volume in volumes]
    frames = sum(len(handler.wanted(volume.frames)) for volume in volumes)
    work = f"preprocess {len(paths)} files of {volumes[0].frames} frames, {handler.name}"
    row = Row(work, volumes[0].syntax, workers, frames, "frames")
    steps = Preprocessor(size=SIZE, components=False, volume_handler=handler)
    output = folder / "preprocessed"
    central = handler.name == "central-slice"

    def clean() -> None:
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        for path in paths:
            warm(path)
        touch_memory(volumes[0].nbytes)

    def ours() -> None:
        for outcome in run(paths, output, Task(steps, "packbits"), threads=workers):
            assert outcome.state == "done", outcome.error

    def theirs() -> None:
        for number, path in enumerate(paths):
            script(path, output / f"{number}.tiff", central)

    def in_processes() -> None:
        targets = [output / f"{number}.tiff" for number in range(len(paths))]
        list(pool.map(script, paths, targets, [central] * len(paths)))

    streams = [
        compressed_frames(path)[n]
        for path, volume in zip(paths, volumes, strict=True)
        for n in handler.wanted(volume.frames)
    ]

    clean()
    with ProcessPoolExecutor(workers) as pool:
        contestants: dict[str, Callable[[], None]] = {
            "regionio": ours,
            "pydicom + pillow": theirs,
            "pydicom + pillow in processes": in_processes,
        }
        floor = decoding(streams, volumes[0], workers)
        return compare(row, contestants, rounds, floor, clean)


def decoding(streams: list[bytes], volume: DicomVolume, workers: int) -> Callable[[], None]:
    """Return what decodes frames in threads, and does nothing else."""
    decode = DECODE[volume.syntax]

    def work(part: range) -> None:
        out = np.empty((ROWS, COLUMNS), np.uint16)
        for number in part:
            rows = volume.rows - number if volume.frames == 1 else volume.rows
            decode(streams[number], out[:rows])

    return lambda: in_threads(work, len(streams), workers)


def peak_memory(volumes: list[DicomVolume], folder: Path, workers: int) -> dict[str, float]:
    """Return the most MB in use while a folder of volumes is preprocessed, and what was expected."""
    paths = [volume.path(folder / "dicom") for volume in volumes]
    output = folder / "preprocessed"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    process, done, most = psutil.Process(), threading.Event(), 0

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, process.memory_info().rss)

    before = process.memory_info().rss
    watcher = threading.Thread(target=watch)
    watcher.start()
    steps = Preprocessor(size=SIZE, components=False)
    list(run(paths, output, Task(steps, "packbits"), threads=workers))
    done.set()
    watcher.join()
    volume = volumes[0]
    results = volume.frames * SIZE[0] * SIZE[1] * 2
    each = volume.nbytes + 2 * results + 2 * volume.rows * volume.columns * 4
    return {
        "regionio": (most - before) / MEGABYTE,
        "threads × (frames + 2 × results + 2 frames of floats)": workers * each / MEGABYTE,
    }


LAYOUTS: dict[str, dict[str, Any]] = {
    "strips of 1 row": {"rowsperstrip": 1},
    "strips of 256 KiB": {},
    "one strip": {"rowsperstrip": SIZE[1]},
    "tiles of 256²": {"tile": (256, 256)},
}


def tiff_of(volume: DicomVolume, folder: Path, compressor: Compressor, layout: str) -> Path:
    """Return a TIFF of the preprocessed frames of a volume."""
    path = folder / "preprocessed-frames" / f"{compressor}-{layout.replace(' ', '-')}.tiff"
    if path.exists():
        return path
    path.parent.mkdir(exist_ok=True)
    steps = Preprocessor(size=SIZE, components=False)
    if layout == "strips of 256 KiB":
        source = volume.path(folder / "dicom")
        [outcome] = run([source], path, Task(steps, compressor))
        assert outcome.state == "done", outcome.error
        return path
    pixels = steps.process(read_frames(volume.path(folder / "dicom"), Keep()).frames).pixels
    predictor = 2 if compressor in {"lzw", "deflate", "zstd"} else None
    tifffile.imwrite(
        path, pixels[..., 0], photometric="minisblack", metadata=None, predictor=predictor,
        compression=None if compressor == "uncompressed" else compressor, **LAYOUTS[layout],
    )  # fmt: skip
    return path


def single_frames(path: Path, what: str, *, random: bool, rounds: int) -> Row:
    """Compare reading frames one at a time, each from a file that is opened for it."""
    order = np.arange(READ_FRAMES) % 64
    if random:
        order = np.random.default_rng(1).integers(0, 64, READ_FRAMES)
    megabytes = path.stat().st_size / MEGABYTE
    row = Row(
        f"{'random' if random else 'sequential'} frames, {what}", f"{megabytes:.1f} MB", 1,
        READ_FRAMES, "frames",
    )  # fmt: skip

    def ours() -> None:
        for number in order.tolist():
            with regionio.open(path) as image:
                assert one_frame(image, number).shape[-2:] == SIZE[::-1]

    def by_tifffile() -> None:
        for number in order.tolist():
            assert tifffile.imread(path, key=number).shape == SIZE[::-1]

    contestants = {"regionio": ours, "tifffile": by_tifffile}
    return compare(row, contestants, rounds, prepare=lambda: warm(path))


def one_frame(image: regionio.Image, number: int) -> regionio.Region:
    """Return a frame of a TIFF: regionio's are volumes, others have focal planes."""
    if image.is_volume:
        return image.read_region((0, 0, number), SIZE, num_workers=0)
    return image.read_region(z=number, num_workers=0)


def batches_of_frames(path: Path, what: str, workers: int, rounds: int) -> Row:
    """Compare reading batches of random frames from a file that stays open."""
    order = np.random.default_rng(2).integers(0, 64, READ_FRAMES)
    locations = np.column_stack([np.zeros((READ_FRAMES, 2), np.int64), order])
    size = f"{path.stat().st_size / MEGABYTE:.1f} MB"
    row = Row(
        f"random frames, batches of {FRAMES_A_BATCH}, {what}", size, workers, READ_FRAMES, "frames"
    )
    image = regionio.open(path)

    def ours() -> None:
        loader = image.read_region(locations, SIZE, batch_size=FRAMES_A_BATCH, num_workers=workers)
        assert sum(len(batch) for batch in loader) == READ_FRAMES

    def by_tifffile() -> None:
        for start in range(0, READ_FRAMES, FRAMES_A_BATCH):
            wanted = order[start : start + FRAMES_A_BATCH].tolist()
            found = tifffile.imread(path, key=wanted, maxworkers=workers)
            assert found.shape == (FRAMES_A_BATCH, *SIZE[::-1])

    contestants = {"regionio": ours, "tifffile": by_tifffile}
    return compare(row, contestants, rounds, prepare=lambda: warm(path))


def preprocess_rows(folder: Path, workers: int, rounds: int) -> list[Row]:
    """Return the rows of folders of DICOM files."""
    few = max(3, rounds // 2)
    rows = []
    for syntax, volumes in VOLUMES.items():
        rows.append(folder_of(volumes, Keep(), folder, workers, few))
        rows.append(folder_of(volumes, CentralSlice(), folder, workers, few))
        rows.append(folder_of(MAMMOGRAMS[syntax], Keep(), folder, workers, few))
    return rows


def frame_rows(folder: Path, workers: int, rounds: int) -> list[Row]:
    """Return the rows of single frames of preprocessed volumes."""
    volume = VOLUMES["jpeg-lossless"][0]
    rows = []
    for compressor in BY_BYTES:
        for layout in LAYOUTS:
            path = tiff_of(volume, folder, compressor, layout)
            rows.append(single_frames(path, f"{compressor}, {layout}", random=True, rounds=rounds))
    for compressor in WAVELETS:
        path = tiff_of(volume, folder, compressor, "strips of 256 KiB")
        rows.append(single_frames(path, f"{compressor}, one strip", random=True, rounds=rounds))
    for compressor in (BY_BYTES[1], BY_BYTES[-1]):
        path = tiff_of(volume, folder, compressor, "strips of 256 KiB")
        what = f"{compressor}, strips of 256 KiB"
        rows.append(single_frames(path, what, random=False, rounds=rounds))
        rows.append(batches_of_frames(path, what, workers, rounds))
    return rows


def memory_of_volumes(folder: Path, workers: int) -> dict[str, float]:
    """Return the peak of preprocessing volumes that decode fast."""
    return peak_memory(VOLUMES["jpeg-lossless"], folder, workers)
