"""Damaged volumes: typed errors that name the file, or the pixels that pydicom finds, soon."""

from __future__ import annotations

import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

import regionio
from regionio import _opened
from tests.dicom_files import by_pydicom, noise
from tests.dicom_volumes import AXIAL, item, multi_frame, numbered, placed, slices, whole
from tests.test_dicom_frames import REFUSED_FILES, real_files

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom's, of what is damaged

PATIENCE_SECONDS = 5.0
"""A damaged file takes milliseconds on an idle machine; the test machine may be busy."""

PIXELS = noise(4, 7, 9, dtype="uint16")


def volumes() -> list[Path]:
    """Return small real volumes."""
    found = []
    for path in real_files():
        if path.name in REFUSED_FILES or "dicom_wsi" in path.parts or path.stat().st_size > 2**20:
            continue
        try:
            with warnings.catch_warnings(action="ignore"):
                header = pydicom.dcmread(path, stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:
            continue
        if "Rows" in header and int(header.get("NumberOfFrames") or 1) > 1:
            found.append(path)
    return found


def outcome(path: Path, values: Any = "stored") -> np.ndarray | None:
    """Return stored frames in stored order, None if they can't be read for a reason."""
    _opened.indexes.clear()
    begin = time.perf_counter()
    pixels = None
    try:
        image = regionio.open([path], values=values)
        pixels = whole(image)
        order = image.frame_indices
    except regionio.RegionIOError as error:
        assert str(path) in str(error)  # noqa: PT017  no error is as welcome
    except ValueError as error:
        assert "window" in str(error)  # noqa: PT017  floats have no display values without
    assert time.perf_counter() - begin < PATIENCE_SECONDS
    if pixels is None:
        return None
    assert order is not None
    stored = np.empty_like(pixels)
    stored[order] = pixels
    return stored


def header_bytes(path: Path) -> int:
    """Return how many bytes stand before the pixels."""
    with path.open("rb") as file:
        pydicom.filereader.read_partial(file, stop_when=lambda tag, *_: tag >= 0x7FE00000)
        return file.tell()


def check_cuts(path: Path, copy: Path, count: int, seed: int) -> None:
    content = path.read_bytes()
    expected = outcome(path)
    assert expected is not None
    random = np.random.default_rng(seed)
    lengths = random.integers(0, len(content), count).tolist()
    for length in [*lengths, len(content) - 1, len(content) - 9]:
        copy.write_bytes(content[:length])
        found = outcome(copy)
        if found is not None:  # what is missing was no pixel
            np.testing.assert_array_equal(found, expected)


def check_flips(path: Path, copy: Path, count: int, seed: int) -> None:
    content = path.read_bytes()
    size = header_bytes(path)
    random = np.random.default_rng(seed)
    for number in range(count):
        damaged = bytearray(content)
        for place in random.integers(132, size, random.integers(1, 4)).tolist():
            damaged[place] = int(random.integers(0, 256))
        copy.write_bytes(damaged)
        outcome(copy, ("auto", "modality", "display")[number % 3])
        found = outcome(copy)
        if found is None:
            continue
        try:
            expected = by_pydicom(pydicom.dcmread(copy, force=True))
        except Exception:  # noqa: BLE001  whatever pydicom stumbles over
            continue
        if found.shape == expected.shape:
            np.testing.assert_array_equal(found, expected, str(number))


@pytest.mark.parametrize("path", volumes(), ids=lambda path: path.name)
def test_damaged_volumes(tmp_path: Path, path: Path) -> None:
    check_cuts(path, tmp_path / "a.dcm", 12, 1)
    check_flips(path, tmp_path / "b.dcm", 25, 2)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("path", volumes(), ids=lambda path: path.name)
def test_volumes_damaged_at_length(tmp_path: Path, path: Path) -> None:
    check_cuts(path, tmp_path / "a.dcm", 300, 3)
    check_flips(path, tmp_path / "b.dcm", 2000, 4)


@pytest.mark.parametrize(
    "missing",
    ["Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation", "PhotometricInterpretation", "PixelData"],
)  # fmt: skip
def test_missing_attributes_are_named(tmp_path: Path, missing: str) -> None:
    path = multi_frame(tmp_path / "a.dcm", PIXELS, [placed(0, 0, n) for n in range(4)])
    dataset = pydicom.dcmread(path)
    del dataset[missing]
    dataset.save_as(path)
    what = "no pixels" if missing == "PixelData" else missing
    with pytest.raises(regionio.CorruptFileError, match=what):
        regionio.open(path)


@pytest.mark.parametrize(("stated", "reason"), [(5, "should have 5 frames"), (0, "NumberOfFrames is 0")])  # fmt: skip
def test_frame_counts_that_disagree(tmp_path: Path, stated: int, reason: str) -> None:
    frames = [placed(0, 0, n) for n in range(4)]
    path = multi_frame(tmp_path / "a.dcm", PIXELS, frames, NumberOfFrames=stated)
    with pytest.raises(regionio.CorruptFileError, match=reason):
        regionio.open(path)


@pytest.mark.parametrize(
    "attributes",
    [
        {"PixelSpacing": [0, 0]},
        {"PixelSpacing": "1.5"},
        {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
        {"ImageOrientationPatient": [1, 0, 0]},
        {"GridFrameOffsetVector": "7", "ImagePositionPatient": [0, 0, 0]},
        {"FrameIncrementPointer": 0x00181063, "FrameTime": ""},
        {"SharedFunctionalGroupsSequence": []},
        {"PerFrameFunctionalGroupsSequence": [item()] * 4},
    ],
)
def test_odd_geometry_is_no_geometry(tmp_path: Path, attributes: dict[str, Any]) -> None:
    path = tmp_path / "a.dcm"
    multi_frame(path, PIXELS, [{} for _ in PIXELS], orientation=None)
    dataset = pydicom.dcmread(path)
    del dataset.SharedFunctionalGroupsSequence
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    image = regionio.open(path)
    np.testing.assert_array_equal(whole(image)[..., 0], PIXELS)
    assert image.spacing("XYZ") == (None, None, None)
    assert image.affine is None


@pytest.mark.parametrize(
    "frame",
    [
        {"PlanePositionSequence": {"ImagePositionPatient": ["1", "nan", "3"]}},
        {"PlanePositionSequence": {"ImagePositionPatient": ["1e400", "2", "3"]}},
        {"PixelMeasuresSequence": {"PixelSpacing": ["-1", "2"]}},
        numbered(StackID="a\\b"),
    ],
)
def test_odd_groups_leave_pixels_as_they_are(tmp_path: Path, frame: Any) -> None:
    frames = [placed(0, 0, n) for n in range(3)] + [placed(0, 0, 3) | frame]
    image = regionio.open(multi_frame(tmp_path / "a.dcm", PIXELS, frames, orientation=AXIAL))
    np.testing.assert_array_equal(image.read_region(), PIXELS)
    assert image.affine is None or np.isfinite(image.affine).all()


def test_a_damaged_slice_is_named(tmp_path: Path) -> None:
    paths = slices(tmp_path / "s", PIXELS, [(0.0, 0.0, float(n)) for n in range(4)])
    content = paths[2].read_bytes()
    paths[2].write_bytes(content[:-20])
    with pytest.raises(regionio.CorruptFileError, match=r"slice2\.dcm"):
        regionio.open(tmp_path / "s")
    paths[2].write_bytes(content)
    image = regionio.open(tmp_path / "s")
    shutil.copy(paths[1], paths[2])
    with pytest.raises(regionio.RegionIOError, match=r"slice2\.dcm.*changed"):
        image.read_region()
