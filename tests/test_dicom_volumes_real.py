"""Real DICOM images, as users open them: pydicom's raw arrays, in the order that is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames

import regionio
from regionio.testing import VolumeConformance
from tests.dicom_files import ROOT, assert_near, by_pydicom
from tests.dicom_volumes import AXIAL, display, whole
from tests.test_dicom_frames import (
    LOSSLESS_JPEG,
    LOSSY,
    PIXELS,
    PYDICOM_FINDS_NO_PIXELS,
    REFUSED_FILES,
    TWELVE_BIT_JPEG,
    by_other_libraries,
    real_files,
)

DATA = Path(__file__).parent / "data"
TOMOSYNTHESIS = DATA / "hologic_dbt_j2k_4frames.dcm"
SERIES = DATA / "dcmqi_23x38x3"

odd_files = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's and regionio's


@odd_files
@pytest.mark.parametrize(
    "path", [p for p in real_files() if "dicom_wsi" not in p.parts], ids=lambda path: path.name
)
def test_every_file_is_pydicoms_raw_array(path: Path) -> None:
    if path.name in REFUSED_FILES:
        error, reason = REFUSED_FILES[path.name]
        with pytest.raises(error, match=reason):
            whole(regionio.open([path], values="stored"))
        return
    twin = path.with_name(PYDICOM_FINDS_NO_PIXELS.get(path.name, path.name))
    dataset = pydicom.dcmread(twin, force=True)
    if not any(keyword in dataset for keyword in PIXELS):
        with pytest.raises(regionio.RegionIOError):
            regionio.open([path])
        return
    syntax = dataset.file_meta.get("TransferSyntaxUID", ROOT)
    try:
        expected = by_pydicom(dataset)
    except (RuntimeError, NotImplementedError):
        assert syntax in LOSSLESS_JPEG | TWELVE_BIT_JPEG
        expected = by_other_libraries(dataset)
    image = regionio.open([path], values="stored")
    order = image.frame_indices
    assert order is not None
    assert sorted(order.tolist()) == list(range(len(expected)))
    assert_near(whole(image), expected[order], syntax in LOSSY)
    assert image.is_volume == ("Z" in image.dims)


@odd_files
@pytest.mark.parametrize("name", ["ct_series", "dcmqi_23x38x3"])
def test_series_are_sorted_by_where_slices_lie(wider_data: Path, name: str) -> None:
    folder = wider_data / "real/dicom_volume" / name
    datasets = [pydicom.dcmread(path) for path in sorted(folder.glob("*[0-9].dcm"))]
    series = str(datasets[0].SeriesInstanceUID)
    image = regionio.open(folder, scene=series)
    heights = [float(dataset.ImagePositionPatient[2]) for dataset in datasets]
    order = np.argsort(heights)
    if heights == sorted(heights, reverse=True):
        order = order[::-1]  # what falls throughout keeps its direction
    assert image.dims == "ZYX"
    np.testing.assert_array_equal(
        image.read_region(), [by_pydicom(datasets[number])[0, ..., 0] for number in order]
    )
    first = datasets[order[0]]
    assert image.spacing("YX") == tuple(first.PixelSpacing)
    assert image.spacing("Z")[0] == pytest.approx(np.abs(np.diff(heights)).mean())
    np.testing.assert_array_equal(image.origin, first.ImagePositionPatient)
    affine = image.affine
    assert affine is not None
    last = affine @ [0, 0, len(order) - 1, 1]
    np.testing.assert_allclose(last[:3], datasets[order[-1]].ImagePositionPatient)
    corner = affine @ [1, 2, 0, 1]
    down, across = first.PixelSpacing
    moved = np.add(first.ImagePositionPatient, np.array([across, 2 * down, 0]))
    assert first.ImageOrientationPatient == AXIAL
    np.testing.assert_allclose(corner[:3], moved.astype(float))


@pytest.mark.parametrize(
    "pair", [("ct_series", "ct_multiframe_sc_7.dcm"), ("dcmqi_23x38x3", "dcmqi_23x38x3/mf.dcm")]
)
def test_multi_frame_twins_of_series(wider_data: Path, pair: tuple[str, str]) -> None:
    planes: list[dict[float, np.ndarray]] = []
    for name in pair:
        image = regionio.open(wider_data / "real/dicom_volume" / name)
        affine = image.affine
        assert affine is not None
        heights = affine[2, 3] + affine[2, 2] * np.arange(image.shape[0])
        volume = np.asarray(image.read_region())
        planes.append(dict(zip(heights.round(3).tolist(), volume, strict=True)))
    assert planes[0].keys() == planes[1].keys()
    for height, plane in planes[0].items():
        np.testing.assert_array_equal(planes[1][height], plane)


@pytest.mark.parametrize("name", ["eCT_Supplemental.dcm", "philips_enhanced_mr_40f.dcm"])
def test_numbers_in_stacks_come_first(wider_data: Path, name: str) -> None:
    path = wider_data / "real/dicom_volume" / name
    dataset = pydicom.dcmread(path)
    groups = dataset.PerFrameFunctionalGroupsSequence
    places = [item.FrameContentSequence[0].InStackPositionNumber for item in groups]
    image = regionio.open(path)
    assert image.frame_indices is not None
    assert image.frame_indices.tolist() == np.argsort(places).tolist()
    positions = [
        groups[n].PlanePositionSequence[0].ImagePositionPatient for n in image.frame_indices
    ]
    affine = image.affine
    assert affine is not None
    ends = [(affine @ [0, 0, z, 1])[:3] for z in (0, len(places) - 1)]
    np.testing.assert_allclose(ends, np.array([positions[0], positions[-1]], dtype=float))


def test_tomosynthesis_whose_header_tells_of_more_frames() -> None:
    with pytest.warns(UserWarning, match="has 4 frames, but functional groups of 45"):
        image = regionio.open(TOMOSYNTHESIS)
    assert (image.dims, image.shape, str(image.dtype)) == ("ZYX", (4, 128, 128), "uint16")
    # all frames are said to lie at one place, and sizes of pixels are not told
    assert image.spacing("XYZ") == (None, None, None)
    assert image.affine is None
    np.testing.assert_array_equal(image.frame_indices, range(4))
    assert image.origin is not None
    np.testing.assert_array_equal(image.origin, [-0.7090909, 0, 0])
    np.testing.assert_array_equal(image.direction, [[0, 0, -1], [1, 0, 0], [0, -1, 0]])


@odd_files
def test_planes_of_a_tomosynthesis_are_decoded_alone() -> None:
    expected = by_pydicom(pydicom.dcmread(TOMOSYNTHESIS))[..., 0]
    image = regionio.open(TOMOSYNTHESIS)
    locations = [(x, y, z) for z in (3, 1, 3, 1, 1) for x, y in ((0, 9), (60, 70))]
    loader = image.read_region(locations, (30, 20), batch_size=4)
    patches = np.concatenate(list(loader))
    wanted = [expected[z, y : y + 20, x : x + 30] for x, y, z in locations]
    np.testing.assert_array_equal(patches, wanted)
    assert loader.stats.tiles_decoded == 2
    slab = image.read_region((5, 6, 1), (50, 40, 2))
    np.testing.assert_array_equal(slab, expected[1:3, 6:46, 5:55])


def boxed(path: Path) -> bytes:
    """Return the first bytes of the first frame of an encapsulated file."""
    dataset = pydicom.dcmread(path)
    return next(generate_frames(dataset.PixelData, number_of_frames=1))[:12]


@odd_files
def test_mammogram_like_files() -> None:
    """JP2-boxed JPEG 2000, lossless JPEG, MONOCHROME1: as RSNA's mammograms have them."""
    files = {path.name: path for path in real_files()}
    if "RG1_UNCR.dcm" not in files:
        pytest.skip("package pydicom-data is not installed")
    assert boxed(files["GDCMJ2K_TextGBR.dcm"])[4:8] == b"jP  "
    for name in ("RG1_J2KR.dcm", "RG3_J2KR.dcm"):
        twin = pydicom.dcmread(files[name.replace("J2KR", "UNCR")])
        raw = by_pydicom(twin)[0, ..., 0]
        np.testing.assert_array_equal(regionio.open(files[name]).read_region(), raw)
        shown = np.asarray(regionio.open(files[name], values="display").read_region())
        wanted = display(Path(str(twin.filename)))[0, ..., 0]
        assert np.abs(shown - wanted).max() <= 0.5 + 1e-6
        inverse = twin.PhotometricInterpretation == "MONOCHROME1"
        assert inverse == (np.corrcoef(raw.ravel(), shown.ravel())[0, 1] < 0)
    assert pydicom.dcmread(files["RG1_UNCR.dcm"]).PhotometricInterpretation == "MONOCHROME1"
    for name in ("JPGLosslessP14SV1_1s_1f_8b.dcm", "JPEG-LL.dcm"):
        dataset = pydicom.dcmread(files[name])
        stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
        pixels = np.asarray(regionio.open(files[name]).read_region())
        decoded = imagecodecs.ljpeg_decode(stream)
        np.testing.assert_array_equal(pixels.view(decoded.dtype), decoded)


@odd_files
class TestTomosynthesis(VolumeConformance):
    @pytest.fixture
    def path(self) -> Any:
        return TOMOSYNTHESIS

    @pytest.fixture
    def expected(self, path: Any) -> np.ndarray:
        return by_pydicom(pydicom.dcmread(path))[..., 0]


class TestSeries(VolumeConformance):
    """Slices of one series, given in any order."""

    size = (9, 13, 2)

    @pytest.fixture
    def path(self) -> Any:
        return [SERIES / f"IMG000{number}.dcm" for number in (2, 3, 1)]

    @pytest.fixture
    def expected(self, path: Any) -> np.ndarray:
        frames = [by_pydicom(pydicom.dcmread(file))[0, ..., 0] for file in sorted(path)]
        return np.stack(frames)


class TestMultiFrameThatFalls(VolumeConformance):
    size = (9, 13, 2)

    @pytest.fixture
    def path(self) -> Any:
        return SERIES / "mf.dcm"

    @pytest.fixture
    def expected(self, path: Any) -> np.ndarray:
        return by_pydicom(pydicom.dcmread(path))[::-1, ..., 0]
