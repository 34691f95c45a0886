"""Preprocessed files: pixels, tags, provenance, names; and what becomes of bad ones."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.data import get_testdata_file
from pydicom.uid import VLWholeSlideMicroscopyImageStorage

import regionio
from regionio import RegionIOError, UnsupportedFormatError
from regionio.preprocess.chain import Preprocessor
from regionio.preprocess.compat import read_frames_as_original, write_tiff_as_original
from regionio.preprocess.files import by_inode, find_dicom, result_path
from regionio.preprocess.run import Outcome, Task, run
from regionio.preprocess.source import Origin, read_frames
from regionio.preprocess.tiff import (
    COMPRESSORS,
    Compressor,
    Provenance,
    provenance_of,
    write_tiff,
)
from regionio.preprocess.volumes import CentralSlice, Interpolate, Keep, MaxIntensity
from tests.dicom_files import ROOT, by_pydicom, noise, shape_of, write
from tests.dicom_volumes import multi_frame, numbered, placed

DBT = Path(__file__).parent.parent / "data" / "hologic_dbt_j2k_4frames.dcm"


def sample(name: str) -> Path:
    found = get_testdata_file(name)
    assert found is not None
    return Path(str(found))


def volume(path: Path, count: int = 5, **attributes: Any) -> Path:
    pixels = noise(count, 60, 80, 1, dtype="uint16") >> 6
    pixels[:, :, :10] = 0
    stated = {
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "PixelSpacing": [0.1, 0.2],
    }
    return write(
        path, ROOT + ".1", pixels.tobytes(), **shape_of(pixels, 10), **(stated | attributes)
    )


def only(outcomes: Any) -> Outcome:
    outcome: Outcome
    [outcome] = outcomes
    if outcome.error is not None:
        raise outcome.error
    return outcome


@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "examples_ybr_color.dcm", "SC_rgb_16bit.dcm", "examples_palette.dcm"]
)
def test_tiffs_hold_what_was_made(tmp_path: Path, name: str, compressor: Compressor) -> None:
    steps = Preprocessor(size=(96, 64))
    source = read_frames(sample(name), steps.volume_handler)
    expected = steps.process(source.frames)
    target = tmp_path / "x.tiff"
    outcome = only(run([sample(name)], target, Task(steps, compressor)))
    assert (outcome.state, outcome.result) == ("done", target)
    pages = tifffile.imread(target).reshape(expected.pixels.shape)
    np.testing.assert_array_equal(pages, expected.pixels)
    with regionio.open(target) as image:
        places = [(0, 0, z)[: 2 + image.is_volume] for z in range(len(pages))][::-1]
        loader = image.read_region(places, image.size("XY"), batch_size=4)
        planes = np.concatenate([np.asarray(batch) for batch in loader])[::-1]
    np.testing.assert_array_equal(planes.reshape(pages.shape), pages)
    assert provenance_of(target).transform == expected.transform
    assert os.listdir(tmp_path) == ["x.tiff"]


def test_the_first_htj2k_stream_is_encoded_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, events = imagecodecs.htj2k_encode, []

    def watched(page: Any, **options: Any) -> Any:
        events.append(("begin", page.shape))
        time.sleep(0.01)
        encoded = encode(page, **options)
        events.append(("end", page.shape))
        return encoded

    monkeypatch.setattr(imagecodecs, "htj2k_encode", watched)
    monkeypatch.setattr("regionio.preprocess.tiff._prepared", set())
    paths = [volume(tmp_path / f"{n}.dcm", 2, SOPInstanceUID=f"1.2.3.{n}") for n in range(4)]
    (tmp_path / "out").mkdir()
    list(run(paths, tmp_path / "out", Task(Preprocessor(), "htj2k"), threads=4))
    assert events[:2] == [("begin", (8, 8)), ("end", (8, 8))]
    assert len(events) == 2 * 9


def test_tags_tell_where_everything_went(tmp_path: Path) -> None:
    target = tmp_path / "v.tiff"
    steps = Preprocessor(size=(50, 64), padding="center", components=False)
    only(run([volume(tmp_path / "v.dcm")], target, Task(steps)))
    with tifffile.TiffFile(target) as file:
        assert len(file.pages) == 5
        for number, page in enumerate(file.pages):
            tags = {tag.code: tag.value for tag in page.aspage().tags}
            assert tags[297] == (number, 5)
            assert tags[305].startswith("regionio ")
            assert tags[50719] == (10, 0)
            assert tags[50720] == (70, 60)
            scale = tags[50718]
            assert scale[0] / scale[1] == pytest.approx(50 / 70, rel=1e-5)
            assert tags[50829] == (10, 0, 53, 50)  # top, left, bottom, right
            assert tags[282][0] / tags[282][1] == pytest.approx(10 / (0.2 * 70 / 50), rel=1e-5)
            assert tags[283][0] / tags[283][1] == pytest.approx(10 / (0.1 * 60 / 43), rel=1e-5)
    stated = provenance_of(target)
    assert stated.origin.frames == (0, 1, 2, 3, 4)
    assert stated.origin.window == "range"
    assert stated.steps["filter"] == "triangle"
    with regionio.open(target) as image:
        assert image.spacing("XY") == pytest.approx((0.28, 0.1395), rel=1e-3)
        assert image.spacing_units("XY") == ("millimeter", "millimeter")
        assert image.format == "preprocessed"


@pytest.mark.parametrize(
    "spacing", ["7", '{"X": 1' + "0" * 400 + "}", "[" * 100_000], ids=["number", "huge", "deep"]
)
def test_a_spacing_that_can_not_be_read_is_that_of_the_tags(tmp_path: Path, spacing: str) -> None:
    target = tmp_path / "v.tiff"
    only(run([volume(tmp_path / "v.dcm")], target, Task(Preprocessor(crop=False))))
    with regionio.open(target) as image:
        by_tags = image.spacing("XY")
    with tifffile.TiffFile(target, mode="r+") as file:
        about = f'{{"regionio.preprocess": {{"spacing": {spacing}}}}}'
        file.pages.first.tags["ImageDescription"].overwrite(about)
    with regionio.open(target) as image:
        assert (image.format, image.is_volume) == ("preprocessed", True)
        assert image.spacing("XY") == pytest.approx(by_tags, rel=1e-5)


def test_only_the_frames_that_are_wanted_are_decoded(tmp_path: Path) -> None:
    path = volume(tmp_path / "v.dcm", 9)
    whole = by_pydicom(pydicom.dcmread(path))
    streams = [bytes(imagecodecs.jpeg2k_encode(f[..., 0], codecformat="j2k")) for f in whole]
    damaged = [b"\0\0" if number != 4 else stream for number, stream in enumerate(streams)]
    bad = write(tmp_path / "d.dcm", ROOT + ".4.90", damaged, **shape_of(whole, 10))
    for read in (read_frames, read_frames_as_original):
        assert read(bad, CentralSlice()).frames.pixels.shape == (1, 60, 80, 1)
        with pytest.raises(RegionIOError):
            read(bad, Keep())
    found = read_frames(path, CentralSlice())
    assert found.origin.frames == (4,)
    low, high = whole[4].min(), whole[4].max()
    expected = np.floor((whole[4] - float(low)) / (high - low) * 65535 + 0.5)
    np.testing.assert_array_equal(found.frames.pixels[0], expected)
    most = Preprocessor(volume_handler=MaxIntensity(1, 2), crop=False)
    made = most.process(read_frames(path, most.volume_handler).frames)
    assert made.pixels.shape == (1, 60, 80, 1)
    np.testing.assert_array_equal(made.pixels[0].argmax(), whole[1:7].max(axis=0).argmax())


def test_the_range_is_that_of_the_volume(tmp_path: Path) -> None:
    path = volume(tmp_path / "v.dcm")
    whole = by_pydicom(pydicom.dcmread(path)).astype(np.float64)
    expected = np.floor((whole - whole.min()) / (whole.max() - whole.min()) * 65535 + 0.5)
    np.testing.assert_array_equal(read_frames(path, Keep()).frames.pixels, expected)
    inverted = volume(tmp_path / "i.dcm")
    dataset = pydicom.dcmread(inverted)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.save_as(inverted)
    np.testing.assert_array_equal(read_frames(inverted, Keep()).frames.pixels, 65535 - expected)


def test_windows_come_before_the_range(tmp_path: Path) -> None:
    path = volume(tmp_path / "v.dcm", WindowCenter=500.0, WindowWidth=300.0)
    found = read_frames(path, Keep())
    assert found.origin.window == "file"
    with regionio.open(path, values="display", display_bits=16) as image:
        np.testing.assert_array_equal(found.frames.pixels[..., 0], image.read_region())
    other = read_frames(path, Keep(), (600, 100))
    window: Any = other.origin.window
    assert window == (600, 100)
    with regionio.open(path, values="display", display_bits=16, window=(600, 100)) as image:
        np.testing.assert_array_equal(other.frames.pixels[..., 0], image.read_region())


@pytest.mark.filterwarnings("ignore:.*functional groups of 45")
def test_tomosynthesis_is_turned(tmp_path: Path) -> None:
    steps = Preprocessor(crop=False)
    only(run([DBT], tmp_path / "d.tiff", Task(steps)))
    with regionio.open(DBT, values="display", display_bits=16) as image:
        expected = np.asarray(image.read_region())[:, ::-1, ::-1]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "d.tiff"), expected)
    assert provenance_of(tmp_path / "d.tiff").transform.upside_down


def test_many_files_go_on_where_they_were_interrupted(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    (folder / "deeper").mkdir(parents=True)
    output.mkdir()
    for number in range(6):
        path = folder / ("deeper" if number % 2 else ".") / f"{number}.dcm"
        volume(path, SOPInstanceUID=f"1.2.3.4.{number}")
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.dcm").write_bytes(b"no DICOM at all")
    black = np.zeros((1, 60, 80, 1), np.uint16)
    write(folder / "black.dcm", ROOT + ".1", black.tobytes(), **shape_of(black, 10),
          StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4", SOPInstanceUID="1.2.3.4.99")  # fmt: skip
    task = Task(Preprocessor(size=(40, 40)))
    files = find_dicom(folder)
    assert files == by_inode(files)
    assert len(files) == 8
    outcomes = list(run(files, output, task, threads=3))
    assert Counter(outcome.state for outcome in outcomes) == {"done": 6, "failed": 2}
    errors = {outcome.source.name: str(outcome.error) for outcome in outcomes if outcome.error}
    assert "nothing but background" in errors["black.dcm"]
    assert set(errors) == {"black.dcm", "broken.dcm"}
    written = sorted(
        str(path.relative_to(output)) for path in output.rglob("*.*") if path.is_file()
    )
    assert written == [f"1.2.3/1.2.3.4/1.2.3.4.{number}.tiff" for number in range(6)]
    again = Counter(outcome.state for outcome in run(files, output, task))
    assert again == {"skipped": 6, "failed": 2}
    folder.rename(tmp_path / "moved")
    files = find_dicom(tmp_path / "moved")
    assert Counter(o.state for o in run(files, output, task)) == {"skipped": 6, "failed": 2}
    (output / "1.2.3/1.2.3.4/1.2.3.4.3.tiff").unlink()
    assert Counter(o.state for o in run(files, output, task))["done"] == 1
    assert Counter(o.state for o in run(files, output, task, overwrite=True))["done"] == 6


OTHERS: dict[str, Task] = {
    "another size:": Task(Preprocessor(size=(32, 32))),
    "another compressor:": Task(Preprocessor(size=(40, 40)), "zstd"),
    "another window:": Task(Preprocessor(size=(40, 40)), window=(500, 100)),
    "another compat:": Task(Preprocessor(size=(40, 40)), write=write_tiff_as_original),
    "another volume_handler:": Task(Preprocessor(size=(40, 40), volume_handler=CentralSlice())),
}


@pytest.mark.parametrize("message", OTHERS)
def test_results_made_in_another_way_are_not_kept(tmp_path: Path, message: str) -> None:
    path, result = volume(tmp_path / "v.dcm"), tmp_path / "v.tiff"
    only(run([path], result, Task(Preprocessor(size=(40, 40)))))
    before = result.read_bytes()
    [outcome] = run([path], result, OTHERS[message])
    assert outcome.state == "failed"
    assert message in str(outcome.error)
    assert "--overwrite makes it again" in str(outcome.error)
    assert result.read_bytes() == before
    only(run([path], result, OTHERS[message], overwrite=True))
    if "compat" in message:
        [outcome] = run([path], result, Task(Preprocessor(size=(40, 40))))
        assert "was made with --compat" in str(outcome.error)
    else:
        assert only(run([path], result, OTHERS[message])).state == "skipped"


def test_provenance_tells_how_levels_came_about(tmp_path: Path) -> None:
    path = volume(tmp_path / "v.dcm")
    stored = by_pydicom(pydicom.dcmread(path))
    steps = Preprocessor(crop=False, volume_handler=Interpolate(9))
    only(run([path], tmp_path / "r.tiff", Task(steps)))
    made = provenance_of(tmp_path / "r.tiff")
    assert made.origin.extent == (stored.min(), stored.max())
    assert (made.origin.windows, made.origin.inverted, made.compressor) == ((), False, "packbits")
    assert made.places == pytest.approx(np.arange(9) / 2)
    assert made.spacing == pytest.approx({"X": 0.2, "Y": 0.1})
    found = read_frames(path, steps.volume_handler)
    deep = replace(found.frames, spacing={**found.frames.spacing, "Z": 2.0})
    result = steps.process(deep)
    write_tiff(tmp_path / "z.tiff", result, Provenance.of(found.origin, steps, result, "packbits"))
    with regionio.open(tmp_path / "z.tiff") as image:
        assert image.spacing("XYZ") == pytest.approx((0.2, 0.1, 1.0))
    only(run([path], tmp_path / "w.tiff", Task(steps, window=(500, 300))))
    assert provenance_of(tmp_path / "w.tiff").origin.windows == ((500.0, 300.0, "LINEAR"),)
    most = Preprocessor(volume_handler=MaxIntensity())
    only(run([path], tmp_path / "m.tiff", Task(most)))
    made = provenance_of(tmp_path / "m.tiff")
    assert made.places is None
    assert set(made.spacing) == {"X", "Y"}


@pytest.mark.filterwarnings("ignore:.*functional groups of 45")
def test_coded_views_turn_tomosynthesis_too(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(DBT)
    del dataset.ViewPosition
    dataset.save_as(tmp_path / "coded.dcm")
    found = read_frames(tmp_path / "coded.dcm", CentralSlice())
    assert found.origin.view == "CC"
    assert found.frames.upside_down


def test_a_folder_that_can_not_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume(tmp_path / "v.dcm", SOPInstanceUID="1.2.3.4.5")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refused(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    found = find_dicom(tmp_path)
    assert set(found) == {tmp_path / "v.dcm", tmp_path / "closed"}
    (tmp_path / "out").mkdir()
    outcomes = list(run(found, tmp_path / "out", Task(Preprocessor())))
    failed = [o.source.name for o in outcomes if o.state == "failed"]
    assert failed == ["closed"], [str(o.error) for o in outcomes]


def test_lists_hold_names_of_any_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.dcm")
    path = volume(tmp_path / name)
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfcaf\xe9.dcm\r\n")
    assert find_dicom(tmp_path / "list.txt") == [path]


def test_lists_and_single_files(tmp_path: Path) -> None:
    path = volume(tmp_path / "v.dcm")
    (tmp_path / "list.txt").write_text("v.dcm\n\nmissing.dcm\n")
    assert find_dicom(tmp_path / "list.txt") == [path, tmp_path / "missing.dcm"]
    assert find_dicom(path) == [path]
    (tmp_path / "DICOMDIR").write_bytes(path.read_bytes())
    (tmp_path / "IM0001").write_bytes(path.read_bytes())
    assert sorted(find_dicom(tmp_path)) == [tmp_path / "IM0001", path]
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        find_dicom(tmp_path / "nothing")


def test_several_results_need_a_folder(tmp_path: Path) -> None:
    paths = [volume(tmp_path / f"{n}.dcm", SOPInstanceUID=f"1.2.3.{n}") for n in range(2)]
    with pytest.raises(NotADirectoryError, match="has to be a folder that is there, for 2"):
        list(run(paths, tmp_path / "x.tiff", Task(Preprocessor())))


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile.TiffWriter, "write", full)
    [outcome] = run([volume(tmp_path / "v.dcm")], tmp_path / "v.tiff", Task(Preprocessor()))
    assert outcome.state == "failed"
    assert "No space left" in str(outcome.error)
    assert [path.name for path in tmp_path.iterdir()] == ["v.dcm"]


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormatError, match="is a whole slide"):
        read_frames(DBT.parent / "camelyon_jpeg.dcm", Keep())
    label = noise(
        60, 80, 3
    )  # of a slide, as its scanner writes it: one picture with a patient's name
    path = write(
        tmp_path / "label.dcm", ROOT + ".1", label.tobytes(), **shape_of(label[None], 8),
        SOPClassUID=VLWholeSlideMicroscopyImageStorage, ImageType=["ORIGINAL", "PRIMARY", "LABEL"],
    )  # fmt: skip
    with pytest.raises(UnsupportedFormatError, match="is a whole slide, or its label"):
        read_frames(path, Keep())
    with pytest.raises(UnsupportedFormatError):
        read_frames(DBT.parent / "CMU-1-Small-Region.svs", Keep())
    times = [
        {**placed(0, 0, 2.5 * (n // 2)), **numbered(TemporalPositionIndex=1 + n % 2)}
        for n in range(6)
    ]
    moving = multi_frame(tmp_path / "t.dcm", noise(6, 8, 9, 1, dtype="uint16")[..., 0], times)
    with pytest.raises(UnsupportedFormatError, match="a volume at 2 times"):
        read_frames(moving, Keep())
    tifffile.imwrite(tmp_path / "x.tif", noise(8, 8))
    with pytest.raises(UnsupportedFormatError, match="does not say how it was made"):
        provenance_of(tmp_path / "x.tif")
    nameless = Origin(("x.dcm",), "1.2", "", ("../..",), (), 0, None, 8)
    with pytest.raises(ValueError, match="no UIDs to name its result by"):
        result_path(tmp_path, nameless)


def test_a_source_that_was_changed_is_told(tmp_path: Path) -> None:
    path, result = volume(tmp_path / "v.dcm"), tmp_path / "v.tiff"
    task = Task(Preprocessor())
    only(run([path], result, task))
    assert only(run([path], result, task)).state == "skipped"
    time.sleep(0.01)
    path.write_bytes(path.read_bytes())
    [outcome] = run([path], result, task)
    assert "was made before it was changed" in str(outcome.error)
    assert only(run([path], result, task, overwrite=True)).state == "done"
    result.write_bytes(result.read_bytes()[:-200])
    [outcome] = run([path], result, task)
    assert "damaged or not made by this" in str(outcome.error)


def test_of_two_with_the_same_uids_one_that_can_be_read_is_kept(tmp_path: Path) -> None:
    bad = volume(tmp_path / "a.dcm", SOPInstanceUID="1.2.3.4.5")
    bad.write_bytes(bad.read_bytes()[:-20000])
    good = volume(tmp_path / "b.dcm", SOPInstanceUID="1.2.3.4.5")
    third = volume(tmp_path / "c.dcm", SOPInstanceUID="1.2.3.4.5")
    (tmp_path / "out").mkdir()
    outcomes = list(run([bad, good, third], tmp_path / "out", Task(Preprocessor()), threads=3))
    states = {outcome.source.name: outcome.state for outcome in outcomes}
    assert states == {"a.dcm": "failed", "b.dcm": "done", "c.dcm": "failed"}
    assert "has the UIDs of" in str(outcomes[-1].error) or "was made of" in str(outcomes[-1].error)


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / f".v.tiff.{platform.node()}-999999999.ab12.partial"
    other = tmp_path / f".v.tiff.{platform.node()}-{os.getpid()}.ab12.partial"
    for path in (left, other):
        path.write_bytes(b"half")
    only(run([volume(tmp_path / "v.dcm")], tmp_path / "v.tiff", Task(Preprocessor())))
    assert not left.exists()
    assert other.exists()


def test_odd_sources(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").symlink_to("x.dcm")
    (tmp_path / "y.dcm").symlink_to("nothing")
    os.mkfifo(tmp_path / "z.dcm")
    assert {path.name for path in find_dicom(tmp_path)} == {"x.dcm", "y.dcm"}
    (tmp_path / "l.txt").write_bytes("v.dcm".encode("utf-16"))
    with pytest.raises(ValueError, match="no text with a path a line"):
        find_dicom(tmp_path / "l.txt")
    (tmp_path / "l.txt").write_text("v.dcm\nv.dcm\n")
    assert find_dicom(tmp_path / "l.txt") == [tmp_path / "v.dcm"]


def test_odd_attributes(tmp_path: Path) -> None:
    path = volume(tmp_path / "v.dcm", PixelSpacing=[1e-12, 1e-12], InstanceNumber=7)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"IS\x02\x007 ", b"IS\x02\x00x "))
    only(run([path], tmp_path / "v.tiff", Task(Preprocessor())))
    assert provenance_of(tmp_path / "v.tiff").origin.number is None
    narrow = volume(tmp_path / "w.dcm", WindowCenter=500.0, WindowWidth=0.0)
    assert read_frames(narrow, Keep()).origin.window == "range"
    for spacing in ((1e-308, 1.0), (1e-6, 1e-6)):
        steps = Preprocessor(spacing=spacing)
        [outcome] = run([volume(tmp_path / "s.dcm")], tmp_path / "s.tiff", Task(steps))
        assert "more than 1073741824 pixels" in str(outcome.error)
    with pytest.raises(ValueError, match="spacing is 2 or 3 positive numbers"):
        Preprocessor(spacing=(1, 1))(np.ones((4, 4), np.uint8), spacing=(0, 1))
