"""DICOM slides of realistic size, made by repeating compressed tiles of a real slide.

JPEG baseline tiles of 256², about 20 kB each. Every slide has a folder of its own, as OpenSlide
looks at all files beside the one that it opens.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from PIL import ImageCms

from benchmarks.dicom_elements import (
    Table,
    code,
    dataset,
    element,
    header,
    item,
    sequence,
    text,
    uid,
    write_frames,
)
from benchmarks.slides import Slide, encoded_tiles

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
TILE, SPACING = 256, 0.00025
PER_FRAME_GROUPS, FRAME_CONTENT, DIMENSION_INDICES = 0x52009230, 0x00209111, 0x00209157
SLIDE_POSITION, COLUMN_POSITION, ROW_POSITION = 0x0048021A, 0x0048021E, 0x0048021F
OFFSETS_IN_SLIDE = 0x0040072A, 0x0040073A, 0x0040074A
OPTICAL_PATH, OPTICAL_PATH_NAME = 0x00480207, 0x00480106


@dataclass(frozen=True)
class DicomSlide:
    """One slide to generate.

    Parameters
    ----------
    grid
        Tiles along each side.
    table
        ``basic``, ``extended`` or ``none``: the offset table.
    frames
        How many of the tiles there are, at random places, each stated in the per-frame groups
        (TILED_SPARSE); None: all, in order (TILED_FULL).
    defined
        Whether the sequence of per-frame groups and all in it state their lengths.
    levels
        Files of the pyramid, each a quarter as wide as the one before.
    """

    grid: int
    table: Table = "basic"
    frames: int | None = None
    defined: bool = True
    levels: int = 1

    @property
    def name(self) -> str:
        if self.frames is None:
            return f"full-{self.grid**2}-{self.table}"
        lengths = "defined" if self.defined else "undefined"
        return f"sparse-{self.frames}-{lengths}-{self.table}"

    @property
    def side(self) -> int:
        return self.grid * TILE

    def places(self, level: int = 0) -> np.ndarray:
        """Return (column, row) of the tile that each frame is."""
        across = max(1, self.grid // 4**level)
        numbers = np.arange(across**2)
        if self.frames is not None:
            chosen = np.random.default_rng(3).choice(across**2, self.frames, replace=False)
            numbers = np.sort(chosen)
        return np.column_stack([numbers % across, numbers // across])

    def as_slide(self) -> Slide:
        """Return what the helpers of TIFF slides ask for."""
        return Slide("jpeg422", self.side, TILE)

    def path(self, folder: Path) -> Path:
        """Return the path of level 0, having written the slide if it is not there."""
        home = folder / self.name
        home.mkdir(parents=True, exist_ok=True)
        for level in range(self.levels):
            path = home / f"level{level}.dcm"
            if not path.exists():
                part = path.with_suffix(".part")
                _write(self, level, part)
                part.rename(path)
        return home / "level0.dcm"


def _write(slide: DicomSlide, level: int, path: Path) -> None:
    places = slide.places(level)
    tiles = encoded_tiles("jpeg422", TILE)
    order = np.random.default_rng(7).integers(0, len(tiles), len(places))
    with path.open("wb") as file:
        file.write(header(_attributes(slide, level, len(places)), JPEG_BASELINE))
        if slide.frames is not None:
            groups = _per_frame_groups(places, defined=slide.defined)
            file.write(sequence(PER_FRAME_GROUPS, groups, defined=slide.defined))
        write_frames(file, tiles, order, slide.table)


def _attributes(slide: DicomSlide, level: int, frames: int) -> pydicom.Dataset:
    """Return what stands before the per-frame groups."""
    across = max(1, slide.grid // 4**level)
    spacing = SPACING * 4**level
    organization = uid(slide.name, "dimensions")
    image_type = ["ORIGINAL" if level == 0 else "DERIVED", "PRIMARY", "VOLUME"]
    image_type.append("NONE" if level == 0 else "RESAMPLED")
    shared = dataset(
        PixelMeasuresSequence=[dataset(SliceThickness=0.001, PixelSpacing=[spacing, spacing])],
        WholeSlideMicroscopyImageFrameTypeSequence=[dataset(FrameType=image_type)],
    )
    if slide.frames is None:
        path = dataset(OpticalPathIdentifier="1")
        shared.OpticalPathIdentificationSequence = [path]
    return dataset(
        ImageType=image_type,
        SOPClassUID=WHOLE_SLIDE,
        SOPInstanceUID=uid(slide.name, f"level {level}"),
        StudyDate="20260101",
        ContentDate="20260101",
        AcquisitionDateTime="20260101120000",
        StudyTime="120000",
        ContentTime="120000",
        AccessionNumber="",
        Modality="SM",
        Manufacturer="benchmarks",
        ReferringPhysicianName="",
        ManufacturerModelName="benchmarks",
        VolumetricProperties="VOLUME",
        PatientName="Benchmark^Slide",
        PatientID="1",
        PatientBirthDate="",
        PatientSex="",
        DeviceSerialNumber="1",
        SoftwareVersions="1",
        StudyInstanceUID=uid(slide.name, "study"),
        SeriesInstanceUID=uid(slide.name, "series"),
        PyramidUID=uid(slide.name, "pyramid"),
        StudyID="",
        SeriesNumber=1,
        InstanceNumber=level + 1,
        FrameOfReferenceUID=uid(slide.name, "frame of reference"),
        PositionReferenceIndicator="SLIDE_CORNER",
        DimensionOrganizationSequence=[dataset(DimensionOrganizationUID=organization)],
        DimensionIndexSequence=[
            dataset(
                DimensionOrganizationUID=organization,
                DimensionIndexPointer=pointer,
                FunctionalGroupPointer=SLIDE_POSITION,
            )
            for pointer in (ROW_POSITION, COLUMN_POSITION)
        ],
        DimensionOrganizationType="TILED_FULL" if slide.frames is None else "TILED_SPARSE",
        SamplesPerPixel=3,
        PhotometricInterpretation="YBR_FULL_422",
        PlanarConfiguration=0,
        NumberOfFrames=frames,
        Rows=TILE,
        Columns=TILE,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
        BurnedInAnnotation="NO",
        LossyImageCompression="01",
        LossyImageCompressionRatio=9.6,
        LossyImageCompressionMethod="ISO_10918_1",
        ContainerIdentifier="1",
        IssuerOfTheContainerIdentifierSequence=[],
        ContainerTypeCodeSequence=[code("433466003", "SCT", "Microscope slide")],
        AcquisitionContextSequence=[],
        SpecimenDescriptionSequence=[
            dataset(
                SpecimenIdentifier="1",
                SpecimenUID=uid(slide.name, "specimen"),
                IssuerOfTheSpecimenIdentifierSequence=[],
                SpecimenPreparationSequence=[],
            )
        ],
        ImagedVolumeWidth=slide.side * SPACING,
        ImagedVolumeHeight=slide.side * SPACING,
        ImagedVolumeDepth=1.0,
        TotalPixelMatrixColumns=across * TILE,
        TotalPixelMatrixRows=across * TILE,
        TotalPixelMatrixOriginSequence=[
            dataset(XOffsetInSlideCoordinateSystem=20.0, YOffsetInSlideCoordinateSystem=40.0)
        ],
        SpecimenLabelInImage="NO",
        FocusMethod="AUTO",
        ExtendedDepthOfField="NO",
        ImageOrientationSlide=[0, -1, 0, -1, 0, 0],
        OpticalPathSequence=[
            dataset(
                IlluminationColorCodeSequence=[code("414298005", "SCT", "Full Spectrum")],
                IlluminationTypeCodeSequence=[code("111744", "DCM", "Brightfield illumination")],
                ICCProfile=_srgb(),
                OpticalPathIdentifier="1",
            )
        ],
        NumberOfOpticalPaths=1,
        TotalPixelMatrixFocalPlanes=1,
        PresentationLUTShape="IDENTITY",
        SharedFunctionalGroupsSequence=[shared],
    )


def _srgb() -> bytes:
    """Return a profile of even length."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile + bytes(len(profile) % 2)


