"""DICOM in the memory of a GPU: an uncompressed volume, colour frames, mammograms."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import pixel_array

import regionio
from benchmarks.cuda_kvikio import RunReader
from benchmarks.cuda_measure import (
    CudaRow,
    Job,
    Scale,
    compare_on_gpu,
    copied,
    cupy,
    reason_of,
    whole_image,
)
from benchmarks.cuda_nvimgcodec import PLUGIN, BareDecoder, nvimgcodec
from benchmarks.dicom_elements import compressed_frames, frame_ranges, header, uid, write_frames
from benchmarks.dicom_volumes import DicomVolume, pictures, source_of_pixels
from benchmarks.measure import UnableError, library

CINE = "examples_ybr_color.dcm"
"""30 frames of 240×320, JPEG baseline, YBR_FULL_422; it comes with pydicom."""

SIZES = (2500, 2000), (4096, 3328)
"""Rows and columns of mammograms."""

TIMES = {"jpeg-lossless": 2, "htj2k": 4, "j2k": 1}
"""Of each syntax, how many times as many frames: the sooner they are decoded, the more."""

BATCH = 32


def jobs(folder: Path, workers: int, rounds: int, scale: Scale) -> dict[str, Job]:
    """Return what measures each row."""
    home = folder / "dicom"
    volume = DicomVolume("native", scale.slices, 1024, 1024)
    mammograms = [
        DicomVolume(syntax, times * scale.mammograms, *size)
        for syntax, times in TIMES.items()
        for size in SIZES
    ]
    short = Path(str(get_testdata_file(CINE, download=False)))
    return {
        "open + whole volume": partial(whole, volume, home, workers, rounds, opened=False),
        "whole volume": partial(whole, volume, home, workers, rounds, opened=True),
        "cine frames": partial(colour_frames, lambda: short, workers, rounds),
        "colour frames": partial(
            colour_frames, partial(repeated_cine, short, home, scale.cine), workers, rounds
        ),
        **{
            f"mammograms {each.name}": partial(frames_in_batches, each, home, workers, rounds)
            for each in mammograms
        },
    }


def opened_anew(path: Path) -> regionio.Image:
    """Return an image whose index was not in memory."""
    from regionio import _opened

    _opened.indexes.clear()
    return regionio.open(path)


def whole(volume: DicomVolume, home: Path, workers: int, rounds: int, *, opened: bool) -> CudaRow:
    """Compare reading an uncompressed volume, opened before or from its path."""
    path = volume.path(home)
    work = "whole volume" if opened else "open + whole volume"
    row = CudaRow(work, volume.name, workers, volume.nbytes / 1e6, "MB")
    row.goals = {"pydicom + copy": 4, "kvikio": 0.8}
    before = regionio.open(path)

    def ours(device: str) -> Any:
        image = before if opened else opened_anew(path)
        return image.read_region(num_workers=workers, device=device)

    begin = path.stat().st_size - volume.nbytes  # pixels are what the file ends with
    reader = RunReader(path, np.array([[begin, begin + volume.nbytes]]))

    def kvikio() -> object:
        memory = reader.read(volume.nbytes)
        row.note_form("kvikio", reader.form, reader.rates)
        return memory

    found = cupy().asnumpy(whole_image(row, before, workers))
    np.testing.assert_array_equal(found, pixel_array(path))
    row.note("pixels equal pydicom's")
    contestants = {
        "regionio": lambda: ours("cuda"),
        "pydicom + copy": lambda: copied(pydicom.dcmread(path).pixel_array),
        "kvikio": kvikio,
        "regionio cpu + copy": lambda: copied(ours("cpu")),
    }
    return compare_on_gpu(row, contestants, rounds, path, int(2.2 * volume.nbytes))


def repeated_cine(source: Path, home: Path, times: int) -> Path:
    """Return a file of the cine's frames, several times and without their times."""
    path = home / f"cine-{times}.dcm"
    if path.exists():
        return path
    attributes = pydicom.dcmread(source)
    frames = compressed_frames(source)
    order = np.arange(len(frames) * times) % len(frames)
    syntax = str(attributes.file_meta.TransferSyntaxUID)
    for keyword in ("PixelData", "FrameIncrementPointer", "FrameTime", "FrameTimeVector"):
        if keyword in attributes:
            delattr(attributes, keyword)
    attributes.NumberOfFrames = len(order)
    attributes.SOPInstanceUID = uid(path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(header(attributes, syntax))
        write_frames(file, frames, order, "basic")
    part.rename(path)
    return path


def colour_frames(written: Callable[[], Path], workers: int, rounds: int) -> CudaRow:
    """Compare reading all JPEG frames of a file, from its path.

    Of frames that follow each other in time, regionio reads one a call.
    """
    path = written()
    frames = compressed_frames(path)
    first = pydicom.dcmread(path, stop_before_pixels=True)
    shape = int(first.Rows), int(first.Columns), int(first.SamplesPerPixel)
    row = CudaRow("open + all colour frames", path.stem, workers, len(frames), "frames")
    row.goals = {"pydicom + copy": 20, "pydicom by nvimgcodec": 10, "nvimgcodec": 0.9}
    row.tiles_decoded, row.bytes_read = len(frames), sum(map(len, frames))

    def ours(device: str) -> list[Any]:
        image = opened_anew(path)
        if image.is_volume:
            return [image.read_region(num_workers=workers, device=device).array]
        every = slice(None)
        return [image.read_region(t=every, num_workers=workers, device=device).array]

    @cache
    def bare() -> BareDecoder:
        return BareDecoder(frames, shape, "SRGB", [len(frames)])

    def alone() -> object:
        pixels = pydicom.dcmread(path).PixelData
        return bare().decode_streams(list(generate_frames(pixels, number_of_frames=len(frames))))

    found = np.concatenate([cupy().asnumpy(part).reshape(-1, *shape) for part in ours("cuda")])
    difference = np.abs(found.astype(np.int16) - pydicom.dcmread(path).pixel_array).max()
    row.note(f"pixels within {difference} of pydicom's")
    contestants = {
        "regionio": lambda: ours("cuda"),
        "nvimgcodec": alone,
        "pydicom by nvimgcodec": lambda: copied(by_plugin(path)),
        "pydicom + copy": lambda: copied(pydicom.dcmread(path).pixel_array),
        "regionio cpu + copy": lambda: [copied(part) for part in ours("cpu")],
    }
    return compare_on_gpu(row, contestants, rounds, path)


def by_plugin(path: Path) -> np.ndarray:
    """Return all frames as pydicom has them with nvImageCodec's own plugin."""
    nvimgcodec()
    plugin = library(PLUGIN)
    if not plugin.register():
        msg = "nvImageCodec's plugin for pydicom could not be registered"
        raise UnableError(msg)
    try:
        return pixel_array(path, decoding_plugin=plugin.NVIMGCODEC_PLUGIN_LABEL)
    finally:
        plugin.unregister()  # pydicom itself is to go without it


def frames_in_batches(volume: DicomVolume, home: Path, workers: int, rounds: int) -> CudaRow:
    """Compare reading the frames of a mammography file in batches."""
    path = volume.path(home)
    row = CudaRow(f"frames, batch {BATCH}", volume.name, workers, volume.frames, "frames")
    image = regionio.open(path)
    locations = np.zeros((volume.frames, 3), np.int64)
    locations[:, 2] = np.arange(volume.frames)
    size = volume.columns, volume.rows

    def batches(device: str) -> Any:
        return image.read_region(
            locations, size, batch_size=BATCH, num_workers=workers, device=device
        )

    def ours() -> None:
        loader = batches("cuda")
        assert sum(len(batch) for batch in loader) == volume.frames
        row.note_stats(loader.stats)

    def by_cpu() -> None:
        for batch in batches("cpu"):
            copied(batch)

    distinct = np.stack(pictures(volume.rows, volume.columns))
    expected = distinct[np.arange(min(BATCH, volume.frames)) % len(distinct)]

    @cache
    def bare() -> BareDecoder:
        return bare_decoder(compressed_frames(path), expected)

    def alone() -> object:
        found = bare().fastest(volume.frames)
        row.note_form("nvimgcodec", bare().form, bare().rates)
        return found

    ranges = frame_ranges(path)

    def read_and_decode() -> object:
        return bare().decode_file(path, ranges, BATCH, workers)

    with batches("cuda") as loader:
        found = cupy().asnumpy(next(loader).array)
    np.testing.assert_array_equal(found, expected)
    same = pydicoms_pixels(path, expected[0])
    row.note(f"pixels are of {source_of_pixels()}, and equal what was compressed, {same}")
    contestants = {
        "regionio": ours,
        "nvimgcodec": alone,
        "nvimgcodec, reading too": read_and_decode,
        "regionio cpu + copy": by_cpu,
    }
    return compare_on_gpu(row, contestants, rounds, path, int(1.1 * volume.nbytes))


def pydicoms_pixels(path: Path, expected: np.ndarray) -> str:
    """Return whether pydicom's first frame is the same."""
    try:
        found = pixel_array(path, index=0, raw=True)
    except Exception as error:  # noqa: BLE001  whatever a plugin raises
        return f"and pydicom can't decode them here ({reason_of(error)})"
    np.testing.assert_array_equal(found, expected)
    return "and pydicom's"


def bare_decoder(frames: list[bytes], expected: np.ndarray) -> BareDecoder:
    """Return nvImageCodec with the colours for which it gives the right pixels.

    Raises
    ------
    UnableError
        It gives others, or none.
    """
    shape = (*expected.shape[1:], 1)
    reasons = []
    for color in ("GRAY", "UNCHANGED"):
        decoder = BareDecoder(frames, shape, color, [BATCH], ["CodeStreams"], "uint16")
        try:
            found = decoder.arrays(decoder.decode(len(expected), len(expected)))
            np.testing.assert_array_equal(found.reshape(expected.shape), expected)
        except (UnableError, AssertionError, RuntimeError, ValueError) as error:
            reasons.append(f"{color}: {reason_of(error)}")
            decoder.close()
            continue
        return decoder
    raise UnableError("; ".join(reasons))
