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
    assert Header.of(memoryview(stream)).height == 0
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


def test_tables_with_stray_bytes_or_without_end_do_not_bring_other_pixels(
    tissue: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """libjpeg warns before it has decoded anything: what scratch memory holds is not the tile."""
    import regionio

    path = tmp_path_factory.mktemp("jpeg") / "tables.tif"
    stream = simplejpeg.encode_jpeg(tissue, 85, "RGB", "420")
    frame = stream.index(b"\xff\xc0")
    scan = stream.index(b"\xff\xda")
    tables = stream[20:frame] + stream[frame + 19 : scan]
    bare = b"\xff\xd8" + stream[frame : frame + 19] + stream[scan:]
    for prefix in (
        b"\xff\xd8" + tables,
        b"\xff\xd8" + tables + b"\xff\xd9",
        b"\xff\xd8" + tables + b"\xff\xd9\0\0",
        b"\xff\xd8" + tables + b"stray\xff\xd9",
    ):
        tifffile.imwrite(
            path, iter([bare]), shape=(256, 224, 3), dtype="uint8", tile=(256, 224),
            compression="jpeg", photometric="ycbcr", metadata=None,
            extratags=[(347, 7, len(prefix), prefix, True)],
        )  # fmt: skip
        expected = imagecodecs.jpeg8_decode(stream)
        with regionio.open(path) as image:
            try:
                top = np.asarray(image.read_region((0, 0), (100, 40)))
            except regionio.DecodeError:
                assert b"stray" in prefix
            else:
                np.testing.assert_array_equal(top, expected[:40, :100])


@pytest.mark.parametrize("samples", [1, 3])
def test_streams_with_other_components_than_the_directory_says_raise(
    tissue: np.ndarray, samples: int
) -> None:
    other = simplejpeg.encode_jpeg(tissue, 85, "RGB", "444" if samples == 1 else "Gray")
    photometric = "minisblack" if samples == 1 else "ycbcr"
    decode = decoder_for(Encoding("jpeg", "uint8", samples, photometric=photometric), (256, 224))
    out = np.empty((256, 224, samples), np.uint8)
    for rows in (20, 256):
        with pytest.raises(DecodeError, match="components"):
            decode(memoryview(other), (256, 224), rows, out)


def test_a_progressive_stream_of_thousands_of_scans_is_refused(tissue: np.ndarray) -> None:
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.fromarray(tissue).save(file, "JPEG", progressive=True)
    stream = file.getvalue()
    last = stream.rindex(b"\xff\xda")
    bomb = stream[:last] + stream[last:-2] * 600 + stream[-2:]
    encoding = Encoding("jpeg", "uint8", 3, photometric="rgb", stored_colorspace="rgb")
    decode = decoder_for(encoding, (256, 224))
    with pytest.raises(DecodeError, match="scans"):
        decode(memoryview(bomb), (256, 224), 256, np.empty_like(tissue))
