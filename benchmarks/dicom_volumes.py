"""DICOM volumes as large as those of breast tomosynthesis, in every lossless transfer syntax.

The pixels are a real radiograph of 10 bits (RG3 of pydicom-data), mirrored at its edges to the
size of a mammogram: half of it is air, and lossless codecs shrink it to a seventh, as they do
tomosynthesis. Public samples of tomosynthesis itself have pixels that were replaced by noise.
Where pydicom-data is not installed, a magnetic resonance picture that pydicom brings takes its
place.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom.data import get_testdata_file

from benchmarks.dicom_elements import PIXELS, code, dataset, element, header, uid, write_frames

TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"
ROWS, COLUMNS, BITS = 2457, 1890, 10
RADIOGRAPH, FALLBACK = "RG3_UNCR.dcm", "examples_overlay.dcm"
DISTINCT = 8
SPACING = 0.1
ROOT = "1.2.840.10008.1.2"
SYNTAXES = {
    "native": ROOT + ".1",
    "rle": ROOT + ".5",
    "jpeg-lossless": ROOT + ".4.70",
    "jpeg-ls": ROOT + ".4.80",
    "j2k": ROOT + ".4.90",
    "htj2k": ROOT + ".4.201",
}


def _run_lengths(frame: np.ndarray) -> bytes:
    """Return run lengths, high bytes first, row by row (PS3.5, annex G)."""
    cells = frame.astype(">u2").view(np.uint8).reshape(*frame.shape, 2)
    parts = []
    for plane in (cells[..., 0], cells[..., 1]):
        rows = (imagecodecs.packbits_encode(row.tobytes()) for row in plane)
        part = b"".join(map(bytes, rows))
        parts.append(part + bytes(len(part) % 2))
    starts = 2, 64, 64 + len(parts[0])
    return struct.pack("<16I", *starts, *[0] * 13) + b"".join(parts)


ENCODE: dict[str, Callable[[np.ndarray], bytes | bytearray]] = {
    "native": lambda frame: frame.tobytes(),
    "rle": _run_lengths,
    "jpeg-lossless": lambda frame: imagecodecs.jpeg8_encode(
        frame, lossless=True, predictor=1, bitspersample=BITS
    ),
    "jpeg-ls": imagecodecs.jpegls_encode,
    "j2k": lambda frame: imagecodecs.jpeg2k_encode(
        frame, level=0, codecformat="J2K", reversible=True, bitspersample=BITS
    ),
    "htj2k": lambda frame: imagecodecs.htj2k_encode(frame, reversible=True, resolutions=6),
}
DECODE: dict[str, Callable[[bytes, np.ndarray], Any]] = {
    "native": lambda data, out: np.copyto(out, np.frombuffer(data, out.dtype).reshape(out.shape)),
    "rle": lambda data, out: imagecodecs.dicomrle_decode(
        data, out.dtype, out=out.reshape(-1).view(np.uint8).data
    ),
    "jpeg-lossless": lambda data, out: imagecodecs.jpeg8_decode(data, out=out),
    "jpeg-ls": lambda data, out: imagecodecs.jpegls_decode(data, out=out),
    "j2k": lambda data, out: imagecodecs.jpeg2k_decode(data, out=out),
    "htj2k": lambda data, out: imagecodecs.htj2k_decode(data, out=out),
}
"""The fastest installed decoder of each syntax, into memory that is there already."""


@dataclass(frozen=True)
class DicomVolume:
    """One volume to generate.

    Parameters
    ----------
    syntax
        One of `SYNTAXES`.
    frames
        Number of slices.
    rows, columns
        Of each.
    """

    syntax: str
    frames: int = 64
    rows: int = ROWS
    columns: int = COLUMNS

    @property
    def name(self) -> str:
        size = (
            "" if (self.rows, self.columns) == (ROWS, COLUMNS) else f"{self.rows}x{self.columns}-"
        )
        return f"dbt-{self.frames}-{size}{self.syntax}"

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.frames, self.rows, self.columns

    @property
    def nbytes(self) -> int:
        return self.frames * self.rows * self.columns * 2

    def path(self, folder: Path) -> Path:
        """Return the volume's path, having written it if it is not there."""
        home = folder / self.name
        home.mkdir(parents=True, exist_ok=True)
        path = home / "volume.dcm"
        if not path.exists():
            part = path.with_suffix(".part")
            _write(self, part)
            part.rename(path)
        return path


def pictures(rows: int = ROWS, columns: int = COLUMNS) -> list[np.ndarray]:
    """Return the distinct frames that a volume repeats."""
    radiograph = _radiograph()
    height, width = radiograph.shape
    around = (0, max(0, rows - height)), (0, max(0, columns - width))
    picture = np.pad(radiograph, around, mode="reflect")[:rows, :columns]
    return [np.roll(picture, 151 * number, axis=0) for number in range(DISTINCT)]


