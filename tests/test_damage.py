"""Damaged, absurd and foreign files: typed errors that name the file, in bounded time."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

import regionio

SLIDE_WITH_TABLES = "tests/data/CMU-1-Small-Region.svs"

PATIENCE_SECONDS = 5.0
"""A damaged file takes under a second on an idle machine; the test machine may be busy."""


def read_everything(path: Path) -> None:
    """Open a file and read corners of all its levels."""
    with regionio.open(path) as image:
        for number, level in enumerate(image.levels):
            width, height = min(300, level.width), min(300, level.height)
            image.read_region((0, 0), (width, height), number)
            far_x = int((level.width - 100) * level.downsample[0])
            far_y = int((level.height - 100) * level.downsample[1])
            image.read_region((far_x, far_y), (100, 100), number, num_workers=0)


def must_fail_well(path: Path) -> None:
    """Reading gives pixels or a typed error that names the file, and takes no longer than whole."""
    start = time.monotonic()
    try:
        read_everything(path)
    except regionio.RegionIOError as error:
        assert str(path) in str(error), error  # noqa: PT017  pixels are as welcome
    assert time.monotonic() - start < PATIENCE_SECONDS


def cut(data: bytearray, random: np.random.Generator) -> None:
    del data[int(random.integers(1, len(data))) :]


def flip_bits(data: bytearray, random: np.random.Generator) -> None:
    for _ in range(4):
        data[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))


def zero_fill(data: bytearray, random: np.random.Generator) -> None:
    start, size = int(random.integers(len(data))), int(random.integers(1, 4096))
    data[start : start + size] = bytes(min(size, len(data) - start))


def change_directory(data: bytearray, random: np.random.Generator) -> None:
    order = "<" if data[:1] == b"I" else ">"
    classic = 42 in data[2:4]
    where, code = (4, "I") if classic else (8, "Q")
    (offset,) = struct.unpack_from(order + code, data, where)
    for _ in range(3):
        place = offset + int(random.integers(240))
        if place < len(data):
            data[place] = int(random.integers(256))


def change_header(data: bytearray, random: np.random.Generator) -> None:
    data[int(random.integers(min(len(data), 600)))] = 255


DAMAGES: list[Callable[[bytearray, np.random.Generator], None]] = [
    cut,
    flip_bits,
    zero_fill,
    change_directory,
    change_header,
]


def damage_all(folder: Path, target: Path, rounds: int) -> int:
    suffixes = {".tif", ".tiff", ".svs", ".ndpi", ".scn"}
    count = 0
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes):
        whole = path.read_bytes()
        for damage in DAMAGES:
            for number in range(rounds):
                data = bytearray(whole)
                damage(data, np.random.default_rng([number, len(whole)]))
                target.write_bytes(data)
                must_fail_well(target)
                count += 1
    return count


@pytest.mark.filterwarnings("ignore:.*companion.*:UserWarning")
def test_damaged_files_fail_well(wider_data: Path, tmp_path: Path) -> None:
    assert damage_all(wider_data, tmp_path / "damaged.tif", rounds=2) > 500


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.filterwarnings("ignore:.*companion.*:UserWarning")
def test_many_damaged_files_fail_well(wider_data: Path, tmp_path: Path) -> None:
    assert damage_all(wider_data, tmp_path / "damaged.tif", rounds=100) > 30_000


CODECS = [
    "jpeg", "zlib", "lzw", "zstd", "lzma", "packbits",
    "jpeg2000", "jpegxl", "jpegxr", "webp", "lerc", "png",
]  # fmt: skip


@pytest.mark.parametrize("codec", CODECS)
def test_a_cut_tile_always_raises(tmp_path: Path, slide_path: str, codec: str) -> None:
    pixels = tifffile.imread(slide_path)[500:756, 500:756]
    path = tmp_path / "one_tile.tif"
    tifffile.imwrite(path, pixels, tile=(256, 256), compression=codec, photometric="rgb")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        where = page.tags[325].valueoffset
        size = page.databytecounts[0]
    whole = path.read_bytes()
    for kept in (size - 9, size * 3 // 4, size // 2, size // 9, 3):
        shorter = bytearray(whole)
        struct.pack_into("<I", shorter, where, kept)
        path.write_bytes(shorter)
        with regionio.open(path) as image, pytest.raises(regionio.DecodeError, match="row 0"):
            image.read_region((10, 10), (50, 50))


def test_a_changed_jpeg_bit_raises_or_gives_what_libjpeg_gives(
    tmp_path: Path, slide_path: str
) -> None:
    pixels = tifffile.imread(slide_path)[1500:1756, 1000:1256]
    path = tmp_path / "one_tile.tif"
    tifffile.imwrite(path, pixels, tile=(256, 256), compression="jpeg", photometric="rgb")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        start, size = page.dataoffsets[0], page.databytecounts[0]
    whole = path.read_bytes()
    random = np.random.default_rng(4)
    raised = 0
    for _ in range(150):
        data = bytearray(whole)
        data[start + int(random.integers(size // 5, size))] ^= 1 << int(random.integers(8))
        path.write_bytes(data)
        with regionio.open(path) as image:
            try:
                region = image.read_region()
            except regionio.DecodeError:
                raised += 1
                continue
        with tifffile.TiffFile(path) as tiff:
            expected = tiff.pages.first.asarray()
        np.testing.assert_array_equal(region, expected)
    assert raised > 30  # libjpeg notices so many; imagecodecs would hide them all


def test_one_bad_tile_fails_only_the_batches_that_need_it(tmp_path: Path, slide_path: str) -> None:
    pixels = tifffile.imread(slide_path)[:512, :512]
    path = tmp_path / "tiles.tif"
    tifffile.imwrite(path, pixels, tile=(128, 128), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(path) as tiff:
        bad = tiff.pages.first.dataoffsets[10]
    data = bytearray(path.read_bytes())
    data[bad : bad + 40] = bytes(40)
    path.write_bytes(data)
    grid = [(x, y) for y in range(0, 512, 128) for x in range(0, 512, 128)]
    with regionio.open(path) as image:
        loader = image.read_region(grid, (128, 128), batch_size=3)
        batches = [next(loader) for _ in range(3)]
        np.testing.assert_array_equal(batches[0][1], pixels[:128, 128:256])
        with pytest.raises(regionio.DecodeError, match="row 2, column 2"):
            next(loader)
        with pytest.raises(StopIteration):
            next(loader)


def write_tiff(path: Path, **tags: object) -> None:
    """Write a small TIFF and overwrite the values of some of its tags."""
    pixels = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    tifffile.imwrite(path, pixels, tile=(16, 16), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for name, value in tags.items():
            tiff.pages.first.tags[name].overwrite(value)


@pytest.mark.parametrize(
    "tags",
    [
        {"ImageWidth": 0},
        {"ImageWidth": 2**32 - 1},
        {"ImageLength": 2**31},
        {"TileWidth": 0},
        {"TileLength": 2**31 + 16},
        {"TileOffsets": (2**32 - 9,) * 16},
        {"TileByteCounts": (2**16 - 1,) * 16},
    ],
    ids=str,
)
def test_absurd_sizes_raise(tmp_path: Path, tags: dict[str, object]) -> None:
    path = tmp_path / "absurd.tif"
    write_tiff(path, **tags)
    start = time.monotonic()
    with pytest.raises(regionio.RegionIOError, match=r"absurd\.tif"):
        read_everything(path)
    assert time.monotonic() - start < PATIENCE_SECONDS


def test_a_decompression_bomb_raises(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    side = 40_000
    bomb = imagecodecs.zlib_encode(bytes(1 << 24))
    tifffile.imwrite(
        path,
        iter([bytes(bomb)]),
        shape=(side, side, 3),
        dtype="uint8",
        tile=(side, side),
        compression="zlib",
        photometric="rgb",
        bigtiff=True,
    )
    with regionio.open(path) as image, pytest.raises(regionio.DecodeError, match="takes"):
        image.read_region((0, 0), (8, 8))


def test_a_loop_of_directories_ends(tmp_path: Path) -> None:
    path = tmp_path / "loop.tif"
    pixels = np.zeros((64, 64), np.uint8)
    tifffile.imwrite(path, pixels, tile=(16, 16), metadata=None)
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages.first
        after = first.offset + 2 + 12 * len(first.tags)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, after, first.offset)
    path.write_bytes(data)
    must_fail_well(path)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.svs"
    empty.touch()
    with pytest.raises(regionio.CorruptFileError, match="is empty"):
        regionio.open(empty)
    with pytest.raises(
        regionio.UnsupportedFormatError, match=r"without DICOM files of its own: it has empty\.svs;"
    ):
        regionio.open(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing"):
        regionio.open(tmp_path / "missing.tif")
    picture = tmp_path / "slide.tif"
    picture.write_bytes(imagecodecs.png_encode(np.zeros((4, 4), np.uint8)))
    with pytest.raises(regionio.UnsupportedFormatError, match="PNG"):
        regionio.open(picture)
    text = tmp_path / "text.tif"
    text.write_text("not an image")
    with pytest.raises(regionio.UnsupportedFormatError, match="no TIFF or DICOM"):
        regionio.open(text)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_a_permission_error(tmp_path: Path) -> None:
    path = tmp_path / "forbidden.tif"
    write_tiff(path)
    path.chmod(0)
    with pytest.raises(PermissionError):
        regionio.open(path)


def test_a_truncated_download_raises_where_it_is_cut(tmp_path: Path, wider_data: Path) -> None:
    whole = (wider_data / "real/generic/cog/web.tif").read_bytes()
    path = tmp_path / "cut.tif"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with regionio.open(path) as image:
        image.read_region((0, 0), (100, 100), image.level_count - 1)
        with pytest.raises(regionio.CorruptFileError, match="the file has only"):
            image.read_region()


@pytest.mark.parametrize("cut_bytes", [1, 40, 150])
def test_jpeg_tables_that_are_cut_are_told(tmp_path: Path, cut_bytes: int) -> None:
    data = bytearray(Path(SLIDE_WITH_TABLES).read_bytes())
    with tifffile.TiffFile(SLIDE_WITH_TABLES) as file:
        tag = file.pages.first.tags["JPEGTables"]
        data[tag.offset + 4 : tag.offset + 8] = (tag.count - 2 - cut_bytes).to_bytes(4, "little")
    path = tmp_path / "cut.svs"
    path.write_bytes(data)
    with pytest.raises(regionio.CorruptFileError, match=r"cut\.svs.*tables for JPEG are cut short"):
        regionio.open(path)