def _per_frame_groups(places: np.ndarray, *, defined: bool) -> Iterator[bytes]:
    """Yield the item of every frame: its place in the slide, and its optical path."""
    path = element(OPTICAL_PATH_NAME, b"SH", text("1"))
    paths = sequence(OPTICAL_PATH, [item(path, defined=defined)], defined=defined)
    for column, row in places.tolist():
        indices = element(DIMENSION_INDICES, b"UL", struct.pack("<2I", row + 1, column + 1))
        yield item(
            sequence(FRAME_CONTENT, [item(indices, defined=defined)], defined=defined)
            + paths
            + sequence(
                SLIDE_POSITION,
                [item(_slide_position(column, row), defined=defined)],
                defined=defined,
            ),
            defined=defined,
        )


def _slide_position(column: int, row: int) -> bytes:
    """Return the place of a tile, in mm of the slide and in pixels that count from 1."""
    offsets = 20 - row * TILE * SPACING, 40 - column * TILE * SPACING, 0.0
    content = io.BytesIO()
    for tag, offset in zip(OFFSETS_IN_SLIDE, offsets, strict=True):
        content.write(element(tag, b"DS", text(f"{offset:.5f}")))
    for tag, number in ((COLUMN_POSITION, column), (ROW_POSITION, row)):
        content.write(element(tag, b"SL", struct.pack("<i", number * TILE + 1)))
    return content.getvalue()
