"""Writes small volumes and series, and reads frames and their values by pydicom."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing

import regionio
from tests.dicom_files import ROOT, by_pydicom, shape_of, write

EXPLICIT = ROOT + ".1"
DEFLATED = ROOT + ".1.99"
CT, CR, ENHANCED = (f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("2", "1", "2.1"))
AXIAL = [1, 0, 0, 0, 1, 0]

Groups = dict[str, dict[str, Any]]


def item(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def group(macros: Groups) -> Dataset:
    """Return functional groups: sequence → attributes of its item."""
    return item(**{sequence: [item(**attributes)] for sequence, attributes in macros.items()})


def placed(*position: float) -> Groups:
    return {"PlanePositionSequence": {"ImagePositionPatient": list(position)}}


def numbered(*index: int, **content: Any) -> Groups:
    """Return the frame content of DimensionIndexValues and the like."""
    values = {"DimensionIndexValues": list(index)} if index else {}
    return {"FrameContentSequence": values | content}


def multi_frame(
    path: Path,
    pixels: np.ndarray,
    frames: Iterable[Groups],
    *,
    orientation: Sequence[float] | None = AXIAL,
    shared: Groups | None = None,
    syntax: str = EXPLICIT,
    encode: Callable[[np.ndarray], bytes] | None = None,
    **attributes: Any,
) -> Path:
    """Write ``[frames, rows, columns(, samples)]`` with functional groups."""
    macros: Groups = {"PixelMeasuresSequence": {"PixelSpacing": [0.7, 0.5]}}
    if orientation is not None:
        macros["PlaneOrientationSequence"] = {"ImageOrientationPatient": list(orientation)}
    attributes = {
        "SOPClassUID": ENHANCED,
        "SOPInstanceUID": f"1.2.826.4.{zlib.crc32(path.name.encode())}",
        "SeriesInstanceUID": "1.2.826.1",
        "SharedFunctionalGroupsSequence": [group(macros | (shared or {}))],
        "PerFrameFunctionalGroupsSequence": [group(frame) for frame in frames],
    } | attributes
    return picture(path, pixels, syntax=syntax, encode=encode, **attributes)


def picture(
    path: Path,
    pixels: np.ndarray,
    *,
    syntax: str = EXPLICIT,
    encode: Callable[[np.ndarray], bytes] | None = None,
    **attributes: Any,
) -> Path:
    """Write ``[frames, rows, columns(, samples)]`` with whatever attributes."""
    cells = pixels if pixels.ndim == 4 else pixels[..., None]
    values = shape_of(cells, attributes.pop("stored", None)) | attributes
    if len(cells) == 1:
        values.setdefault("NumberOfFrames", None)
        values["NumberOfFrames"] = attributes.get("NumberOfFrames")
    values.setdefault("vr", "OB" if cells.itemsize == 1 else "OW")
    big = syntax == ROOT + ".2"
    native = cells.astype(cells.dtype.newbyteorder(">")) if big else cells
    data = native.tobytes() if encode is None else [encode(frame) for frame in cells]
    write(path, EXPLICIT if syntax == DEFLATED else syntax, data, **values)
    if syntax == DEFLATED:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(DEFLATED)
        dataset.save_as(path)
    return path


def slices(
    folder: Path,
    pixels: np.ndarray,
    positions: Iterable[Sequence[float] | None],
    own: Iterable[dict[str, Any]] = (),
    **attributes: Any,
) -> list[Path]:
    """Write one file a slice; `own` are attributes of each."""
    folder.mkdir(exist_ok=True)
    paths = []
    more = list(own) or [{}] * len(pixels)
    for number, (frame, position) in enumerate(zip(pixels, positions, strict=True)):
        values: dict[str, Any] = {
            "SOPClassUID": CT,
            "SOPInstanceUID": f"1.2.826.2.{number + 1}",
            "SeriesInstanceUID": "1.2.826.3",
            "Modality": "CT",
            "InstanceNumber": number + 1,
            "ImagePositionPatient": None if position is None else list(position),
            "ImageOrientationPatient": None if position is None else AXIAL,
            "PixelSpacing": [0.7, 0.5],
        }
        values |= attributes | more[number]
        paths.append(picture(folder / f"slice{number}.dcm", frame[None], **values))
    return paths


def whole(image: regionio.Image) -> np.ndarray:
    """Return all planes, ``[t × z, rows, columns, samples]``."""
    layout = "ZYXC" if image.is_volume else "YXC"
    times = [image.read_region(layout=layout, t=t) for t in range(image.size("T")[0])]
    pixels = np.stack([np.asarray(region) for region in times])
    return pixels.reshape(-1, *pixels.shape[-3:])


def flat(dataset: Dataset, number: int) -> Dataset:
    """Return a frame's attributes as if it were a file: its groups over those of all."""
    merged = Dataset()
    merged.file_meta = dataset.file_meta
    implicit, little = dataset.original_encoding
    merged.set_original_encoding(implicit, little, dataset.original_character_set)
    groups = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    big = (*groups, "PixelData", "FloatPixelData", "DoubleFloatPixelData")
    for element in dataset:
        if element.keyword not in big:
            merged.add(element)
    for keyword, place in zip(groups, (0, number), strict=True):
        for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            items = dataset.get(keyword)
            for inner in (items[place].get(macro) or [])[:1] if items else []:
                merged.update(inner)
    return merged


