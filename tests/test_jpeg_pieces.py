"""JPEG tiles decoded straight into pieces of regions, by the compiled part and without it."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest
import simplejpeg
import tifffile

import regionio
from regionio._index import Encoding
from regionio._native import native
from regionio.codecs import Target, piece_decoder_for
from regionio.codecs.cpu.jpeg_pieces import JpegPieceDecoder
from regionio.compose import canvas
from regionio.engines import group

SLIDE = "tests/data/CMU-1-Small-Region.svs"
YCBCR = Encoding("jpeg", "uint8", 3, photometric="ycbcr")
GRAY = Encoding("jpeg", "uint8", 1, photometric="minisblack")

needs_native = pytest.mark.skipif(native is None, reason="the compiled part is missing")
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def _in_project_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(request.config.rootpath)


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    pixels = tifffile.imread(SLIDE)
    return np.ascontiguousarray(pixels[1300:1556, 700:924])


def decode(
    stream: bytes,
    boxes: list[tuple[int, int, int, int]],
    encoding: Encoding,
    shape: tuple[int, int],
) -> list[np.ndarray] | None:
    """Return the boxes (y, x, height, width) of one tile, None if it is left."""
    decoder = piece_decoder_for(encoding, shape)
    assert isinstance(decoder, JpegPieceDecoder)
    samples = encoding.samples
    out = np.full((len(boxes), *shape, samples), 7, dtype=np.uint8)
    pieces = np.array(
        [(*box, part.ctypes.data) for box, part in zip(boxes, out, strict=True)], dtype=np.int64
    )
    channels = np.array([(i, i) for i in range(samples)], dtype=np.int64)
    target = Target(shape[1] * samples, samples, channels, np.zeros(0, np.uint8))
    first = np.array([0, len(boxes)], dtype=np.int64)
    [done], _, _ = decoder([memoryview(stream)], first, pieces, target)
    if not done:
        return None
    for (_, _, height, width), part in zip(boxes, out, strict=True):
        assert (part[height:] == 7).all()
        assert (part[:height, width:] == 7).all()  # nothing is written beside a piece
    return [part[:h, :w] for (_, _, h, w), part in zip(boxes, out, strict=True)]


def random_boxes(random: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
    y, x = int(random.integers(height)), int(random.integers(width))
    return y, x, int(random.integers(1, height - y + 1)), int(random.integers(1, width - x + 1))


@needs_native
@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411", "Gray"])
@pytest.mark.parametrize("quality", [30, 90])
@pytest.mark.parametrize("restart", [False, True])
def test_any_boxes_equal_the_whole_tile(
    tissue: np.ndarray, subsampling: str, quality: int, *, restart: bool
) -> None:
    encoding = GRAY if subsampling == "Gray" else YCBCR
    random = np.random.default_rng(quality)
    for height, width in ((256, 224), (240, 97), (31, 33)):
        pixels = np.ascontiguousarray(tissue[:height, :width])
        stream = encoded(pixels, subsampling, quality, restart=restart)
        whole = imagecodecs.jpeg8_decode(stream).reshape(height, width, encoding.samples)
        for count in [1] * 60 + [2, 3] * 10:
            boxes = [random_boxes(random, height, width) for _ in range(count)]
            found = decode(stream, boxes, encoding, (height, width))
            assert found is not None
            for (y, x, h, w), part in zip(boxes, found, strict=True):
                np.testing.assert_array_equal(part, whole[y : y + h, x : x + w], f"{boxes}")


def encoded(pixels: np.ndarray, subsampling: str, quality: int, *, restart: bool) -> bytes:
    if not restart:
        return bytes(simplejpeg.encode_jpeg(pixels, quality, "RGB", subsampling))
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    image = Image.fromarray(pixels)
    if subsampling == "Gray":
        image.convert("L").save(file, "JPEG", quality=quality, restart_marker_blocks=7)
    else:
        ratio = {"444": "4:4:4", "422": "4:2:2", "411": "4:1:1"}.get(subsampling, "4:2:0")
        image.save(file, "JPEG", quality=quality, subsampling=ratio, restart_marker_rows=1)
    return file.getvalue()


@needs_native
def test_unusual_streams_are_left_to_python(tissue: np.ndarray) -> None:
    from io import BytesIO

    from PIL import Image

    shape = tissue.shape[:2]
    plain = simplejpeg.encode_jpeg(tissue, 80, "RGB", "420")
    file = BytesIO()
    Image.fromarray(tissue).save(file, "JPEG", progressive=True)
    larger = simplejpeg.encode_jpeg(np.zeros((900, 900, 3), np.uint8))
    smaller = simplejpeg.encode_jpeg(np.zeros((100, 100, 3), np.uint8))
    box = [(200, 100, 30, 30)]
    assert decode(plain, box, YCBCR, shape) is not None
    unusual = {
        "progressive": file.getvalue(), "larger": larger, "smaller": smaller, "empty": b"",
        "short": b"\xff", "text": b"not a JPEG stream", "start only": b"\xff\xd8\xff\xd9",
        "cut": plain[: len(plain) * 2 // 3], "without end": plain[:-2],
        "two more bytes": plain[2:], "bomb": plain[:158] + b"\xff\xff\xff\xff" + plain[162:],
    }  # fmt: skip
    for name, stream in unusual.items():
        assert decode(stream, box, YCBCR, shape) is None, name
        assert decode(stream, [(0, 0, 5, 5)], YCBCR, shape) is None, name
    assert decode(plain, box, GRAY, shape) is None
    assert decode(plain, [(-1, 0, 5, 5)], YCBCR, shape) is None
    assert decode(plain, [(250, 0, 7, 5)], YCBCR, shape) is None


@needs_native
def test_a_flipped_bit_is_left_where_libjpeg_warns(tissue: np.ndarray) -> None:
    stream = simplejpeg.encode_jpeg(tissue, 80, "RGB", "420")
    shape = tissue.shape[:2]
    random = np.random.default_rng(3)
    noticed = 0
    for _ in range(400):
        damaged = bytearray(stream)
        place = int(random.integers(2, len(stream)))
        damaged[place] ^= 1 << int(random.integers(8))
        found = decode(bytes(damaged), [(0, 0, *shape)], YCBCR, shape)
        try:
            expected = simplejpeg.decode_jpeg(bytes(damaged), "RGB", strict=True)
        except ValueError:
            assert found is None
            noticed += 1
        else:
            assert found is not None
            np.testing.assert_array_equal(found[0], expected)
    assert 40 < noticed < 360


@needs_native
def test_tables_of_one_tile_are_not_used_for_the_next(tissue: np.ndarray) -> None:
    shape = tissue.shape[:2]
    whole = simplejpeg.encode_jpeg(tissue, 80, "RGB", "420")
    frame = whole.index(b"\xff\xc0")
    bare = b"\xff\xd8" + whole[frame : frame + 19] + whole[whole.index(b"\xff\xda") :]
    decoder = piece_decoder_for(YCBCR, shape)
    assert decoder is not None
    out = np.zeros((2, *shape, 3), np.uint8)
    pieces = np.array([(0, 0, *shape, part.ctypes.data) for part in out], dtype=np.int64)
    channels = np.array([(i, i) for i in range(3)], dtype=np.int64)
    target = Target(shape[1] * 3, 3, channels, np.zeros(0, np.uint8))
    done, _, _ = decoder([memoryview(whole), memoryview(bare)], np.arange(3), pieces, target)
    assert list(done) == [1, 0]


@needs_native
def test_arguments_that_do_not_fit_together_are_refused() -> None:
    assert native is not None
    table, pieces = np.zeros(0, np.uint8), np.zeros((1, 5), np.int64)
    channels = np.array([(0, 0)], np.int64)
    decode_jpeg, paste = native.decode_jpeg, native.paste
    common = [b"\xff\xd8", b"", 2, 8, 8, 1, False, np.zeros(0, np.int64), 1]
    for first in (np.array([0], np.int64), np.array([0, 9], np.int64), np.array([2, 1], np.int64)):
        with pytest.raises(ValueError, match="fit together"):
            decode_jpeg([b"x"], *common, first, pieces, 8, 1, channels, table, 1)
        with pytest.raises(ValueError, match="fit together"):
            paste(np.zeros(1, np.int64), 8, 1, first, pieces, 8, 1, channels, table, 1)
    one = np.array([0, 1], np.int64)
    for wrong in ((channels + 1, table, 1), (channels, np.zeros(255, np.uint8), 1),
                  (channels, table, 3)):  # fmt: skip
        with pytest.raises(ValueError, match="fit together"):
            decode_jpeg([b"x"], *common, one, pieces, 8, 1, *wrong)
    with pytest.raises(TypeError):
        decode_jpeg(["text"], *common, one, pieces, 8, 1, channels, table, 1)
    with pytest.raises(ValueError, match="no JPEG stream"):
        decode_jpeg(
            [b"x"], b"", b"", 2, 8, 0, 1, *common[-3:], one, pieces, 8, 1, channels, table, 1
        )


@pytest.fixture(params=["compiled", "python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Read with the compiled part, and without it."""
    if request.param == "python":
        monkeypatch.setattr(group, "piece_decoder_for", lambda *_: None)
        monkeypatch.setattr(canvas, "native", None)
    elif native is None:
        pytest.skip("the compiled part is missing")
    monkeypatch.setattr(regionio.cache, "capacity", 0)
    return str(request.param)


