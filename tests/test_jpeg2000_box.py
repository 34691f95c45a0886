"""Rectangles of JPEG 2000 frames are what decoding whole frames gives there."""

from __future__ import annotations

import io
import os
import struct
import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image as Picture
from pydicom.data import get_testdata_files

import regionio
from regionio._native import native_jpeg2000
from regionio.codecs import box_decoder_for
from tests.dicom_files import ROOT, by_pydicom, scene, shape_of, write

needs_openjpeg = pytest.mark.skipif(native_jpeg2000 is None, reason="built without OpenJPEG")
ROWS, COLUMNS = 300, 410


def random_boxes(rows: int, columns: int, count: int) -> list[tuple[int, int, int, int]]:
    """Return (top, left, bottom, right), the smallest and those at the corners among them."""
    random = np.random.default_rng(5)
    boxes = [(0, 0, 1, 1), (rows - 1, columns - 1, rows, columns), (0, 0, rows, columns)]
    for _ in range(count):
        top, bottom = sorted(random.choice(rows + 1, 2, replace=False).tolist())
        left, right = sorted(random.choice(columns + 1, 2, replace=False).tolist())
        boxes.append((top, left, bottom, right))
    return boxes


def check_rectangles(
    tmp_path: Path, frame: bytes, dtype: str, bits: int, samples: int, *, lossless: bool
) -> None:
    """Compare rectangles of a frame with imagecodecs' whole picture, decoder and image."""
    whole = imagecodecs.jpeg2k_decode(frame).reshape(ROWS, COLUMNS, samples)
    attributes = shape_of(whole[None].astype(dtype), bits)
    if samples == 3:
        attributes["PhotometricInterpretation"] = "YBR_ICT"
    path = write(tmp_path / "a.dcm", ROOT + ".4.91", [frame], **attributes)
    image = regionio.open(path)
    decode = box_decoder_for(image._index.encodings[0], (ROWS, COLUMNS))
    table = image._index.levels[0].tiles
    start, stop = int(table.offset[0]), int(table.offset[0] + table.nbytes[0])
    data = memoryview(path.read_bytes()[start:stop])
    assert decode is not None
    for top, left, bottom, right in random_boxes(ROWS, COLUMNS, 25):
        expected = whole[top:bottom, left:right]
        found = decode(data, (top, left, bottom, right))
        if lossless:
            np.testing.assert_array_equal(found, expected)
        else:  # parts would not be exact
            assert found is None
        region = image.read_region((left, top), (right - left, bottom - top), layout="YXC")
        np.testing.assert_array_equal(region, expected)


@needs_openjpeg
@pytest.mark.parametrize("boxed", ["j2k", "jp2"])
@pytest.mark.parametrize("reversible", [True, False])
@pytest.mark.parametrize(
    ("samples", "dtype", "bits"), [(1, "uint16", 12), (3, "uint8", 8), (1, "int16", 10)]
)
def test_rectangles_are_slices(
    tmp_path: Path, samples: int, dtype: str, bits: int, reversible: bool, boxed: str
) -> None:
    picture = scene(ROWS, COLUMNS, samples, dtype, bits - 1) - (dtype == "int16") * 300
    frame = imagecodecs.jpeg2k_encode(
        (picture[..., 0] if samples == 1 else picture).astype(dtype),
        level=0 if reversible else 45,
        reversible=reversible,
        bitspersample=bits,
        codecformat=boxed,
    )
    check_rectangles(tmp_path, bytes(frame), dtype, bits, samples, lossless=reversible)


@needs_openjpeg
@pytest.mark.parametrize("irreversible", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"tile_size": (128, 96)},
        {"tile_size": (100, 77), "tile_offset": (3, 5), "offset": (9, 11)},
        {"codeblock_size": (16, 64)},
        {"precinct_size": (128, 128), "codeblock_size": (32, 32), "progression": "RPCL"},
        {"progression": "PCRL", "num_resolutions": 3},
        {"progression": "CPRL", "num_resolutions": 1},
        {"quality_layers": [40, 10, 2]},
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_rectangles_of_other_structures_are_slices(
    tmp_path: Path, mode: str, options: dict[str, Any], irreversible: bool
) -> None:
    samples, dtype = len(mode) if mode == "RGB" else 1, "uint16" if mode == "I;16" else "uint8"
    bits = 16 if mode == "I;16" else 8
    picture = scene(ROWS, COLUMNS, samples, dtype, bits)
    content = Picture.fromarray(picture[..., 0] if samples == 1 else picture)
    file = io.BytesIO()
    content.save(file, "JPEG2000", no_jp2=True, irreversible=irreversible, **options)
    check_rectangles(tmp_path, file.getvalue(), dtype, bits, samples, lossless=not irreversible)


DAMAGED = {
    "JPEG2000-embedded-sequence-delimiter.dcm",
    "emri_small_jpeg_2k_lossless_too_short.dcm",  # pydicom finds no pixels in it
}