def modality(path: Path) -> np.ndarray:
    """Return pydicom's modality values of all frames, in stored order."""
    dataset = pydicom.dcmread(path)
    frames = [
        apply_modality_lut(frame, flat(dataset, number))
        for number, frame in enumerate(by_pydicom(dataset))
    ]
    return np.stack(frames).astype(np.float32)


def display(
    path: Path,
    bits: int = 8,
    index: int = 0,
    window: tuple[float, float] | None = None,
    *,
    prefer_table: bool = True,
) -> np.ndarray:
    """Return gray levels by pydicom: its windowed values spread from their range to all levels."""
    dataset = pydicom.dcmread(path)
    frames = []
    for number, frame in enumerate(by_pydicom(dataset)):
        own = flat(dataset, number)
        if window is not None:
            own.WindowCenter, own.WindowWidth = window
        if own.get("VOILUTSequence") and (window is not None or not prefer_table):
            del own.VOILUTSequence
        values = apply_modality_lut(frame, own)
        if own.get("VOILUTSequence"):
            integers = values.astype(np.int64)
            assert (integers == values).all()
            shown = apply_voi(integers, own, index).astype(np.float64)
            low, high = 0.0, 2.0 ** own.VOILUTSequence[index].LUTDescriptor[2] - 1
        else:
            low, high = output_range(own)
            shown = apply_windowing(values, own, index).astype(np.float64)
            if "WindowCenter" not in own:
                low, high = min(low, high), max(low, high)
        share = (shown - low) / (high - low)
        if own.PhotometricInterpretation == "MONOCHROME1":
            share = 1 - share
        frames.append(share * (2**bits - 1))
    return np.stack(frames)


def output_range(own: Dataset) -> tuple[float, float]:
    """Return the values that pydicom's `apply_windowing` gives to what is below and above."""
    if own.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** own.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    bits = own.BitsStored - own.PixelRepresentation
    low, high = -(2.0**bits) if own.PixelRepresentation else 0.0, 2.0**bits - 1
    if "RescaleSlope" in own and "RescaleIntercept" in own:
        slope, intercept = float(own.RescaleSlope), float(own.RescaleIntercept)
        low, high = low * slope + intercept, high * slope + intercept
    return low, high


def assert_levels(found: np.ndarray, unrounded: np.ndarray, bits: int = 8) -> None:
    """Check gray levels: those of pydicom, rounded; either neighbour of what lies between two."""
    assert found.dtype == f"uint{bits}"
    assert found.shape == unrounded.shape
    assert np.abs(found - unrounded).max(initial=0) <= 0.5 + 1e-6
