"""Every DICOM file of the wider set, with every option: either a TIFF that is right, or an error."""

from __future__ import annotations

import warnings
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import apply_color_lut

import regionio
from regionio import RegionIOError
from regionio.preprocess import (
    CentralSlice,
    Interpolate,
    Keep,
    LaplacianMip,
    MaxIntensity,
    Preprocessor,
    VolumeHandler,
)
from regionio.preprocess.compat import (
    OriginalPreprocessor,
    read_frames_as_original,
    write_tiff_as_original,
)
from regionio.preprocess.files import by_series, find_dicom
from regionio.preprocess.kernels import FILTERS
from regionio.preprocess.padding import PADDINGS
from regionio.preprocess.run import Task, run
from regionio.preprocess.source import read_frames
from regionio.preprocess.tiff import COMPRESSORS, provenance_of
from tests.preprocess.test_tiff import only

HANDLERS: list[VolumeHandler] = [
    Keep(), CentralSlice(), MaxIntensity(), Interpolate(5), LaplacianMip(skip_frames=0),
]  # fmt: skip
OPTIONS = list(product(HANDLERS, FILTERS, PADDINGS, COMPRESSORS))


def files_of(wider_data: Path) -> list[Path]:
    """Return the DICOM files of the wider set, and those that come with pydicom."""
    pydicoms = Path(pydicom.__file__).parent / "data" / "test_files"
    return [*find_dicom(wider_data), *find_dicom(pydicoms)]


@pytest.mark.filterwarnings("ignore")
def test_every_file(wider_data: Path, tmp_path: Path) -> None:
    states: Counter[str] = Counter()
    for number, path in enumerate(files_of(wider_data)):
        handler, kind, padding, compressor = OPTIONS[(number * 37) % len(OPTIONS)]
        steps = Preprocessor(
            size=(60, 44), filter=kind, padding=padding, volume_handler=handler,
            components=number % 2 == 0, border_frac=0.1 if number % 3 == 0 else None,
        )  # fmt: skip
        target = tmp_path / f"{number}.tiff"
        [outcome] = run([path], target, Task(steps, compressor))
        states[outcome.state] += 1
        if outcome.error is None:
            check(target, path, steps)
        else:
            assert isinstance(outcome.error, RegionIOError | ValueError), outcome.error
            assert not target.exists()
    assert states["done"] > 100
    assert not [*tmp_path.glob(".*")]


def check(target: Path, path: Path, steps: Preprocessor) -> None:
    """Check a TIFF: its pixels, its tags, what it says of its origin, and the way back."""
    source = read_frames(path, steps.volume_handler)
    made = steps.process(source.frames)
    pages = tifffile.imread(target).reshape(made.pixels.shape)
    np.testing.assert_array_equal(pages, made.pixels)
    assert made.pixels.shape[1:3] == (44, 60)
    found = provenance_of(target)
    assert found.transform == made.transform
    assert found.origin.paths == (str(path),)
    assert found.origin.frame_count >= len(found.origin.frames) >= 1
    corners = np.array([[0, 0], [60, 44]])
    np.testing.assert_allclose(
        found.transform.to_output(found.transform.to_source(corners)), corners, atol=1e-9
    )
    with tifffile.TiffFile(target) as file:
        tags: Any = file.pages.first.tags
        crop = found.transform.crop
        assert tags[50719].value == (crop.left, crop.top)
        assert tags[50720].value == (crop.width, crop.height)
        top, left, bottom, right = tags[50829].value
        assert (right - left, bottom - top) == found.transform.size
    with regionio.open(target) as image:
        assert image.is_volume == (len(pages) > 1)
        place = (0, 0, len(pages) - 1) if image.is_volume else (0, 0)
        last = image.read_region(place, image.size("XY"))
    np.testing.assert_array_equal(np.asarray(last).reshape(pages.shape[1:]), pages[-1])


@pytest.mark.filterwarnings("ignore")
def test_every_file_as_the_original(wider_data: Path, tmp_path: Path) -> None:
    states: Counter[str] = Counter()
    steps = OriginalPreprocessor(size=(60, 44), volume_handler=CentralSlice())
    task = Task(steps, "packbits", None, "cpu", read_frames_as_original, write_tiff_as_original)
    for number, path in enumerate(files_of(wider_data)):
        [outcome] = run([path], tmp_path / f"{number}.tiff", task)
        states[outcome.state] += 1
        if outcome.error is None:
            assert tifffile.imread(tmp_path / f"{number}.tiff").shape[:2] == (44, 60)
        else:
            assert isinstance(outcome.error, RegionIOError | ValueError), outcome.error
    assert states["done"] > 100


def test_every_series(wider_data: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        together = [s for s in by_series(find_dicom(wider_data)) if len(s.files) > 1]
        assert together
        outcomes = list(run(together, tmp_path, Task(Preprocessor(crop=False))))
        assert sum(outcome.state == "done" for outcome in outcomes) > len(outcomes) // 2
        for outcome in outcomes:
            assert outcome.result is None or provenance_of(outcome.result).origin.frame_count > 1
            assert outcome.error is None or isinstance(outcome.error, RegionIOError), outcome.error


@pytest.mark.parametrize(
    ("name", "most"),
    [("examples_ybr_color.dcm", 1), ("SC_rgb_16bit.dcm", 0), ("examples_palette.dcm", 0)],
)
def test_colours_are_those_of_pydicom(tmp_path: Path, name: str, most: int) -> None:
    path = Path(str(get_testdata_file(name)))
    outcome = only(run([path], tmp_path / "c.tiff", Task(Preprocessor(crop=False))))
    assert outcome.state == "done"
    dataset = pydicom.dcmread(path)
    expected = dataset.pixel_array
    if "PALETTE" in dataset.PhotometricInterpretation:
        expected = apply_color_lut(expected, dataset)
        expected = np.floor(expected / 257 + 0.5) if expected.dtype == np.uint16 else expected
    found = tifffile.imread(tmp_path / "c.tiff")
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= most
