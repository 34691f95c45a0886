"""The facades on DICOM: what OpenSlide gives of slides, what a cuCIM user expects."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

import regionio
from regionio.compat.cucim import CuImage

openslide = pytest.importorskip("openslide")
pytest.importorskip("PIL.Image")

from regionio.compat import openslide as facade  # noqa: E402  only where Pillow is there

DERIVED = ["cmu_jpeg", "cmu_jpeg_empty_bot", "cmu_jpeg_sparse_shuffled"]
REAL = [
    "camelyon_j2k_lossless.dcm",
    "camelyon_jpeg.dcm",
    "highdicom/sm_image.dcm",
    "highdicom/sm_image_control.dcm",
    "highdicom/sm_image_dots.dcm",
    "highdicom/sm_image_numbers.dcm",
    "wsi2dcm/jpeg.dcm",
    "wsi2dcm/jpeg2000.dcm",
]


@pytest.fixture(params=[*DERIVED, *REAL])
def path(request: pytest.FixtureRequest, wider_data: Path, tmp_path: Path) -> str:
    """Return one file of each slide; single ones without the others of their folder."""
    if request.param in DERIVED:
        return slide_file(wider_data, request.param)
    source = wider_data / "real" / "dicom_wsi" / request.param
    return str(shutil.copy(source, tmp_path))


def slide_file(wider_data: Path, name: str = "cmu_jpeg", number: int = 0) -> str:
    return str(sorted((wider_data / "derived" / "dicom_wsi" / name).glob("*.dcm"))[number])


def picture_of(slide: Any, location: tuple[int, int], level: int, size: tuple[int, int]) -> Any:
    region = slide.read_region(location, level, size)
    assert region.mode == "RGBA"
    return np.asarray(region)


def test_every_level_is_the_same(path: str) -> None:
    with facade.OpenSlide(path) as actual, openslide.OpenSlide(path) as expected:
        assert actual.level_dimensions == expected.level_dimensions
        assert actual.level_downsamples == expected.level_downsamples
        for level, (width, height) in enumerate(expected.level_dimensions):
            wanted = ((0, 0), level, (width + 9, height + 7))
            np.testing.assert_array_equal(
                picture_of(actual, *wanted), picture_of(expected, *wanted), str(level)
            )


def test_regions_of_the_largest_level_are_the_same(path: str) -> None:
    rng = np.random.default_rng(0)
    with facade.OpenSlide(path) as actual, openslide.OpenSlide(path) as expected:
        width, height = expected.dimensions
        for x, y in rng.integers(-30, (width, height), (8, 2)).tolist():
            wanted = ((x, y), 0, (97, 65))
            np.testing.assert_array_equal(
                picture_of(actual, *wanted), picture_of(expected, *wanted), f"{x}, {y}"
            )


def test_properties_are_the_same(path: str) -> None:
    with facade.OpenSlide(path) as actual, openslide.OpenSlide(path) as expected:
        assert actual.detect_format(path) == expected.detect_format(path) == "dicom"
        assert dict(actual.properties) == dict(expected.properties)


def test_associated_images_and_profiles_are_the_same(path: str) -> None:
    with facade.OpenSlide(path) as actual, openslide.OpenSlide(path) as expected:
        assert list(actual.associated_images) == list(expected.associated_images)
        for name, image in expected.associated_images.items():
            found = actual.associated_images[name]
            np.testing.assert_array_equal(np.asarray(found), np.asarray(image), name)
            assert found.info == image.info
        ours, theirs = actual.color_profile, expected.color_profile
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.tobytes() == theirs.tobytes()


def test_any_file_of_a_slide_gives_all_of_it(wider_data: Path) -> None:
    for number in range(8):
        with facade.open_slide(slide_file(wider_data, number=number)) as slide:
            assert (slide.level_count, slide.dimensions) == (5, (2220, 2967))
            assert list(slide.associated_images) == ["label", "macro", "thumbnail"]


def test_a_folder_is_a_slide(wider_data: Path, tmp_path: Path) -> None:
    with facade.OpenSlide(wider_data / "derived" / "dicom_wsi" / "cmu_jpeg") as slide:
        assert slide.level_count == 5
    assert facade.OpenSlide.detect_format(tmp_path) is None
    with pytest.raises(facade.OpenSlideUnsupportedFormatError):
        facade.OpenSlide(tmp_path)


def test_places_made_from_pixels_of_a_level_find_these_pixels(wider_data: Path) -> None:
    with facade.OpenSlide(slide_file(wider_data)) as slide:
        for level, downsample in enumerate(slide.level_downsamples):
            width, height = slide.level_dimensions[level]
            whole = picture_of(slide, (0, 0), level, (width, height))
            for x, y in ((width // 2, height // 3), (width - 20, height - 20), (1, 2)):
                location = int(x * downsample), int(y * downsample)
                found = picture_of(slide, location, level, (20, 20))
                np.testing.assert_array_equal(found[: height - y], whole[y : y + 20, x : x + 20])


def test_a_slide_can_be_pickled_and_its_thumbnail_is_the_same(wider_data: Path) -> None:
    path = slide_file(wider_data)
    with facade.OpenSlide(path) as slide, openslide.OpenSlide(path) as expected:
        with pickle.loads(pickle.dumps(slide)) as copy:
            assert dict(copy.properties) == dict(slide.properties)
        thumbnail, other = (s.get_thumbnail((200, 200)) for s in (slide, expected))
        np.testing.assert_array_equal(np.asarray(thumbnail), np.asarray(other))


ODD_VALUES = {
    "AE": (0x00080055, b"A\\B "),
    "AS": (0x00101010, b"010Y\\011Y "),
    "CS": (0x00100040, b" M"),
    "DA": (0x00080020, b"20200101\\20200102 "),
    "DS": (0x00101020, b"1.50"),
    "DS of several": (0x00280030, b"0.5\\"),
    "DT": (0x00189074, b"2020\\2021 "),
    "FD": (0x00189073, np.array([0.1]).tobytes()),
    "IS": (0x00200013, b"007 "),
    "LO": (0x00181020, b"a\\b "),
    "LT": (0x00104000, b" line\\one "),
    "PN": (0x00100010, b"A^B=C\\D "),
    "SH": (0x00081010, b"a\\b "),
    "SQ": (0x00081140, b""),
    "TM": (0x00080030, b"10\\11 "),
    "UR": (0x00080120, b"a\\b "),
    "LO private": (0x00091001, b"private "),
}


@pytest.mark.parametrize("name", ODD_VALUES)
def test_odd_values_are_written_as_openslide_writes_them(
    name: str, wider_data: Path, tmp_path: Path
) -> None:
    tag, value = ODD_VALUES[name]
    path = tmp_path / "odd.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of what is odd
        dataset = pydicom.dcmread(wider_data / "real" / "dicom_wsi" / "wsi2dcm" / "jpeg.dcm")
        raw = RawDataElement(Tag(tag), name[:2], len(value), value, 0, False, True)
        dataset._dict[Tag(tag)] = raw
        dataset.save_as(path)
    with facade.OpenSlide(path) as actual, openslide.OpenSlide(path) as expected:
        assert dict(actual.properties) == dict(expected.properties)


def test_properties_of_a_file_that_went_away_are_an_error(wider_data: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(wider_data / "real" / "dicom_wsi" / "wsi2dcm" / "jpeg.dcm", tmp_path))
    with facade.OpenSlide(path) as slide:
        path.unlink()
        with pytest.raises(facade.OpenSlideError, match=r"jpeg\.dcm"):
            slide.properties["openslide.vendor"]


def test_what_openslide_refuses_and_regionio_reads_is_a_slide(
    wider_data: Path, tmp_path: Path
) -> None:
    source = wider_data / "real" / "dicom_wsi" / "highdicom" / "sm_image_jpegls.dcm"
    path = shutil.copy(source, tmp_path)
    with facade.OpenSlide(path) as slide, regionio.open(path) as image:
        region = picture_of(slide, (0, 0), 0, (50, 50))
        np.testing.assert_array_equal(region[..., :3], image.read_region())
        assert slide.properties["openslide.mpp-x"] == "0.499"


@pytest.mark.parametrize(
    "name",
    [
        "real/dicom_volume/ct_series/slice1.dcm",
        "real/dicom_volume/ct_series",
        "real/dicom_breast/hologic_dbt_j2k_4frames.dcm",
    ],
)
@pytest.mark.filterwarnings("ignore:.*functional groups")
def test_what_is_no_slide_of_8_bits_is_refused(name: str, wider_data: Path) -> None:
    with pytest.raises(facade.OpenSlideUnsupportedFormatError, match="8 bits"):
        facade.OpenSlide(wider_data / name)
    assert facade.OpenSlide.detect_format(wider_data / name) is None


def test_indices_into_a_palette_are_no_gray() -> None:
    from pydicom.data import get_testdata_file

    path = get_testdata_file("examples_palette.dcm")
    with pytest.raises(facade.OpenSlideUnsupportedFormatError):
        facade.OpenSlide(str(path))


def test_cucim_reads_the_pyramid(wider_data: Path) -> None:
    path = slide_file(wider_data)
    with CuImage(path) as img, regionio.open(path) as image:
        assert (img.shape, img.dims) == ([2967, 2220, 3], "YXC")
        assert img.spacing() == pytest.approx([0.499, 0.499, 1.0])
        assert img.spacing_units() == ["micrometer", "micrometer", "color"]
        assert img.resolutions == image.resolutions
        assert img.associated_images == {"label", "macro", "thumbnail"}
        assert img.origin == [0.0, 0.0, 0.0]
        assert img.metadata["dicom"]["Modality"] == "SM"
        json.dumps(img.metadata)
        label = np.asarray(img.associated_image("label"))
        np.testing.assert_array_equal(label, image.associated_image("label").read_region())
        region = img.read_region((400, 800), (120, 100), level=2)
        assert region.spacing("XY") == pytest.approx([1.996, 1.996])
        expected = image.read_region((400, 800), (120, 100), level=2)
        np.testing.assert_array_equal(np.asarray(region), expected)
        batches = list(img.read_region([(0, 0), (5, 5), (9, 9)], (64, 64), batch_size=2))
        assert [batch.shape for batch in batches] == [[2, 64, 64, 3], [1, 64, 64, 3]]


def test_cucim_reads_a_slice_with_its_values_and_its_place(wider_data: Path) -> None:
    path = wider_data / "real" / "dicom_volume" / "ct_series" / "slice3.dcm"
    dataset = pydicom.dcmread(path)
    with CuImage(path) as img:
        assert (img.shape, img.typestr) == ([512, 512, 1], "<u2")
        assert img.spacing("YX") == [float(value) for value in dataset.PixelSpacing]
        assert img.spacing_units("YX") == ["millimeter", "millimeter"]
        assert img.origin == [float(value) for value in dataset.ImagePositionPatient]
        assert np.ravel(np.transpose(img.direction)[:2]).tolist() == dataset.ImageOrientationPatient
        region = img.read_region((100, 50), (300, 200))
        assert region.origin == [0.0, 0.0, 0.0]
        np.testing.assert_array_equal(
            np.asarray(region)[..., 0], dataset.pixel_array[50:250, 100:400]
        )
        json.dumps(img.metadata)


def test_cucim_refuses_volumes(wider_data: Path) -> None:
    with pytest.raises(ValueError, match=r"volume of 7 slices.*regionio\.open"):
        CuImage(wider_data / "real" / "dicom_volume" / "ct_series")
