"""The original's ways, by what is known of them: its one golden case, and its definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import tifffile
from typer.testing import CliRunner

from regionio import UnsupportedFormatError
from regionio.cli.app import app
from regionio.preprocess.compat import (
    OriginalInterpolate,
    OriginalPreprocessor,
    read_frames_as_original,
    write_tiff_as_original,
)
from regionio.preprocess.run import Task, run
from regionio.preprocess.source import read_frames
from regionio.preprocess.volumes import CentralSlice, Keep
from tests.dicom_files import by_pydicom
from tests.preprocess.test_tiff import only, sample, volume


def tags_of(path: Path) -> dict[int, Any]:
    with tifffile.TiffFile(path) as file:
        return {tag.code: tag.value for tag in file.pages.first.tags}


def test_the_golden_case(tmp_path: Path) -> None:
    target = tmp_path / "ct.tiff"
    arguments = [
        "preprocess",
        str(sample("CT_small.dcm")),
        str(target),
        "--size",
        "64,64",
        "--crop",
    ]
    assert CliRunner().invoke(app, [*arguments, "--compat"]).exit_code == 0
    tags = tags_of(target)
    assert tags[50829] == (0, 0, 0, 0)
    assert tags[50719] == (64, 64)
    assert tags[50720] == (128, 128)
    assert tags[50718] == (0.5, 0.5)
    assert (tags[282], tags[283], tags[296]) == ((7, 1), (7, 1), 3)
    assert bytes(tags[305]).startswith(b"dicom-preprocessing==")
    assert tags[278] == 1
    assert tags[65000] == (128, 128, 0, 0)
    again = CliRunner().invoke(app, [*arguments, "--compat"])
    assert again.stdout == "0 done, 1 skipped, 0 failed, of 1\n"


def test_each_frame_has_its_own_range(tmp_path: Path) -> None:
    path = volume(tmp_path / "v.dcm")
    whole = by_pydicom(pydicom.dcmread(path))[..., 0].astype(np.float64)
    found = read_frames_as_original(path, Keep()).frames.pixels[..., 0]
    for frame, stored in zip(found, whole, strict=True):
        share = (stored - stored.min()) / (stored.max() - stored.min())
        np.testing.assert_array_equal(frame, np.floor(share * 65535))
    one = read_frames_as_original(path, CentralSlice()).frames.pixels[..., 0]
    np.testing.assert_array_equal(one[0], found[2])


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_rounded_down(tmp_path: Path, function: str) -> None:
    path = volume(
        tmp_path / "v.dcm", WindowCenter=500.0, WindowWidth=300.0, VOILUTFunction=function
    )
    stored = by_pydicom(pydicom.dcmread(path))[..., 0].astype(np.float64)
    share = {
        "LINEAR": (stored - 499.5) / 299 + 0.5,
        "LINEAR_EXACT": (stored - 500) / 300 + 0.5,
        "SIGMOID": 1 / (1 + np.exp(-4 * (stored - 500) / 300)),
    }[function]
    expected = np.floor(share.clip(0, 1) * 65535)
    found = read_frames_as_original(path, Keep()).frames.pixels[..., 0]
    np.testing.assert_array_equal(found, expected)
    own = read_frames_as_original(path, Keep(), (500, 300)).frames.pixels[..., 0]
    np.testing.assert_array_equal(own, np.floor(((stored - 499.5) / 299 + 0.5).clip(0, 1) * 65535))


def test_frames_in_between_are_rounded_down(tmp_path: Path) -> None:
    frames = np.array([[[1]], [[2]]], np.uint8)
    assert OriginalInterpolate(4)(frames)[:, 0, 0].tolist() == [1, 1, 1, 2]
    path = volume(tmp_path / "v.dcm")
    steps = OriginalPreprocessor(size=(40, 60), volume_handler=OriginalInterpolate(9))
    task = Task(steps, "lzw", None, "cpu", read_frames_as_original, write_tiff_as_original)
    only(run([path], tmp_path / "v.tiff", task))
    assert tifffile.imread(tmp_path / "v.tiff").shape == (9, 60, 40)
    assert tags_of(tmp_path / "v.tiff")[297] == (0, 9)


def test_what_the_original_does_not_write(tmp_path: Path) -> None:
    for name, compressor in (("SC_rgb_16bit.dcm", "lzw"), ("CT_small.dcm", "zstd")):
        found = read_frames_as_original(sample(name), Keep())
        made = OriginalPreprocessor().process(found.frames)
        nothing: Any = None
        with pytest.raises(UnsupportedFormatError, match="the original"):
            write_tiff_as_original(tmp_path / "x.tiff", made, nothing, compressor)  # type: ignore[arg-type]


def test_every_frame_has_its_own_window(tmp_path: Path) -> None:
    path = volume(tmp_path / "v.dcm")
    dataset = pydicom.dcmread(path)
    groups = []
    windows = [(500.0, 300.0), (700.0, 100.0)]
    for number in range(5):
        group, lut = pydicom.Dataset(), pydicom.Dataset()
        lut.WindowCenter, lut.WindowWidth = windows[number % 2]
        group.FrameVOILUTSequence = [lut]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.SOPClassUID = pydicom.uid.EnhancedCTImageStorage
    dataset.save_as(path)
    exact = read_frames(path, Keep()).frames.pixels.astype(int)
    found = read_frames_as_original(path, Keep()).frames.pixels.astype(int)
    assert np.abs(found - exact).max() == 1
    assert provenance_windows(path) == tuple((*one, "LINEAR") for one in windows)
    one = read_frames_as_original(path, CentralSlice()).frames.pixels
    np.testing.assert_array_equal(one[0], found[2])


def provenance_windows(path: Path) -> Any:
    return read_frames(path, Keep()).origin.windows
