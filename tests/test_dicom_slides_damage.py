"""Damaged DICOM slides: an error that names the file and the cause, soon and in little memory."""

from __future__ import annotations

import struct
import time
import tracemalloc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

import regionio
from regionio import CorruptFileError, RegionIOError, UnsupportedFormatError
from regionio._opened import indexes
from tests.conftest import DATA
from tests.dicom_slide_files import item, picture, tiles_of, write_full, write_slide

SIZE, TILE = (130, 170), (32, 48)
COUNT = 20
PATIENCE_SECONDS = 5.0
"""What is damaged takes milliseconds on an idle machine; the test machine may be busy."""

MOST_BYTES = 64 * 2**20
FOLDERS = ["cmu_jpeg", "cmu_jpeg_empty_bot", "cmu_jpeg_sparse_shuffled"]


@contextmanager
def bounded() -> Iterator[None]:
    """Assert that what is done takes little time and memory."""
    tracemalloc.start()
    start = time.monotonic()
    try:
        yield
    finally:
        duration, (_, peak) = time.monotonic() - start, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert duration < PATIENCE_SECONDS
    assert peak < MOST_BYTES


def assert_refused(path: Path, error: type[RegionIOError], reason: str) -> None:
    with bounded(), pytest.raises(error, match=reason) as caught:
        regionio.open([path])
    assert str(path) in str(caught.value)


def frames(count: int = COUNT) -> list[np.ndarray]:
    return (tiles_of(picture(*SIZE), TILE) * 2)[:count]


def cells(count: int = COUNT) -> list[tuple[Any, ...]]:
    return [(x * TILE[1] + 1, y * TILE[0] + 1) for y in range(5) for x in range(4)][:count]


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"count": 19}, CorruptFileError, "make 20 frames, but there are 19"),
        ({"count": 21}, CorruptFileError, "make 20 frames, but there are 21"),
        ({"NumberOfFrames": 21}, CorruptFileError, "should have 21 frames"),
        ({"NumberOfFrames": 19}, CorruptFileError, "make 20 frames, but there are 19"),
        ({"NumberOfFrames": 0}, CorruptFileError, "NumberOfFrames is 0"),
        ({"NumberOfFrames": 2**31 - 1}, CorruptFileError, "NumberOfFrames is 2147483647"),
        ({"NumberOfFrames": None}, CorruptFileError, "make 20 frames, but there are 1"),
        ({"TotalPixelMatrixFocalPlanes": 2}, CorruptFileError, "2 focal planes"),
        ({"TotalPixelMatrixFocalPlanes": 0}, CorruptFileError, "0 focal planes"),
        ({"paths": [("a", ""), ("a", "")]}, UnsupportedFormatError, "one identifier"),
        ({"TotalPixelMatrixRows": 0}, CorruptFileError, "TotalPixelMatrix"),
        ({"TotalPixelMatrixColumns": 0}, CorruptFileError, "TotalPixelMatrix"),
        ({"TotalPixelMatrixRows": None}, CorruptFileError, "lacks the attribute TotalPixelMatrixR"),
        ({"TotalPixelMatrixRows": 2**31}, CorruptFileError, "but there are 20"),
        ({"Rows": 0}, CorruptFileError, "Rows is 0"),
        ({"Columns": None}, CorruptFileError, "lacks the attribute Columns"),
        ({"Rows": 65535, "Columns": 65535}, CorruptFileError, "should have 20 frames"),
        ({"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}, None, ""),
        ({"PixelData": b""}, CorruptFileError, "should have 20 frames"),
    ],
)
def test_full_slides(
    tmp_path: Path, changes: dict[str, Any], error: type[RegionIOError] | None, reason: str
) -> None:
    options = {**changes}
    tiles = frames(options.pop("count", COUNT))
    path = write_slide(tmp_path / "slide.dcm", tiles, SIZE, **options)
    if error is None:  # more bytes than are needed: the first ones are read, as pydicom does
        assert regionio.open([path]).shape == SIZE
    else:
        assert_refused(path, error, reason)


@pytest.mark.parametrize(
    ("places", "changes", "reason"),
    [
        (cells(19), {}, "20 frames, but functional groups of only 19"),
        ([*cells(19), (None, None)], {}, "frame 20 has no position"),
        ([(None, None)] * COUNT, {}, "have no position"),
        ([*cells(19), cells()[0]], {}, "lie at column 1, row 1"),
        (
            [(x, y, None, "a") for x, y in cells(19)] + [(145, 129, None, None)],
            {},
            "has no optical",
        ),
        ([(x, y, float("nan")) for x, y in cells()], {}, "no finite number"),
        (cells(), {"TotalPixelMatrixColumns": 0}, "TotalPixelMatrix"),
        (cells(), {"PerFrameFunctionalGroupsSequence": None}, "have no position"),
        (cells(), {"PerFrameFunctionalGroupsSequence": []}, "have no position"),
        (cells(), {"NumberOfFrames": 21}, "should have 21 frames"),
    ],
)
def test_sparse_slides(
    tmp_path: Path, places: list[tuple[Any, ...]], changes: dict[str, Any], reason: str
) -> None:
    path = write_slide(tmp_path / "slide.dcm", frames(), SIZE, places=places, **changes)
    assert_refused(path, RegionIOError, reason)


