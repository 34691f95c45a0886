"""Slices of a series as one volume: one range of levels, one crop, one result."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import tifffile
from typer.testing import CliRunner

from regionio import UnsupportedFormatError
from regionio.cli.app import app
from regionio.preprocess import Preprocessor
from regionio.preprocess.compat import read_frames_as_original
from regionio.preprocess.files import by_series, find_dicom
from regionio.preprocess.source import read_frames
from regionio.preprocess.tiff import provenance_of
from regionio.preprocess.volumes import CentralSlice, Keep
from tests.dicom_files import noise
from tests.dicom_volumes import slices
from tests.preprocess.test_tiff import volume

ORDER = [4, 1, 0, 5, 3, 2]
STUDY: dict[str, Any] = {"StudyInstanceUID": "1.2.3", "Modality": "CT", "PixelSpacing": [0.5, 0.5]}


@pytest.fixture
def pixels() -> np.ndarray:
    """Return slices that are wider and wider, and brighter and brighter."""
    made = np.zeros((6, 40, 50), np.uint16)
    for number, frame in enumerate(made):
        frame[10 - number : 30, 20 : 30 + number] = 500 + 100 * number
    return made


@pytest.fixture
def folder(tmp_path: Path, pixels: np.ndarray) -> Path:
    positions = [(0.0, 0.0, 2.5 * place) for place in ORDER]
    slices(
        tmp_path / "in", pixels[ORDER], positions, SeriesInstanceUID="1.2.3.4", stored=12, **STUDY
    )
    volume(tmp_path / "in" / "dbt.dcm", SeriesInstanceUID="1.2.3.5", SOPInstanceUID="1.2.3.5.1")
    (tmp_path / "out").mkdir()
    return tmp_path / "in"


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["preprocess", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_a_series_becomes_one_tiff(folder: Path, tmp_path: Path, pixels: np.ndarray) -> None:
    out = tmp_path / "out"
    arguments = (folder, out, "--series", "--crop", "--no-components")
    assert run(*arguments) == (0, "2 done, 0 skipped, 0 failed, of 2\n", "")
    target = out / "1.2.3/1.2.3.4/series.tiff"
    assert sorted(out.rglob("*.tiff")) == [target, out / "1.2.3/1.2.3.5/1.2.3.5.1.tiff"]
    expected = np.floor(pixels[:, 5:30, 20:35] / 1000 * 65535 + 0.5)
    np.testing.assert_array_equal(tifffile.imread(target), expected)
    origin = provenance_of(target).origin
    assert [Path(path).parent for path in origin.paths] == [folder] * 6
    for place, number in enumerate(origin.frames):
        read = pydicom.dcmread(origin.paths[number])
        assert read.SOPInstanceUID == origin.instances[number]
        assert read.ImagePositionPatient[2] == 2.5 * place
    assert run(*arguments)[1] == "0 done, 2 skipped, 0 failed, of 2\n"


def test_a_slice_that_comes_later_is_noticed(folder: Path, tmp_path: Path) -> None:
    last = find_dicom(folder)[0]
    away = last.rename(tmp_path / "away")
    arguments = (folder, tmp_path / "out", "--series")
    assert run(*arguments)[0] == 0
    away.rename(last)
    code, text, errors = run(*arguments)
    assert (code, text) == (1, "0 done, 1 skipped, 1 failed, of 2\n")
    assert "was made of" in errors
    assert " and 4 more" in errors
    assert run(*arguments, "--overwrite")[1] == "2 done, 0 skipped, 0 failed, of 2\n"


def test_slices_at_a_spacing(folder: Path, tmp_path: Path) -> None:
    code, _, _ = run(folder, tmp_path / "out", "--series", "--spacing", "1,1,1.25")
    assert code == 1  # the tomosynthesis does not tell how far its slices are apart
    made = tifffile.imread(tmp_path / "out/1.2.3/1.2.3.4/series.tiff")
    assert made.shape == (11, 20, 25)


def test_only_the_central_slice_is_read(folder: Path, pixels: np.ndarray) -> None:
    [series] = [source for source in by_series(find_dicom(folder)) if len(source.files) > 1]
    assert series.path == folder
    found = read_frames(series.files, CentralSlice())
    assert len(found.frames.pixels) == 1
    np.testing.assert_array_equal(found.frames.pixels[0, ..., 0] > 0, pixels[3] > 0)


def test_as_the_original_would(folder: Path, pixels: np.ndarray) -> None:
    [series] = [source for source in by_series(find_dicom(folder)) if len(source.files) > 1]
    found = read_frames_as_original(series.files, Keep()).frames.pixels[..., 0]
    own = pixels / pixels.max(axis=(1, 2), keepdims=True)
    np.testing.assert_array_equal(found, np.floor(own * 65535))


def test_files_that_are_no_series(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormatError, match="are 2 volumes or pictures"):
        read_frames(find_dicom(folder), Keep())
    (folder / "broken.dcm").write_bytes(b"nothing")
    together = list(by_series(find_dicom(folder)))
    assert sorted(len(source.files) for source in together) == [1, 1, 6]
    other = slices(tmp_path / "other", noise(1, 20, 20, 1)[..., 0], [(0.0, 0.0, 99.0)],
                   [{"SOPInstanceUID": "1.2.99"}], SeriesInstanceUID="1.2.3.4", **STUDY)  # fmt: skip
    other[0].rename(folder / "small.dcm")
    code, _, errors = run(folder, tmp_path / "out", "--series")
    assert code == 1
    assert "they are no slices of one volume" in errors


@pytest.mark.filterwarnings("ignore:.*is a copy of")
def test_copies_are_left_out(folder: Path, tmp_path: Path, pixels: np.ndarray) -> None:
    shutil.copy(folder / "slice2.dcm", folder / "again.dcm")
    arguments = (folder, tmp_path / "out", "--series")
    assert run(*arguments)[0] == 0
    assert len(tifffile.imread(tmp_path / "out/1.2.3/1.2.3.4/series.tiff")) == len(pixels)
    assert run(*arguments)[1] == "0 done, 2 skipped, 0 failed, of 2\n"


def test_a_preprocessor_of_the_same_steps_takes_arrays(pixels: np.ndarray) -> None:
    made, transform = Preprocessor(components=False)(pixels)
    np.testing.assert_array_equal(made, pixels[:, 5:30, 20:35])
    assert transform.crop.left == 20
