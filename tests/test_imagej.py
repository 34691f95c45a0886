"""ImageJ's hyperstacks: which page is which channel, slice and time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import regionio
from regionio import UnsupportedFormatError
from regionio.testing import ImageConformance
from tests.dicom_files import noise

WIDTH, HEIGHT = 48, 64


def stack(path: Path, axes: str, sizes: tuple[int, ...], **metadata: Any) -> np.ndarray:
    pixels: np.ndarray = noise(*sizes, HEIGHT, WIDTH, dtype="uint16").reshape(*sizes, HEIGHT, WIDTH)
    about = {"axes": axes + "YX", "unit": "um", "spacing": 1.5, **metadata}
    tifffile.imwrite(path, pixels, imagej=True, resolution=(4, 2), metadata=about)
    return pixels


@pytest.mark.parametrize(
    ("axes", "sizes", "dims"),
    [("TZC", (2, 3, 4), "TZYXC"), ("ZC", (3, 2), "ZYXC"), ("C", (3,), "YXC"), ("Z", (5,), "ZYX"),
     ("T", (4,), "TYX"), ("TC", (2, 3), "TYXC")],
)  # fmt: skip
def test_axes(tmp_path: Path, axes: str, sizes: tuple[int, ...], dims: str) -> None:
    pixels = stack(tmp_path / "a.tif", axes, sizes)
    image = regionio.open(tmp_path / "a.tif")
    assert (image.format, image.dims, image.is_volume) == ("imagej", dims, False)
    assert image.spacing("XY") == (0.25, 0.5)
    assert image.spacing_units("X") == ("micrometer",)
    if "Z" in axes:
        assert image.spacing("Z") == (1.5,)
    by_axis = dict(zip(axes, sizes, strict=True))
    times, depth, channels = (by_axis.get(axis, 1) for axis in "TZC")
    every = pixels.reshape(times, depth, channels, HEIGHT, WIDTH)
    for t in range(times):
        for z in range(depth):
            found = image.read_region(t=t, z=z, layout="YXC")
            np.testing.assert_array_equal(np.moveaxis(np.asarray(found), -1, 0), every[t, z])


@pytest.mark.parametrize("unit", ["pixel", "parsec", ""])
def test_units_that_are_no_length(tmp_path: Path, unit: str) -> None:
    stack(tmp_path / "a.tif", "ZC", (3, 2), unit=unit)
    assert regionio.open(tmp_path / "a.tif").spacing("XYZ") == (None, None, None)


@pytest.mark.parametrize(("unit", "spacing"), [("mm", 250), ("nm", 0.00025), ("inch", 6350)])
def test_units(tmp_path: Path, unit: str, spacing: float) -> None:
    stack(tmp_path / "a.tif", "Z", (2,), unit=unit)
    assert regionio.open(tmp_path / "a.tif").spacing("X") == pytest.approx((spacing,))


def test_colours_in_pixels(tmp_path: Path) -> None:
    pixels = noise(3, HEIGHT, WIDTH, 3)
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, imagej=True, photometric="rgb", resolution=(4, 4),
        metadata={"axes": "ZYXS", "unit": "um"},
    )  # fmt: skip
    image = regionio.open(tmp_path / "a.tif")
    assert (image.dims, image.spacing("XY")) == ("ZYXC", (0.25, 0.25))
    np.testing.assert_array_equal(image.read_region(z=2), pixels[2])


def test_a_single_picture(tmp_path: Path) -> None:
    pixels = noise(HEIGHT, WIDTH, 1)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True)
    image = regionio.open(tmp_path / "a.tif")
    assert (image.format, image.dims) == ("imagej", "YX")
    np.testing.assert_array_equal(image.read_region(), pixels)


@pytest.mark.parametrize("said", ["channels=5", "slices=9", "frames=7"])
def test_pages_that_are_not_what_is_said(tmp_path: Path, said: str) -> None:
    pixels = stack(tmp_path / "a.tif", "TZC", (2, 3, 4))
    key = said.partition("=")[0]
    data = (tmp_path / "a.tif").read_bytes()
    begin = data.index(key.encode() + b"=")
    (tmp_path / "a.tif").write_bytes(data[:begin] + said.encode() + data[begin + len(said) :])
    with pytest.warns(UserWarning, match=r"24 pages, not the \d+ of its description"):
        image = regionio.open(tmp_path / "a.tif")
    assert image.dims == "ZYX"
    np.testing.assert_array_equal(image.read_region(z=7), pixels.reshape(24, HEIGHT, WIDTH)[7])


def test_a_tile_that_was_cut_from_a_stack_keeps_its_description(tmp_path: Path) -> None:
    pixels = noise(HEIGHT, WIDTH, 1, dtype="uint16")[..., 0]
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, description="ImageJ=1.54f\nimages=6\nslices=6\n",
        metadata=None, tile=(16, 16), compression="zlib",
    )  # fmt: skip
    with pytest.warns(UserWarning, match="1 pages, not the 6"):
        image = regionio.open(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.read_region(), pixels)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_colours_that_tifffile_says_are_channels(tmp_path: Path, count: int) -> None:
    pixels = noise(count, HEIGHT, WIDTH, 3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True)
    image = regionio.open(tmp_path / "a.tif")
    assert (image.dims, image.channel_names) == ("ZYXC", ("R", "G", "B"))
    np.testing.assert_array_equal(image.read_region(z=1), pixels[1])


def test_levels_beside_pages(tmp_path: Path) -> None:
    pixels = noise(6, 128, 256, 1, dtype="uint16")[..., 0]
    about = "ImageJ=1.54f\nimages=6\nchannels=2\nslices=3\nhyperstack=true\n"
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for number, picture in enumerate(pixels):
            first = {"description": about} if number == 0 else {}
            tiff.write(picture, tile=(64, 64), subifds=1, metadata=None, **first)  # type: ignore[arg-type]
            tiff.write(picture[::2, ::2], tile=(64, 64), subfiletype=1, metadata=None)
    image = regionio.open(tmp_path / "a.tif")
    assert (image.dims, len(image.levels)) == ("ZYXC", 2)
    for level in (0, 1):
        found = np.asarray(image.read_region(level=level, z=1))
        step = 1 + level
        np.testing.assert_array_equal(found[..., 0], pixels[2][::step, ::step])
        np.testing.assert_array_equal(found[..., 1], pixels[3][::step, ::step])


def test_a_resolution_that_is_stated_in_centimetres(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", noise(HEIGHT, WIDTH, 1)[..., 0], imagej=True,
        resolution=(2e4, 2e4), resolutionunit="CENTIMETER", metadata={"unit": "um"},
    )  # fmt: skip
    assert regionio.open(tmp_path / "a.tif").spacing("XY") == pytest.approx((0.5, 0.5))


def test_a_resolution_that_is_no_fraction(tmp_path: Path) -> None:
    stack(tmp_path / "a.tif", "Z", (2,))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        tiff.pages.first.tags["XResolution"].overwrite(4, dtype="H")
    image = regionio.open(tmp_path / "a.tif")
    assert image.spacing("XY") == (None, 0.5)


def test_pictures_behind_a_single_page_are_not_left_out_silently(tmp_path: Path) -> None:
    pixels = noise(HEIGHT, WIDTH, 1, dtype="uint16")[..., 0]
    about = "ImageJ=1.54f\nimages=3\nslices=3\nunit=um\n"
    tifffile.imwrite(tmp_path / "a.tif", pixels, description=about, metadata=None)
    with (tmp_path / "a.tif").open("ab") as file:
        file.write(pixels.tobytes() * 2)
    with pytest.raises(UnsupportedFormatError, match="3 pictures behind a single page"):
        regionio.open(tmp_path / "a.tif")


class TestHyperstack(ImageConformance):
    regions = 8

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        stack(tmp_path / "a.tif", "C", (3,))
        return tmp_path / "a.tif"

    @pytest.fixture
    def expected(self, path: Path) -> list[np.ndarray]:
        return [np.moveaxis(tifffile.imread(path), 0, -1)]
