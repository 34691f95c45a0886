"""ImageJ's hyperstacks: which page is which channel, slice and time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import regionio
from regionio import CorruptFileError, UnsupportedFormatError
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
    stack(tmp_path / "a.tif", "TZC", (2, 3, 4))
    key = said.partition("=")[0]
    data = (tmp_path / "a.tif").read_bytes()
    begin = data.index(key.encode() + b"=")
    (tmp_path / "a.tif").write_bytes(data[:begin] + said.encode() + data[begin + len(said) :])
    with pytest.raises(CorruptFileError, match="24 pages, but says"):
        regionio.open(tmp_path / "a.tif")


def test_pictures_behind_a_single_page_are_not_left_out_silently(tmp_path: Path) -> None:
    pixels = noise(HEIGHT, WIDTH, 1, dtype="uint16")[..., 0]
    about = "ImageJ=1.54f\nimages=3\nslices=3\nunit=um\n"
    tifffile.imwrite(tmp_path / "a.tif", pixels, description=about, metadata=None)
    with (tmp_path / "a.tif").open("ab") as file:
        file.write(pixels.tobytes() * 2)
    with pytest.raises(UnsupportedFormatError, match="3 pictures behind a single page"):
        regionio.open(tmp_path / "a.tif")
