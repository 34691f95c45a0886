"""Writes small DICOM slides by pydicom, and puts their tiles together by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, generate_uid

from tests.dicom_files import ROOT, shape_of

SLIDE_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
REPORT = "1.2.840.10008.5.1.4.1.1.88.11"
LEVEL = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
RESAMPLED = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
LAB_WHITE = [65535, 32896, 32896]


def uid(name: str) -> str:
    """Return the same UID for the same name."""
    return str(generate_uid(entropy_srcs=[name]))


def picture(height: int, width: int, *, seed: int = 0, gray16: bool = False) -> np.ndarray:
    """Return a smooth picture with a pattern that no other seed has."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(y / (9 + s + seed)) + np.cos(x / (7 + s)) + 2 for s in range(3)]
    if gray16:
        return np.asarray(waves[0] * 15000 + seed * 11, np.uint16)
    return np.asarray((np.stack(waves, axis=2) * 60 + seed).clip(0, 255), np.uint8)


def tiles_of(pixels: np.ndarray, tile: tuple[int, int]) -> list[np.ndarray]:
    """Cut a picture into tiles of (height, width), row by row; those at the edge are padded."""
    height, width = tile
    down, across = -(-pixels.shape[0] // height), -(-pixels.shape[1] // width)
    padding = [(0, down * height - pixels.shape[0]), (0, across * width - pixels.shape[1])]
    whole = np.pad(pixels, [*padding, (0, 0)][: pixels.ndim], mode="edge")
    return [
        whole[y * height : (y + 1) * height, x * width : (x + 1) * width]
        for y in range(down)
        for x in range(across)
    ]


def painted(
    frames: Sequence[np.ndarray],
    places: Sequence[tuple[int, int]],
    size: tuple[int, int],
    fill: Any,
) -> np.ndarray:
    """Put frames at 1-based (column, row) of a matrix of (height, width), later ones on top."""
    canvas = np.full((*size, *frames[0].shape[2:]), fill, frames[0].dtype)
    for frame, (column, row) in zip(frames, places, strict=True):
        y, x = row - 1, column - 1
        bottom, right = min(y + frame.shape[0], size[0]), min(x + frame.shape[1], size[1])
        top, left = max(y, 0), max(x, 0)
        if top < bottom and left < right:
            canvas[top:bottom, left:right] = frame[top - y : bottom - y, left - x : right - x]
    return canvas


def encoded(frames: Sequence[np.ndarray], codec: str) -> tuple[str, str, int, bytes]:
    """Return transfer syntax, photometric interpretation, planar configuration and pixel data."""
    photometric = "RGB" if frames[0].ndim == 3 else "MONOCHROME2"
    if codec == "jpeg":
        streams = [bytes(imagecodecs.jpeg8_encode(f, 90, subsampling="422")) for f in frames]
        return ROOT + ".4.50", "YBR_FULL_422", 0, encapsulate(streams)
    if codec == "j2k":
        streams = [
            bytes(
                imagecodecs.jpeg2k_encode(f, level=0, reversible=True, mct=False, codecformat="j2k")
            )
            for f in frames
        ]
        return ROOT + ".4.90", photometric, 0, encapsulate(streams)
    planar = codec == "planar"
    data = b"".join((np.moveaxis(f, 2, 0) if planar else f).tobytes() for f in frames)
    return ROOT + ".1", photometric, int(planar), data + bytes(len(data) % 2)


def item(**attributes: Any) -> Dataset:
    """Return a sequence item."""
    dataset = Dataset()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def frame_groups(place: tuple[Any, ...]) -> Dataset:
    """Return the groups of a frame at (column, row, focus in µm, optical path or segment).

    What is None is not written.
    """
    column, row, focus, path = (*place, None, None)[:4]
    position = item(XOffsetInSlideCoordinateSystem=0, YOffsetInSlideCoordinateSystem=0)
    position.ZOffsetInSlideCoordinateSystem = 0.0 if focus is None else focus
    if column is not None:
        position.ColumnPositionInTotalImagePixelMatrix = column
        position.RowPositionInTotalImagePixelMatrix = row
    groups = item(PlanePositionSlideSequence=[position])
    if isinstance(path, int):
        groups.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=path)]
    elif path is not None:
        groups.OpticalPathIdentificationSequence = [item(OpticalPathIdentifier=path)]
    return groups


def optical_path(name: str, description: str = "") -> Dataset:
    code = item(CodeValue="111744", CodingSchemeDesignator="DCM", CodeMeaning="Brightfield")
    path = item(OpticalPathIdentifier=name, IlluminationTypeCodeSequence=[code])
    path.IlluminationWaveLength = 500.0
    if description:
        path.OpticalPathDescription = description
    return path


