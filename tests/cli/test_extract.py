"""`regionio extract`: patches, tissue, contact sheet."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

import regionio
from regionio.cli.contact_sheet import INK, chosen_patches, contact_sheet
from regionio.cli.grid import PatchGrid
from regionio.cli.tissue import (
    box_fractions,
    otsu_threshold,
    saturation,
    tissue_mask,
)
from tests.cli.support import GLASS, PIXELS, SLIDE, STAIN, left_behind, patches_in, refused, run


def test_patches_are_the_pixels_at_their_locations(tmp_path: Path) -> None:
    result = run("extract", SLIDE, tmp_path / "out", "--batch", 16)
    group = patches_in(tmp_path / "out")
    patches, locations = group["patches"][:], group["locations"][:]
    assert f"Kept {len(patches)} of 117" in result.stdout
    assert 40 < len(patches) < 100  # about half of that region is glass
    assert patches.dtype == PIXELS.dtype
    assert locations.dtype == np.int64
    for patch, (x, y) in zip(patches, locations.tolist(), strict=True):
        np.testing.assert_array_equal(patch, PIXELS[y : y + 224, x : x + 224])
    assert left_behind(tmp_path / "out") == ["contact_sheet.png", "patches.zarr"]


@pytest.mark.parametrize("least", [0.0, 0.25, 0.5, 0.6, 1.0])
def test_kept_patches_are_those_with_enough_tissue(
    least: float, stained_path: Path, tmp_path: Path
) -> None:
    run(
        *("extract", stained_path, tmp_path / "out", "--size", 256, "--stride", 128),
        *("--tissue", least),
    )
    found = patches_in(tmp_path / "out")["locations"][:]
    stain = (tifffile.imread(stained_path, key=0) == STAIN).all(axis=2)
    expected = [
        [x, y]
        for y in range(0, 768 - 255, 128)
        for x in range(0, 1024 - 255, 128)
        if stain[y : y + 256, x : x + 256].mean() >= least
    ]
    assert found.tolist() == expected


def test_patches_of_a_smaller_level_know_their_place(stained_path: Path, tmp_path: Path) -> None:
    run(
        *("extract", stained_path, tmp_path / "out", "--level", 1, "--size", 100, "--stride", 50),
        *("--tissue", 1, "--batch", 3, "--threads", 0),
    )
    group = patches_in(tmp_path / "out")
    small = tifffile.imread(stained_path, key=1)
    expected = [
        (x, y)
        for y in range(0, 384 - 99, 50)
        for x in range(0, 512 - 99, 50)
        if (small[y : y + 100, x : x + 100] == STAIN).all()
    ]
    assert (group["locations"][:] // 2).tolist() == [list(place) for place in expected]
    for patch, (x, y) in zip(group["patches"][:], expected, strict=True):
        np.testing.assert_array_equal(patch, small[y : y + 100, x : x + 100])


def test_the_zarr_group_says_where_it_comes_from(tmp_path: Path) -> None:
    run("extract", SLIDE, tmp_path / "out", "--size", 300, "--stride", 250, "--tissue", 0.3)
    group = patches_in(tmp_path / "out")
    assert group.metadata.zarr_format == 3
    assert dict(group.attrs) == {
        "source": "CMU-1-Small-Region.svs",
        "scene": 0,
        "level": 0,
        "downsample": [1.0, 1.0],
        "size": 300,
        "stride": 250,
        "spacing": {"X": 0.499, "Y": 0.499},
        "spacing_unit": "micrometer",
        "channel_names": ["R", "G", "B"],
        "tissue": 0.3,
        "regionio_version": regionio.__version__,
    }
    patches = group["patches"]
    assert patches.chunks == (2**24 // (300 * 300 * 3), 300, 300, 3)
    assert [type(codec).__name__ for codec in patches.compressors] == ["ZstdCodec"]


@pytest.mark.parametrize("batch", [1, 5])
def test_gray_16_bit_patches_keep_type_and_channel(
    batch: int, gray16_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run("extract", gray16_path, out, "--size", 300, "--no-tissue", "--batch", batch)
    group = patches_in(out)
    pixels = tifffile.imread(gray16_path, key=0)
    assert group["patches"].shape == (4, 300, 300, 1)
    assert group["patches"].chunks[0] == batch
    assert group["patches"].dtype == np.uint16
    assert group.attrs["tissue"] is None
    assert group["locations"][:].tolist() == [[0, 0], [300, 0], [0, 300], [300, 300]]
    for patch, (x, y) in zip(group["patches"][:], group["locations"][:].tolist(), strict=True):
        np.testing.assert_array_equal(patch[..., 0], pixels[y : y + 300, x : x + 300])


def test_gray_needs_to_be_told_that_tissue_is_not_looked_for(
    gray16_path: Path, tmp_path: Path
) -> None:
    assert "--no-tissue" in refused("extract", gray16_path, tmp_path / "out")
    assert left_behind(tmp_path) == ["gray16.tif"]


def test_a_slide_of_glass_gives_an_empty_group(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-3, 4, (600, 700, 3))
    glass = (np.array(GLASS) + noise).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", glass, photometric="rgb", tile=(256, 256), metadata=None)
    result = run("extract", tmp_path / "a.tif", tmp_path / "out", "--size", 100)
    assert "Kept 0 of 42" in result.stdout
    group = patches_in(tmp_path / "out")
    assert group["patches"].shape == (0, 100, 100, 3)
    assert group["locations"].shape == (0, 2)


def test_an_existing_result_is_replaced_only_when_asked(stained_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("extract", stained_path, out, "--size", 128, "--no-tissue")
    sheet = (out / "contact_sheet.png").read_bytes()
    result = run("extract", stained_path, out, "--size", 256, "--no-tissue", code=1)
    assert "--overwrite" in result.stderr
    assert (out / "contact_sheet.png").read_bytes() == sheet
    assert patches_in(out)["patches"].shape[0] == 48
    run("extract", stained_path, out, "--size", 256, "--no-tissue", "--overwrite")
    assert patches_in(out)["patches"].shape[0] == 12
    assert (out / "contact_sheet.png").read_bytes() != sheet
    assert left_behind(out) == ["contact_sheet.png", "patches.zarr"]


def test_an_extraction_that_fails_leaves_what_was_there(
    stained_path: Path, damaged_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run("extract", stained_path, out, "--size", 128, "--no-tissue")
    before = (out / "contact_sheet.png").read_bytes()
    # the overview meets the damaged tile too: take that of the sound slide
    with regionio.open(str(SLIDE)) as image:
        overview = image.thumbnail(1440)
    monkeypatch.setattr(regionio.Image, "thumbnail", lambda *_: overview)
    result = run("extract", damaged_path, out, "--batch", 8, "--overwrite", code=1)
    assert result.stderr.count("\n") == 1
    assert "damaged.svs" in result.stderr
    assert left_behind(out) == ["contact_sheet.png", "patches.zarr"]
    assert (out / "contact_sheet.png").read_bytes() == before
    assert patches_in(out).attrs["source"] == "stained.tif"


@pytest.mark.parametrize(
    "arguments",
    [["--tissue", "0.5", "--no-tissue"], ["--tissue", "1.5"], ["--size", "3000"], ["--size", "0"]],
)
def test_wrong_arguments_of_extract_are_exit_2(arguments: list[str], tmp_path: Path) -> None:
    refused("extract", SLIDE, tmp_path / "out", *arguments)
    assert left_behind(tmp_path) == []


def test_the_contact_sheet_is_a_picture_with_outlines(stained_path: Path, tmp_path: Path) -> None:
    run("extract", stained_path, tmp_path / "out", "--size", 128, "--tissue", 0.5)
    sheet = imagecodecs.png_decode((tmp_path / "out" / "contact_sheet.png").read_bytes())
    ink = np.argwhere((sheet == INK).all(axis=2))
    # the slide is drawn 1280 wide behind a margin: its stain from x 256 to 640, y 128 to 384
    scale = 1280 / 1024
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
    assert abs((right - left) - 384 * scale) <= 3
    assert abs((bottom - top) - 256 * scale) <= 3
    assert (sheet == STAIN).all(axis=2).sum() > 100_000


def test_the_contact_sheet_outlines_small_cells_together() -> None:
    overview = np.full((100, 100), 200, dtype=np.uint8)
    grid = PatchGrid(1000, 1000, (1.0, 1.0), size=5, stride=5)
    boxes = grid.boxes(1, 1)
    sheet = contact_sheet(overview, boxes, [])
    ink = (sheet == INK).all(axis=2)
    assert ink.any()
    assert ink.mean() < 0.02  # the edge, and no lines inside


def test_shown_patches_are_spread_over_all() -> None:
    assert chosen_patches(3).tolist() == [0, 1, 2]
    chosen = chosen_patches(100_000)
    assert len(set(chosen.tolist())) == 100
    assert (chosen[0], chosen[-1]) == (0, 99_999)
    assert np.ptp(np.diff(chosen)) <= 1


# where tissue is


def test_otsu_splits_where_classes_differ_most() -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.normal(0.1, 0.03, 4000), generator.normal(0.5, 0.1, 900)])
    values = values.clip(0, 1)
    centred = (np.minimum(np.floor(values * 256), 255) + 0.5) / 256

    def variance_between(threshold: float) -> float:
        above = centred > threshold
        if above.all() or not above.any():
            return 0.0
        weight = above.mean()
        return float(weight * (1 - weight) * (centred[above].mean() - centred[~above].mean()) ** 2)

    best = max(variance_between(number / 256) for number in range(1, 256))
    assert variance_between(otsu_threshold(values)) == pytest.approx(best)


def test_otsu_takes_the_middle_of_an_empty_valley() -> None:
    assert otsu_threshold(np.array([0.2] * 5 + [0.6] * 3)) == pytest.approx(0.4, abs=1 / 256)


def test_stain_is_tissue_and_glass_fill_and_black_are_not() -> None:
    picture = np.full((40, 40, 3), 255, dtype=np.uint8)
    picture[:, 10:20] = GLASS
    picture[:, 20:30] = STAIN
    picture[:, 30:] = (2, 0, 1)
    expected = np.zeros((40, 40), dtype=bool)
    expected[:, 20:30] = True
    np.testing.assert_array_equal(tissue_mask(picture), expected)


def test_a_picture_full_of_tissue_is_all_tissue() -> None:
    shades = np.random.default_rng(0).integers(0, 30, (50, 50, 1))
    picture = (np.array(STAIN) - shades).astype(np.uint8)
    assert tissue_mask(picture).all()


def test_saturation_is_that_of_hsv() -> None:
    import colorsys

    picture = np.random.default_rng(0).integers(32, 256, (9, 9, 3), dtype=np.uint8)
    expected = [colorsys.rgb_to_hsv(*(pixel / 255))[1] for pixel in picture.reshape(-1, 3)]
    np.testing.assert_allclose(saturation(picture).ravel(), expected)


def test_the_fraction_of_a_box_is_the_mean_of_the_pixels_it_touches() -> None:
    generator = np.random.default_rng(0)
    mask = generator.random((37, 53)) < 0.3
    corner = generator.random((200, 2)) * (50, 34)
    boxes = np.concatenate([corner, np.minimum(corner + 0.5 + corner[:, ::-1], (53, 37))], axis=1)
    found = box_fractions(mask, boxes)
    for (left, top, right, bottom), fraction in zip(boxes, found, strict=True):
        touched = mask[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))]
        assert fraction == pytest.approx(touched.mean())


def test_a_grid_has_every_patch_that_fits() -> None:
    for width, height, size, stride in (
        (500, 300, 100, 100),
        (99, 300, 100, 7),
        (231, 117, 50, 31),
    ):
        grid = PatchGrid(width, height, (1.0, 1.0), size, stride)
        expected = [
            [x, y]
            for y in range(0, height, stride)
            for x in range(0, width, stride)
            if x + size <= width and y + size <= height
        ]
        assert grid.corners.tolist() == expected
        assert len(grid) == len(expected)


def test_patches_at_a_spacing(tmp_path: Path) -> None:
    run("extract", SLIDE, tmp_path, "--spacing", "1.0", "--size", "200", "--no-tissue")
    group = patches_in(tmp_path)
    patches, locations = group["patches"][:], group["locations"][:]
    assert patches.shape == (5 * 7, 200, 200, 3)  # of 1107 × 1480 pixels
    assert group.attrs["spacing"] == pytest.approx({"X": 1.0, "Y": 1.0})
    with regionio.open(SLIDE) as image:
        for patch, place in zip(patches[::9], locations[::9].tolist(), strict=True):
            expected = image.read_region(tuple(place), (200, 200), spacing=1.0)
            np.testing.assert_array_equal(patch, expected)
    assert "finer" in refused("extract", SLIDE, tmp_path / "b", "--spacing", "0.1")
    assert "--level" in refused("extract", SLIDE, tmp_path / "b", "--spacing", "0")


@pytest.mark.parametrize("spacing", ["0.4945", "0.5035"])
def test_patches_at_nearly_the_spacing_of_a_level_are_the_levels(
    tmp_path: Path, spacing: str
) -> None:
    run("extract", SLIDE, tmp_path, "--spacing", spacing, "--size", "224", "--no-tissue")
    group = patches_in(tmp_path)
    assert group.attrs["spacing"] == pytest.approx({"X": 0.499, "Y": 0.499})
    assert group.attrs["downsample"] == pytest.approx([1.0, 1.0])
    locations = np.asarray(group["locations"])
    assert sorted(set(locations[:, 0].tolist()))[:3] == [0, 224, 448]
    with regionio.open(SLIDE) as slide:
        expected = slide.read_region(locations[5], (224, 224))
    np.testing.assert_array_equal(group["patches"][5], expected)
