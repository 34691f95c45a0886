"""What stored values become: fill, dtype, colour; what masks say; what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

import regionio

SLIDE = "tests/data/CMU-1-Small-Region.svs"


@pytest.fixture(autouse=True)
def _in_project_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(request.config.rootpath)


def test_the_default_fill_is_what_a_white_pixel_becomes() -> None:
    """Beyond the edge, a normalised batch must not hold 255 beside numbers around zero."""
    mean, std = np.array([0.7, 0.6, 0.8]), np.array([0.2, 0.3, 0.1])
    scale, offset = 1 / (255 * std), -mean / std
    with regionio.open(SLIDE) as slide:
        plain = slide.read_region((2210, 0), (20, 2), scale=1 / 255)
        normal = slide.read_region((2210, 0), (20, 2), scale=scale, offset=offset, layout="CYX")
        at_spacing = slide.read_region((2210, 0), (20, 2), spacing=1.0, scale=1 / 255)
        given = slide.read_region((2210, 0), (20, 2), scale=1 / 255, fill=7)
    assert (plain.array[:, 10:] == 1).all()
    np.testing.assert_allclose(normal.array[:, 0, -1], (1 - mean) / std, rtol=1e-5)
    assert at_spacing.array.max() <= 1.0001
    assert (given.array[:, 10:] == 7).all()


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    pixels = np.full((32, 32), 2049, np.uint16)
    pixels[0, 0] = 65535
    tifffile.imwrite(tmp_path / "deep.tif", pixels, tile=(16, 16))
    return tmp_path / "deep.tif"


def test_half_precision_is_rounded_once_at_the_end(deep: Path) -> None:
    with regionio.open(deep) as image:
        region = image.read_region((0, 0), (2, 1), dtype="float16", scale=1 / 65535)
        expected = (np.array([[65535, 2049]]) / 65535).astype(np.float16)
        np.testing.assert_array_equal(region, expected)
        with pytest.raises(ValueError, match="can't hold all values"):
            image.read_region((0, 0), (2, 1), dtype="float16")


@pytest.mark.parametrize("dtype", ["object", "U5", "V3", "datetime64[s]"])
def test_dtypes_that_are_no_numbers_are_refused(dtype: str) -> None:
    with regionio.open(SLIDE) as slide, pytest.raises(ValueError, match="number"):
        slide.read_region((0, 0), (4, 4), dtype=dtype)


def test_the_mask_is_true_where_all_planes_are_there(tmp_path: Path) -> None:
    path = tmp_path / "planes.tif"
    pixels = np.arange(2 * 64 * 64, dtype=np.uint16).reshape(2, 64, 64)
    tifffile.imwrite(
        path, pixels, tile=(32, 32), planarconfig="separate", photometric="minisblack",
        metadata=None,
    )  # fmt: skip
    with tifffile.TiffFile(path, mode="r+") as tiff:
        sizes = list(tiff.pages.first.databytecounts)
        sizes[4 + 1] = 0  # of the second plane, the tile at the top right
        tiff.pages.first.tags["TileByteCounts"].overwrite(sizes)
    expected = np.ones((64, 64), bool)
    expected[:32, 32:] = False
    with regionio.open(path) as image:
        for channels, mask in ((None, expected), ([1, 0], expected), (0, np.ones((64, 64), bool))):
            region = image.read_region(channels=channels, return_mask=True)
            np.testing.assert_array_equal(region.mask, mask)


def test_not_a_number_stays_where_it_is(tmp_path: Path) -> None:
    pixels = np.ones((64, 64), np.float32)
    pixels[:, 32:] = np.nan
    tifffile.imwrite(
        tmp_path / "nan.tif", pixels, tile=(32, 32), resolution=(1e4, 1e4),
        resolutionunit="CENTIMETER",
    )  # fmt: skip
    with regionio.open(tmp_path / "nan.tif") as image:
        region = image.read_region((0, 0), (25, 2), spacing=1.6)
    assert (region.array[:, :20] == 1).all()  # 20 × 1.6 = 32
    assert np.isnan(region.array[:, 20:]).all()


@pytest.mark.parametrize("kind", ["sixteen bits", "alpha", "planar"])
def test_colours_that_are_not_managed_are_refused(tmp_path: Path, kind: str) -> None:
    profile = bytes(imagecodecs.cms_profile("adobergb"))
    writes: dict[str, tuple[tuple[int, ...], str, dict[str, Any]]] = {
        "sixteen bits": ((32, 32, 3), "u2", {}),
        "alpha": ((32, 32, 4), "u1", {"extrasamples": ["unassalpha"]}),
        "planar": ((3, 32, 32), "u1", {"planarconfig": "separate"}),
    }
    shape, dtype, options = writes[kind]
    tifffile.imwrite(
        tmp_path / "icc.tif", np.zeros(shape, dtype), tile=(16, 16), photometric="rgb",
        iccprofile=profile, **options,
    )  # fmt: skip
    regionio.open(tmp_path / "icc.tif").close()
    with pytest.raises(regionio.UnsupportedFormatError, match="icc='srgb'"):
        regionio.open(tmp_path / "icc.tif", icc="srgb")


def test_short_uncompressed_tiles_are_named(tmp_path: Path) -> None:
    path = tmp_path / "raw.tif"
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    tifffile.imwrite(path, pixels, tile=(32, 32), metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["TileByteCounts"].overwrite([10, 2048, 2048, 2048])
    with regionio.open(path) as image:
        for y in (0, 16, 31):
            with pytest.raises(regionio.DecodeError, match=r"raw\.tif.*row 0, column 0.*short"):
                image.read_region((0, y), (8, 1))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": 256}, TypeError, "size is"),
        ({"layout": 5}, TypeError, "layout is"),
        ({"fill": "white"}, TypeError, "fill is"),
        ({"scale": "a"}, TypeError, "scale is"),
        ({"spacing": (1, 2, 3)}, ValueError, "spacing is"),
        ({"spacing": "0.5"}, ValueError, "spacing is"),
        ({"spacing": 1e18}, ValueError, "spacing="),
        ({"spacing": 500.0, "size": (224, 224)}, ValueError, "bytes a region"),
        ({"level": (64, 64)}, TypeError, "location, size, level"),
        ({"batch_size": 2**63}, ValueError, "batch_size"),
        ({"dtype": "no such"}, TypeError, "dtype is"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = {"size": (8, 8), **arguments}
    with regionio.open(SLIDE) as slide, pytest.raises(error, match=message):
        slide.read_region((0, 0), **arguments)


def test_an_image_is_not_read_by_accident() -> None:
    with regionio.open(SLIDE) as slide, pytest.raises(TypeError, match="read_region"):
        np.asarray(slide.associated_image("macro"))


def test_a_region_says_where_its_array_is() -> None:
    with regionio.open(SLIDE) as slide:
        region = slide.read_region((0, 0), (4, 4))
    with pytest.raises(AttributeError, match=r"region\.array\.mean"):
        region.mean()


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(regionio.UnsupportedFormatError, match="remote"):
        regionio.open("s3://bucket/slide.svs")
    pointer = tmp_path / "slide.svs"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\n")
    with pytest.raises(regionio.UnsupportedFormatError, match="git-lfs"):
        regionio.open(pointer)
    assert regionio.open(SLIDE.encode()).shape == (2967, 2220, 3)  # type: ignore[arg-type]
    import os

    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.svs")
        with pytest.raises(regionio.UnsupportedFormatError, match=r"pipe\.svs"):
            regionio.open(tmp_path / "pipe.svs")