def jpeg2000_files() -> list[Path]:
    """Return files of frames that are no tiles of slides."""
    folder = os.environ.get("REGIONIO_TEST_DATA")
    paths = sorted(Path(folder).rglob("*.dcm")) if folder else []
    paths += sorted({Path(path) for path in get_testdata_files() if Path(path).is_file()})
    found = []
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, of odd files
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        syntax = header.file_meta.get("TransferSyntaxUID", "")
        if syntax in {ROOT + ".4.90", ROOT + ".4.91"} and "TotalPixelMatrixRows" not in header:
            found.append(path)
    return [path for path in found if path.name not in DAMAGED]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("path", jpeg2000_files(), ids=lambda path: path.name)
def test_rectangles_of_real_frames_are_slices(path: Path) -> None:
    image = regionio.open([path], values="stored")
    frames, order = by_pydicom(pydicom.dcmread(path)), image.frame_indices
    assert order is not None
    depth, rows, columns, _ = frames.shape
    for number, (top, left, bottom, right) in enumerate(random_boxes(rows, columns, 10)):
        z = number % depth
        location: Any = (left, top, z) if image.is_volume else (left, top)
        region = image.read_region(location, (right - left, bottom - top), layout="YXC")
        np.testing.assert_array_equal(region, frames[order[z], top:bottom, left:right])


@needs_openjpeg
def test_a_small_part_of_a_frame_is_decoded_alone(tmp_path: Path) -> None:
    picture = scene(2000, 1500, 1, "uint16", 12)
    frame = bytes(
        imagecodecs.jpeg2k_encode(picture[..., 0], level=0, bitspersample=12, reversible=True)
    )
    path = write(tmp_path / "a.dcm", ROOT + ".4.90", [frame], **shape_of(picture[None], 12))
    with regionio.open(path) as image:
        found = image.read_region((700, 900), (64, 64))
        np.testing.assert_array_equal(found, picture[900:964, 700:764, 0])
        assert regionio.cache.stats.nbytes == 0  # nobody paid for the whole frame


@needs_openjpeg
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_cut_stream_raises(tmp_path: Path, kept: float) -> None:
    picture = scene(600, 500, 1, "uint16", 12)
    frame = bytes(
        imagecodecs.jpeg2k_encode(picture[..., 0], level=0, bitspersample=12, reversible=True)
    )
    cut = frame[: int(len(frame) * kept)]
    path = write(tmp_path / "a.dcm", ROOT + ".4.90", [cut], **shape_of(picture[None], 12))
    with regionio.open(path) as image, pytest.raises(regionio.DecodeError):
        image.read_region((400, 500), (50, 50))


def boxed(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


def with_boxes(picture: bytes, added: bytes) -> bytes:
    """Return a boxed picture with more boxes in its header."""
    place = picture.index(b"jp2h") - 4
    (length,) = struct.unpack_from(">I", picture, place)
    header = struct.pack(">I", length + len(added)) + picture[place + 4 : place + length] + added
    return picture[:place] + header + picture[place + length :]


@needs_openjpeg
@pytest.mark.parametrize("columns", [3, 200])
def test_palettes_in_boxes_are_not_followed(tmp_path: Path, columns: int) -> None:
    picture = scene(ROWS, COLUMNS, 1) % 4
    frame = bytes(
        imagecodecs.jpeg2k_encode(picture[..., 0], level=0, reversible=True, codecformat="jp2")
    )
    entries = bytes(value * (column + 1) & 255 for value in range(256) for column in range(columns))
    palette = struct.pack(">HB", 256, columns) + bytes([7] * columns) + entries
    mapping = b"".join(struct.pack(">HBB", 0, 1, column) for column in range(columns))
    frame = with_boxes(frame, boxed(b"pclr", palette) + boxed(b"cmap", mapping))
    memory = np.full(64 * 64 + 4096, 0xAA, np.uint8)
    assert native_jpeg2000 is not None
    native_jpeg2000.decode_area(
        frame, (ROWS, COLUMNS, 1), 8, False, (0, 0, 64, 64), memory[: 64 * 64]
    )
    assert (memory[64 * 64 :] == 0xAA).all()
    path = write(tmp_path / "a.dcm", ROOT + ".4.90", [frame], **shape_of(picture[None]))
    image = regionio.open(path)
    for size in ((64, 64), (COLUMNS, ROWS)):
        with pytest.raises(regionio.DecodeError):
            image.read_region((0, 0), size)


@needs_openjpeg
@pytest.mark.parametrize("space", [12, 16, 17, 18, 24])
def test_parts_are_slices_whatever_colour_space_is_stated(tmp_path: Path, space: int) -> None:
    picture = scene(ROWS, COLUMNS, 3)
    frame = bytearray(
        imagecodecs.jpeg2k_encode(picture, level=0, reversible=True, codecformat="jp2", mct=False)
    )
    place = frame.index(b"colr")
    frame[place + 7 : place + 11] = struct.pack(">I", space)
    attributes = shape_of(picture[None]) | {"PhotometricInterpretation": "YBR_FULL"}
    path = write(tmp_path / "a.dcm", ROOT + ".4.90", [bytes(frame)], **attributes)
    for values in ("stored", "auto"):
        image = regionio.open(path, values=values)
        whole = np.asarray(image.read_region())
        np.testing.assert_array_equal(image.read_region((0, 0), (64, 64)), whole[:64, :64])
