"""DICOM frames that can't be read: refused by name, or found to be damaged, soon and safely."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom._uid_dict import UID_dictionary

from regionio import CorruptFileError, DecodeError, RegionIOError, UnsupportedFormatError
from regionio._index import Encoding
from regionio.codecs import decoder_for
from regionio.formats.dicom.syntaxes import REFUSED, codec_of
from tests.dicom_files import ROOT, frames_of, noise, rle, scene, shape_of, write

PATIENCE_SECONDS = 5.0
"""A damaged frame takes milliseconds on an idle machine; the test machine may be busy."""


@pytest.mark.parametrize("uid", sorted(REFUSED))
def test_unsupported_syntaxes_are_refused_by_name(uid: str) -> None:
    name, what_to_do = REFUSED[uid]
    with pytest.raises(UnsupportedFormatError) as caught:
        codec_of("scan.dcm", uid)
    assert name in str(caught.value)
    assert what_to_do in str(caught.value)


def test_fragmentable_private_and_unknown_syntaxes_are_refused() -> None:
    with pytest.raises(UnsupportedFormatError, match="Fragmentable MPEG2 Main Profile / High"):
        codec_of("scan.dcm", ROOT + ".4.101.1")
    with pytest.raises(UnsupportedFormatError, match="private"):
        codec_of("scan.dcm", "1.2.276.0.7230010.3.9")
    with pytest.raises(UnsupportedFormatError, match="unknown"):
        codec_of("scan.dcm", ROOT + ".4.999")


def test_every_syntax_that_pydicom_knows_is_read_or_refused_by_name() -> None:
    for uid, (name, kind, *_) in UID_dictionary.items():
        if kind == "Transfer Syntax":
            try:
                codec_of("scan.dcm", uid)
            except UnsupportedFormatError as error:
                assert "unknown" not in str(error), name  # noqa: PT017  reading is as welcome


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"Rows": None}, CorruptFileError, "lacks the attribute Rows"),
        ({"Columns": 0}, CorruptFileError, "Columns is 0"),
        ({"SamplesPerPixel": None}, CorruptFileError, "lacks the attribute SamplesPerPixel"),
        ({"SamplesPerPixel": 2}, UnsupportedFormatError, "SamplesPerPixel is 2"),
        ({"SamplesPerPixel": 3}, CorruptFileError, "PhotometricInterpretation is 'MONOCHROME2'"),
        ({"PhotometricInterpretation": None}, CorruptFileError, "PhotometricInterpretation is ''"),
        ({"PhotometricInterpretation": "HSV"}, UnsupportedFormatError, "'HSV', which is not"),
        ({"BitsAllocated": None}, CorruptFileError, "lacks the attribute BitsAllocated"),
        ({"BitsAllocated": 12}, UnsupportedFormatError, "BitsAllocated is 12"),
        ({"BitsAllocated": 24}, UnsupportedFormatError, "BitsAllocated is 24"),
        ({"BitsStored": 17}, CorruptFileError, "BitsStored is 17"),
        ({"BitsStored": 0}, CorruptFileError, "BitsStored is 0"),
        ({"PixelRepresentation": 2}, CorruptFileError, "PixelRepresentation is 2"),
        ({"NumberOfFrames": 3}, CorruptFileError, "should have 3 frames"),
        ({"NumberOfFrames": 0}, CorruptFileError, "NumberOfFrames is 0"),
        ({"Rows": 60000, "Columns": 60000}, CorruptFileError, "should have 2 frames"),
    ],
)
def test_wrong_attributes_are_named(
    tmp_path: Path, changes: dict[str, Any], error: type[RegionIOError], reason: str
) -> None:
    pixels = noise(2, 5, 6, 1, dtype="uint16")
    path = write(tmp_path / "a.dcm", ROOT + ".1", pixels.tobytes(), **(shape_of(pixels) | changes))
    with pytest.raises(error, match=reason) as caught:
        frames_of(path)
    assert str(path) in str(caught.value)


def test_planar_configuration_is_needed_of_native_color(tmp_path: Path) -> None:
    pixels = noise(1, 5, 6, 3)
    attributes = shape_of(pixels) | {"PlanarConfiguration": None}
    path = write(tmp_path / "a.dcm", ROOT + ".1", pixels.tobytes(), **attributes)
    with pytest.raises(CorruptFileError, match="lacks the attribute PlanarConfiguration"):
        frames_of(path)


def test_items_under_a_native_syntax_are_named(tmp_path: Path) -> None:
    pixels = noise(1, 5, 6, 1)
    path = write(tmp_path / "a.dcm", ROOT + ".1", [pixels.tobytes()], **shape_of(pixels))
    with pytest.raises(CorruptFileError, match="TransferSyntaxUID"):
        frames_of(path)


def test_colors_without_a_conversion_are_not_called_rgb(tmp_path: Path) -> None:
    pixels = noise(1, 4, 6, 3, dtype="uint16")
    attributes = shape_of(pixels) | {"PhotometricInterpretation": "YBR_FULL"}
    path = write(tmp_path / "a.dcm", ROOT + ".1", pixels.tobytes(), **attributes)
    np.testing.assert_array_equal(frames_of(path), pixels)
    with pytest.raises(UnsupportedFormatError, match="can't be converted to RGB"):
        frames_of(path, to_rgb=True)


ROWS, COLUMNS = 48, 56


def deflated(picture: np.ndarray) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(picture.tobytes()) + compressor.flush()


def gray(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture[..., 0]) if picture.shape[2] == 1 else picture


def jpeg2k(picture: np.ndarray) -> bytes:
    stream = imagecodecs.jpeg2k_encode(gray(picture), reversible=True, level=0, codecformat="j2k")
    return bytes(stream)


def lossless_jpeg(picture: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(gray(picture), lossless=True))


ENCODERS = {
    "native": lambda picture: picture.tobytes(),
    "deflated-frame": deflated,
    "rle": rle,
    "jpeg": lambda picture: imagecodecs.jpeg8_encode(gray(picture), 95),
    "jpeg-lossless": lossless_jpeg,
    "jpeg-ls": lambda picture: imagecodecs.jpegls_encode(gray(picture)),
    "jpeg2000": jpeg2k,
    "htj2k": lambda picture: imagecodecs.htj2k_encode(gray(picture)),
    "jpegxl": lambda picture: imagecodecs.jpegxl_encode(gray(picture), lossless=True),
}
KINDS = [
    (codec, dtype, samples)
    for codec in ENCODERS
    for dtype, samples in (("uint8", 1), ("uint16", 1), ("uint8", 3))
    if (codec, dtype) != ("jpeg", "uint16")
]


def item(content: bytes, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", size) + content


def stream_of(codec: str, dtype: str, samples: int, rows: int = ROWS) -> bytes:
    picture = scene(rows, COLUMNS, samples, dtype, 8 if dtype == "uint8" else 12)
    return bytes(ENCODERS[codec](picture))


def decode(codec: str, dtype: str, samples: int, data: bytes) -> np.ndarray:
    photometric = "rgb" if samples == 3 else "minisblack"
    bits = np.dtype(dtype).itemsize * 8
    options: tuple[tuple[str, int], ...] = (("items", 1),)
    if codec == "jpeg" and samples == 3:
        options = (*options, ("to_rgb", 1), ("ybr", 1))
    encoding = Encoding(codec, dtype, samples, bits, photometric=photometric, options=options)
    out = np.full((ROWS, COLUMNS, samples), 77, dtype)
    start = time.monotonic()
    try:
        return decoder_for(encoding, (ROWS, COLUMNS))(memoryview(data), out.shape[:2], ROWS, out)
    finally:
        assert time.monotonic() - start < PATIENCE_SECONDS


@pytest.mark.parametrize(("codec", "dtype", "samples"), KINDS)
def test_frames_are_read_from_one_and_from_several_items(
    codec: str, dtype: str, samples: int
) -> None:
    stream = stream_of(codec, dtype, samples)
    picture = scene(ROWS, COLUMNS, samples, dtype, 8 if dtype == "uint8" else 12)
    found = decode(codec, dtype, samples, item(stream))
    assert found.shape == picture.shape
    difference = np.abs(found.astype(int) - picture.astype(int)).max()
    assert difference <= (40 if codec == "jpeg" else 0)
    thirds = [
        stream[i : i + len(stream) // 3 + 1] for i in range(0, len(stream), len(stream) // 3 + 1)
    ]
    again = decode(codec, dtype, samples, b"".join(item(part) for part in thirds))
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize(("codec", "dtype", "samples"), KINDS)
def test_cut_streams_raise(codec: str, dtype: str, samples: int) -> None:
    stream = stream_of(codec, dtype, samples)
    padding = 1 if codec == "rle" else 0  # the last byte may be there only to make the length even
    lengths = {0, 1, 2, 7, 20, 64, *range(100, len(stream), len(stream) // 40 + 1)}
    for length in lengths | {len(stream) - 2 - padding, len(stream) - 1 - padding}:
        with pytest.raises(DecodeError):
            decode(codec, dtype, samples, item(stream[:length]))


@pytest.mark.parametrize(("codec", "dtype", "samples"), KINDS)
def test_wrong_items_raise(codec: str, dtype: str, samples: int) -> None:
    stream = stream_of(codec, dtype, samples)
    wrong = [
        (b"", "begin an item, but nothing"),
        (item(stream)[:7], "begin an item"),
        (stream, "begin an item"),
        (item(stream, len(stream) + 1), "is cut short"),
        (item(stream, 0xFFFFFFFF), "is cut short"),
        (item(stream) + b"\0\0\0", "begin an item"),
        (item(stream, len(stream) // 2), "begin an item"),
        (item(b""), "stream|frame"),
    ]
    for data, reason in wrong:
        with pytest.raises(DecodeError, match=reason):
            decode(codec, dtype, samples, data)


@pytest.mark.parametrize(("codec", "dtype", "samples"), KINDS)
def test_streams_of_other_pictures_raise(codec: str, dtype: str, samples: int) -> None:
    others = [stream_of(codec, dtype, samples, ROWS - 8)]
    if codec not in {"native", "deflated-frame", "rle"}:
        others.append(stream_of(codec, dtype, samples, ROWS + 8))
        others.append(stream_of(codec, dtype, 4 - samples))
        if dtype == "uint8" and codec != "jpeg":
            others.append(stream_of(codec, "uint16", samples))
    if codec == "rle":
        others.append(stream_of(codec, dtype, 4 - samples))
        others.append(stream_of(codec, "uint16" if dtype == "uint8" else "uint8", samples))
    for stream in others:
        with pytest.raises(DecodeError):
            decode(codec, dtype, samples, item(stream))


@pytest.mark.parametrize(("codec", "dtype", "samples"), KINDS)
def test_changed_bytes_give_a_frame_or_raise(codec: str, dtype: str, samples: int) -> None:
    stream = stream_of(codec, dtype, samples)
    random = np.random.default_rng(5)
    for _ in range(60):
        damaged = bytearray(stream)
        for _ in range(int(random.integers(1, 4))):
            end = min(len(stream), int(random.choice([40, 200, len(stream)])))
            damaged[int(random.integers(end))] = int(random.integers(256))
        try:
            found = decode(codec, dtype, samples, item(bytes(damaged)))
        except DecodeError:
            continue
        assert found.shape == (ROWS, COLUMNS, samples)
        assert found.dtype == dtype


@pytest.mark.parametrize("codec", ["jpeg-ls", "jpeg2000", "htj2k", "jpeg", "jpeg-lossless"])
def test_a_stream_that_promises_a_huge_picture_raises_at_once(codec: str) -> None:
    stream = bytearray(stream_of(codec, "uint8", 1))
    if codec in {"jpeg2000", "htj2k"}:
        place = stream.index(b"\xff\x51") + 6
        stream[place : place + 8] = struct.pack(">2I", 2**31 - 1, 2**31 - 1)
    else:
        frame = {"jpeg": b"\xff\xc0", "jpeg-ls": b"\xff\xf7"}.get(codec, b"\xff\xc3")
        place = stream.index(frame) + 5
        stream[place : place + 4] = struct.pack(">2H", 65500, 65500)
    with pytest.raises(DecodeError, match="the attributes of the image say"):
        decode(codec, "uint8", 1, item(bytes(stream)))


def cut(data: bytearray, random: np.random.Generator) -> None:
    del data[int(random.integers(1, len(data))) :]


def flip_bits(data: bytearray, random: np.random.Generator) -> None:
    for _ in range(4):
        data[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))


def change_attributes(data: bytearray, random: np.random.Generator) -> None:
    for _ in range(3):
        data[int(random.integers(132, 500))] = int(
            random.choice([0, 255, int(random.integers(256))])
        )


def change_items(data: bytearray, random: np.random.Generator) -> None:
    start = data.index(b"\xe0\x7f\x10\x00")
    for _ in range(2):
        data[start + int(random.integers(40))] = int(random.integers(256))


SYNTAX_OF = {
    "native": ".1",
    "deflated-frame": ".8.1",
    "rle": ".5",
    "jpeg": ".4.50",
    "jpeg-lossless": ".4.70",
    "jpeg-ls": ".4.80",
    "jpeg2000": ".4.90",
    "htj2k": ".4.201",
    "jpegxl": ".4.110",
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of odd files
@pytest.mark.parametrize("damage", [cut, flip_bits, change_attributes, change_items])
@pytest.mark.parametrize("codec", sorted(SYNTAX_OF))
def test_damaged_files_give_frames_or_typed_errors(
    tmp_path: Path, codec: str, damage: Callable[[bytearray, np.random.Generator], None]
) -> None:
    stream = stream_of(codec, "uint8", 1)
    pixels: bytes | list[bytes] = stream if codec == "native" else [stream, stream]
    attributes = shape_of(np.zeros((1, ROWS, COLUMNS, 1), np.uint8))
    whole = write(tmp_path / "whole.dcm", ROOT + SYNTAX_OF[codec], pixels, **attributes)
    path = tmp_path / "damaged.dcm"
    for number in range(40):
        data = bytearray(whole.read_bytes())
        damage(data, np.random.default_rng(number))
        path.write_bytes(data)
        start = time.monotonic()
        with suppress(RegionIOError):
            frames_of(path)
        assert time.monotonic() - start < PATIENCE_SECONDS


def test_values_that_do_not_parse_and_cut_sequences_are_corrupt_files(tmp_path: Path) -> None:
    pixels = noise(1, 5, 6, 1)
    path = write(tmp_path / "a.dcm", ROOT + ".1", pixels.tobytes(), **shape_of(pixels))
    whole = path.read_bytes()
    rows = whole.index(b"\x28\x00\x10\x00US")
    path.write_bytes(whole[: rows + 4] + b"UQ" + whole[rows + 6 :])
    with pytest.raises(CorruptFileError, match="do not parse"):
        frames_of(path)
    sequence = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(whole[: whole.index(b"\x28\x00\x02\x00US")] + sequence)
    with pytest.raises(CorruptFileError):
        frames_of(path)
