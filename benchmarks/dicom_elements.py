"""Bytes of DICOM elements, for what pydicom would write too slowly or hold in memory at once.

Explicit little endian throughout. Source: DICOM PS3.5, sections 7.1 (elements), 7.5 (sequences)
and A.4 (encapsulated pixels); PS3.3, C.7.6.3.1.8 (extended offset table).
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Literal

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import generate_frames, parse_basic_offsets, parse_fragments

Table = Literal["basic", "extended", "none"]

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset((b"OB", b"OV", b"OW", b"SQ", b"UN"))
PIXELS, EXTENDED_OFFSETS, EXTENDED_LENGTHS = 0x7FE00010, 0x7FE00001, 0x7FE00002
UID_ROOT = "1.2.826.0.1.3680043.8.498."


def uid(*names: str) -> pydicom.uid.UID:
    """Return a UID that is the same at every run."""
    return pydicom.uid.generate_uid(prefix=UID_ROOT, entropy_srcs=list(names))


def code(value: str, scheme: str, meaning: str) -> pydicom.Dataset:
    """Return the item of a code sequence."""
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def dataset(**attributes: object) -> pydicom.Dataset:
    """Return a dataset of these attributes."""
    made = pydicom.Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def header(attributes: pydicom.Dataset, syntax: str) -> bytes:
    """Return preamble, file meta information and the elements of a dataset."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    meta.MediaStorageSOPClassUID = attributes.SOPClassUID
    meta.MediaStorageSOPInstanceUID = attributes.SOPInstanceUID
    attributes.file_meta = meta
    file = io.BytesIO()
    attributes.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _tag(tag: int) -> bytes:
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF)


def _delimiter(tag: int, length: int) -> bytes:
    return _tag(tag) + struct.pack("<I", length)


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """Return an element; `length` is for values that are written elsewhere, or undefined."""
    size = len(value) if length is None else length
    layout = "<2s2xI" if vr in LONG_VRS else "<2sH"
    return _tag(tag) + struct.pack(layout, vr, size) + value


def text(value: str) -> bytes:
    """Return a text of even length."""
    return value.encode("ascii") + b" " * (len(value) % 2)


def item(content: bytes, *, defined: bool) -> bytes:
    """Return an item of a sequence."""
    if defined:
        return _delimiter(ITEM, len(content)) + content
    return _delimiter(ITEM, UNDEFINED) + content + _delimiter(ITEM_END, 0)


def sequence(tag: int, items: Iterable[bytes], *, defined: bool) -> bytes:
    """Return a sequence of items."""
    content = b"".join(items)
    if defined:
        return element(tag, b"SQ", content)
    return element(tag, b"SQ", content, UNDEFINED) + _delimiter(SEQUENCE_END, 0)


def write_frames(
    file: IO[bytes], distinct: Sequence[bytes], order: np.ndarray, table: Table
) -> None:
    """Write compressed frames as encapsulated pixels, one item each.

    Parameters
    ----------
    file
        Stands after the element before the pixels.
    distinct
        Compressed frames.
    order
        Number in `distinct` of every frame of the file.
    table
        Which offset table the file has.
    """
    padded = [frame + bytes(len(frame) % 2) for frame in distinct]
    lengths = np.array([len(frame) for frame in padded])[order]
    offsets = np.concatenate([[0], np.cumsum(lengths + 8)[:-1]])
    basic = b""
    if table == "basic":
        assert offsets[-1] <= UNDEFINED, "a basic offset table reaches no further than 4 GiB"
        basic = offsets.astype("<u4").tobytes()
    elif table == "extended":
        file.write(element(EXTENDED_OFFSETS, b"OV", offsets.astype("<u8").tobytes()))
        file.write(element(EXTENDED_LENGTHS, b"OV", lengths.astype("<u8").tobytes()))
    file.write(element(PIXELS, b"OB", b"", UNDEFINED) + item(basic, defined=True))
    items = [item(frame, defined=True) for frame in padded]
    for number in order.tolist():
        file.write(items[number])
    file.write(_delimiter(SEQUENCE_END, 0))


def compressed_frames(path: Path) -> list[bytes]:
    """Return the frames of a file as they are stored, for decoding without any reader."""
    whole = pydicom.dcmread(path)
    frames = int(whole.NumberOfFrames)
    if whole.file_meta.TransferSyntaxUID.is_encapsulated:
        return list(generate_frames(whole.PixelData, number_of_frames=frames))
    size = len(whole.PixelData) // frames
    return [whole.PixelData[n * size : (n + 1) * size] for n in range(frames)]


def frame_ranges(path: Path) -> np.ndarray:
    """Return ``int64[n, 2]``, offset and bytes of each frame of a file with one item a frame."""
    with path.open("rb") as file:
        pydicom.dcmread(file, stop_before_pixels=True)
        file.seek(12, os.SEEK_CUR)  # tag, value representation, undefined length
        parse_basic_offsets(file)
        _, items = parse_fragments(file)
        ranges = []
        for item_start in items:
            file.seek(item_start + 4)
            ranges.append((item_start + 8, struct.unpack("<I", file.read(4))[0]))
    return np.array(ranges, dtype=np.int64)
