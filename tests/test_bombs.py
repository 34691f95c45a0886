"""Small files that promise gigabytes: refused before anybody takes memory for them."""

from __future__ import annotations

import os
import resource
import struct
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

import regionio
from regionio.codecs.cpu.picture_size import PictureSize, check_size, picture_size

SIDE = 256
PATIENCE_SECONDS = 4.0
"""All takes well under a second on an idle machine; the test machine may be busy."""

MOST_BYTES = 96 * 2**20
"""A million tags take some 60 MB while they are looked through."""

Tag = tuple[int, int, int, int]


@contextmanager
def modest() -> Iterator[None]:
    """Let what is inside take neither long nor much memory."""
    kilobyte = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte
    tracemalloc.start()
    start = time.monotonic()
    try:
        yield
        assert time.monotonic() - start < PATIENCE_SECONDS
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES  # arrays
    finally:
        tracemalloc.stop()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte
    assert after - before < 2 * MOST_BYTES  # and what decoders take themselves


def directory(tags: Sequence[Tag], after: int = 0, *, big: bool = False) -> bytes:
    """Return a little-endian directory."""
    count, tag, offset = ("<Q", "<HHQQ", "<Q") if big else ("<H", "<HHII", "<I")
    body = b"".join(struct.pack(tag, *fields) for fields in sorted(tags))
    return struct.pack(count, len(tags)) + body + struct.pack(offset, after)


