"""``regionio preprocess`` and files that can't be preprocessed: told, counted, left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)
from typer.testing import CliRunner

from regionio.cli.app import app
from tests.dicom_files import ROOT, shape_of, write
from tests.preprocess.test_tiff import volume

UIDS = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4"}


def run(*arguments: object) -> tuple[int, str, list[str]]:
    result = CliRunner().invoke(app, ["preprocess", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr.splitlines()


def without_pixels(path: Path, sop_class: UID, **attributes: object) -> Path:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    for keyword, value in {**UIDS, **attributes}.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def changed(path: Path, **attributes: object) -> Path:
    dataset = pydicom.dcmread(path)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


def bad_files(folder: Path) -> dict[str, str]:
    """Write files that can't be preprocessed; return what is said of each."""
    folder.mkdir()
    (folder / "nothing.dcm").write_bytes(b"")
    (folder / "text.dcm").write_bytes(b"no DICOM at all, but some text that goes on for a while")
    without_pixels(folder / "pdf.dcm", EncapsulatedPDFStorage, EncapsulatedDocument=b"%PDF-1.7\n",
                   MIMETypeOfEncapsulatedDocument="application/pdf")  # fmt: skip
    without_pixels(folder / "report.dcm", BasicTextSRStorage, Modality="SR")
    without_pixels(folder / "empty.dcm", CTImageStorage, Modality="CT")
    changed(volume(folder / "frameless.dcm", SOPInstanceUID="1.2.3.4.1"), NumberOfFrames=0)
    changed(volume(folder / "huge.dcm", SOPInstanceUID="1.2.3.4.2"), Rows=65535, Columns=65535)
    black = np.zeros((1, 60, 80, 1), np.uint16)
    write(folder / "black.dcm", ROOT + ".1", black.tobytes(), **shape_of(black, 10), **UIDS,
          SOPInstanceUID="1.2.3.4.3")  # fmt: skip
    whole = volume(folder / "cut.dcm", SOPInstanceUID="1.2.3.4.4")
    whole.write_bytes(whole.read_bytes()[:-30000])
    nameless = volume(folder / "nameless.dcm")
    changed(nameless, StudyInstanceUID="")
    return {
        "nothing.dcm": "is empty (0 bytes)",
        "text.dcm": "is no TIFF or DICOM file",
        "pdf.dcm": "Encapsulated PDF",
        "report.dcm": "Basic Text SR",
        "empty.dcm": "pixel",
        "frameless.dcm": "frames",
        "huge.dcm": "bytes",
        "black.dcm": "nothing but background",
        "cut.dcm": "bytes",
        "nameless.dcm": "no UIDs to name its result by",
    }


@pytest.mark.parametrize("compat", [(), ("--compat",)])
def test_bad_files_do_not_stop_the_others(tmp_path: Path, compat: tuple[str, ...]) -> None:
    said = bad_files(tmp_path / "in")
    good = [f"1.2.3.5.{number}" for number in range(2)]
    for uid in good:
        volume(tmp_path / "in" / f"good{uid}.dcm", SOPInstanceUID=uid)
    if compat:  # the crop of a blank picture is all of it
        del said["black.dcm"]
        good.append("1.2.3.4.3")
    out = tmp_path / "out"
    out.mkdir()
    code, text, errors = run(tmp_path / "in", out, "--crop", *compat)
    assert code == 1
    assert text == f"{len(good)} done, 0 skipped, {len(said)} failed, of {len(said) + len(good)}\n"
    for name, message in said.items():
        [line] = [line for line in errors if name in line]
        assert message.lower() in line.lower(), line
    written = [path.name for path in out.rglob("*") if path.is_file()]
    assert sorted(written) == sorted(f"{uid}.tiff" for uid in good)


def test_the_first_failure_stops_where_it_is_strict(tmp_path: Path) -> None:
    bad_files(tmp_path / "in")
    out = tmp_path / "out"
    out.mkdir()
    code, text, errors = run(tmp_path / "in", out, "--strict", "--threads", "1")
    assert code == 1
    assert text.startswith("0 done, 0 skipped, 1 failed")
    assert len(errors) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "100000,100000"), "more than 1073741824 pixels"),
        (("--spacing", "0.000001,0.000001"), "more than 1073741824 pixels"),
        (("--spacing", "0.1,0.1,0.5"), "spacing along z"),
    ],
)
def test_absurd_sizes(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    path = volume(tmp_path / "v.dcm")
    code, _, errors = run(path, tmp_path / "v.tiff", *options)
    assert code in (1, 2)
    assert message in " ".join(" ".join(errors).replace("│", " ").split())
    assert [file.name for file in tmp_path.iterdir()] == ["v.dcm"]


def test_lists_with_what_is_no_file(tmp_path: Path) -> None:
    volume(tmp_path / "v.dcm", SOPInstanceUID="1.2.3.4.5")
    (tmp_path / "folder").mkdir()
    (tmp_path / "list.txt").write_text("v.dcm\nmissing.dcm\nfolder\n")
    out = tmp_path / "out"
    out.mkdir()
    code, text, errors = run(tmp_path / "list.txt", out)
    assert (code, text) == (1, "1 done, 0 skipped, 2 failed, of 3\n")
    assert len(errors) == 2
    [result] = out.rglob("*.tiff")
    assert len(tifffile.imread(result)) == 5