def source_of_pixels() -> str:
    """Return the name of the file that pixels are taken from."""
    is_there = get_testdata_file(RADIOGRAPH, download=False) is not None
    return RADIOGRAPH if is_there else FALLBACK


def _radiograph() -> np.ndarray:
    path = get_testdata_file(source_of_pixels(), download=False)
    radiograph: np.ndarray = pydicom.dcmread(str(path)).pixel_array
    return radiograph.clip(max=2**BITS - 1)


def _write(volume: DicomVolume, path: Path) -> None:
    first, *others = pictures(volume.rows, volume.columns)
    with ThreadPoolExecutor() as pool:
        # alone, as OpenJPH's tables are filled by the first call
        alone = ENCODE[volume.syntax](first)
        encoded = [alone, *pool.map(ENCODE[volume.syntax], others)]
        frames = [bytes(frame) for frame in encoded]
    order = np.arange(volume.frames) % DISTINCT
    with path.open("wb") as file:
        file.write(header(_attributes(volume), SYNTAXES[volume.syntax]))
        if volume.syntax == "native":
            file.write(element(PIXELS, b"OW", b"", volume.nbytes))
            for number in order.tolist():
                file.write(frames[number])
        else:
            write_frames(file, frames, order, "basic")


def _attributes(volume: DicomVolume) -> pydicom.Dataset:
    """Return what stands before the pixels, as a scanner of 2020 writes it."""
    image_type = ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "NONE"]
    frame_type = dataset(
        FrameType=image_type,
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="TOMOSYNTHESIS",
    )
    shared = dataset(
        PixelMeasuresSequence=[
            dataset(SliceThickness=1.0, SpacingBetweenSlices=1.0, PixelSpacing=[SPACING, SPACING])
        ],
        PlaneOrientationSequence=[dataset(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])],
        FrameAnatomySequence=[
            dataset(AnatomicRegionSequence=[code("76752008", "SCT", "Breast")], FrameLaterality="L")
        ],
        FrameVOILUTSequence=[dataset(WindowCenter=512, WindowWidth=512)],
        PixelValueTransformationSequence=[
            dataset(RescaleIntercept=0, RescaleSlope=1, RescaleType="US")
        ],
    )
    organization = uid(volume.name, "dimensions")
    per_frame = [
        dataset(
            XRay3DFrameTypeSequence=[frame_type],
            FrameContentSequence=[
                dataset(
                    FrameAcquisitionNumber=1,
                    StackID="1",
                    InStackPositionNumber=number + 1,
                    DimensionIndexValues=[1, number + 1],
                )
            ],
            PlanePositionSequence=[dataset(ImagePositionPatient=[-float(number), 0.0, 0.0])],
        )
        for number in range(volume.frames)
    ]
    return dataset(
        ImageType=image_type,
        SOPClassUID=TOMOSYNTHESIS,
        SOPInstanceUID=uid(volume.name),
        StudyDate="20260101",
        ContentDate="20260101",
        StudyTime="120000",
        ContentTime="120000",
        AccessionNumber="",
        Modality="MG",
        Manufacturer="benchmarks",
        ReferringPhysicianName="",
        ManufacturerModelName="benchmarks",
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="TOMOSYNTHESIS",
        PatientName="Benchmark^Volume",
        PatientID="2",
        PatientBirthDate="",
        PatientSex="F",
        BodyPartExamined="BREAST",
        DeviceSerialNumber="1",
        SoftwareVersions="1",
        ViewPosition="CC",
        StudyInstanceUID=uid(volume.name, "study"),
        SeriesInstanceUID=uid(volume.name, "series"),
        StudyID="",
        SeriesNumber=1,
        InstanceNumber=1,
        PatientOrientation=["P", "L"],
        FrameOfReferenceUID=uid(volume.name, "frame of reference"),
        PositionReferenceIndicator="",
        DimensionOrganizationSequence=[dataset(DimensionOrganizationUID=organization)],
        DimensionIndexSequence=[
            dataset(
                DimensionOrganizationUID=organization,
                DimensionIndexPointer=pointer,
                FunctionalGroupPointer=0x00209111,
            )
            for pointer in (0x00209056, 0x00209057)
        ],
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        NumberOfFrames=volume.frames,
        Rows=volume.rows,
        Columns=volume.columns,
        BitsAllocated=16,
        BitsStored=BITS,
        HighBit=BITS - 1,
        PixelRepresentation=0,
        QualityControlImage="NO",
        BurnedInAnnotation="NO",
        BreastImplantPresent="NO",
        LossyImageCompression="00",
        OrganExposed="BREAST",
        AcquisitionContextSequence=[],
        ViewCodeSequence=[code("399162004", "SCT", "cranio-caudal")],
        PresentationLUTShape="IDENTITY",
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=per_frame,
    )