CLASSIC, BIG = b"II\x2a\0\x08\0\0\0", b"II\x2b\0\x08\0\0\0" + struct.pack("<Q", 16)
GRAY = [(256, 3, 1, 16), (257, 3, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
GRAY_STRIP = [*GRAY, (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 16), (279, 4, 1, 256)]


def chain(tags: Sequence[Tag], count: int) -> bytes:
    """Return a file of `count` equal directories, one behind the other."""
    size = len(directory(tags))
    places = [8 + size * number for number in range(1, count)] + [0]
    return CLASSIC + b"".join(directory(tags, place) for place in places)


def one_tile(path: Path, stream: bytes, compression: int, samples: int = 3) -> Path:
    """Write a file of one tile that holds `stream`."""
    photometric = {1: 1, 3: 2, 4: 5}[samples]
    tags = [
        (256, 3, 1, SIDE), (257, 3, 1, SIDE), (258, 3, 1, 8), (259, 3, 1, compression),
        (262, 3, 1, photometric), (277, 3, 1, samples), (322, 3, 1, SIDE), (323, 3, 1, SIDE),
    ]  # fmt: skip
    place = 8 + len(directory([*tags, (0, 0, 0, 0), (0, 0, 0, 0)]))
    tags += [(324, 4, 1, place), (325, 4, 1, len(stream))]
    path.write_bytes(CLASSIC + directory(tags) + stream)
    return path


def pixels(height: int = SIDE, width: int = SIDE, samples: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, samples), dtype=np.uint8)


def patched(stream: bytes | bytearray, place: int, code: str, *values: int) -> bytes:
    data = bytearray(stream)
    struct.pack_into(code, data, place, *values)
    return bytes(data)


def png_bomb() -> bytes:
    stream = patched(imagecodecs.png_encode(pixels()), 16, ">II", 60000, 60000)
    return patched(stream, 29, ">I", zlib.crc32(stream[12:29]))


def webp_bomb() -> bytes:
    stream = imagecodecs.webp_encode(pixels(), lossless=True)
    (bits,) = struct.unpack_from("<I", stream, 21)
    return patched(stream, 21, "<I", bits & ~0xFFFFFFF | 16382 << 14 | 16382)


def lossy_webp_bomb() -> bytes:
    return patched(
        imagecodecs.webp_encode(pixels(), lossless=False, level=50), 26, "<HH", 16383, 16383
    )


def jpegxl_bomb() -> bytes:
    return bytes(
        imagecodecs.jpegxl_encode(np.zeros((9000, 9000), np.uint8), lossless=True, effort=1)
    )


def boxed_jpegxl_bomb() -> bytes:
    """Return one whose header is divided: one byte of it in the first part."""
    stream, boxes = jpegxl_bomb(), imagecodecs.jpegxl_encode(pixels(8, 8), usecontainer=True)
    parts = (0, stream[:1]), (1, stream[1:5]), (0x80000002, stream[5:])
    head = boxes[: boxes.index(b"jxlc") - 4]
    return bytes(head) + b"".join(
        struct.pack(">I4sI", 12 + len(part), b"jxlp", number) + part for number, part in parts
    )


def film() -> bytes:
    return bytes(imagecodecs.jpegxl_encode(np.zeros((300, SIDE, SIDE, 3), np.uint8), effort=1))


def jpegxr_bomb() -> bytes:
    return bytes(imagecodecs.jpegxr_encode(np.zeros((6000, 6000, 3), np.uint8)))


def lying_jpegxr_bomb() -> bytes:
    """Return one whose directory tells another size than its stream."""
    stream = jpegxr_bomb()
    for tag in (0xBC80, 0xBC81):
        place = stream.index(struct.pack("<HHI", tag, 4, 1))
        stream = patched(stream, place + 8, "<I", SIDE)
    return stream


def lerc_bomb() -> bytes:
    return patched(imagecodecs.lerc_encode(pixels()), 14, "<II", 30000, 30000)


def deep_lerc_bomb() -> bytes:
    return patched(imagecodecs.lerc_encode(pixels()), 22, "<I", 100000)


def siz(stream: bytes | bytearray) -> int:
    """Return where the segment with the size begins in a JPEG 2000 stream."""
    return stream.index(b"\xff\x4f\xff\x51") + 2


def jpeg2000_bomb(kind: str = "j2k") -> bytes:
    stream = imagecodecs.jpeg2k_encode(pixels(), codecformat=kind, level=0)
    large = patched(stream, siz(stream) + 6, ">II", 60000, 60000)
    return patched(large, siz(stream) + 22, ">II", 60000, 60000)


def boxed_jpeg2000_bomb() -> bytes:
    """Return one behind boxes, with a size to be taken for the true one in front of it."""
    stream, lure = jpeg2000_bomb("jp2"), imagecodecs.jpeg2k_encode(pixels(), codecformat="j2k")
    place = stream.index(b"jp2c") - 4
    box = struct.pack(">I4s", 8 + 64, b"free") + lure[:64]
    return stream[:place] + box + stream[place:]


def deep_jpeg2000_bomb() -> bytes:
    stream = imagecodecs.jpeg2k_encode(pixels(), codecformat="j2k", level=0)
    place, count = siz(stream), 16384
    return b"".join((
        patched(stream[:place], place - 2, ">H", 0xFF4F),
        struct.pack(">HH", 0xFF51, 38 + 3 * count),
        stream[place + 4 : place + 38],
        struct.pack(">H", count),
        b"\x07\x01\x01" * count,
        stream[place + 49 :],
    ))  # fmt: skip


def divided_jpeg2000_bomb() -> bytes:
    stream = imagecodecs.jpeg2k_encode(pixels(255), codecformat="j2k", level=0)
    return patched(stream, siz(stream) + 22, ">II", 1, 1)


def jpeg_bomb() -> bytes:
    stream = imagecodecs.jpeg8_encode(pixels(samples=4), colorspace="CMYK", outcolorspace="CMYK")
    return patched(stream, stream.index(b"\xff\xc0") + 5, ">HH", 65500, 65500)


def jpeg_bomb_behind_rubbish() -> bytes:
    stream = jpeg_bomb()
    return stream[:2] + bytes(100) + b"\xff\x01" + stream[2:]


BOMBS: dict[str, tuple[Callable[[], bytes], int, int, str]] = {
    "png": (png_bomb, 34933, 3, "60000×60000"),
    "webp": (webp_bomb, 50001, 3, "16383×16383"),
    "lossy webp": (lossy_webp_bomb, 50001, 3, "16383×16383"),
    "jpegxl": (jpegxl_bomb, 50002, 1, "9000×9000"),
    "boxed jpegxl": (boxed_jpegxl_bomb, 50002, 1, "9000×9000"),
    "film": (film, 50002, 3, "several pictures"),
    "jpegxr": (jpegxr_bomb, 34934, 3, "6000×6000"),
    "lying jpegxr": (lying_jpegxr_bomb, 34934, 3, "6000×6000"),
    "lerc": (lerc_bomb, 34887, 3, "30000×30000"),
    "deep lerc": (deep_lerc_bomb, 34887, 3, "100000 or more samples"),
    "jpeg2000": (jpeg2000_bomb, 34712, 3, "60000×60000"),
    "boxed jpeg2000": (boxed_jpeg2000_bomb, 34712, 3, "60000×60000"),
    "deep jpeg2000": (deep_jpeg2000_bomb, 34712, 3, "16384 or more samples"),
    "divided jpeg2000": (divided_jpeg2000_bomb, 34712, 3, "65280 tiles"),
    "jpeg": (jpeg_bomb, 7, 4, "65500×65500"),
    "jpeg behind rubbish": (jpeg_bomb_behind_rubbish, 7, 4, "65500×65500"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_tile_that_promises_more_than_its_size_is_refused(tmp_path: Path, name: str) -> None:
    make, compression, samples, what = BOMBS[name]
    path = one_tile(tmp_path / "bomb.tif", make(), compression, samples)
    with modest(), regionio.open(path) as image, pytest.raises(regionio.DecodeError, match=what):
        image.read_region((0, 0), (64, 64))


ENCODERS: dict[str, tuple[str, Callable[..., Any], dict[str, Any]]] = {
    "png": ("png", imagecodecs.png_encode, {}),
    "webp": ("webp", imagecodecs.webp_encode, {"lossless": True}),
    "lossy webp": ("webp", imagecodecs.webp_encode, {"lossless": False, "level": 50}),
    "jpeg": ("jpeg", imagecodecs.jpeg8_encode, {}),
    "lossless jpeg": ("jpeg", imagecodecs.ljpeg_encode, {}),
    "jpeg2000": ("jpeg2000", imagecodecs.jpeg2k_encode, {"codecformat": "j2k"}),
    "boxed jpeg2000": ("jpeg2000", imagecodecs.jpeg2k_encode, {"codecformat": "jp2"}),
    "jpegxr": ("jpegxr", imagecodecs.jpegxr_encode, {}),
    "jpegxl": ("jpegxl", imagecodecs.jpegxl_encode, {}),
    "boxed jpegxl": ("jpegxl", imagecodecs.jpegxl_encode, {"usecontainer": True}),
    "lerc": ("lerc", imagecodecs.lerc_encode, {}),
    "old lerc": ("lerc", imagecodecs.lerc_encode, {"version": 2}),
    "older lerc": ("lerc", imagecodecs.lerc_encode, {"version": 3}),
}


@pytest.mark.parametrize("shape", [(256, 256), (7, 500), (300, 200), (90, 160), (1, 1031)])
@pytest.mark.parametrize("name", ENCODERS)
def test_a_header_states_the_size_that_was_encoded(name: str, shape: tuple[int, int]) -> None:
    codec, encode, options = ENCODERS[name]
    for samples in (1, 3):
        picture = pixels(*shape, samples)
        only_gray, only_rgb = {"old lerc", "older lerc", "lossless jpeg"}, {"webp", "lossy webp"}
        if name in (only_gray if samples == 3 else only_rgb):
            continue
        stream = encode(picture[:, :, 0] if samples == 1 else picture, **options)
        size = picture_size(codec, memoryview(stream))
        assert size is not None
        assert (size.height, size.width) == shape
        assert size.samples in {1, samples}
        check_size(codec, memoryview(stream), shape, samples)


def test_the_first_lerc_format_states_its_size() -> None:
    stream = b"CntZImage " + struct.pack("<iiii", 11, 8, 120, 257) + bytes(40)
    assert picture_size("lerc", memoryview(stream)) == PictureSize(257, 120)


@pytest.mark.parametrize("codec", ["png", "webp", "jpeg", "jpeg2000", "jpegxr", "jpegxl", "lerc"])
@pytest.mark.parametrize("stream", [b"", b"\xff", bytes(200), b"\xff\x0a", b"RIFF0000WEBPVP8X"])
def test_a_stream_without_a_header_is_refused(codec: str, stream: bytes) -> None:
    assert picture_size(codec, memoryview(stream)) is None
    with pytest.raises(regionio.DecodeError, match="no header"):
        check_size(codec, memoryview(stream), (SIDE, SIDE), 3)


TIFF_CODECS = ["jpeg", "jpeg2000", "jpegxl", "jpegxr", "webp", "lerc", "png"]


@pytest.mark.parametrize("codec", TIFF_CODECS)
@pytest.mark.parametrize("shape", [(300, 290, 3), (300, 290, 4), (300, 290)])
def test_good_tiles_are_read(tmp_path: Path, codec: str, shape: tuple[int, ...]) -> None:
    if codec == "webp" and len(shape) == 2:
        pytest.skip("there is no gray WebP")
    path = tmp_path / "good.tif"
    picture = pixels(shape[0], shape[1], (*shape, 1)[2]).reshape(shape)
    photometric = {2: "minisblack", 3: "rgb"}[len(shape)]
    if codec == "jpeg" and shape[-1] == 4:
        photometric = "separated"
    tifffile.imwrite(
        path,
        picture,
        tile=(128, 128),
        compression=codec,
        photometric=photometric,
        planarconfig=1 if len(shape) == 3 else None,
    )
    with regionio.open(path) as image:
        np.testing.assert_array_equal(
            np.asarray(image.read_region()).reshape(shape), tifffile.imread(path)
        )


@pytest.mark.parametrize("layout", [{"tile": (64, 64)}, {"rowsperstrip": 48}])
def test_jpegxl_of_many_samples_is_read(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = tmp_path / "many.tif"
    picture = pixels(100, 64, 9)
    tifffile.imwrite(
        path, picture, compression="jpegxl", photometric="minisblack", planarconfig=1, **layout
    )
    with regionio.open(path) as image:
        np.testing.assert_array_equal(image.read_region(), picture)


def must_be_refused(path: Path, error: type[Exception], what: str) -> None:
    with modest(), pytest.raises(error, match=what) as caught:
        regionio.open(path)
    assert str(path) in str(caught.value)


def test_a_million_directories_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "chain.tif"
    path.write_bytes(chain(GRAY[:1], 1_000_000))
    must_be_refused(path, regionio.UnsupportedFormatError, "65536 directories")


def test_directories_of_thousands_of_tags_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tags.tif"
    path.write_bytes(chain([*GRAY_STRIP, *((60000 + i, 3, 1, 1) for i in range(4000))], 300))
    must_be_refused(path, regionio.UnsupportedFormatError, "1048576 tags")


def test_a_directory_of_one_tag_again_and_again_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "again.tif"
    path.write_bytes(chain([*GRAY_STRIP, *[(60000, 3, 1, 1)] * 4000], 1))
    must_be_refused(path, regionio.CorruptFileError, "tag 60000 4000 times")


@pytest.mark.parametrize("tag", [270, 34675, 258, 65000])
@pytest.mark.parametrize("kind", [2, 3, 7])
def test_a_value_of_gigabytes_is_refused(tmp_path: Path, tag: int, kind: int) -> None:
    path = tmp_path / "value.tif"
    tags = [fields for fields in GRAY_STRIP if fields[0] != tag]
    path.write_bytes(chain([*tags, (tag, kind, 2**31, 8)], 1))
    os.truncate(path, 6 * 2**30)  # sparse: the value lies inside
    must_be_refused(path, regionio.CorruptFileError, f"tag {tag}")


def test_tables_of_gigabytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tables.tif"
    tags = [*GRAY, (273, 4, 2**30 - 1, 8), (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 2**30 - 1, 8)]
    path.write_bytes(chain(tags, 1))
    os.truncate(path, 6 * 2**30)
    must_be_refused(path, regionio.CorruptFileError, "tag 273")


def test_directories_that_share_a_large_value_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "shared.tif"
    path.write_bytes(chain([*GRAY_STRIP, (270, 2, 2**26, 8)], 1000))
    os.truncate(path, 2**27)
    must_be_refused(path, regionio.UnsupportedFormatError, "values take")


@pytest.mark.parametrize("big", [False, True])
def test_what_lies_below_a_directory_counts_too(tmp_path: Path, *, big: bool) -> None:
    path = tmp_path / "below.tif"
    start, kind = (BIG, 16) if big else (CLASSIC, 4)
    first = [*GRAY_STRIP, (330, kind, 1, 0)]
    place = len(start) + len(directory(first, big=big))
    below = directory([*GRAY_STRIP, (270, 2, 2**31, 8)], big=big)
    path.write_bytes(start + directory([*GRAY_STRIP, (330, kind, 1, place)], big=big) + below)
    os.truncate(path, 6 * 2**30)
    must_be_refused(path, regionio.CorruptFileError, "tag 270")


@pytest.mark.parametrize("count", [100_000, 2**31])
def test_directories_with_a_crowd_below_are_refused(tmp_path: Path, count: int) -> None:
    path = tmp_path / "crowd.tif"
    path.write_bytes(chain([*GRAY_STRIP, (330, 4, count, 8)], 1))
    os.truncate(path, 10 * 2**30)
    must_be_refused(path, regionio.UnsupportedFormatError, "65536 directories")


def test_a_value_outside_the_file_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "outside.tif"
    path.write_bytes(chain([*GRAY_STRIP, (270, 2, 2**32 - 1, 8)], 1) + bytes(1000))
    with modest(), regionio.open(path) as image:
        assert image.shape == (16, 16)


def test_twenty_thousand_directories_are_opened(tmp_path: Path) -> None:
    path = tmp_path / "volume.tif"
    path.write_bytes(chain(GRAY_STRIP, 20_000))
    with regionio.open(path) as image:
        assert image.shape == (20_000, 16, 16)


def test_four_million_tiles_are_opened(tmp_path: Path) -> None:
    path = tmp_path / "tiles.tif"
    count, side = 2**22, 2**11 * SIDE
    tags = [
        (256, 4, 1, side), (257, 4, 1, side), *GRAY[2:], (277, 3, 1, 1), (322, 3, 1, SIDE),
        (323, 3, 1, SIDE), (324, 16, count, 1000), (325, 16, count, 1000 + 8 * count),
    ]  # fmt: skip
    path.write_bytes(BIG + directory(tags, big=True))
    os.truncate(path, 1000 + 16 * count)  # all tiles are absent
    with regionio.open(path) as image:
        assert image.shape == (side, side)
        assert not np.asarray(image.read_region((side - 16, side - 16), (16, 16))).any()


def test_frames_are_not_made_up_to_the_end_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "scanimage.tif"
    step, count = 200, 6
    place = 8 + step * count
    tags = [fields for fields in GRAY_STRIP if fields[0] != 273] + [(270, 2, 7, place)]
    pages = [
        directory([*tags, (273, 4, 1, start + step)], start + step if start + step < place else 0)
        for start in range(8, place, step)
    ]
    path.write_bytes(CLASSIC + b"".join(page.ljust(step, b"\0") for page in pages) + b"state.\0")
    os.truncate(path, 2**30)  # tifffile takes ScanImage's directories to go on as they begin
    with modest(), regionio.open(path) as image:
        assert image.shape == (count, 16, 16)