@pytest.mark.filterwarnings("ignore:.*functional groups of 20")
def test_surplus_groups_are_ignored(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "slide.dcm", frames(19), SIZE, places=cells())
    wanted = picture(*SIZE)
    wanted[128:, 144:] = 255
    np.testing.assert_array_equal(regionio.open(path).read_region(), wanted)


@pytest.mark.parametrize("side", [2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("sparse", [False, True])
def test_huge_matrices_of_one_frame(tmp_path: Path, side: int, *, sparse: bool) -> None:
    tile = [picture(*TILE)]
    path = write_slide(
        tmp_path / "slide.dcm", tile, (side, side), places=[(1, 1)] if sparse else None
    )
    if not sparse:
        return assert_refused(path, CorruptFileError, "but there are 1")
    with bounded():
        image = regionio.open([path])
        np.testing.assert_array_equal(image.read_region((0, 0), TILE[::-1]), tile[0])
        assert (np.asarray(image.read_region((side - 9, side - 9), (20, 20))) == 255).all()
    return None


def test_frames_that_are_each_a_plane_and_a_path_of_their_own(tmp_path: Path) -> None:
    count = 5000
    path = write_slide(
        tmp_path / "slide.dcm", [np.zeros((1, 1), np.uint8)] * count, SIZE,
        places=[(1, 1, float(n), f"p{n}") for n in range(count)],
    )  # fmt: skip
    assert_refused(path, UnsupportedFormatError, "not supported")


@pytest.mark.parametrize(
    ("sequence", "value"),
    [
        ("PixelMeasuresSequence", item(PixelSpacing=[])),
        ("PixelMeasuresSequence", item(PixelSpacing=0.5)),
        ("PixelMeasuresSequence", item(PixelSpacing=[1.0, 2.0, 3.0])),
        ("PixelMeasuresSequence", item(PixelSpacing=[-1.0, 1.0])),
    ],
)
def test_wrong_spacings_are_none(tmp_path: Path, sequence: str, value: pydicom.Dataset) -> None:
    path = write_full(tmp_path / "slide.dcm", picture(*SIZE), TILE, ImagedVolumeWidth=None)
    dataset = pydicom.dcmread(path)
    setattr(dataset.SharedFunctionalGroupsSequence[0], sequence, [value])
    dataset.save_as(path)
    image = regionio.open(path)
    assert image.spacing("XY") == (None, None)
    np.testing.assert_array_equal(image.read_region(), picture(*SIZE))


@pytest.mark.parametrize("text", [b"0.0x05\\0.0005", b"nan\\nan   ", b"\xff\xff"])
def test_spacings_that_are_no_numbers(tmp_path: Path, text: bytes) -> None:
    path = write_full(tmp_path / "slide.dcm", picture(*SIZE), TILE)
    content = path.read_bytes()
    start = content.index(b"\x28\x00\x30\x00DS")
    length = struct.unpack_from("<H", content, start + 6)[0]
    value = text.ljust(length)[:length]
    path.write_bytes(content[: start + 8] + value + content[start + 8 + length :])
    assert_refused(path, CorruptFileError, "attributes do not parse|finite numbers")


@pytest.mark.parametrize("kind", ["basic", "extended"])
@pytest.mark.parametrize("lie", ["last", "order", "same", "far"])
def test_offset_tables_that_lie(tmp_path: Path, kind: str, lie: str) -> None:
    path = write_full(tmp_path / "slide.dcm", picture(*SIZE), TILE, codec="j2k")
    dataset = pydicom.dcmread(path)
    content = dataset.PixelData
    count = struct.unpack_from("<I", content, 4)[0] // 4
    offsets = list(struct.unpack_from(f"<{count}I", content, 8))
    assert count == COUNT
    far = {"basic": 2**32 - 1, "extended": 2**64 - 1}[kind]
    wrong = {
        "last": [*offsets[:-1], offsets[-1] + 2],
        "order": offsets[::-1],
        "same": [0] * count,
        "far": [*offsets[:-1], far],
    }[lie]
    if kind == "basic":
        dataset.PixelData = (
            content[:8] + struct.pack(f"<{count}I", *wrong) + content[8 + 4 * count :]
        )
    else:
        dataset.PixelData = content[:4] + bytes(4) + content[8 + 4 * count :]
        dataset.ExtendedOffsetTable = struct.pack(f"<{count}Q", *wrong)
        dataset.ExtendedOffsetTableLengths = struct.pack(f"<{count}Q", *[100] * count)
    dataset.save_as(path)
    with bounded():
        np.testing.assert_array_equal(regionio.open(path).read_region(), picture(*SIZE))


def test_lying_offsets_that_seem_right_are_found_out(tmp_path: Path) -> None:
    path = write_full(tmp_path / "slide.dcm", picture(*SIZE), TILE, codec="j2k")
    dataset = pydicom.dcmread(path)
    content = dataset.PixelData
    offsets = list(struct.unpack_from(f"<{COUNT}I", content, 8))
    offsets[7] += 6  # within the frame
    dataset.PixelData = content[:8] + struct.pack(f"<{COUNT}I", *offsets) + content[8 + 4 * COUNT :]
    dataset.save_as(path)
    with pytest.raises(RegionIOError, match=r"slide\.dcm"):
        regionio.open(path).read_region()


def small_slides(folder: Path) -> dict[str, tuple[Path, np.ndarray]]:
    """Return files of several kinds, each with its pixels."""
    pixels = picture(*SIZE)
    slides = {
        codec: write_full(folder / codec / "slide.dcm", pixels, TILE, codec=codec)
        for codec in ("native", "j2k")
    }
    slides["sparse"] = write_slide(folder / "sparse" / "slide.dcm", frames(), SIZE, places=cells())
    return {name: (path, pixels) for name, path in slides.items()}


def assert_right_or_refused(path: Path, wanted: np.ndarray | None) -> bool:
    """Open and read, and return whether that worked; where `wanted` is given, it must be that."""
    indexes.clear()
    start = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with regionio.open([path]) as image:
                width, height = (min(side, 1024) for side in image.size("XY"))
                found = np.asarray(image.read_region(None, (width, height)))
    except RegionIOError as error:
        assert str(path) in str(error)  # noqa: PT017  reading is as welcome
        return False
    finally:
        assert time.monotonic() - start < PATIENCE_SECONDS
    if wanted is not None:
        np.testing.assert_array_equal(found, wanted)
    return True


@pytest.mark.parametrize("kind", ["native", "j2k", "sparse"])
def test_cut_slides_are_refused(tmp_path: Path, kind: str) -> None:
    path, pixels = small_slides(tmp_path)[kind]
    content = path.read_bytes()
    places = np.random.default_rng(8).integers(0, len(content) - 9, 120).tolist()
    for place in [*places, 0, 1, 131, 132, 200]:
        path.write_bytes(content[:place])
        assert not assert_right_or_refused(path, None), place
    path.write_bytes(content)
    assert assert_right_or_refused(path, pixels)


def flipped(content: bytes, random: np.random.Generator, end: int) -> bytes:
    changed = bytearray(content)
    for _ in range(int(random.integers(1, 5))):
        changed[int(random.integers(128, end))] = int(random.integers(256))
    return bytes(changed)


@pytest.mark.parametrize("kind", ["native", "j2k", "sparse"])
def test_flipped_bytes_in_headers(tmp_path: Path, kind: str) -> None:
    path, _ = small_slides(tmp_path)[kind]
    content = path.read_bytes()
    end = content.rindex(b"\xe0\x7f\x10\x00O") + 40
    random = np.random.default_rng(9)
    outcomes = set()
    for _ in range(250):
        path.write_bytes(flipped(content, random, end))
        outcomes.add(assert_right_or_refused(path, None))
    assert outcomes == {True, False}


def real_slides(wider_data: Path) -> list[Path]:
    paths = sorted((wider_data / "real/dicom_wsi").rglob("*.dcm"))
    for folder in FOLDERS:
        by_size = sorted(
            (wider_data / "derived/dicom_wsi" / folder).glob("*.dcm"),
            key=lambda p: p.stat().st_size,
        )
        paths += by_size[:3]
    return paths


def fuzz(path: Path, content: bytes, random: np.random.Generator, times: int) -> None:
    pixels = content.rindex(b"\xe0\x7f\x10\x00")
    for _ in range(times):
        path.write_bytes(content[: int(random.integers(len(content) - 12))])
        assert not assert_right_or_refused(path, None)
        path.write_bytes(flipped(content, random, pixels + 60))
        assert_right_or_refused(path, None)


def test_a_real_slide_cut_and_changed(tmp_path: Path) -> None:
    content = (DATA / "camelyon_jpeg.dcm").read_bytes()
    fuzz(tmp_path / "slide.dcm", content, np.random.default_rng(10), 60)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_real_slides_cut_and_changed(wider_data: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(11)
    paths = real_slides(wider_data)
    assert len(paths) > 25
    for path in paths:
        fuzz(tmp_path / "slide.dcm", path.read_bytes(), random, 60)
