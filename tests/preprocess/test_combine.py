"""TIFFs of single slices to one a series."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import regionio
from regionio.cli.app import app
from regionio.preprocess import Preprocessor
from regionio.preprocess.combine import numbers_in
from regionio.preprocess.manifest import Manifest, write_manifest
from regionio.preprocess.run import Task, run
from regionio.preprocess.tiff import COMPRESSORS, Compressor, provenance_in
from tests.dicom_files import noise
from tests.dicom_volumes import slices

NUMBERS = [12, 3, 7, 5]


@pytest.fixture
def pixels() -> np.ndarray:
    found: np.ndarray = noise(4, 33, 41, 1, dtype="uint16")[..., 0] >> 4
    return found


@pytest.fixture
def dicom(tmp_path: Path, pixels: np.ndarray) -> list[Path]:
    own = [{"InstanceNumber": number, "SOPInstanceUID": f"1.2.3.4.{number}"} for number in NUMBERS]
    places = [(0.0, 0.0, float(number)) for number in NUMBERS]
    return slices(
        tmp_path / "in", pixels, places, own, StudyInstanceUID="1.2.3",
        SeriesInstanceUID="1.2.3.4", stored=12, WindowCenter=2048.0, WindowWidth=4096.0,
    )  # fmt: skip


def combine(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["combine", *map(str, arguments)])
    return result.exit_code, result.stdout, " ".join(result.stderr.replace("│", " ").split())


def preprocessed(dicom: list[Path], out: Path, task: Task) -> Path:
    out.mkdir()
    assert {outcome.state for outcome in run(dicom, out, task)} == {"done"}
    return out


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_pages_stay_as_they_are(dicom: list[Path], tmp_path: Path, compressor: Compressor) -> None:
    task = Task(Preprocessor(size=(30, 20)), compressor)
    single = preprocessed(dicom, tmp_path / "single", task)
    (tmp_path / "whole").mkdir()
    done = (0, "1 done, 0 skipped, 0 failed, of 1 series\n", "")
    assert combine(single, tmp_path / "whole") == done
    [result] = (tmp_path / "whole").rglob("*.tiff")
    assert result.relative_to(tmp_path / "whole") == Path("1.2.3/1.2.3.4/1.2.3.4.3.tiff")
    with tifffile.TiffFile(result) as file:
        assert len(file.pages) == 4
        for place, number in enumerate(sorted(NUMBERS)):
            page = file.pages[place].aspage()
            with tifffile.TiffFile(single / f"1.2.3/1.2.3.4/1.2.3.4.{number}.tiff") as one:
                own = one.pages.first
                np.testing.assert_array_equal(page.asarray(), own.asarray())
                moved = {273, 279, 297, 324}
                assert {t.code: t.value for t in page.tags if t.code not in moved} == {
                    t.code: t.value for t in own.tags if t.code not in moved
                }
            assert page.tags[297].value == (place, 4)
            assert provenance_in(page.description, "").origin.number == number
    with regionio.open(result) as image:
        assert image.size("ZYX") == (4, 20, 30)
    again = "0 done, 1 skipped, 0 failed, of 1 series\n"
    assert combine(single, tmp_path / "whole")[1] == again
    assert combine(single, tmp_path / "whole", "--overwrite") == done


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_numbers_of_a_table(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "single/1.5/1.5.6"
    folder.mkdir(parents=True)
    for name, value in (("1.5.6.1", 7), ("1.5.6.10", 8), ("1.5.6.2", 9)):
        tifffile.imwrite(folder / f"{name}.tiff", np.full((8, 9), value, np.uint8))
    out = tmp_path / "whole"
    out.mkdir()
    code, _, errors = combine(tmp_path / "single", out)
    assert code == 1
    assert "does not say its InstanceNumber: give a table" in errors
    text = tmp_path / "numbers.csv"
    text.write_text("sop_instance_uid,instance_number\n1.5.6.1,3\n1.5.6.10,1\n1.5.6.2,2\n")
    table = text
    if suffix == ".parquet":
        import pyarrow.parquet

        from regionio.preprocess.manifest import read_table

        table = tmp_path / "numbers.parquet"
        pyarrow.parquet.write_table(read_table(text), table)
    assert combine(tmp_path / "single", out, "--numbers", table)[0] == 0
    pages = tifffile.imread(out / "1.5/1.5.6/1.5.6.10.tiff")
    assert pages[:, 0, 0].tolist() == [8, 9, 7]
    text.write_text("sop_instance_uid,number\n1.5.6.1,3\n")
    code, _, errors = combine(tmp_path / "single", out, "--numbers", text)
    assert code == 2
    assert "has no column instance_number" in errors


def test_a_manifest_is_such_a_table(dicom: list[Path], tmp_path: Path) -> None:
    single = preprocessed(dicom, tmp_path / "single", Task(Preprocessor(crop=False)))
    list(write_manifest(single, tmp_path / "m.parquet"))
    (tmp_path / "whole").mkdir()
    assert combine(single, tmp_path / "whole", "--numbers", tmp_path / "m.parquet")[0] == 0


@pytest.mark.parametrize("size", [None, (30, 20)])
def test_slices_that_were_cropped_each_for_itself_are_no_volume(
    tmp_path: Path, pixels: np.ndarray, size: tuple[int, int] | None
) -> None:
    pixels = np.where(np.arange(41) < 20, pixels, 0).astype(np.uint16)
    pixels[1, :, 18:] = 0
    own = [{"InstanceNumber": number, "SOPInstanceUID": f"1.2.3.4.{number}"} for number in NUMBERS]
    places = [(0.0, 0.0, float(number)) for number in NUMBERS]
    dicom = slices(
        tmp_path / "in", pixels, places, own, StudyInstanceUID="1.2.3",
        SeriesInstanceUID="1.2.3.4", stored=12, WindowCenter=2048.0, WindowWidth=4096.0,
    )  # fmt: skip
    steps = Preprocessor(components=False, size=size)
    single = preprocessed(dicom, tmp_path / "single", Task(steps))
    (tmp_path / "whole").mkdir()
    code, _, errors = combine(single, tmp_path / "whole")
    assert code == 1
    assert "was cropped or resized otherwise than" in errors
    assert "--series" in errors
    assert not list((tmp_path / "whole").rglob("*.tiff"))


def test_what_does_not_fit_together(dicom: list[Path], tmp_path: Path) -> None:
    single = preprocessed(dicom, tmp_path / "single", Task(Preprocessor(crop=False)))
    out = tmp_path / "whole"
    out.mkdir()
    series = single / "1.2.3/1.2.3.4"
    other = single / "1.2.3/1.2.9"
    other.mkdir()
    for bad, message in (
        (np.zeros((33, 40), np.uint16), "(33, 40), bytes <; not uint16 of (33, 41)"),
        (np.zeros((33, 41), np.uint8), "is uint8 of"),
        (np.zeros((2, 33, 41), np.uint16), "has 2 pages"),
    ):
        kept = (series / "1.2.3.4.7.tiff").read_bytes()
        with tifffile.TiffFile(series / "1.2.3.4.7.tiff") as file:
            description = file.pages.first.description
        tifffile.imwrite(
            series / "1.2.3.4.7.tiff", bad, photometric="minisblack", description=description
        )
        tifffile.imwrite(other / "1.tiff", bad[..., :5].reshape(-1, 5), photometric="minisblack",
                         description=description.replace("1.2.3.4", "1.2.9"))  # fmt: skip
        code, text, errors = combine(single, out, "--overwrite")
        assert code == 1
        assert message in errors
        assert ("2 failed" if bad.ndim == 3 else "1 failed") in text
        assert not list(out.rglob("*3.tiff"))
        (series / "1.2.3.4.7.tiff").write_bytes(kept)
    (series / "copy.tiff").write_bytes((series / "1.2.3.4.7.tiff").read_bytes())
    code, _, errors = combine(single, out)
    assert code == 1
    assert "have the same InstanceNumber 7" in errors


def test_slices_that_come_later_are_noticed(dicom: list[Path], tmp_path: Path) -> None:
    single = preprocessed(dicom, tmp_path / "single", Task(Preprocessor()))
    out = tmp_path / "whole"
    out.mkdir()
    last = single / "1.2.3/1.2.3.4/1.2.3.4.12.tiff"
    last.rename(tmp_path / "away")
    assert combine(single, out)[0] == 0
    (tmp_path / "away").rename(last)
    code, _, errors = combine(single, out)
    assert code == 1
    assert "has 3 slices, not 4" in errors
    assert combine(single, out, "--overwrite")[0] == 0


def test_results_do_not_lie_among_sources(dicom: list[Path], tmp_path: Path) -> None:
    single = preprocessed(dicom, tmp_path / "single", Task(Preprocessor()))
    code, _, errors = combine(single, single / "1.2.3")
    assert code == 2
    assert "lie in each other" in errors


@pytest.mark.parametrize("compression", [None, "packbits", "zlib"])
def test_bytes_in_the_other_order(tmp_path: Path, pixels: np.ndarray, compression: str) -> None:
    folder, out = tmp_path / "a" / "b", tmp_path / "out"
    folder.mkdir(parents=True)
    out.mkdir()
    for number, page in enumerate(pixels):
        tifffile.imwrite(folder / f"{number}.tif", page, byteorder=">", compression=compression,
                         predictor=compression == "zlib", photometric="minisblack")  # fmt: skip
    (tmp_path / "t.csv").write_text(
        "sop_instance_uid,instance_number\n" + "".join(f"{n},{n}\n" for n in range(4))
    )
    assert combine(tmp_path / "a", out, "--numbers", tmp_path / "t.csv")[0] == 0
    [result] = out.rglob("*.tiff")
    np.testing.assert_array_equal(tifffile.imread(result), pixels)


def test_no_series_is_written_that_may_lack_a_slice(dicom: list[Path], tmp_path: Path) -> None:
    single = preprocessed(dicom, tmp_path / "single", Task(Preprocessor()))
    flat, out = tmp_path / "flat", tmp_path / "out"
    flat.mkdir()
    out.mkdir()
    for path in single.rglob("*.tiff"):
        path.rename(flat / path.name)
    whole = (flat / "1.2.3.4.5.tiff").read_bytes()
    (flat / "1.2.3.4.5.tiff").write_bytes(whole[:50])
    code, text, errors = combine(flat, out)
    assert (code, text) == (1, "0 done, 0 skipped, 2 failed, of 2 series\n")
    assert "may lack a slice" in errors
    assert not list(out.rglob("*.tiff"))


def test_slices_that_were_cut_short(dicom: list[Path], tmp_path: Path) -> None:
    single = preprocessed(dicom, tmp_path / "single", Task(Preprocessor(crop=False)))
    (tmp_path / "out").mkdir()
    path = next(single.rglob("*.7.tiff"))
    with tifffile.TiffFile(path) as file:
        [offset], [count] = file.pages.first.dataoffsets, file.pages.first.databytecounts
    data = path.read_bytes()
    # the description and tags stay where they are
    path.write_bytes(data[: offset + count // 2])
    code, _, errors = combine(single, tmp_path / "out")
    assert code == 1
    assert "was cut short" in errors or "can't be read" in errors
    assert not list((tmp_path / "out").rglob("*.tiff"))


def test_results_stay_in_their_folder(dicom: list[Path], tmp_path: Path) -> None:
    single = preprocessed(dicom, tmp_path / "single", Task(Preprocessor(crop=False)))
    (tmp_path / "a" / "out").mkdir(parents=True)
    for path in single.rglob("*.tiff"):
        data = path.read_bytes()
        path.write_bytes(data.replace(b'"study": "1.2.3"', b'"study": "../xx"'))
    for path in list(single.rglob("*.tiff")):
        with tifffile.TiffFile(path) as file:
            if "../xx" in file.pages.first.description:
                break
    else:
        pytest.fail("the description has no such study")
    code, _, errors = combine(single, tmp_path / "a" / "out")
    assert code == 1
    assert "has UIDs that can't be names" in errors
    assert not list((tmp_path / "a").rglob("*.tiff"))


def test_a_result_older_than_a_slice_is_told(dicom: list[Path], tmp_path: Path) -> None:
    single = preprocessed(dicom, tmp_path / "single", Task(Preprocessor(crop=False)))
    (tmp_path / "out").mkdir()
    assert combine(single, tmp_path / "out")[0] == 0
    path = next(single.rglob("*.7.tiff"))
    later = path.stat().st_mtime_ns + 10**12
    os.utime(path, ns=(later, later))
    code, _, errors = combine(single, tmp_path / "out")
    assert code == 1
    assert "--overwrite makes it again" in errors


def test_tables_with_two_numbers_or_damage(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("sop_instance_uid,instance_number\n0,1\n0,9\n")
    with pytest.raises(ValueError, match="has two numbers for 0: 1 and 9"):
        numbers_in(table)
    damaged = tmp_path / "t.parquet"
    damaged.write_bytes(b"PAR1" + bytes(range(200)) + b"PAR1")
    for read in (numbers_in, Manifest):
        with pytest.raises(ValueError, match="is no table that can be read"):
            read(damaged)
