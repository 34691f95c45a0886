"""Writes small DICOM files, and reads frames by regionio's parts and by pydicom."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.pixels.decoders.base import get_decoder

from regionio.codecs import decoder_for
from regionio.formats.dicom.encoding import encoding_of
from regionio.formats.dicom.frames import frame_table
from regionio.formats.dicom.header import read_header
from regionio.storage import FetchCount, open_storage

ROOT = "1.2.840.10008.1.2"
BIG_ENDIAN = ROOT + ".2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def frames_of(path: Path | str, *, to_rgb: bool = False) -> np.ndarray:
    """Return all frames, ``[frames, rows, columns, samples]``."""
    header = read_header(open_storage(str(path)))
    table = frame_table(header)
    shape = header.number("Rows"), header.number("Columns")
    frames = []
    for number in range(len(table)):
        first_bit = 0 if table.first_bit is None else int(table.first_bit[number])
        encoding = encoding_of(header, first_bit, to_rgb=to_rgb)
        place, size = int(table.offset[number]), int(table.nbytes[number])
        [data] = header.storage.read([place], [size], FetchCount())
        out = np.full((*shape, encoding.samples), 77, encoding.dtype)
        pixels = decoder_for(encoding, shape)(data, shape, shape[0], out)
        assert pixels.dtype == encoding.dtype
        frames.append(pixels.copy())
    return np.stack(frames)


def by_pydicom(dataset: pydicom.Dataset, *, raw: bool = True, plugin: str = "") -> np.ndarray:
    """Return as many frames as the attributes say, in the same shape."""
    stated_by_elements = BIG_ENDIAN if dataset.is_little_endian is False else ROOT
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", stated_by_elements))
    pixels, _ = get_decoder(syntax).as_array(dataset, raw=raw, decoding_plugin=plugin)
    shape = -1, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel
    count = int(dataset.get("NumberOfFrames") or 1)
    frames: np.ndarray = pixels.reshape(shape)[:count]
    return frames.astype(pixels.dtype.newbyteorder("="))


def write(path: Path, syntax: str, pixels: bytes | list[bytes], **attributes: Any) -> Path:
    """Write a file of native pixels, or of frames to be encapsulated."""
    dataset = pydicom.Dataset()
    keyword = attributes.pop("keyword", "PixelData")
    vr = attributes.pop("vr", "OW")
    defaults = {"PhotometricInterpretation": "MONOCHROME2", "PlanarConfiguration": 0}
    for name, value in (defaults | attributes).items():
        if value is not None:
            setattr(dataset, name, value)
    if isinstance(pixels, list):
        dataset.NumberOfFrames = len(pixels)
        dataset.add_new(keyword, "OB", encapsulate(pixels))
        dataset[keyword].is_undefined_length = True
    else:
        vr = {"FloatPixelData": "OF", "DoubleFloatPixelData": "OD"}.get(keyword, vr)
        dataset.add_new(keyword, vr, pixels + bytes(len(pixels) % 2))
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    meta.MediaStorageSOPClassUID = pydicom.uid.UID(SECONDARY_CAPTURE)
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID("1.2.3")
    with path.open("wb") as raw:
        file = DicomIO(raw)
        file.write(bytes(128) + b"DICM")
        write_file_meta_info(file, meta)
        file.is_little_endian, file.is_implicit_VR = syntax != BIG_ENDIAN, syntax == ROOT
        write_dataset(file, dataset)
    return path


def shape_of(pixels: np.ndarray, stored: int | None = None) -> dict[str, Any]:
    """Return the attributes of ``[frames, rows, columns, samples]``."""
    bits = pixels.itemsize * 8
    return {
        "NumberOfFrames": len(pixels),
        "Rows": pixels.shape[1],
        "Columns": pixels.shape[2],
        "SamplesPerPixel": pixels.shape[3],
        "PhotometricInterpretation": "RGB" if pixels.shape[3] == 3 else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": stored or bits,
        "HighBit": (stored or bits) - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }


def noise(*shape: int, dtype: str = "uint8") -> np.ndarray:
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(np.random.default_rng(7).bytes(count), dtype).reshape(shape)


def scene(rows: int, columns: int, samples: int, dtype: str = "uint8", bits: int = 8) -> np.ndarray:
    """Return a smooth picture with some noise, ``[rows, columns, samples]``."""
    y, x, s = np.mgrid[:rows, :columns, :samples]
    values = (np.sin(y / 9 + s) + np.cos(x / 7) + 2) / 4 * ((1 << bits) - 4)
    picture: np.ndarray = (values + noise(rows, columns, samples) % 3).astype(dtype)
    return picture


def assert_near(found: np.ndarray, expected: np.ndarray, most: float) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    assert difference.max(initial=0) <= most


def rle(picture: np.ndarray) -> bytes:
    """Return run lengths of ``[rows, columns, samples]``, as annex G of PS3.5 has them."""
    cells = np.moveaxis(picture, 2, 0).astype(">" + picture.dtype.char)
    planes = (
        np.ascontiguousarray(cells).view(np.uint8).reshape(picture.shape[2], -1, picture.itemsize)
    )
    parts = [
        imagecodecs.packbits_encode(np.ascontiguousarray(planes[sample, :, byte]).tobytes())
        for sample in range(picture.shape[2])
        for byte in range(picture.itemsize)
    ]
    parts = [part + bytes(len(part) % 2) for part in parts]
    starts = 64 + np.cumsum([0, *map(len, parts[:-1])])
    header = [len(parts), *starts.tolist()]
    return struct.pack("<16I", *header, *[0] * (16 - len(header))) + b"".join(parts)
