"""Every compression, dtype, predictor and layout that tifffile writes is read as tifffile reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import pytest
import tifffile

import regionio
from regionio._index import Encoding
from regionio.codecs import decoder_for

BYTE_STREAMS = ["none", "zlib", "lzw", "zstd", "lzma", "packbits"]
DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8", "c16"]


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    path = Path(__file__).parent / "data" / "CMU-1-Small-Region.svs"
    return np.ascontiguousarray(tifffile.imread(path)[1300:1500, 700:913])


def assert_reads_as_tifffile(path: Path, planar: bool = False) -> None:
    expected = tifffile.imread(path)
    if planar:
        expected = np.moveaxis(expected, 0, -1)
    with regionio.open(path) as image:
        region = image.read_region()
        assert region.dtype == expected.dtype
        np.testing.assert_array_equal(region, expected)
        part = image.read_region((30, 50), (101, 77))
        np.testing.assert_array_equal(part, expected[50:127, 30:131])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("codec", BYTE_STREAMS)
def test_every_dtype(
    tissue: np.ndarray, tmp_path: Path, codec: str, dtype: str, order: Literal["<", ">"]
) -> None:
    values = (tissue[..., 0].astype(np.float64) - 100) * 1.37
    pixels = np.abs(values).astype(dtype) if dtype[0] == "u" else values.astype(dtype)
    compression = None if codec == "none" else codec
    path = tmp_path / "pixels.tif"
    tifffile.imwrite(
        path, pixels, byteorder=order, tile=(64, 80), compression=compression, metadata=None
    )  # fmt: skip
    assert_reads_as_tifffile(path)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f2", "f4", "f8"])
@pytest.mark.parametrize("tile", [(64, 80), None])
def test_predictors(
    tissue: np.ndarray, tmp_path: Path, tile: tuple[int, int] | None, dtype: str, planar: bool
) -> None:
    pixels = tissue.astype(dtype)
    path = tmp_path / "pixels.tif"
    tifffile.imwrite(
        path,
        np.moveaxis(pixels, 2, 0) if planar else pixels,
        photometric="rgb",
        planarconfig="separate" if planar else "contig",
        tile=tile,
        rowsperstrip=None if tile else 33,
        compression="zlib",
        predictor=True,
        metadata=None,
    )
    assert_reads_as_tifffile(path, planar)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 10, 12, 14])
@pytest.mark.parametrize("codec", ["none", "zlib", "lzw"])
def test_packed_depths(tissue: np.ndarray, codec: str, bits: int) -> None:
    dtype = np.uint8 if bits < 8 else np.uint16
    pixels = (tissue[..., 1].astype(np.uint16) * 57) % (1 << bits)
    packed = [
        imagecodecs.packints_encode(np.ascontiguousarray(row), bits) for row in pixels.astype(dtype)
    ]
    data = b"".join(packed)
    compress: dict[str, Callable[..., Any]] = {
        "none": bytes,
        "zlib": imagecodecs.zlib_encode,
        "lzw": imagecodecs.lzw_encode,
    }
    encoded = bytes(compress[codec](data))
    encoding = Encoding(
        codec.replace("zlib", "deflate"), "bool" if bits == 1 else np.dtype(dtype).name, bits=bits
    )
    decode = decoder_for(encoding, pixels.shape)
    out = np.empty((*pixels.shape, 1), encoding.dtype)
    decoded = decode(memoryview(encoded), pixels.shape, pixels.shape[0], out)
    np.testing.assert_array_equal(decoded[..., 0], pixels)


@pytest.mark.parametrize(
    ("codec", "dtype", "samples"),
    [
        ("png", "u1", 3),
        ("png", "u2", 3),
        ("png", "u1", 1),
        ("webp", "u1", 3),
        ("webp", "u1", 4),
        ("jpegxl", "u1", 3),
        ("jpegxl", "u2", 1),
        ("jpegxl", "f4", 1),
        ("jpegxr", "u1", 3),
        ("jpegxr", "u2", 1),
        ("lerc", "u1", 3),
        ("lerc", "f4", 1),
        ("lerc", "u2", 1),
        ("jpeg2000", "u1", 3),
        ("jpeg2000", "u2", 1),
        ("jpeg2000", "u1", 4),
        ("jpeg", "u1", 4),
    ],
)
def test_pictures_in_tiles(
    tissue: np.ndarray, tmp_path: Path, codec: str, dtype: str, samples: int
) -> None:
    pixels: Any = tissue.astype(dtype)
    if samples == 1:
        pixels = pixels[..., 0]
    elif samples == 4:
        pixels = np.concatenate([pixels, pixels[..., :1]], axis=2)
    path = tmp_path / "pixels.tif"
    options: dict[str, Any] = {"photometric": "rgb" if samples > 1 else "minisblack"}
    if codec == "jpeg":
        options = {"photometric": "separated"}
    if samples == 4 and codec != "jpeg":
        options["extrasamples"] = ["unassalpha"]
    tifffile.imwrite(path, pixels, tile=(64, 80), compression=codec, metadata=None, **options)
    assert_reads_as_tifffile(path)


def test_fax_compressed_bits(tissue: np.ndarray, tmp_path: Path) -> None:
    from PIL import Image

    bilevel = Image.fromarray(tissue[..., 1] > 180)
    for compression in ("group3", "group4"):
        path = tmp_path / f"{compression}.tif"
        bilevel.save(path, compression=compression)
        assert_reads_as_tifffile(path)


def test_icc_profiles_are_applied_when_asked(tissue: np.ndarray, tmp_path: Path) -> None:
    from io import BytesIO

    from PIL import Image, ImageCms

    profile = bytes(imagecodecs.cms_profile("adobergb"))
    path = tmp_path / "colours.tif"
    tifffile.imwrite(path, tissue, tile=(64, 80), photometric="rgb", iccprofile=profile)
    converted = ImageCms.profileToProfile(
        Image.fromarray(tissue),
        ImageCms.ImageCmsProfile(BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
    )
    with regionio.open(path) as plain, regionio.open(path, icc="srgb") as image:
        assert plain.icc_profile == profile
        np.testing.assert_array_equal(plain.read_region(), tissue)
        region = np.asarray(image.read_region()).astype(int)
        assert np.abs(region - np.asarray(converted)).max() <= 1
        assert np.abs(region - tissue).max() > 5
        batch = next(image.read_region([(3, 4)], (50, 60), batch_size=2))
        np.testing.assert_array_equal(batch.array[0], region[4:64, 3:53])
    with pytest.raises(ValueError, match="icc"):
        regionio.open(path, icc="adobe")  # type: ignore[arg-type]


def test_a_damaged_icc_profile_is_named(tissue: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "colours.tif"
    tifffile.imwrite(path, tissue, tile=(64, 80), photometric="rgb", iccprofile=b"no profile")
    with regionio.open(path) as image:
        np.testing.assert_array_equal(image.read_region(), tissue)
    with pytest.raises(regionio.UnsupportedFormatError, match="ICC"):
        regionio.open(path, icc="srgb")


def test_orientation_is_told_and_not_applied(wider_data: Path) -> None:
    for number in (2, 4, 6):
        path = wider_data / f"real/generic/orientation/test_orient{number}.tif"
        with regionio.open(path) as image:
            assert image.orientation == number
            np.testing.assert_array_equal(image.read_region(), tifffile.imread(path))


def test_what_no_decoder_reads_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "pixels.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), tile=(16, 16), metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags[259].overwrite(34676)
    with pytest.raises(regionio.UnsupportedFormatError, match=r"pixels\.tif.*34676"):
        regionio.open(path)
