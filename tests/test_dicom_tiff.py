"""Files that are DICOM and TIFF at once: the tags of the TIFF are the frame table."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

import regionio
from regionio.formats.dicom import frames
from tests.dicom_files import ROOT, scene, shape_of, write

SIDE, ROWS, COLUMNS = 64, 3, 4


def dual_file(path: Path, change: Any = lambda offsets, sizes: None) -> np.ndarray:
    """Write tiles as frames without an offset table, and as a TIFF; return the picture."""
    picture = scene(ROWS * SIDE, COLUMNS * SIDE, 3)
    tiles = [
        picture[y * SIDE : (y + 1) * SIDE, x * SIDE : (x + 1) * SIDE]
        for y in range(ROWS)
        for x in range(COLUMNS)
    ]
    streams = [bytes(imagecodecs.jpeg2k_encode(tile, level=0, reversible=True)) for tile in tiles]
    attributes = shape_of(np.zeros((len(tiles), SIDE, SIDE, 3), np.uint8)) | {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6",
        "SOPInstanceUID": "1.2.3",
        "PhotometricInterpretation": "YBR_RCT",
        "TotalPixelMatrixColumns": COLUMNS * SIDE,
        "TotalPixelMatrixRows": ROWS * SIDE,
        "DimensionOrganizationType": "TILED_FULL",
    }
    write(path, ROOT + ".4.90", streams, **attributes)
    data = bytearray(path.read_bytes())
    offsets = [data.index(stream) for stream in streams]
    table = data.rindex(struct.pack("<HHI", 0xFFFE, 0xE000, 4 * len(streams)), 0, offsets[0])
    del data[table + 8 : table + 8 + 4 * len(streams)]  # an empty one is left
    data[table + 4 : table + 8] = bytes(4)
    offsets = [offset - 4 * len(streams) for offset in offsets]
    sizes = [len(stream) for stream in streams]
    change(offsets, sizes)
    place = len(data) + 12  # trailing padding holds the directory
    directory = directory_of(place, offsets, sizes)
    data += struct.pack("<HH2s2xI", 0xFFFC, 0xFFFC, b"OB", len(directory)) + directory
    data[:8] = struct.pack("<2sHI", b"II", 42, place)
    path.write_bytes(data)
    return picture


def directory_of(place: int, offsets: list[int], sizes: list[int]) -> bytes:
    entries = [
        (256, 4, 1, COLUMNS * SIDE),
        (257, 4, 1, ROWS * SIDE),
        (258, 3, 1, 8),
        (259, 3, 1, 33005),
        (262, 3, 1, 2),
        (277, 3, 1, 3),
        (322, 4, 1, SIDE),
        (323, 4, 1, SIDE),
        (324, 4, len(offsets), place + 2 + 12 * 10 + 4),
        (325, 4, len(sizes), place + 2 + 12 * 10 + 4 + 4 * len(offsets)),
    ]
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    arrays = struct.pack(f"<{2 * len(offsets)}I", *offsets, *sizes)
    return struct.pack("<H", len(entries)) + packed + bytes(4) + arrays


def refuse_walk(*_: Any) -> Any:
    msg = "items were walked"
    raise AssertionError(msg)


def test_tags_are_the_frame_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dual.dcm"
    picture = dual_file(path)
    np.testing.assert_array_equal(tifffile.imread(path), picture)
    monkeypatch.setattr(frames, "_walked_starts", refuse_walk)
    image = regionio.open(path)
    assert image.format == "dicom"
    np.testing.assert_array_equal(image.read_region(), picture)


def swap(offsets: list[int], sizes: list[int]) -> None:
    offsets[3], offsets[4] = offsets[4], offsets[3]
    sizes[3], sizes[4] = sizes[4], sizes[3]


def shift(offsets: list[int], _: list[int]) -> None:
    offsets[:] = [offset + 2 for offset in offsets]


def drop(offsets: list[int], sizes: list[int]) -> None:
    del offsets[-1], sizes[-1]


@pytest.mark.parametrize("change", [swap, shift, drop])
def test_tags_that_contradict_the_items_are_not_believed(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "dual.dcm"
    picture = dual_file(path, change)
    np.testing.assert_array_equal(regionio.open(path).read_region(), picture)