def write_slide(
    path: Path,
    frames: Sequence[np.ndarray],
    size: tuple[int, int],
    *,
    places: Sequence[tuple[Any, ...]] | None = None,
    codec: str = "native",
    paths: Sequence[tuple[str, str]] = (("0", ""),),
    micron: float | None = 0.5,
    focal_step: float | None = None,
    shared: Dataset | None = None,
    **attributes: Any,
) -> Path:
    """Write a file of a slide.

    Parameters
    ----------
    path
        Of the file; its parent stands for the series.
    frames
        All of one shape, in the order of the file.
    size
        (height, width) of the total pixel matrix.
    places
        Of each frame, as `frame_groups` takes them; None: TILED_FULL.
    codec
        ``"native"``, ``"planar"``, ``"jpeg"`` or ``"j2k"``.
    paths
        (identifier, description) of the optical paths.
    micron, focal_step
        Distance of pixels and of focal planes in µm.
    shared
        More of the shared functional groups.
    attributes
        Further ones, or None for those to leave out.
    """
    syntax, photometric, planar, data = encoded(frames, codec)
    stack = np.stack(frames)
    height, width = size
    measures = item(SliceThickness=0.001)
    if micron is not None:
        measures.PixelSpacing = [micron / 1000, micron / 1000]
    if focal_step is not None:
        measures.SpacingBetweenSlices = focal_step / 1000
    groups = shared or Dataset()
    groups.PixelMeasuresSequence = [measures]
    values: dict[str, Any] = {
        "SOPClassUID": SLIDE_CLASS, "SOPInstanceUID": uid(str(path)), "Modality": "SM",
        "StudyInstanceUID": uid("study"), "SeriesInstanceUID": uid(str(path.parent)),
        "FrameOfReferenceUID": uid("frame" + str(path.parent)), "ImageType": LEVEL,
        "ImagedVolumeWidth": width * 0.0005, "ImagedVolumeHeight": height * 0.0005,
        "ImagedVolumeDepth": 0.001, "ContainerIdentifier": "slide", "SpecimenDescriptionSequence": [],
        "TotalPixelMatrixColumns": width, "TotalPixelMatrixRows": height,
        "ImageOrientationSlide": [0, -1, 0, -1, 0, 0], "VolumetricProperties": "VOLUME",
        "TotalPixelMatrixOriginSequence": [
            item(XOffsetInSlideCoordinateSystem=1.0, YOffsetInSlideCoordinateSystem=2.0)
        ],
        "FocusMethod": "AUTO", "ExtendedDepthOfField": "NO", "SpecimenLabelInImage": "NO",
        "NumberOfOpticalPaths": len(paths), "PatientID": "1", "StudyID": "1", "SeriesNumber": 1,
        "OpticalPathSequence": [optical_path(*path) for path in paths],
        "DimensionOrganizationType": "TILED_FULL" if places is None else "TILED_SPARSE",
        "DimensionOrganizationSequence": [item(DimensionOrganizationUID=uid("dimensions"))],
        "BurnedInAnnotation": "NO", "InstanceNumber": 1, "LossyImageCompression": "00",
        "SharedFunctionalGroupsSequence": [groups], "AcquisitionDateTime": "20200101120000",
        **shape_of(stack if stack.ndim == 4 else stack[..., None]),
        "PhotometricInterpretation": photometric, "PlanarConfiguration": planar,
    }  # fmt: skip
    if places is not None:
        values["PerFrameFunctionalGroupsSequence"] = [frame_groups(place) for place in places]
    dataset = item(**{n: v for n, v in (values | attributes).items() if v is not None})
    if dataset.SamplesPerPixel == 1:
        del dataset.PlanarConfiguration
    if "PixelData" not in dataset:
        dataset.add_new("PixelData", "OW" if stack.itemsize > 1 else "OB", data)
        dataset["PixelData"].is_undefined_length = codec in {"jpeg", "j2k"}
    return save(path, dataset, syntax)


def save(path: Path, dataset: Dataset, syntax: str = ROOT + ".1") -> Path:
    """Write a data set with the meta information that it needs."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def write_full(path: Path, pixels: np.ndarray, tile: tuple[int, int], **options: Any) -> Path:
    """Write ``[height, width]``, with 3 colours or without, as a TILED_FULL file."""
    return write_slide(path, tiles_of(pixels, tile), pixels.shape[:2], **options)


def write_report(path: Path) -> Path:
    """Write a structured report, which is no image."""
    report = item(SOPClassUID=REPORT, SOPInstanceUID=uid(str(path)), Modality="SR")
    report.SeriesInstanceUID = uid(str(path.parent))
    return save(path, report)
