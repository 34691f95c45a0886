"""Frames of every transfer syntax and layout, written by the tests, are pydicom's raw arrays."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest

from regionio import CorruptFileError
from regionio.formats.dicom.encoding import encoding_of
from regionio.formats.dicom.header import read_header
from regionio.storage import open_storage
from tests.dicom_files import (
    ROOT,
    assert_near,
    by_pydicom,
    frames_of,
    noise,
    rle,
    scene,
    shape_of,
    write,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of odd files

INTEGERS = [f"{kind}{size}" for kind in ("int", "uint") for size in (8, 16, 32, 64)]


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("syntax", [ROOT, ROOT + ".1", ROOT + ".2"])
def test_native_integers(
    tmp_path: Path, syntax: str, dtype: str, samples: int, planar: int
) -> None:
    pixels = noise(3, 5, 7, samples, dtype=dtype)
    stored = pixels.itemsize * 8 - 3  # the others hold noise, too
    order = ">" if syntax.endswith(".2.2") else "<"
    content = np.moveaxis(pixels, 3, 1) if planar else pixels
    data = content.astype(order + content.dtype.char).tobytes()
    attributes = shape_of(pixels, stored) | {"PlanarConfiguration": planar}
    vr = "OB" if pixels.itemsize == 1 else "OW"
    path = write(tmp_path / "a.dcm", syntax, data, vr=vr, **attributes)
    expected = by_pydicom(pydicom.dcmread(path))
    assert expected.dtype == dtype
    np.testing.assert_array_equal(frames_of(path), expected, strict=True)


@pytest.mark.parametrize("samples", [1, 3])
def test_bytes_in_big_endian_words(tmp_path: Path, samples: int) -> None:
    pixels = noise(4, 3, 5, samples)  # frames of odd length begin in the middle of words
    data = pixels.tobytes() + bytes(pixels.size % 2)
    swapped = np.frombuffer(data, np.uint16).byteswap().tobytes()
    path = write(tmp_path / "a.dcm", ROOT + ".2", swapped, **shape_of(pixels))
    np.testing.assert_array_equal(by_pydicom(pydicom.dcmread(path)), pixels)
    np.testing.assert_array_equal(frames_of(path), pixels)


@pytest.mark.parametrize("syntax", [ROOT, ROOT + ".1", ROOT + ".2"])
def test_single_bits_that_begin_within_bytes(tmp_path: Path, syntax: str) -> None:
    pixels = noise(11, 3, 7, 1) % 2
    data = np.packbits(pixels.reshape(-1), bitorder="little").tobytes()
    attributes = shape_of(pixels) | {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}
    path = write(tmp_path / "a.dcm", syntax, data, vr="OB", **attributes)
    np.testing.assert_array_equal(by_pydicom(pydicom.dcmread(path)), pixels)
    np.testing.assert_array_equal(frames_of(path), pixels)


@pytest.mark.parametrize(
    ("dtype", "keyword"), [("float32", "FloatPixelData"), ("float64", "DoubleFloatPixelData")]
)
def test_floating_point_pixels(tmp_path: Path, dtype: str, keyword: str) -> None:
    pixels = scene(20, 30, 1, dtype, 20)[None] / 7
    attributes = shape_of(pixels) | {"PixelRepresentation": None, "BitsStored": None}
    path = write(tmp_path / "a.dcm", ROOT + ".1", pixels.tobytes(), keyword=keyword, **attributes)
    np.testing.assert_array_equal(by_pydicom(pydicom.dcmread(path)), pixels)
    np.testing.assert_array_equal(frames_of(path), pixels, strict=True)


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_native_ybr_is_stored_or_rgb(tmp_path: Path, photometric: str) -> None:
    pixels = noise(2, 40, 60, 3)
    attributes = shape_of(pixels) | {"PhotometricInterpretation": photometric}
    data = pixels.tobytes()
    if photometric == "YBR_FULL_422":
        data = data[: len(data) // 3 * 2]
    path = write(tmp_path / "a.dcm", ROOT + ".1", data, **attributes)
    dataset = pydicom.dcmread(path)
    np.testing.assert_array_equal(frames_of(path), by_pydicom(dataset))
    np.testing.assert_array_equal(frames_of(path, to_rgb=True), by_pydicom(dataset, raw=False))
    header = read_header(open_storage(str(path)))
    assert encoding_of(header).photometric == "ybr"
    assert encoding_of(header, to_rgb=True).photometric == "rgb"


def test_full_chroma_that_claims_to_be_subsampled_raises(tmp_path: Path) -> None:
    pixels = noise(2, 40, 60, 3)
    attributes = shape_of(pixels) | {"PhotometricInterpretation": "YBR_FULL_422"}
    path = write(tmp_path / "a.dcm", ROOT + ".1", pixels.tobytes(), **attributes)
    with pytest.raises(CorruptFileError, match="PhotometricInterpretation is 'YBR_FULL_422'"):
        frames_of(path)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32"])
def test_run_lengths(tmp_path: Path, dtype: str, samples: int) -> None:
    pixels = scene(30, 41, samples, dtype, 8)[None]
    path = write(tmp_path / "a.dcm", ROOT + ".5", [rle(pixels[0])], **shape_of(pixels))
    np.testing.assert_array_equal(by_pydicom(pydicom.dcmread(path)), pixels)
    np.testing.assert_array_equal(frames_of(path), pixels, strict=True)


@pytest.mark.parametrize("samples", [1, 3])
def test_run_lengths_that_go_on_after_the_last_pixel(tmp_path: Path, samples: int) -> None:
    pixels = scene(20, 30, samples, "uint16", 12)[None]
    segments, starts, place = [], [], 64
    for plane in np.moveaxis(pixels[0], 2, 0):
        for byte in (plane >> 8, plane & 255):
            packed = imagecodecs.packbits_encode(byte.astype(np.uint8).tobytes()) + b"\xfe\x07"
            segments.append(packed + bytes(len(packed) % 2))
            starts.append(place)
            place += len(segments[-1])
    head = struct.pack("<16I", len(segments), *starts, *[0] * (15 - len(segments)))
    frame = head + b"".join(segments)
    path = write(tmp_path / "a.dcm", ROOT + ".5", [frame], **shape_of(pixels))
    pydicoms = by_pydicom(pydicom.dcmread(path), plugin="pydicom")  # others panic
    np.testing.assert_array_equal(frames_of(path), pydicoms)
    np.testing.assert_array_equal(frames_of(path), pixels)


@pytest.mark.parametrize("boxed", ["j2k", "jp2"])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("stream", ["uint8", "uint16", "int16"])
def test_jpeg2000_of_any_depth_and_sign(
    tmp_path: Path, stream: str, signed: int, boxed: str
) -> None:
    bits = 7 if stream == "uint8" else 12
    picture = scene(40, 50, 1, stream, bits - 1)[..., 0] - (stream == "int16") * 500
    options: dict[str, Any] = {
        "bitspersample": bits,
        "reversible": True,
        "level": 0,
        "codecformat": boxed,
    }
    frame = bytes(imagecodecs.jpeg2k_encode(picture.astype(stream), **options))
    attributes = shape_of(np.zeros((1, 40, 50, 1), np.uint16), 10) | {"PixelRepresentation": signed}
    path = write(tmp_path / "a.dcm", ROOT + ".4.90", [frame], **attributes)
    np.testing.assert_array_equal(frames_of(path), by_pydicom(pydicom.dcmread(path)), strict=True)


@pytest.mark.parametrize("signed", [0, 1])
def test_jpeg_ls_of_any_sign(tmp_path: Path, signed: int) -> None:
    picture = scene(40, 50, 1, "uint16", 16)[..., 0]
    frame = bytes(imagecodecs.jpegls_encode(picture))
    attributes = shape_of(np.zeros((1, 40, 50, 1), np.uint16)) | {"PixelRepresentation": signed}
    path = write(tmp_path / "a.dcm", ROOT + ".4.80", [frame], **attributes)
    expected = picture.view(np.int16) if signed else picture
    np.testing.assert_array_equal(frames_of(path)[0, ..., 0], expected, strict=True)


@pytest.mark.parametrize("interleave", [0, 1, 2])
def test_jpeg_ls_of_any_interleaving(tmp_path: Path, interleave: int) -> None:
    jpeg_ls = pytest.importorskip("jpeg_ls")
    picture = scene(40, 50, 3)
    planes = np.ascontiguousarray(np.moveaxis(picture, 2, 0))
    source = picture if interleave else planes
    frame = bytes(jpeg_ls.encode_array(source, interleave_mode=interleave))
    path = write(tmp_path / "a.dcm", ROOT + ".4.80", [frame], **shape_of(picture[None]))
    np.testing.assert_array_equal(frames_of(path)[0], picture)


@pytest.mark.parametrize("name", ["Bretagne1_ht.j2k", "Bretagne1_ht_lossy.j2k"])
def test_high_throughput_jpeg2000(tmp_path: Path, wider_data: Path, name: str) -> None:
    pytest.importorskip("openjpeg")
    frame = (wider_data / "real/dicom_codecs/htj2k" / name).read_bytes()
    attributes = shape_of(np.zeros((1, 480, 640, 3), np.uint8))
    for syntax in (".4.201", ".4.202", ".4.203"):
        path = write(tmp_path / "a.dcm", ROOT + syntax, [frame], **attributes)
        np.testing.assert_array_equal(frames_of(path), by_pydicom(pydicom.dcmread(path)))


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("uint16", 12), ("uint16", 16)])
def test_jpeg_xl(tmp_path: Path, dtype: str, bits: int, samples: int) -> None:
    picture = scene(40, 50, samples, dtype, bits)
    source = picture[..., 0] if samples == 1 else picture
    frame = bytes(imagecodecs.jpegxl_encode(source, lossless=True, bitspersample=bits))
    path = write(tmp_path / "a.dcm", ROOT + ".4.110", [frame], **shape_of(picture[None], bits))
    np.testing.assert_array_equal(frames_of(path)[0], picture, strict=True)


def test_jpeg_xl_of_a_jpeg_is_the_jpeg(tmp_path: Path) -> None:
    picture = scene(40, 50, 3)
    jpeg = imagecodecs.jpeg8_encode(picture, 95)
    frame = bytes(imagecodecs.jpegxl_encode_jpeg(jpeg))
    attributes = shape_of(picture[None]) | {"PhotometricInterpretation": "YBR_FULL_422"}
    path = write(tmp_path / "a.dcm", ROOT + ".4.111", [frame], **attributes)
    assert_near(frames_of(path)[0], imagecodecs.jpeg8_decode(jpeg), 4)
    assert encoding_of(read_header(open_storage(str(path)))).photometric == "rgb"


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("dtype", ["uint8", "int16"])
@pytest.mark.parametrize("syntax", [".8.1", ".1.98"])
def test_deflated_and_encapsulated_uncompressed_frames(
    tmp_path: Path, syntax: str, dtype: str, planar: int
) -> None:
    pixels = noise(3, 5, 7, 3, dtype=dtype)
    frames = [(np.moveaxis(p, 2, 0) if planar else p).tobytes() for p in pixels]
    if syntax == ".8.1":
        frames = [raw_deflate(frame) for frame in frames]
    attributes = shape_of(pixels) | {"PlanarConfiguration": planar}
    path = write(tmp_path / "a.dcm", ROOT + syntax, frames, **attributes)
    np.testing.assert_array_equal(frames_of(path), pixels, strict=True)


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def test_deflated_single_bits(tmp_path: Path) -> None:
    pixels = noise(3, 5, 7, 1) % 2
    frames = [raw_deflate(np.packbits(p.reshape(-1), bitorder="little").tobytes()) for p in pixels]
    attributes = shape_of(pixels) | {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}
    path = write(tmp_path / "a.dcm", ROOT + ".8.1", frames, **attributes)
    np.testing.assert_array_equal(frames_of(path), pixels)


JFIF = b"\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0"
ADOBE = {number: b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0" + bytes([number]) for number in (0, 1)}
COMMENT = b"\xff\xfe\x00\x04hi"


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize(
    "marks", [b"", JFIF, COMMENT + JFIF, ADOBE[0], ADOBE[1], JFIF + ADOBE[1], JFIF + ADOBE[0]]
)
@pytest.mark.parametrize("names", [b"\1\2\3", b"\0\1\2", b"RGB"])
def test_jpeg_colors_follow_attributes_and_segments_as_in_pydicom(
    tmp_path: Path, photometric: str, marks: bytes, names: bytes
) -> None:
    stream = imagecodecs.jpeg8_encode(scene(64, 80, 3), 98, subsampling="444")
    assert stream[2:20] == JFIF
    frame = stream[20:]
    for number, name in zip((1, 2, 3), names, strict=True):  # in the frame's and the scan's header
        frame = frame.replace(bytes([number, 0x11]), bytes([name, 0x11]), 1)
    scan = frame.index(b"\xff\xda")
    selectors = bytes(value for i in range(3) for value in (names[i], frame[scan + 6 + 2 * i]))
    frame = b"\xff\xd8" + marks + frame[: scan + 5] + selectors + frame[scan + 11 :]
    attributes = shape_of(np.zeros((1, 64, 80, 3), np.uint8))
    attributes |= {"PhotometricInterpretation": photometric}
    path = write(tmp_path / "a.dcm", ROOT + ".4.50", [frame], **attributes)
    dataset = pydicom.dcmread(path)
    try:
        expected = by_pydicom(dataset, plugin="pillow")  # others take Adobe segments otherwise
    except RuntimeError:  # Pillow can't keep RGB components that have no Adobe segment
        assert names == b"RGB"
        expected = None
    found = frames_of(path)
    if expected is not None:
        assert_near(found, expected, 1)
    as_rgb = frames_of(path, to_rgb=True)
    if marks in {ADOBE[1], JFIF + ADOBE[1], JFIF + ADOBE[0]} and expected is not None:
        # Pillow has converted these to RGB; pydicom does it again where attributes say YBR
        assert_near(as_rgb, found, 1)
    elif expected is not None:
        assert_near(as_rgb, by_pydicom(dataset, raw=False, plugin="pillow"), 2)
    elif marks == b"":
        np.testing.assert_array_equal(as_rgb, found)
