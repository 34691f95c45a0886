"""The command line on DICOM: slides, volumes, folders, and what is not to be shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.data import get_testdata_file

import regionio
from regionio.cli import bands
from regionio.cli.dicom_rows import HOW_TO_SEE, dicom_rows
from regionio.testing import VolumeConformance
from tests.cli.support import SLIDE, left_behind, patches_in, refused, run
from tests.cli.test_read import load

CT_PICTURE = str(get_testdata_file("CT_small.dcm"))
COMMANDS: dict[str, list[Any]] = {
    "info": [],
    "thumbnail": ["out.png"],
    "read": ["out.npy", "--size", 64, 64],
    "bench": ["--seconds", 0, "--threads", 0, "--patch", 64],
    "extract": ["out", "--size", 64, "--no-tissue"],
}

SMALL_SERIES = SLIDE.parent / "dcmqi_23x38x3"


@pytest.fixture
def slide(wider_data: Path) -> Path:
    return min((wider_data / "derived" / "dicom_wsi" / "cmu_jpeg").glob("*.dcm"))


@pytest.fixture
def series(wider_data: Path) -> Path:
    """Return the folder of seven CT slices."""
    return wider_data / "real" / "dicom_volume" / "ct_series"


@pytest.fixture
def tomosynthesis(wider_data: Path) -> Path:
    return wider_data / "real" / "dicom_breast" / "hologic_dbt_j2k_4frames.dcm"


def slices_of(series: Path) -> np.ndarray[Any, Any]:
    """Return the slices by pydicom, in the order in which they lie."""
    files = [pydicom.dcmread(path) for path in series.iterdir()]
    # z of the image runs as rows × columns do: up
    files.sort(key=lambda dataset: float(dataset.ImagePositionPatient[2]), reverse=True)
    with regionio.open(series) as image:
        assert image.direction is not None
        if image.direction[2, 2] > 0:
            files.reverse()
    return np.stack([dataset.pixel_array for dataset in files])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", ["file", "folder"])
def test_every_command_takes_a_slide(
    command: str, what: str, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(command, slide if what == "file" else slide.parent, *COMMANDS[command])


@pytest.mark.parametrize("command", ["info", "thumbnail", "read", "bench"])
def test_all_but_one_command_take_a_volume(
    command: str, series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(command, series, *COMMANDS[command])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_without_dicom_is_one_line_and_exit_1(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scans").mkdir()
    Path("scans/notes.txt").write_text("none")
    result = run(command, "scans/", *COMMANDS[command], code=1)
    assert result.stderr.count("\n") == 1
    assert "folder without DICOM files" in result.stderr
    assert left_behind(tmp_path) == ["scans"]


@pytest.mark.parametrize("command", COMMANDS)
def test_indexes_are_saved_where_they_are_wanted(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(CT_PICTURE, "ct.dcm")
    run(command, "ct.dcm", *COMMANDS[command], "--index-folder", "saved")
    assert any(Path("saved").iterdir())
    assert "REGIONIO_INDEX_FOLDER" in run(command, "--help").output


def test_a_warning_is_one_line(tomosynthesis: Path) -> None:
    result = run("info", tomosynthesis)
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("regionio: ")
    assert "functional groups of 45" in result.stderr


# info


def confidential_texts(dataset: pydicom.Dataset) -> set[str]:
    """Return what may tell who the patient is: names, dates, UIDs and a few texts."""
    found: set[str] = set()
    for element in dataset.iterall():
        kept = element.keyword.endswith(("ClassUID", "SyntaxUID")) or element.keyword == "UID"
        named = element.keyword in {"PatientID", "StudyDescription", "SeriesDescription"}
        if (element.VR in {"PN", "DA", "UI", "TM"} and not kept) or named:
            found.add(str(element.value))
    return {text for text in found if len(text) > 5}


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("name", ["slide", "series", "tomosynthesis"])
def test_info_does_not_tell_who_the_patient_is(
    name: str, options: list[str], request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(name)
    file = path if path.is_file() else min(path.iterdir())
    texts = confidential_texts(pydicom.dcmread(file))
    assert len(texts) > 2
    shown = run("info", path, *options).stdout
    assert path.parent.name not in shown
    assert [text for text in texts if text in shown] == []
    assert "(hidden)" in shown
    with_all = run("info", path, *options, "--phi").stdout
    assert str(path) in with_all.replace("\n", "").replace(" ", "")
    assert "(hidden)" not in with_all


def test_info_with_phi_says_who_the_patient_is() -> None:
    text = run("info", CT_PICTURE, "--phi").stdout
    dataset = pydicom.dcmread(CT_PICTURE)
    for keyword in ("PatientName", "PatientID", "StudyDate"):
        assert str(dataset[keyword].value) in text
    facts = json.loads(run("info", CT_PICTURE, "--phi", "--json").stdout)
    assert facts["metadata"]["dicom"]["PatientID"] == dataset.PatientID
    assert facts["path"] == CT_PICTURE


def test_info_says_of_a_volume_what_its_reader_needs(series: Path) -> None:
    facts = json.loads(run("info", series, "--json").stdout)
    assert (facts["dims"], facts["shape"], facts["is_volume"]) == ("ZYX", [7, 512, 512], True)
    assert facts["spacing"] == {"X": 0.51171875, "Y": 0.51171875, "Z": 4.0}
    assert facts["spacing_unit"] == "millimeter"
    assert (facts["files"], sorted(facts["frame_indices"])) == (7, list(range(7)))
    with regionio.open(series) as image:
        assert image.origin is not None
        assert image.direction is not None
        assert facts["origin"] == image.origin.tolist()
        assert facts["direction"] == image.direction.tolist()
    assert facts["metadata"]["dicom"]["Modality"] == "CT"
    assert facts["metadata"]["dicom"]["PatientName"] == "(hidden)"
    text = run("info", series).stdout
    for words in (
        "CT, CT Image Storage",
        "Implicit VR Little Endian",
        "MONOCHROME2, 12 of 16 bits",
        "stored × 1 - 1024  (HU)",
        "300 / 1400  (WINDOW1)",
        "Z 4 mm",
        HOW_TO_SEE,
    ):
        assert words in text


def test_info_says_which_breast_is_seen_from_where(tomosynthesis: Path) -> None:
    text = run("info", tomosynthesis).stdout
    assert "L CC" in text
    assert "Breast Tomosynthesis Image Storage" in text
    assert "JPEG 2000 Image Compression (Lossless Only)" in text
    facts = json.loads(run("info", tomosynthesis, "--json").stdout)
    assert facts["metadata"]["mammography"]["laterality"] == "L"


def test_info_of_a_folder_of_several_series_lists_them(wider_data: Path) -> None:
    folder = wider_data / "real" / "dicom_volume"
    text = run("info", folder).stdout
    assert "Scenes" in text
    assert "40 × 96 × 96" in text
    facts = json.loads(run("info", folder, "--json", "--phi").stdout)
    names = [scene["name"] for scene in facts["scenes"]]
    assert len(set(names)) == len(names) == 4
    chosen = json.loads(run("info", folder, "--json", "--scene", names[3]).stdout)
    assert (chosen["scene"], chosen["shape"]) == (3, [40, 96, 96])
    assert "no scene" in refused("info", folder, "--scene", "1.2.3.4")


def test_attributes_that_are_not_as_they_should_be_are_shown_as_they_are() -> None:
    metadata = {
        "dicom": {
            "Modality": ["CT", "\x1b[2J"],
            "BitsAllocated": 8,
            "WindowCenter": "wide",
            "WindowWidth": [1, 2],
            "RescaleSlope": "steep",
            "RescaleIntercept": 0,
            "SharedFunctionalGroupsSequence": [
                {"PixelValueTransformationSequence": [{"ModalityLUTSequence": [{}]}]}
            ],
        },
        "mammography": {"laterality": None, "view": None, "view_modifiers": [], "implant": True},
    }
    assert dicom_rows(metadata, phi=False) == {
        "Kind": "CT\\�[2J",
        "Breast": "side and view not known, implant",
        "Pixels": "8 bits",
        "Rescale": "by a modality LUT",
        "Windows": "wide / 1  center / width",
        "Hidden": HOW_TO_SEE,
    }


def test_metadata_of_other_formats_is_shown_with_phi_only() -> None:
    assert json.loads(run("info", SLIDE, "--json").stdout)["metadata"] is None
    facts = json.loads(run("info", SLIDE, "--json", "--phi").stdout)
    assert facts["metadata"]["aperio"]["AppMag"] == "20"


# thumbnail


def shown(*arguments: object, out: Path) -> np.ndarray[Any, Any]:
    run("thumbnail", arguments[0], out, *arguments[1:])
    decode = imagecodecs.png_decode if out.suffix == ".png" else imagecodecs.jpeg8_decode
    return np.asarray(decode(out.read_bytes()))


def test_a_thumbnail_of_a_volume_is_the_middle_slice_by_the_files_window(
    series: Path, tmp_path: Path
) -> None:
    values = slices_of(series).astype(np.float64) - 1024
    expected = np.clip((values - 299.5) / 1399 + 0.5, 0, 1) * 255  # center 300, width 1400
    middle = shown(series, out=tmp_path / "a.png")
    assert np.abs(middle - expected[3]).max() <= 0.5
    first = shown(series, "--z", 0, out=tmp_path / "b.png")
    assert np.abs(first - expected[0]).max() <= 0.5
    small = shown(series, "--z", 0, "--max-size", 128, out=tmp_path / "c.png")
    averaged = expected[0].reshape(128, 4, 128, 4).mean(axis=(1, 3))
    assert np.abs(small - averaged).max() <= 1
    narrow = shown(series, "--z", 0, "--window", 40, 400, out=tmp_path / "d.png")
    expected = np.clip((values[0] - 39.5) / 399 + 0.5, 0, 1) * 255
    assert np.abs(narrow - expected).max() <= 0.5
    assert "there is no 7" in refused("thumbnail", series, tmp_path / "e.png", "--z", 7)


def test_high_values_of_monochrome1_are_dark(tmp_path: Path) -> None:
    path = str(get_testdata_file("RG1_J2KR.dcm"))
    stored = pydicom.dcmread(path).pixel_array
    picture = shown(path, "--max-size", 2000, out=tmp_path / "a.png")
    assert picture.shape == stored.shape
    assert np.corrcoef(picture.ravel(), stored.ravel())[0, 1] < -0.9


def test_without_a_window_all_values_that_occur_are_shown(wider_data: Path, tmp_path: Path) -> None:
    path = wider_data / "real" / "dicom_volume" / "emri_small" / "emri_small.dcm"
    stored = pydicom.dcmread(path).pixel_array[5].astype(np.float64)
    picture = shown(path, out=tmp_path / "a.png")
    expected = (stored - stored.min()) / (stored.max() - stored.min()) * 255
    assert np.abs(picture - expected).max() <= 1


def test_a_thumbnail_of_a_slide_is_the_average_of_the_pixels_it_covers(
    slide: Path, tmp_path: Path
) -> None:
    with regionio.open(slide) as image:
        pixels = image.read_region().array
    picture = shown(slide, "--max-size", 2967, out=tmp_path / "a.png")
    np.testing.assert_array_equal(picture, pixels)
    label = shown(slide, "--associated", "label", out=tmp_path / "b.png")
    assert label.shape == (463, 387, 3)


def test_a_thumbnail_may_be_a_jpeg(series: Path, tmp_path: Path) -> None:
    exact = shown(series, out=tmp_path / "a.png").astype(int)
    assert np.abs(shown(series, out=tmp_path / "a.jpg") - exact).mean() < 1
    assert ".jpg" in refused("thumbnail", series, tmp_path / "a.gif")


def test_a_slice_of_a_slide_is_not_there(slide: Path, tmp_path: Path) -> None:
    assert "no volume" in refused("thumbnail", slide, tmp_path / "a.png", "--z", 0)


# read


@pytest.mark.parametrize("suffix", ["tif", "npy"])
def test_slices_have_the_pixels_that_pydicom_reads(
    suffix: str, series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = slices_of(series)
    out = tmp_path / f"a.{suffix}"
    monkeypatch.setattr(bands, "BAND_BYTES", 1)  # two bands a slice
    result = run("read", series, out, "--depth", 0)
    assert "512 × 512 × 7 pixels, uint16, channels 0, slices 0 to 6" in result.stdout
    np.testing.assert_array_equal(load(out), expected)
    place = ["--location", 100, -20, "--size", 301, 290]
    run("read", series, out, "--z", 2, "--depth", 3, *place)
    found = load(out)
    assert found.shape == (3, 290, 301)
    np.testing.assert_array_equal(found[:, 20:], expected[2:5, :270, 100:401])
    assert not found[:, :20].any()
    run("read", series, out, "--z", 4)
    np.testing.assert_array_equal(load(out), expected[4])


def test_a_written_volume_has_a_page_a_slice_and_keeps_spacing(
    series: Path, tmp_path: Path
) -> None:
    run("read", series, tmp_path / "a.tif", "--depth", 0)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert len(tiff.pages) == 7
        page = tiff.pages.first
        assert page.resolution == pytest.approx((10 / 0.51171875,) * 2)
        assert page.resolutionunit == tifffile.RESUNIT.CENTIMETER
        about = json.loads(page.description)["regionio.read"]
        assert about["axes"] == "ZYX"
        assert about["spacing"] == {"X": 0.51171875, "Y": 0.51171875, "Z": 4.0}
        assert about["spacing_unit"] == "millimeter"


def test_a_written_volume_is_one_again(series: Path, tmp_path: Path) -> None:
    run("read", series, tmp_path / "a.tif", "--depth", 0)
    place = ["--location", 20, 30, "--size", 50, 40, "--z", 2, "--depth", 3]
    run("read", series, tmp_path / "b.tif", *place)
    whole, part = regionio.open(tmp_path / "a.tif"), regionio.open(tmp_path / "b.tif")
    original = regionio.open(series)
    for image in (whole, part):
        assert (image.format, image.dims, image.is_volume) == ("written", "ZYX", True)
        assert image.spacing("XYZ") == pytest.approx(original.spacing("XYZ"))
        assert image.spacing_units("Z") == ("millimeter",)
    np.testing.assert_array_equal(whole.read_region(), original.read_region())
    assert original.affine is not None
    assert whole.affine is not None
    assert part.affine is not None
    np.testing.assert_allclose(whole.affine, original.affine)
    np.testing.assert_allclose(
        part.affine @ [3, 4, 1, 1], original.affine @ [23, 34, 3, 1], rtol=0, atol=1e-9
    )
    patch = part.read_region((3, 4, 1), (10, 12, 2))
    np.testing.assert_array_equal(patch, original.read_region((23, 34, 3), (10, 12, 2)))


class TestWrittenVolume(VolumeConformance):
    size = (9, 13, 2)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        run("read", SMALL_SERIES, tmp_path / "a.tif", "--depth", 0)
        return tmp_path / "a.tif"

    @pytest.fixture
    def expected(self) -> np.ndarray:
        return np.asarray(regionio.open(SMALL_SERIES).read_region())


@pytest.mark.parametrize(
    "damage",
    [{"spacing": 7}, {"spacing": {"X": "a"}}, {"spacing_unit": "parsec"}, {"origin": [1, 2]},
     {"direction": [[1, 0], [0, 1]]}, {"origin": None}, {"origin": [1e400, 0, 0]}, {"spacing_unit": []}, {"origin": [10**400, 0, 0]},
     {"spacing": {"X": 10**400}}],
)  # fmt: skip
def test_what_a_written_volume_says_wrongly_is_not_known(
    series: Path, tmp_path: Path, damage: dict[str, Any]
) -> None:
    run("read", series, tmp_path / "a.tif", "--depth", 0)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        tag = tiff.pages.first.tags["ImageDescription"]
        about = json.loads(tag.value)
        about["regionio.read"] |= damage
        tag.overwrite(json.dumps(about))
    image = regionio.open(tmp_path / "a.tif")
    assert (image.is_volume, image.affine) == (True, None)
    assert image.read_region((3, 4, 1), (10, 12, 2)).shape == (2, 12, 10)


def test_values_are_those_that_are_asked_for(series: Path, tmp_path: Path) -> None:
    stored = slices_of(series)
    out = tmp_path / "a.npy"
    for values, expected in (
        ("stored", stored[3]),
        ("auto", stored[3]),
        ("modality", stored[3].astype(np.float32) - 1024),
    ):
        run("read", series, out, "--z", 3, "--values", values)
        assert load(out).dtype == expected.dtype
        np.testing.assert_array_equal(load(out), expected)
    gray = np.clip((stored[3] - 1024.0 - 39.5) / 399 + 0.5, 0, 1)
    run("read", series, tmp_path / "a.png", "--z", 3, "--window", 40, 400)
    assert np.abs(load(tmp_path / "a.png") - gray * 255).max() <= 0.5
    wide = ["--values", "display", "--window", 40, 400, "--display-bits", 16]
    run("read", series, tmp_path / "a.png", "--z", 3, *wide)
    assert np.abs(load(tmp_path / "a.png") - gray * 65535).max() <= 0.5
    assert "display" in refused("read", series, out, "--values", "stored", "--window", 40, 400)
    assert "8, 16" in refused("read", series, out, "--values", "display", "--display-bits", 12)


def test_frames_may_be_left_in_their_stored_order(wider_data: Path, tmp_path: Path) -> None:
    folder = wider_data / "real" / "dicom_volume" / "dcmqi_23x38x3"
    path = folder / "mf.dcm"
    run("read", path, tmp_path / "a.npy", "--depth", 0, "--frame-order", "stored")
    np.testing.assert_array_equal(load(tmp_path / "a.npy"), pydicom.dcmread(path).pixel_array)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--z", 7], "there is no 7"),
        (["--z", 5, "--depth", 3], "2 slices from 5 on"),
    ],
)
def test_slices_that_are_not_there_are_wrong_usage(
    options: list[Any], words: str, series: Path, tmp_path: Path
) -> None:
    assert words in refused("read", series, tmp_path / "a.npy", *options)
    assert left_behind(tmp_path) == []


def test_png_holds_no_volume_and_a_slide_has_no_depth(
    series: Path, slide: Path, tmp_path: Path
) -> None:
    assert "one slice" in refused("read", series, tmp_path / "a.png", "--depth", 2)
    assert "no volume" in refused("read", slide, tmp_path / "a.npy", "--depth", 2)
    assert left_behind(tmp_path) == []


def test_a_level_of_a_slide_is_written_exactly(slide: Path, tmp_path: Path) -> None:
    run("read", slide, tmp_path / "a.tif", "--level", 2)
    with regionio.open(slide) as image, tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        np.testing.assert_array_equal(tiff.asarray(), image.read_region(level=2))
        assert tiff.pages.first.resolution == pytest.approx((1e4 / 1.996,) * 2)
        assert tiff.pages.first.iccprofile == image.icc_profile


def test_a_file_of_a_folder_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "ct.tif"  # what it is called does not matter
    shutil.copy(CT_PICTURE, path)
    before = path.read_bytes()
    assert "what is read itself" in refused("read", tmp_path, path)
    assert path.read_bytes() == before


# bench


@pytest.mark.parametrize("name", ["slide", "series"])
def test_bench_counts_what_it_read_of_dicom(name: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(name)
    options = ["--threads", "0,2", "--seconds", 0.02, "--batch", 8, "--patch", 100, "--json"]
    facts = json.loads(run("bench", path, *options).stdout)
    for measured in facts["runs"]:
        assert measured["patches"] >= 8
        assert measured["tiles_decoded"] > 0


# extract


def test_patches_of_a_slide_are_those_of_the_same_slide_as_tiff(
    slide: Path, tmp_path: Path
) -> None:
    run("read", slide, tmp_path / "level0.tif")
    for name, path in (("dicom", slide), ("tiff", tmp_path / "level0.tif")):
        run("extract", path, tmp_path / name, "--size", 256)
    actual, expected = (patches_in(tmp_path / name) for name in ("dicom", "tiff"))
    assert actual["patches"].shape[0] > 40
    for key in ("patches", "locations"):
        np.testing.assert_array_equal(actual[key][:], expected[key][:])
    told = {"size", "stride", "spacing", "channel_names", "level", "scene"}
    assert {key: actual.attrs[key] for key in told} == {
        **{key: expected.attrs[key] for key in told},
        "spacing": {"X": pytest.approx(0.499), "Y": pytest.approx(0.499)},
    }
    sheet = imagecodecs.png_decode((tmp_path / "dicom" / "contact_sheet.png").read_bytes())
    assert sheet.ndim == 3


def test_patches_of_a_volume_are_refused_with_what_to_do(series: Path, tmp_path: Path) -> None:
    said = refused("extract", series, tmp_path / "out")
    assert "regionio read --z" in said
    assert "read_region" in said
    assert left_behind(tmp_path) == []