READS: dict[str, dict[str, Any]] = {
    "plain": {},
    "float NCHW": {"layout": "NCHW", "scale": [1 / 255, 2.0, 0.5], "offset": [-0.1, 3, 0]},
    "float64": {"dtype": "float64"},
    "big-endian": {"dtype": ">f4", "offset": 0.25},
    "half": {"dtype": "float16", "scale": 1 / 255},
    "wider": {"dtype": "int32", "layout": "CYX"},
    "complex": {"dtype": "complex128"},
    "two channels": {"channels": [2, 0]},
    "two channels, first axis": {"channels": [2, 0], "layout": "CYX", "scale": 0.5},
    "one channel": {"channels": 1},
}


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_every_layout_and_dtype(
    way: str, read: dict[str, Any], *, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches equal slices of tifffile's array, converted by NumPy."""
    monkeypatch.setattr(regionio.cache, "capacity", 2**26 if kept else 0)
    regionio.cache.clear()
    pixels = np.pad(tifffile.imread(SLIDE), [(200, 200), (200, 200), (0, 0)], constant_values=255)
    random = np.random.default_rng(5)
    locations = random.integers(-150, 2300, (70, 2))
    size = (130, 90)
    options = dict(read)
    fill: dict[str, Any] = {"fill": 0} if "dtype" in read or "scale" in read else {}
    with regionio.open(SLIDE) as slide:
        for epoch in range(2):
            loader = slide.read_region(locations, size, batch_size=16, **options, **fill)
            for batch in loader:
                for region in batch:
                    x, y = (region.locations + 200).tolist()
                    part = pixels[y : y + size[1], x : x + size[0]]
                    inside = np.pad(np.ones((2967, 2220), bool), 200)[
                        y : y + size[1], x : x + size[0]
                    ]
                    expected = converted(part, inside, options, fill=bool(fill))
                    np.testing.assert_array_equal(region, expected, f"{way} {epoch}")
                    assert region.dtype == expected.dtype


def converted(
    part: np.ndarray, inside: np.ndarray, options: dict[str, Any], *, fill: bool
) -> np.ndarray:
    channels = options.get("channels")
    chosen = part if channels is None else part[..., channels]
    scaled = "scale" in options or "offset" in options
    dtype = np.dtype(options.get("dtype", "float32" if scaled else "uint8"))
    working = np.result_type(dtype, np.float32) if scaled else dtype
    result = chosen.astype(working)
    if "scale" in options:
        result = result * np.asarray(options["scale"], working)
    if "offset" in options:
        result = result + np.asarray(options["offset"], working)
    result = result.astype(dtype)
    if fill:
        result[~inside] = 0
    if "layout" in options:
        result = np.moveaxis(result, 2, 0)
    return result


def test_a_damaged_tile_is_named_and_others_are_read(way: str, tmp_path) -> None:
    damaged = tmp_path / "damaged.tif"
    pixels = tifffile.imread(SLIDE)[:512, :512]
    tifffile.imwrite(damaged, pixels, tile=(256, 256), compression="jpeg", photometric="ycbcr")
    with tifffile.TiffFile(damaged) as tif:
        page = tif.pages[0]
        offset, nbytes = page.dataoffsets[3], page.databytecounts[3]
        expected = page.asarray()
    with open(damaged, "r+b") as file:
        file.seek(offset + nbytes // 2)
        file.write(b"\x00" * (nbytes - nbytes // 2))
    with regionio.open(damaged) as image:
        good = image.read_region((0, 0), (256, 256))
        np.testing.assert_array_equal(good, expected[:256, :256])
        with pytest.raises(regionio.DecodeError, match=r"damaged\.tif.*row 1, column 1"):
            image.read_region((200, 200), (200, 200))


@needs_native
def test_the_compiled_part_decodes_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real slide's tiles do not fall back to Python unnoticed."""
    fallen = []
    monkeypatch.setattr(regionio.cache, "capacity", 0)
    monkeypatch.setattr("regionio.engines.cpu._Run._decode_tile", lambda *args: fallen.append(args))
    with regionio.open(SLIDE) as slide:
        slide.read_region((100, 100), (700, 700))
    assert not fallen
