"""`regionio read`: what it writes is what tifffile reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

import regionio
from regionio.cli import bands, writers
from tests.cli.support import PIXELS, SLIDE, left_behind, refused, run


@pytest.mark.parametrize("suffix", ["tif", "tiff", "npy", "png"])
def test_a_region_has_the_pixels_that_tifffile_reads(suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"region.{suffix}"
    run("read", SLIDE, out, "--location", 501, 702, "--size", 333, 222)
    np.testing.assert_array_equal(load(out), PIXELS[702:924, 501:834])
    assert left_behind(tmp_path) == [out.name]


def load(path: Path) -> np.ndarray[Any, Any]:
    """Read a file with readers that are not regionio."""
    if path.suffix == ".npy":
        return np.asarray(np.load(path))
    if path.suffix == ".png":
        return np.asarray(imagecodecs.png_decode(path.read_bytes()))
    return np.asarray(tifffile.imread(path))


def test_a_region_may_begin_outside_the_slide(tmp_path: Path) -> None:
    out = tmp_path / "region.png"
    run("read", SLIDE, out, "--location", -20, -10, "--size", 100, 90)
    expected = np.full((90, 100, 3), 255, dtype=np.uint8)
    expected[10:, 20:] = PIXELS[:80, :80]
    np.testing.assert_array_equal(load(out), expected)


@pytest.mark.parametrize("suffix", ["tif", "npy", "png"])
def test_a_level_in_many_bands_is_the_level(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bands, "BAND_BYTES", 1)
    out = tmp_path / f"level.{suffix}"
    run("read", SLIDE, out)
    np.testing.assert_array_equal(load(out), PIXELS)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("suffix", ["tif", "npy", "png"])
def test_every_level_of_16_bits_is_written_exactly(
    level: int, suffix: str, gray16_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"level.{suffix}"
    run("read", gray16_path, out, "--level", level)
    expected = tifffile.imread(gray16_path, key=level)
    found = load(out)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, expected)


def test_bands_of_a_level_with_a_broken_downsample_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bands, "BAND_BYTES", 1)
    small = np.ascontiguousarray(PIXELS[:1187, :888])
    path = tmp_path / "fractions.tif"
    with tifffile.TiffWriter(path) as tiff:
        for pixels in (PIXELS, small):
            tiff.write(pixels, tile=(256, 256), photometric="rgb", metadata=None)
    with regionio.open(str(path)) as image:
        down_x, down_y = image.levels[1].downsample
    assert (down_x, down_y) == (2220 / 888, 2967 / 1187)
    for x, y in ((31, 47), (30, 152), (0, 153)):
        out = tmp_path / "a.npy"
        run("read", path, out, "--level", 1, "--location", x, y, "--size", 800, 1100)
        left, top = int(x / down_x), int(y / down_y)
        np.testing.assert_array_equal(load(out), small[top : top + 1100, left : left + 800])


def test_a_written_tiff_is_tiled_compressed_and_keeps_spacing(tmp_path: Path) -> None:
    run("read", SLIDE, tmp_path / "a.tif", "--location", 0, 0, "--size", 700, 500)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        page = tiff.pages.first
        assert (page.tilewidth, page.tilelength) == (256, 256)
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert page.photometric == tifffile.PHOTOMETRIC.RGB
        assert page.resolutionunit == tifffile.RESUNIT.CENTIMETER
        assert page.resolution == pytest.approx((1e4 / 0.499, 1e4 / 0.499), rel=1e-6)


def test_a_written_tiff_keeps_the_icc_profile_of_its_colours(tmp_path: Path) -> None:
    profile = imagecodecs.cms_profile("srgb")
    tifffile.imwrite(
        tmp_path / "a.tif", PIXELS[:99, :88], photometric="rgb", iccprofile=profile, metadata=None
    )
    run("read", tmp_path / "a.tif", tmp_path / "all.tif")
    run("read", tmp_path / "a.tif", tmp_path / "red.tif", "--channel", "R")
    with tifffile.TiffFile(tmp_path / "all.tif") as tiff:
        assert tiff.pages.first.iccprofile == profile
    with tifffile.TiffFile(tmp_path / "red.tif") as tiff:
        assert tiff.pages.first.iccprofile is None
        np.testing.assert_array_equal(tiff.asarray(), PIXELS[:99, :88, 0])


@pytest.mark.parametrize(
    ("channels", "chosen"),
    [([], [0, 1, 2, 3, 4]), (["3"], [3]), (["4", "1"], [4, 1]), (["0", "1", "2"], [0, 1, 2])],
)
@pytest.mark.parametrize("dtype", ["int16", "float32", "uint8"])
def test_channels_are_written_in_the_order_asked_for(
    channels: list[str], chosen: list[int], dtype: str, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(0, 99, (300, 280, 5)).astype(dtype)
    options = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(64, 64), **options)  # type: ignore[arg-type]
    asked = [word for channel in channels for word in ("--channel", channel)]
    for out in (tmp_path / "b.tif", tmp_path / "b.npy"):
        run("read", tmp_path / "a.tif", out, *asked)
        found = load(out).reshape(300, 280, len(chosen))
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, values[..., chosen])


def test_a_focal_plane_is_chosen_by_its_number(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 256, (3, 90, 80), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="minisblack", metadata=None)
    run("read", tmp_path / "a.tif", tmp_path / "a.npy", "--z", 2)
    np.testing.assert_array_equal(load(tmp_path / "a.npy"), planes[2])
    refused("read", tmp_path / "a.tif", tmp_path / "b.npy", "--z", 3)


def test_bits_are_written_as_black_and_white(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (70, 90)).astype(bool)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata=None)
    for out in (tmp_path / "b.tif", tmp_path / "b.png"):
        run("read", tmp_path / "a.tif", out)
        np.testing.assert_array_equal(load(out), pixels * np.uint8(255))
    run("read", tmp_path / "a.tif", tmp_path / "b.npy")
    np.testing.assert_array_equal(load(tmp_path / "b.npy"), pixels)


@pytest.mark.parametrize(
    "values",
    [np.zeros((20, 30), np.float32), np.zeros((20, 30), np.int16), np.zeros((20, 30, 2), np.uint8)],
    ids=["float", "signed", "two channels"],
)
def test_png_refuses_what_it_can_not_hold(values: np.ndarray[Any, Any], tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig", metadata=None
    )
    assert ".npy" in refused("read", tmp_path / "a.tif", tmp_path / "a.png")
    assert left_behind(tmp_path) == ["a.tif"]


def test_png_refuses_what_is_too_large_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "MOST_PNG_BYTES", 1_000_000)
    assert ".tif" in refused("read", SLIDE, tmp_path / "a.png")
    assert left_behind(tmp_path) == []
    run("read", SLIDE, tmp_path / "a.png", "--size", 500, 500)


@pytest.mark.parametrize("suffix", ["tif", "npy", "png"])
def test_a_damaged_tile_leaves_no_file(suffix: str, damaged_path: Path, tmp_path: Path) -> None:
    result = run("read", damaged_path, tmp_path / f"out.{suffix}", code=1)
    assert "damaged.svs" in result.stderr
    assert result.stderr.count("\n") == 1
    assert left_behind(tmp_path) == ["damaged.svs"]


def test_a_file_that_was_there_is_replaced_only_by_a_whole_one(
    damaged_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.npy"
    out.write_bytes(b"earlier")
    run("read", damaged_path, out, code=1)
    assert out.read_bytes() == b"earlier"
    run("read", SLIDE, out, "--size", 10, 10)
    np.testing.assert_array_equal(load(out), PIXELS[:10, :10])


def test_the_slide_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS[:50, :50], photometric="rgb", metadata=None)
    before = path.read_bytes()
    refused("read", path, path)
    assert path.read_bytes() == before


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "a.npy"
    folder.mkdir()
    (folder / "kept.txt").write_text("kept")
    result = run("read", SLIDE, folder, "--size", 9, 9, code=1)
    assert result.stderr == f"regionio: '{folder}': Is a directory\n"
    assert left_behind(tmp_path) == ["a.npy"]
    assert left_behind(folder) == ["kept.txt"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = run("read", SLIDE, tmp_path / "no" / "a.tif", "--size", 9, 9, code=1)
    assert result.stderr == f"regionio: '{tmp_path / 'no'}': there is no such folder\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.jpg"],
        ["a.tif", "--location", "0", "0"],
        ["a.tif", "--size", "0", "5"],
        ["a.tif", "--channel", "X"],
        ["a.tif", "--channel", "3"],
        ["a.tif", "--t", "1"],
    ],
)
def test_wrong_arguments_of_read_are_exit_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused("read", SLIDE, *arguments)
    assert left_behind(tmp_path) == []


def test_real_16_bit_pyramid_is_written_exactly(wider_data: Path, tmp_path: Path) -> None:
    path = wider_data / "real" / "generic" / "cog" / "cog.tif"
    for level in range(5):
        run("read", path, tmp_path / "a.tif", "--level", level)
        np.testing.assert_array_equal(load(tmp_path / "a.tif"), tifffile.imread(path, key=level))


# bench
