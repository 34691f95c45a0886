"""``regionio preprocess`` as a user runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from regionio.cli.app import app
from regionio.preprocess import LaplacianMip
from regionio.preprocess.compat import OriginalLaplacianMip, read_frames_as_original
from regionio.preprocess.source import read_frames
from tests.preprocess.test_tiff import volume

runner = CliRunner()


def run(*arguments: object) -> tuple[int, str, str]:
    result = runner.invoke(app, ["preprocess", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    folder.mkdir()
    for number in range(3):
        volume(folder / f"{number}.dcm", SOPInstanceUID=f"1.2.3.4.{number}")
    return folder


def test_a_folder(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    options = ("--crop", "--size", "48,32", "-z", "lzw", "-v", "central-slice", "-p", "center")
    code, text, errors = run(study, out, *options)
    assert (code, text, errors) == (0, "3 done, 0 skipped, 0 failed, of 3\n", "")
    [first, *_] = sorted(out.rglob("*.tiff"))
    assert first.relative_to(out) == Path("1.2.3/1.2.3.4/1.2.3.4.0.tiff")
    with tifffile.TiffFile(first) as file:
        assert file.pages.first.shape == (32, 48)
        assert file.pages.first.compression == 5
        assert len(file.pages) == 1
    assert run(study, out, *options)[1] == "0 done, 3 skipped, 0 failed, of 3\n"


def test_failures_are_told_and_the_rest_goes_on(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (study / "broken.dcm").write_bytes(b"nothing")
    volume(study / "copy.dcm", SOPInstanceUID="1.2.3.4.1")
    code, text, errors = run(study, out)
    assert code == 1
    assert text == "3 done, 0 skipped, 2 failed, of 5\n"
    assert len(errors.splitlines()) == 2
    assert "broken.dcm" in errors
    assert "it has the UIDs of" in errors


def test_one_file(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.tiff"
    assert run(study / "0.dcm", out, "--spacing", "0.4,0.4")[0] == 0
    with tifffile.TiffFile(out) as file:
        assert file.pages.first.shape == (15, 40)
        assert file.pages.first.compression == 32773
    (tmp_path / "other.tiff").write_bytes(b"mine")
    code, _, errors = run(study / "0.dcm", tmp_path / "other.tiff")
    assert code == 1
    assert "damaged or not made by this" in errors
    assert (tmp_path / "other.tiff").read_bytes() == b"mine"


@pytest.mark.parametrize("compat", [(), ("--compat",)])
def test_a_mammogram_of_frames(study: Path, tmp_path: Path, compat: tuple[str, ...]) -> None:
    out = tmp_path / "mip.tiff"
    options = ("-v", "laplacian-mip", "--skip-frames", "1", "--mip-weight", "0.5", *compat)
    assert run(study / "0.dcm", out, *options)[0] == 0
    make = OriginalLaplacianMip if compat else LaplacianMip
    read = read_frames_as_original if compat else read_frames
    handler = make(0.5, 1)
    [expected] = handler(read(study / "0.dcm", handler).frames.pixels)
    np.testing.assert_array_equal(tifffile.imread(out), expected[..., 0])
    code, _, errors = run(study / "0.dcm", tmp_path / "none.tiff", "-v", "laplacian-mip")
    assert code == 1
    assert "of 5 frames, none is left" in errors


WRONG = {
    "is not 2 whole numbers": ("--size", "5"),
    "say the same thing twice": ("--size", "5,5", "--spacing", "1,1"),
    "is not 2 or 3 numbers": ("--spacing", "1"),
    "is not one of 'triangle'": ("--filter", "cubic"),
    "less than 0.5": ("--crop", "--border-frac", "0.7"),
    "is not 2 numbers": ("--window", "wide"),
    "width has to be more than 0": ("--window", "40,0"),
    "is not cpu, cuda or cuda:1": ("--device", "gpu7"),
    "give --crop, too": ("--no-components",),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_options(study: Path, tmp_path: Path, message: str) -> None:
    code, _, errors = run(study, tmp_path, *WRONG[message])
    assert code == 2
    assert run(study / "0.dcm", tmp_path / "x.png")[0] == 2
    assert message in " ".join(errors.replace("│", " ").split())


def test_wrong_places(study: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, message in (
        ((tmp_path / "nothing", empty), "no such file or folder"),
        ((empty, empty), "holds no DICOM file"),
        ((study, tmp_path / "missing"), "has to be a folder that is there"),
        ((study / "0.dcm", tmp_path / "missing/x.tiff"), "there is no folder"),
    ):
        code, _, errors = run(*arguments)
        assert code == 2
        assert message in " ".join(errors.replace("│", " ").split())
