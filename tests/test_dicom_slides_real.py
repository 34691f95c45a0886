"""Real DICOM slides equal OpenSlide, wsidicom and highdicom at every level, however they are opened."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pydicom
import pytest

import regionio
from regionio.testing import ImageConformance
from tests.conftest import DATA
from tests.dicom_slide_files import painted, tiles_of, write_slide

FOLDERS = ["cmu_jpeg", "cmu_jpeg_empty_bot", "cmu_jpeg_sparse_shuffled"]
BY_OPENSLIDE = [
    "camelyon_j2k_lossless.dcm", "camelyon_jpeg.dcm", "highdicom/sm_image.dcm",
    "highdicom/sm_image_control.dcm", "highdicom/sm_image_dots.dcm",
    "highdicom/sm_image_numbers.dcm", "wsi2dcm/jpeg.dcm", "wsi2dcm/jpeg2000.dcm",
]  # fmt: skip
BY_WSIDICOM = [
    *BY_OPENSLIDE, "highdicom/sm_image_grayscale.dcm", "highdicom/sm_image_grayscale_reversed.dcm",
    "highdicom/sm_image_jpegls.dcm", "highdicom/sm_image_jpegls_nobot.dcm",
]  # fmt: skip
SEGMENTATIONS = ["seg_image_sm_dots.dcm", "seg_image_sm_dots_tiled_full.dcm"]
LABELS = ["downsample-1-in.dcm", "downsample-8-in.dcm", "downsample-32-in.dcm"]


def by_openslide(path: Path) -> list[np.ndarray]:
    """Return every level; none of these files has holes."""
    with openslide.OpenSlide(path) as slide:
        levels = [
            np.asarray(slide.read_region((0, 0), number, size))
            for number, size in enumerate(slide.level_dimensions)
        ]
    assert all((level[..., 3] == 255).all() for level in levels)
    return [level[..., :3] for level in levels]


def by_wsidicom(path: Path) -> list[np.ndarray]:
    wsidicom = pytest.importorskip("wsidicom")
    with wsidicom.WsiDicom.open(path) as slide:
        sizes = [(level.level, level.size.to_tuple()) for level in slide.levels]
        return [np.asarray(slide.read_region((0, 0), level, size)) for level, size in sizes]


@cache
def folder_oracle(folder: Path, reader: Callable[[Path], list[np.ndarray]]) -> list[np.ndarray]:
    return reader(min(folder.glob("*.dcm")) if reader is by_openslide else folder)


def assert_levels(image: regionio.Image, expected: list[np.ndarray]) -> None:
    assert [(level.width, level.height) for level in image.levels] == [
        level.shape[1::-1] for level in expected
    ]
    for number, level in enumerate(expected):
        np.testing.assert_array_equal(image.read_region(None, None, number), level)


def ways(folder: Path) -> dict[str, Any]:
    """Return what may be given for the slide of a folder: it, each file of it, a list."""
    files = sorted(folder.glob("*.dcm"))
    assert len(files) == 8
    return {"folder": folder, "first": files[0], "last": files[-1], "list": files[::-1]}


@pytest.mark.parametrize("way", ["folder", "first", "last", "list"])
@pytest.mark.parametrize("name", FOLDERS)
def test_pyramids_equal_openslide(wider_data: Path, name: str, way: str) -> None:
    folder = wider_data / "derived/dicom_wsi" / name
    with (
        regionio.open(ways(folder)[way]) as image,
        openslide.OpenSlide(min(folder.glob("*.dcm"))) as slide,
    ):
        assert_levels(image, folder_oracle(folder, by_openslide))
        assert set(image.associated_images) == set(slide.associated_images)
        for key, picture in slide.associated_images.items():
            found = image.associated_image(key).read_region()
            np.testing.assert_array_equal(found, np.asarray(picture)[..., :3])
        mpp = [float(slide.properties[f"openslide.mpp-{axis}"]) for axis in "xy"]
        assert image.spacing("XY") == pytest.approx(mpp)
        assert image.spacing_units("XY") == ("micrometer", "micrometer")
        assert slide.color_profile is not None
        assert image.icc_profile == slide.color_profile.tobytes()
        assert len(image.scenes) == 1


@pytest.mark.parametrize("name", FOLDERS)
def test_pyramids_equal_wsidicom(wider_data: Path, name: str) -> None:
    folder = wider_data / "derived/dicom_wsi" / name
    with regionio.open(folder) as image:
        assert_levels(image, folder_oracle(folder, by_wsidicom))


@pytest.mark.parametrize("name", FOLDERS)
def test_downsamples_are_quotients_of_spacings(wider_data: Path, name: str) -> None:
    folder = wider_data / "derived/dicom_wsi" / name
    stated: dict[int, float] = {}
    for path in folder.glob("*.dcm"):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        if dataset.ImageType[2] == "VOLUME":
            measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
            stated[dataset.TotalPixelMatrixColumns] = float(measures.PixelSpacing[0])
    with regionio.open(folder) as image:
        for level in image.levels:
            wanted = stated[level.width] / stated[image.levels[0].width]
            assert level.downsample == pytest.approx((wanted, wanted), rel=1e-5)


@pytest.mark.parametrize("name", BY_OPENSLIDE)
def test_single_files_equal_openslide(wider_data: Path, name: str) -> None:
    path = wider_data / "real/dicom_wsi" / name
    with regionio.open([path]) as image, openslide.OpenSlide(path) as slide:
        assert_levels(image, by_openslide(path))
        mpp = [float(slide.properties[f"openslide.mpp-{axis}"]) for axis in "xy"]
        assert image.spacing("XY") == pytest.approx(mpp)
        profile = slide.color_profile
        assert image.icc_profile == (None if profile is None else profile.tobytes())
        assert image.associated_images == ()


@pytest.mark.parametrize("name", BY_WSIDICOM)
def test_single_files_equal_wsidicom(wider_data: Path, name: str) -> None:
    path = wider_data / "real/dicom_wsi" / name
    with regionio.open([path]) as image:
        assert_levels(image, by_wsidicom(path))


@pytest.mark.parametrize("name", [name for name in BY_WSIDICOM if name.startswith("highdicom")])
def test_single_files_equal_highdicom(wider_data: Path, name: str) -> None:
    highdicom = pytest.importorskip("highdicom")
    path = wider_data / "real/dicom_wsi" / name
    expected = highdicom.imread(path).get_total_pixel_matrix(
        apply_icc_profile=False, apply_real_world_transform=False, dtype=np.int64
    )
    np.testing.assert_array_equal(regionio.open([path]).read_region(), expected)


@pytest.mark.parametrize("name", SEGMENTATIONS)
def test_segments_are_channels(wider_data: Path, name: str) -> None:
    highdicom = pytest.importorskip("highdicom")
    path = wider_data / "real/dicom_wsi/highdicom" / name
    segmentation = highdicom.seg.segread(path)
    expected = segmentation.get_total_pixel_matrix(combine_segments=False)
    image = regionio.open(path)
    assert image.dims == "YXC"
    np.testing.assert_array_equal(image.read_region(), expected)
    labels = tuple(item.SegmentLabel for item in segmentation.SegmentSequence)
    assert image.channel_names == labels
    np.testing.assert_array_equal(
        image.read_region((5, 7), (31, 22), channels=labels[40]), expected[7:29, 5:36, 40]
    )


def test_label_maps_are_gray(wider_data: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    path = wider_data / "real/dicom_wsi/highdicom/seg_image_sm_control_labelmap.dcm"
    expected = highdicom.seg.segread(path).get_total_pixel_matrix(combine_segments=True)
    image = regionio.open(path)
    assert image.dims == "YX"
    np.testing.assert_array_equal(image.read_region(), expected)


@pytest.mark.parametrize("name", SEGMENTATIONS)
def test_segment_frames_lie_where_the_groups_say(wider_data: Path, name: str) -> None:
    path = wider_data / "real/dicom_wsi/highdicom" / name
    dataset = pydicom.dcmread(path)
    frames = dataset.pixel_array
    if "PerFrameFunctionalGroupsSequence" in dataset:
        groups = list(dataset.PerFrameFunctionalGroupsSequence)
        segment = [g.SegmentIdentificationSequence[0].ReferencedSegmentNumber for g in groups]
        positions = [g.PlanePositionSlideSequence[0] for g in groups]
        places = [
            (p.ColumnPositionInTotalImagePixelMatrix, p.RowPositionInTotalImagePixelMatrix)
            for p in positions
        ]
    else:  # 5 × 5 tiles of each segment
        segment = np.repeat(np.arange(1, 51), 25).tolist()
        places = [(x * 10 + 1, y * 10 + 1) for y in range(5) for x in range(5)] * 50
    image = regionio.open(path)
    for number in sorted(set(segment)):
        chosen = [n for n, s in enumerate(segment) if s == number]
        wanted = painted([frames[n] for n in chosen], [places[n] for n in chosen], (50, 50), 0)
        np.testing.assert_array_equal(image.read_region(channels=number - 1), wanted)


@pytest.mark.filterwarnings("ignore:.*is a copy of")
@pytest.mark.parametrize("name", LABELS)
def test_a_label_alone_is_an_image(wider_data: Path, name: str) -> None:
    path = wider_data / "real/dicom_wsi/gcp_downsample" / name
    dataset = pydicom.dcmread(path)
    for opened in (regionio.open(path), regionio.open([path])):
        np.testing.assert_array_equal(opened.read_region(), dataset.pixel_array)
        assert opened.associated_images == ()


@pytest.mark.parametrize("name", ["sm_image.dcm", "sm_image_control.dcm"])
def test_a_file_is_read_and_not_its_copy(wider_data: Path, name: str) -> None:
    path = wider_data / "real/dicom_wsi/highdicom" / name
    with pytest.warns(UserWarning, match="is a copy of .*" + name):
        image = regionio.open(path)
    assert image.files == (str(path),)
    np.testing.assert_array_equal(image.read_region(), by_openslide(path)[0])


def test_a_folder_of_slides_and_segmentations_has_scenes(wider_data: Path) -> None:
    folder = wider_data / "real/dicom_wsi/highdicom"
    series = {
        pydicom.dcmread(p, stop_before_pixels=True).SeriesInstanceUID for p in folder.iterdir()
    }
    with pytest.warns(UserWarning, match="is a copy of"):
        image = regionio.open(folder, scene=1)
    assert {scene.name for scene in image.scenes} == series
    assert (50, 50, 50) in {scene.shape for scene in image.scenes}


@pytest.mark.filterwarnings("ignore:.*is a copy of")
@pytest.mark.parametrize("name", ["sm_image_grayscale.dcm", "sm_image_grayscale_reversed.dcm"])
def test_files_of_one_level_that_exclude_each_other(wider_data: Path, name: str) -> None:
    folder = wider_data / "real/dicom_wsi/highdicom"
    with pytest.warns(UserWarning, match="read without the files of its series beside it"):
        image = regionio.open(folder / name)
    assert_levels(image, by_wsidicom(folder / name))
    series = pydicom.dcmread(folder / name).SeriesInstanceUID
    with pytest.raises(regionio.UnsupportedFormatError, match="open the files one by one"):
        regionio.open(folder, scene=series)


class TestJpegSlide(ImageConformance):
    """In 4:2:0, as it comes with the project."""

    @pytest.fixture
    def path(self) -> str:
        return str(DATA / "camelyon_jpeg.dcm")

    @pytest.fixture
    def expected(self, path: str) -> list[np.ndarray]:
        return by_openslide(Path(path))


@pytest.mark.parametrize("name", FOLDERS)
class TestPyramid(ImageConformance):
    regions = 8

    @pytest.fixture
    def path(self, wider_data: Path, name: str) -> str:
        return str(wider_data / "derived/dicom_wsi" / name)

    @pytest.fixture
    def expected(self, path: str) -> list[np.ndarray]:
        return folder_oracle(Path(path), by_openslide)


class TestSparseSlide(ImageConformance):
    """Tiles that overlap and leave holes, put together by hand."""

    @pytest.fixture
    def tiles(self) -> tuple[list[np.ndarray], list[tuple[int, int]]]:
        [slide] = by_openslide(DATA / "camelyon_jpeg.dcm")
        random = np.random.default_rng(2)
        frames = tiles_of(slide[100:500, 100:800], (64, 96))
        places = random.integers(-60, [700, 400], (len(frames), 2)).tolist()
        return frames, [(x, y) for x, y in places]

    @pytest.fixture
    def path(self, tmp_path: Path, tiles: Any) -> str:
        return str(write_slide(tmp_path / "slide.dcm", tiles[0], (400, 700), places=tiles[1]))

    @pytest.fixture
    def expected(self, tiles: Any) -> list[np.ndarray]:
        frames, places = tiles
        return [painted(frames, places, (400, 700), 255)]
