"""DICOM slides written by pydicom: planes, paths, sparse tiles, codecs, colours, spacing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from PIL import Image, ImageCms
from pydicom.dataset import Dataset

import regionio
from regionio.testing.conformance import padded_slice
from tests.dicom_slide_files import (
    LAB_WHITE,
    SEGMENTATION,
    item,
    painted,
    picture,
    tiles_of,
    write_full,
    write_slide,
)

SIZE, TILE = (130, 170), (32, 48)
PATHS = [("a", "DAPI"), ("b", "Cy3")]
FOCI = [0.0, 1.5, 3.0]


def stack(*, gray16: bool) -> list[list[np.ndarray]]:
    """Return pictures by optical path and focal plane."""
    return [
        [picture(*SIZE, seed=10 * c + z, gray16=gray16) for z in range(len(FOCI))]
        for c in range(len(PATHS))
    ]


def cells() -> list[tuple[int, int]]:
    """Return the (column, row) of every tile of the grid."""
    return [(x * TILE[1] + 1, y * TILE[0] + 1) for y in range(5) for x in range(4)]


def written_stack(path: Path, pixels: list[list[np.ndarray]], organization: str) -> Path:
    frames, places = [], []
    for name, planes in zip("ab", pixels, strict=True):
        for focus, plane in zip(FOCI, planes, strict=True):
            frames += tiles_of(plane, TILE)
            places += [(x, y, 10 + focus, name) for x, y in cells()]
    order = list(range(len(frames)))
    if organization == "TILED_SPARSE":
        order = np.random.default_rng(4).permutation(len(frames)).tolist()
    origin = item(
        XOffsetInSlideCoordinateSystem=1, YOffsetInSlideCoordinateSystem=1,
        ZOffsetInSlideCoordinateSystem=10.0,
    )  # fmt: skip
    return write_slide(
        path,
        [frames[n] for n in order],
        SIZE,
        places=[places[n] for n in order] if organization == "TILED_SPARSE" else None,
        paths=PATHS,
        focal_step=1.5,
        TotalPixelMatrixFocalPlanes=len(FOCI),
        TotalPixelMatrixOriginSequence=[origin],
    )


@pytest.mark.parametrize("organization", ["TILED_FULL", "TILED_SPARSE"])
@pytest.mark.parametrize("gray16", [False, True])
def test_focal_planes_and_optical_paths(tmp_path: Path, organization: str, *, gray16: bool) -> None:
    pixels = stack(gray16=gray16)
    path = written_stack(tmp_path / "slide.dcm", pixels, organization)
    image = regionio.open(path)
    assert image.dims == "ZYXC"
    assert image.shape == (3, *SIZE, 2 if gray16 else 6)
    assert image.dtype == pixels[0][0].dtype
    assert image.spacing("ZXY") == (1.5, 0.5, 0.5)
    names = ("DAPI", "Cy3")
    colors = tuple(f"{name} {color}" for name in names for color in "RGB")
    assert image.channel_names == (names if gray16 else colors)
    assert image.scenes[0].shape == image.shape
    for z in range(len(FOCI)):
        planes = [pixels[c][z].reshape(*SIZE, -1) for c in range(2)]
        np.testing.assert_array_equal(
            image.read_region(z=z), np.concatenate(planes, axis=2), strict=True
        )
        np.testing.assert_array_equal(
            image.read_region((-5, 90), (77, 60), z=z, channels=[1 if gray16 else 4])[..., 0],
            padded_slice(planes[1][..., 0 if gray16 else 1], -5, 90, 77, 60, 0 if gray16 else 255),
        )


@pytest.mark.parametrize("organization", ["TILED_FULL", "TILED_SPARSE"])
@pytest.mark.parametrize("gray16", [False, True])
def test_planes_and_paths_equal_wsidicom(
    tmp_path: Path, organization: str, *, gray16: bool
) -> None:
    wsidicom = pytest.importorskip("wsidicom")
    path = written_stack(tmp_path / "slide.dcm", stack(gray16=gray16), organization)
    image = regionio.open(path)
    with wsidicom.WsiDicom.open(path) as slide:
        foci = sorted(slide.levels[0].focal_planes)
        assert foci == [10.0, 11.5, 13.0]
        for z, focus in enumerate(foci):
            for c, name in enumerate("ab"):
                wanted = np.asarray(
                    slide.read_region((0, 0), 0, SIZE[::-1], z=focus, path=name), image.dtype
                )
                found = np.asarray(image.read_region(z=z)).reshape(*SIZE, 2, -1)[:, :, c]
                np.testing.assert_array_equal(found.squeeze(), wanted)


def test_planes_without_a_stated_distance_have_none(tmp_path: Path) -> None:
    frames = [tile for z in range(2) for tile in tiles_of(picture(*SIZE, seed=z), TILE)]
    path = write_slide(tmp_path / "slide.dcm", frames, SIZE, TotalPixelMatrixFocalPlanes=2)
    image = regionio.open(path)
    assert image.size("Z") == (2,)
    assert image.spacing("Z") == (None,)
    np.testing.assert_array_equal(image.read_region(z=1), picture(*SIZE, seed=1))


SPARSE: dict[str, list[tuple[int, int]]] = {
    "holes": [cells()[n] for n in (0, 3, 7, 9, 11, 19)],
    "unaligned": [(1, 1), (50, 34), (101, 7), (120, 99)],
    "overlaps": [(1, 1), (20, 10), (40, 20), (15, 25), (123, 99), (21, 10)],
    "beyond the edges": [
        (-20, -9),
        (150, 120),
        (169, 1),
        (1, 129),
        (400, 10),
        (10, 4000),
        (60, 60),
    ],
    "far away": [(1, 1), (2**31 - 1, 2**31 - 1), (-(2**31), -(2**31)), (70, 70)],
}


@pytest.mark.parametrize("gray16", [False, True])
@pytest.mark.parametrize("kind", SPARSE)
def test_sparse_tiles_lie_where_they_say(tmp_path: Path, kind: str, *, gray16: bool) -> None:
    places, fill = SPARSE[kind], 0 if gray16 else 255
    frames = [picture(*TILE, seed=5 * n + 1, gray16=gray16) for n in range(len(places))]
    path = write_slide(tmp_path / "slide.dcm", frames, SIZE, places=places)
    wanted = painted(frames, places, SIZE, fill)
    image = regionio.open(path)
    np.testing.assert_array_equal(image.read_region(), wanted)
    mask = image.read_region(return_mask=True).mask
    there = painted([np.ones(TILE, bool)] * len(places), places, SIZE, False)
    np.testing.assert_array_equal(mask, there)
    random = np.random.default_rng(6)
    for x, y, width, height in random.integers(
        [-40, -40, 1, 1], [180, 140, 99, 99], (20, 4)
    ).tolist():
        np.testing.assert_array_equal(
            image.read_region((x, y), (width, height)),
            padded_slice(wanted, x, y, width, height, fill),
        )


def test_holes_are_white_where_openslide_sees_through(tmp_path: Path) -> None:
    places = SPARSE["holes"]
    frames = [picture(*TILE, seed=n) for n in range(len(places))]
    path = write_slide(tmp_path / "slide.dcm", frames, SIZE, places=places)
    with openslide.OpenSlide(path) as slide:
        wanted = np.array(slide.read_region((0, 0), 0, SIZE[::-1]))
    hole = wanted[..., 3] == 0
    assert 0.5 < hole.mean() < 0.8
    wanted[hole] = 255
    np.testing.assert_array_equal(regionio.open(path).read_region(), wanted[..., :3])


def test_every_focal_plane_has_tiles_of_its_own(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    frames = [picture(*TILE, seed=n) for n in range(24)]
    foci = [-0.75, 0.5, 2.25]
    places = [
        (int(x), int(y), foci[int(z)], "0")
        for x, y, z in random.integers([-20, -20, 0], [165, 125, 3], (24, 3))
    ]
    image = regionio.open(write_slide(tmp_path / "slide.dcm", frames, SIZE, places=places))
    assert image.spacing("Z") == (None,)  # 1.25 and 1.75
    for z, focus in enumerate(foci):
        chosen = [n for n, place in enumerate(places) if place[2] == focus]
        assert len(chosen) > 3
        wanted = painted([frames[n] for n in chosen], [places[n][:2] for n in chosen], SIZE, 255)
        np.testing.assert_array_equal(image.read_region(z=z), wanted)


def test_few_tiles_of_a_huge_slide_cost_little(tmp_path: Path) -> None:
    places = [(1, 1), (2**31 - 47, 2**31 - 31), (48 * 10**6 + 1, 32 * 10**6 + 1)]
    frames = [picture(*TILE, seed=n) for n in range(3)]
    path = write_slide(tmp_path / "slide.dcm", frames, (2**31, 2**31), places=places)
    image = regionio.open(path)
    assert image.size("XY") == (2**31, 2**31)
    for (x, y), frame in zip(places, frames, strict=True):
        np.testing.assert_array_equal(image.read_region((x - 1, y - 1), TILE[::-1]), frame)


@pytest.mark.parametrize("codec", ["native", "planar", "jpeg", "j2k"])
@pytest.mark.parametrize("tile", [(32, 48), (130, 170), (64, 64), (7, 200)])
def test_codecs_and_tile_sizes(tmp_path: Path, codec: str, tile: tuple[int, int]) -> None:
    pixels = picture(*SIZE)
    path = write_full(tmp_path / "slide.dcm", pixels, tile, codec=codec)
    found = np.asarray(regionio.open(path).read_region())
    if codec == "jpeg":
        with openslide.OpenSlide(path) as slide:
            pixels = np.asarray(slide.read_region((0, 0), 0, SIZE[::-1]))[..., :3]
    np.testing.assert_array_equal(found, pixels)


def test_segments_and_values_of_maps_have_no_white(tmp_path: Path) -> None:
    frames = [np.full(TILE, 200 + n, np.uint8) for n in range(4)]
    places = [(1, 1, 0.0, 2), (49, 1, 0.0, 1), (1, 33, 0.0, 1), (97, 65, 0.0, 2)]
    segments = [item(SegmentNumber=n, SegmentLabel=f"tissue {n}") for n in (1, 2, 3)]
    path = write_slide(
        tmp_path / "slide.dcm", frames, SIZE, places=places, SOPClassUID=SEGMENTATION,
        SegmentationType="FRACTIONAL", SegmentSequence=segments, OpticalPathSequence=None,
        NumberOfOpticalPaths=None,
    )  # fmt: skip
    image = regionio.open(path)
    assert image.channel_names == ("tissue 1", "tissue 2", "tissue 3")
    for segment in (1, 2, 3):
        chosen = [n for n, place in enumerate(places) if place[3] == segment]
        wanted = np.zeros(SIZE, np.uint8)
        if chosen:
            wanted = painted([frames[n] for n in chosen], [places[n][:2] for n in chosen], SIZE, 0)
        np.testing.assert_array_equal(image.read_region(channels=segment - 1), wanted)


def test_what_all_frames_share_names_their_path(tmp_path: Path) -> None:
    shared = item(OpticalPathIdentificationSequence=[item(OpticalPathIdentifier="b")])
    for places in (None, cells()):
        path = write_slide(
            tmp_path / "slide.dcm", tiles_of(picture(*SIZE, gray16=True), TILE), SIZE,
            places=places, paths=PATHS, shared=shared,
        )  # fmt: skip
        assert regionio.open(path).channel_names == ("Cy3",)


def srgb_by_lcms(lab: list[int]) -> list[int]:
    """Return what Little CMS makes of an encoded CIELab value."""
    pixel = Image.new("LAB", (1, 1), tuple(round(value / 257) for value in lab))
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(
        *profiles, "LAB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    converted = ImageCms.applyTransform(pixel, transform)
    assert converted is not None
    return list(np.asarray(converted)[0, 0])


@pytest.mark.parametrize(
    "lab",
    [
        LAB_WHITE,
        [0, 32896, 32896],
        [200 * 257, 128 * 257, 128 * 257],
        [150 * 257, 158 * 257, 98 * 257],
    ],
)
def test_absent_tiles_have_the_recommended_color(tmp_path: Path, lab: list[int]) -> None:
    path = write_slide(
        tmp_path / "slide.dcm", [picture(*TILE)], SIZE, places=[(1, 1)],
        RecommendedAbsentPixelCIELabValue=lab,
    )  # fmt: skip
    region = np.asarray(regionio.open(path).read_region((-10, 60), (30, 30)))
    assert (region == region[0, 0]).all()
    np.testing.assert_allclose(region[0, 0].astype(int), srgb_by_lcms(lab), atol=1)
    if lab == LAB_WHITE:
        assert region[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (0.5, 0.5)),
        ({"micron": None}, (0.5, 0.5)),
        ({"micron": None, "ImagedVolumeWidth": 0.34}, (2.0, 0.5)),
        ({"micron": None, "ImagedVolumeHeight": None}, (None, None)),
        ({"micron": None, "ImagedVolumeHeight": -1.0}, (None, None)),
        ({"micron": None, "ImagedVolumeHeight": float("nan")}, None),
        ({"micron": 0.0, "ImagedVolumeWidth": None}, (None, None)),
    ],
)
def test_spacing(tmp_path: Path, changes: dict[str, Any], expected: Any) -> None:
    path = write_full(tmp_path / "slide.dcm", picture(*SIZE), TILE, **changes)
    if expected is None:
        with pytest.raises(regionio.CorruptFileError, match="ImagedVolumeHeight"):
            regionio.open(path)
    else:
        assert regionio.open(path).spacing("XY") == pytest.approx(expected)


def test_profiles_of_optical_paths(tmp_path: Path) -> None:
    stream = io.BytesIO(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    path = item(OpticalPathIdentifier="0", ICCProfile=stream.getvalue())
    written = write_full(tmp_path / "slide.dcm", picture(*SIZE), TILE, OpticalPathSequence=[path])
    profile = regionio.open(written).icc_profile
    assert profile is not None
    assert profile.rstrip(b"\0") == stream.getvalue().rstrip(b"\0")
    region = regionio.open(written, icc="srgb").read_region()
    assert np.abs(np.asarray(region).astype(int) - picture(*SIZE)).max() <= 1


def test_a_picture_of_one_tile_needs_no_position(tmp_path: Path) -> None:
    pixels = picture(*TILE)
    path = write_slide(tmp_path / "slide.dcm", [pixels], TILE, places=[(None, None)])
    np.testing.assert_array_equal(regionio.open(path).read_region(), pixels)


@pytest.mark.parametrize("organization", ["", None])
def test_frames_without_positions_follow_each_other(tmp_path: Path, organization: Any) -> None:
    pixels = picture(*SIZE)
    options = {"DimensionOrganizationType": organization}
    path = write_full(tmp_path / "slide.dcm", pixels, TILE, **options)
    np.testing.assert_array_equal(regionio.open(path).read_region(), pixels)
    groups = [Dataset() for _ in cells()]
    options["PerFrameFunctionalGroupsSequence"] = groups
    path = write_full(tmp_path / "slide.dcm", pixels, TILE, **options)
    np.testing.assert_array_equal(regionio.open(path).read_region(), pixels)
