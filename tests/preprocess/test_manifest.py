"""Tables of TIFFs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import tifffile
from typer.testing import CliRunner

from regionio.cli.app import app
from regionio.preprocess.chain import Preprocessor
from regionio.preprocess.manifest import Failure, Manifest, write_manifest
from regionio.preprocess.run import Task, run
from regionio.preprocess.statistics import statistics_of
from tests.dicom_files import noise
from tests.preprocess.test_tiff import volume

COLUMNS = ["study_instance_uid", "series_instance_uid", "sop_instance_uid", "path", "inode",
           "width", "height", "channels", "num_frames"]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "out"
    out.mkdir()
    sources = [
        volume(tmp_path / f"{number}.dcm", number + 1, SOPInstanceUID=f"1.2.3.4.{9 - number}")
        for number in range(4)
    ]
    assert all(o.state == "done" for o in run(sources, out, Task(Preprocessor(size=(40, 32)))))
    return out


def columns(path: Path) -> dict[str, list[Any]]:
    if path.suffix == ".csv":
        found: dict[str, list[Any]] = pyarrow.csv.read_csv(path).to_pydict()
        return found
    return dict(pyarrow.parquet.read_table(path).to_pydict())


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_rows_say_what_files_hold(folder: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"table{suffix}"
    assert list(write_manifest(folder, target)) == [4]
    table = columns(target)
    assert list(table)[:9] == COLUMNS
    assert [str(uid) for uid in table["sop_instance_uid"]] == [f"1.2.3.4.{n}" for n in (6, 7, 8, 9)]
    assert table["num_frames"] == [4, 3, 2, 1]
    assert table["width"] == [40] * 4
    assert table["height"] == [32] * 4
    for path, inode, source in zip(table["path"], table["inode"], table["source"], strict=True):
        file = target.parent / path
        assert os.stat(file).st_ino == inode
        assert Path(source).exists()
    assert table["spacing_x"][0] == pytest.approx(0.2 * 70 / 37, rel=1e-3)
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
        target.name,
        *(f"{n}.dcm" for n in range(4)),
    }
    manifest = Manifest(target)
    assert len(manifest) == 4
    assert all(path.exists() for path in manifest.paths)
    inodes = manifest.columns["inode"][manifest.by_inode()]
    assert (np.diff(inodes) > 0).all()
    frames = manifest.frames()
    assert len(frames) == 10
    assert frames[:, 1].tolist() == [n for row in manifest.by_inode() for n in range(4 - row)]


def test_rows_by_inode(folder: Path, tmp_path: Path) -> None:
    list(write_manifest(folder, tmp_path / "t.parquet", "inode"))
    inodes = columns(tmp_path / "t.parquet")["inode"]
    assert inodes == sorted(inodes)


def test_other_tiffs_go_by_their_folders(tmp_path: Path) -> None:
    for study, name in (("b", "z"), ("a.1", "y"), ("a", "x")):
        path = tmp_path / study / "s" / f"{name}.tif"
        path.parent.mkdir(parents=True)
        tifffile.imwrite(path, noise(2, 8, 9, 3), photometric="rgb")
    list(write_manifest(tmp_path, tmp_path / "t.csv"))
    table = columns(tmp_path / "t.csv")
    assert table["study_instance_uid"] == ["a", "a.1", "b"]
    assert table["sop_instance_uid"] == ["x", "y", "z"]
    assert (table["channels"], table["num_frames"]) == ([3] * 3, [2] * 3)
    assert table["spacing_x"] == [None] * 3


def test_what_is_broken_is_left_out_and_told(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.tiff").write_bytes(b"II*\0 and nothing")
    found = list(write_manifest(folder, tmp_path / "t.parquet"))
    assert [type(one) for one in found] == [Failure, int]
    assert len(columns(tmp_path / "t.parquet")["path"]) == 4
    result = CliRunner().invoke(app, ["manifest", str(folder)])
    assert result.exit_code == 1
    assert "4 rows, 1 failed" in result.stdout
    assert "broken.tiff" in result.stderr
    assert (folder / "manifest.parquet").exists()


def test_wrong_names(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in .parquet or .csv"):
        list(write_manifest(folder, tmp_path / "t.xlsx"))
    result = CliRunner().invoke(app, ["manifest", str(tmp_path / "nothing")])
    assert result.exit_code == 2
    assert "there is no folder" in result.stderr
    assert CliRunner().invoke(app, ["manifest", str(folder), "t.txt"]).exit_code == 2


@pytest.mark.parametrize("normalized", [False, True])
def test_statistics_are_numpys(tmp_path: Path, normalized: bool) -> None:
    pages = [noise(3, 30 + number, 40, 3, dtype="uint16") for number in range(4)]
    for number, page in enumerate(pages):
        tifffile.imwrite(tmp_path / f"{number}.tif", page, photometric="rgb")
    found = statistics_of(sorted(tmp_path.iterdir()), normalized=normalized)
    values = np.concatenate([page.reshape(-1, 3) for page in pages]) / (65535 if normalized else 1)
    np.testing.assert_allclose([one.mean for one in found], values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose([one.std for one in found], values.std(axis=0), rtol=1e-9)
    assert {one.count for one in found} == {len(values)}
    options = ["-n"] if normalized else []
    result = CliRunner().invoke(app, ["tiff-stats", str(tmp_path), "--json", *options])
    stated = json.loads(result.stdout)
    assert stated["files"] == 4
    assert [one["mean"] for one in stated["channels"]] == [one.mean for one in found]
    assert "channel" in CliRunner().invoke(app, ["tiff-stats", str(tmp_path)]).stdout


def test_statistics_of_what_differs(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(8, 8))
    tifffile.imwrite(tmp_path / "b.tif", noise(8, 8, dtype="uint16"))
    with pytest.raises(ValueError, match=r"b\.tif' has 1 channels up to 65535"):
        statistics_of(sorted(tmp_path.iterdir()))
    with pytest.raises(ValueError, match="there are no files"):
        statistics_of([])
    with tifffile.TiffWriter(tmp_path / "sizes.tif") as file:
        file.write(np.zeros((8, 8), np.uint8))
        file.write(np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match="has pages of several sizes"):
        statistics_of([tmp_path / "sizes.tif"])
    tifffile.imwrite(tmp_path / "large.tif", np.full((9, 9), 2**32 - 1, np.uint32))
    with pytest.raises(ValueError, match="holds uint32, uint8 or uint16 is expected"):
        statistics_of([tmp_path / "large.tif"])
    assert CliRunner().invoke(app, ["tiff-stats", str(tmp_path)]).exit_code == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    assert CliRunner().invoke(app, ["tiff-stats", str(empty)]).exit_code == 2


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("order", ["uid", "inode"])
def test_rows_are_sorted_on_the_disk(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Any, suffix: str
) -> None:
    for name, rows in (("ROWS", 2), ("RUN_ROWS", 3), ("MERGED_ROWS", 1)):
        monkeypatch.setattr(f"regionio.preprocess.manifest.{name}", rows)
    series = folder / "1.2.3/1.2.3.4"
    for number in range(7):  # of nobody known: names of folders count
        (series.parent / f"9.{number}").mkdir()
        tifffile.imwrite(series.parent / f"9.{number}" / f"{8 - number}.tif", noise(8, 8))
    large = 2**63 + 5
    stat = Path.stat

    def far(path: Path, **options: Any) -> Any:
        found = stat(path, **options)
        if path.name == "8.tif":
            return os.stat_result((found[0], large, *found[2:]))
        return found

    monkeypatch.setattr(Path, "stat", far)
    target = tmp_path / f"t{suffix}"
    assert sum(one for one in write_manifest(folder, target, order) if isinstance(one, int)) == 11
    table = columns(target)
    names = ["study_instance_uid", "series_instance_uid", "sop_instance_uid"]
    keys = list(zip(*(map(str, table[name]) for name in names), strict=True))
    inodes = Manifest(target).columns["inode"].tolist()
    assert large in inodes
    found: list[Any] = keys if order == "uid" else inodes
    assert found == sorted(found)
    assert len(set(table["path"])) == 11
    assert [path.name for path in tmp_path.glob(".*")] == []
    assert len(Manifest(target).by_inode()) == 11


def test_odd_entries_of_folders(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "pipe.tiff")
    (folder / "loop.tiff").symlink_to("loop.tiff")
    name = os.fsdecode(b"caf\xe9.tif")
    tifffile.imwrite(folder / name, noise(8, 8))
    deep = folder
    for _ in range(300):
        deep = deep / "d"
    deep.mkdir(parents=True)
    tifffile.imwrite(deep / "x.tif", noise(8, 8))
    whole = next(folder.rglob("*.9.tiff"))
    whole.write_bytes(whole.read_bytes()[:-40])
    found = list(write_manifest(folder, tmp_path / "t.csv"))
    failed = {one.path.name: str(one.error) for one in found if isinstance(one, Failure)}
    assert set(failed) == {"loop.tiff", name, whole.name}
    assert "no UTF-8" in failed[name]
    assert "cut short" in failed[whole.name]
    assert sum(one for one in found if isinstance(one, int)) == 4


def test_a_folder_without_tiffs_is_told(tmp_path: Path) -> None:
    (tmp_path / "1.dcm").write_bytes(bytes(200))
    kept = tmp_path / "manifest.csv"
    kept.write_text("a table")
    with pytest.raises(ValueError, match="there is no TIFF in"):
        list(write_manifest(tmp_path, kept))
    assert kept.read_text() == "a table"
    assert len(list(tmp_path.iterdir())) == 2  # nothing is left beside it


def test_names_that_look_like_nothing_stay(tmp_path: Path) -> None:
    folder = tmp_path / "f" / "NA" / "null"
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "nan.tif", noise(8, 8))
    list(write_manifest(tmp_path / "f", tmp_path / "t.csv"))
    found = Manifest(tmp_path / "t.csv").columns
    keys = [found[f"{name}_instance_uid"].tolist() for name in ("study", "series", "sop")]
    assert keys == [["NA"], ["null"], ["nan"]]


def test_statistics_of_all_times_and_planes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (2, 3, 4, 30, 20)).astype(np.uint8)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, pixels, metadata={"axes": "TZCYX"}, photometric="minisblack")
    found = statistics_of([path])
    assert [one.count for one in found] == [2 * 3 * 30 * 20] * 4
    expected = np.moveaxis(pixels, 2, 0).reshape(4, -1).mean(axis=1)
    np.testing.assert_allclose([one.mean for one in found], expected)


def test_statistics_take_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regionio.preprocess.statistics.BAND_BYTES", 400)
    pixels = noise(90, 70, 3)[..., 0] if noise(90, 70, 3).ndim == 3 else noise(90, 70, 3)[0, ..., 0]
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    [found] = statistics_of([tmp_path / "a.tif"])
    assert found.count == pixels.size
    assert found.mean == pytest.approx(pixels.mean())
    assert found.std == pytest.approx(pixels.std())
