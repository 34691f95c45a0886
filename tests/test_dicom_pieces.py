"""JPEG frames of DICOM decoded straight into pieces of regions equal the frames decoded whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from regionio._index import Encoding
from regionio._native import native
from regionio.codecs import Target, decoder_for, piece_decoder_for
from regionio.formats.dicom.encoding import encoding_of
from regionio.formats.dicom.frames import frame_table
from regionio.formats.dicom.header import read_header
from regionio.storage import FetchCount, FileRanges, open_storage
from tests.dicom_files import ROOT, frames_of, scene, shape_of, write

needs_native = pytest.mark.skipif(native is None, reason="the compiled part is missing")
BOX = (3, 5, 40, 31)
"""Row, column, height and width of the piece that is read of every frame."""


def by_pieces(
    tiles: list[memoryview] | FileRanges, encoding: Encoding, shape: tuple[int, int], count: int
) -> tuple[list[int], np.ndarray]:
    """Return which frames were decoded, and their pieces."""
    decoder = piece_decoder_for(encoding, shape)
    assert decoder is not None
    samples = encoding.samples
    out = np.full((count, *BOX[2:], samples), 7, np.uint8)
    pieces = np.array([(*BOX, part.ctypes.data) for part in out], dtype=np.int64)
    channels = np.array([(i, i) for i in range(samples)], dtype=np.int64)
    target = Target(BOX[3] * samples, samples, channels, np.zeros(0, np.uint8))
    first = np.arange(count + 1, dtype=np.int64)
    done, _, _ = decoder(tiles, first, pieces, target)
    return list(done), out


def pieces_of_file(path: Path | str, *, to_rgb: bool) -> tuple[list[list[int]], list[np.ndarray]]:
    """Return what was decoded from the file, and from memory."""
    storage = open_storage(str(path))
    header = read_header(storage)
    table = frame_table(header)
    encoding = encoding_of(header, to_rgb=to_rgb)
    shape = header.number("Rows"), header.number("Columns")
    ranges = storage.ranges(np.stack([table.offset, table.nbytes], axis=1))
    memory = storage.read(table.offset.tolist(), table.nbytes.tolist(), FetchCount())
    found = [by_pieces(memory, encoding, shape, len(table))]
    if ranges is not None:
        found.append(by_pieces(ranges, encoding, shape, len(table)))
    return [done for done, _ in found], [pixels for _, pixels in found]


def assert_pieces_are_of_whole_frames(path: Path, expected: list[int], *, to_rgb: bool) -> None:
    y, x, height, width = BOX
    whole = frames_of(path, to_rgb=to_rgb)[:, y : y + height, x : x + width]
    for done, pixels in zip(*pieces_of_file(path, to_rgb=to_rgb), strict=True):
        assert done == expected
        for number, ok in enumerate(done):
            wanted = whole[number] if ok else np.full_like(whole[number], 7)
            np.testing.assert_array_equal(pixels[number], wanted)


@needs_native
@pytest.mark.parametrize("to_rgb", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "real/dicom_wsi/camelyon_jpeg.dcm",
        "real/dicom_wsi/wsi2dcm/jpeg.dcm",
        "real/dicom_wsi/gcp_downsample/downsample-8-in.dcm",
    ],
)
def test_slides_are_decoded_into_pieces(wider_data: Path, name: str, *, to_rgb: bool) -> None:
    count = len(frames_of(wider_data / name))
    assert_pieces_are_of_whole_frames(wider_data / name, [1] * count, to_rgb=to_rgb)


def jpeg(subsampling: str = "420") -> bytes:
    return bytes(imagecodecs.jpeg8_encode(scene(64, 80, 3), 90, subsampling=subsampling))


JFIF_BYTES = 20
ADOBE_YCC = b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\1"


@needs_native
@pytest.mark.parametrize("to_rgb", [False, True])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422"])
@pytest.mark.parametrize("subsampling", ["444", "420"])
def test_every_color_rule_holds_for_pieces(
    tmp_path: Path, subsampling: str, photometric: str, *, to_rgb: bool
) -> None:
    stream = jpeg(subsampling)
    bare = stream[:2] + stream[JFIF_BYTES:]
    adobe = stream[:2] + ADOBE_YCC + stream[JFIF_BYTES:]
    attributes = shape_of(np.zeros((1, 64, 80, 3), np.uint8))
    attributes |= {"PhotometricInterpretation": photometric}
    for frame in (stream, bare, adobe):
        path = write(tmp_path / "a.dcm", ROOT + ".4.50", [frame, frame], **attributes)
        assert_pieces_are_of_whole_frames(path, [1, 1], to_rgb=to_rgb)


@needs_native
def test_unlike_frames_and_damaged_ones_are_left(tmp_path: Path) -> None:
    stream = jpeg()
    bare = stream[:2] + stream[JFIF_BYTES:]  # in RGB, unlike the others
    attributes = shape_of(np.zeros((1, 64, 80, 3), np.uint8))
    path = write(tmp_path / "a.dcm", ROOT + ".4.50", [stream, bare, stream], **attributes)
    assert_pieces_are_of_whole_frames(path, [1, 0, 1], to_rgb=True)
    larger = bytes(imagecodecs.jpeg8_encode(scene(65, 80, 3), 90))
    cut = stream[: len(stream) // 2]
    lossless = bytes(imagecodecs.jpeg8_encode(scene(64, 80, 3), lossless=True))
    path = write(
        tmp_path / "b.dcm", ROOT + ".4.50", [larger, cut, lossless, b"text", stream], **attributes
    )
    for done, _ in zip(*pieces_of_file(path, to_rgb=True), strict=True):
        assert done == [0, 0, 0, 0, 1]


@needs_native
def test_frames_in_several_items_and_wrong_items_are_left() -> None:
    stream = jpeg()
    head = b"\xfe\xff\x00\xe0"

    def item(content: bytes, more: int = 0) -> bytes:
        return head + (len(content) + more).to_bytes(4, "little") + content

    encoding = Encoding("jpeg", "uint8", 3, photometric="rgb")
    options = (("items", 1), ("to_rgb", 1), ("ybr", 1))
    encoding = replace(encoding, options=options)
    frames = [
        item(stream), item(stream[:500]) + item(stream[500:]), item(stream, 1), item(stream, -1),
        stream, b"", head, item(b""),
    ]  # fmt: skip
    tiles = [memoryview(frame) for frame in frames]
    done, pixels = by_pieces(tiles, encoding, (64, 80), len(tiles))
    assert done == [1, 0, 0, 0, 0, 0, 0, 0]
    out = np.empty((64, 80, 3), np.uint8)
    whole = decoder_for(encoding, (64, 80))(tiles[1], (64, 80), 64, out)
    y, x, height, width = BOX
    np.testing.assert_array_equal(pixels[0], whole[y : y + height, x : x + width])


def test_no_pieces_of_frames_that_are_not_8_bit_jpeg() -> None:
    items = (("items", 1),)
    assert piece_decoder_for(Encoding("jpeg", "uint16", options=items), (8, 8)) is None
    assert piece_decoder_for(Encoding("jpeg2000", "uint8", options=items), (8, 8)) is None
