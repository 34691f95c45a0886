"""JPEG tiles: every subsampling, partial decodes, 12 bit, colour spaces, tables."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
import simplejpeg
import tifffile

from regionio._errors import DecodeError
from regionio._index import Encoding
from regionio.codecs import decoder_for
from regionio.codecs.cpu.jpeg_header import Header


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    pixels = tifffile.imread("tests/data/CMU-1-Small-Region.svs")
    return np.ascontiguousarray(pixels[1300:1556, 700:924])


@pytest.fixture(autouse=True)
def _in_project_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(request.config.rootpath)


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411", "Gray"])
@pytest.mark.parametrize("quality", [30, 90])
def test_the_top_of_a_tile_equals_the_whole_tile(
    tissue: np.ndarray, subsampling: str, quality: int
) -> None:
    gray = subsampling == "Gray"
    stream = simplejpeg.encode_jpeg(tissue, quality, "RGB", subsampling)
    samples = 1 if gray else 3
    encoding = Encoding("jpeg", "uint8", samples, photometric="minisblack" if gray else "ycbcr")
    decode = decoder_for(encoding, tissue.shape[:2])
    whole = imagecodecs.jpeg8_decode(stream).reshape(*tissue.shape[:2], samples)
    out = np.empty_like(whole)
    shortest = len(whole)
    for rows in [*range(1, 60), 100, 127, 128, 129, 200, 235, 236, 237, 255, 256]:
        out[:] = 7
        pixels = decode(memoryview(stream), tissue.shape[:2], rows, out)
        np.testing.assert_array_equal(pixels[:rows], whole[:rows], f"{rows} rows")
        shortest = min(shortest, len(pixels))
    assert shortest < 16  # libjpeg really was stopped


def test_a_stream_cut_below_the_rows_wanted_raises(tissue: np.ndarray) -> None:
    stream = simplejpeg.encode_jpeg(tissue, 80, "RGB", "420")
    decode = decoder_for(Encoding("jpeg", "uint8", 3, photometric="ycbcr"), tissue.shape[:2])
    for kept in (len(stream) - 2, len(stream) * 2 // 3):
        with pytest.raises(DecodeError, match="Premature end"):
            decode(memoryview(stream[:kept]), tissue.shape[:2], 20, np.empty_like(tissue))


def test_progressive_streams_are_decoded_whole(tissue: np.ndarray) -> None:
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.fromarray(tissue).save(file, "JPEG", progressive=True, quality=80)
    stream = file.getvalue()
    assert Header.of(memoryview(stream)) == Header.nothing()
    decode = decoder_for(Encoding("jpeg", "uint8", 3, photometric="ycbcr"), tissue.shape[:2])
    pixels = decode(memoryview(stream), tissue.shape[:2], 9, np.empty_like(tissue))
    np.testing.assert_array_equal(pixels, imagecodecs.jpeg8_decode(stream))


def test_a_stream_of_another_size_than_the_tile_raises(tissue: np.ndarray) -> None:
    decode = decoder_for(Encoding("jpeg", "uint8", 3, photometric="ycbcr"), tissue.shape[:2])
    larger = simplejpeg.encode_jpeg(np.zeros((900, 900, 3), np.uint8))
    smaller = simplejpeg.encode_jpeg(np.zeros((100, 100, 3), np.uint8))
    for stream in (larger, smaller):
        for rows in (30, 256):
            with pytest.raises(DecodeError):
                decode(memoryview(stream), tissue.shape[:2], rows, np.empty_like(tissue))


@pytest.mark.parametrize("transform", [None, "RGB", "YCBCR"])
def test_colour_spaces_are_told_as_tifffile_tells_them(
    tissue: np.ndarray, transform: str | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import regionio

    path = tmp_path_factory.mktemp("jpeg") / "tile.tif"
    stream = imagecodecs.jpeg8_encode(
        tissue, level=90, colorspace="RGB", outcolorspace=transform or "YCBCR"
    )
    for photometric in ("rgb", "ycbcr"):
        tifffile.imwrite(
            path, iter([bytes(stream)]), shape=(256, 224, 3), dtype="uint8", tile=(256, 224),
            compression="jpeg", photometric=photometric, metadata=None,
        )  # fmt: skip
        with regionio.open(path) as image:
            region = image.read_region()
        np.testing.assert_array_equal(region, tifffile.imread(path), photometric)


@pytest.mark.parametrize("separate", [False, True])
def test_twelve_bit_and_planar_streams(
    tissue: np.ndarray, separate: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import regionio

    path = tmp_path_factory.mktemp("jpeg") / "tile.tif"
    if separate:
        planes = np.moveaxis(tissue, 2, 0)
        tifffile.imwrite(
            path, planes, tile=(128, 112), compression="jpeg", photometric="rgb",
            planarconfig="separate", metadata=None,
        )  # fmt: skip
        expected = np.moveaxis(tifffile.imread(path), 0, 2)
    else:
        deep = tissue[..., 1].astype(np.uint16) * 16
        stream = bytes(imagecodecs.jpeg8_encode(deep, level=95, bitspersample=12))
        tifffile.imwrite(
            path, iter([stream]), shape=(256, 224), dtype="uint16", bitspersample=12,
            tile=(256, 224), compression="jpeg", photometric="minisblack", metadata=None,
        )  # fmt: skip
        expected = tifffile.imread(path)
        assert expected.dtype == np.uint16
        assert int(expected.max()) > 255
    with regionio.open(path) as image:
        np.testing.assert_array_equal(image.read_region(), expected)
