"""The DICOM benchmarks: which slides and volumes, and which rows of each."""

from __future__ import annotations

from pathlib import Path

from benchmarks import dicom_opening, dicom_regions, dicom_slices
from benchmarks.dicom_slides import DicomSlide
from benchmarks.dicom_volumes import SYNTAXES, DicomVolume
from benchmarks.measure import Row

FULL = [DicomSlide(200, table) for table in ("basic", "extended", "none")]
SPARSE = [
    DicomSlide(grid, frames=frames, defined=defined)
    for grid, frames in ((142, 10_000), (317, 50_000))
    for defined in (True, False)
]
"""Half of their tiles are there."""
PYRAMID = DicomSlide(64, levels=3)
VOLUMES = [DicomVolume(syntax) for syntax in SYNTAXES]
CACHE = 2**30


def open_rows(folder: Path, _workers: int, rounds: int) -> list[Row]:
    """Return the rows of opening and reading a first tile, which is work for one thread."""
    rows: list[Row] = []
    for slide in (*FULL, *SPARSE):
        path = slide.path(folder / "dicom")
        rows.append(dicom_opening.first_tile(slide, path, rounds))
        rows.append(dicom_opening.first_tile_by_index(slide, path, rounds))
    return rows


def region_rows(folder: Path, workers: int, rounds: int) -> list[Row]:
    """Return the rows of regions and patches of a slide."""
    path = PYRAMID.path(folder / "dicom")
    threads = sorted({1, workers})
    return [
        *(dicom_regions.regions_by_threads(PYRAMID, path, n, rounds) for n in threads),
        dicom_regions.regions_one_at_a_time(PYRAMID, path, workers, rounds),
        *(dicom_regions.patches(PYRAMID, path, n, rounds, 0) for n in threads),
        dicom_regions.patches(PYRAMID, path, workers, rounds, CACHE),
    ]


def volume_rows(folder: Path, workers: int, rounds: int) -> list[Row]:
    """Return the rows of volumes."""
    rows: list[Row] = []
    for volume in VOLUMES:
        path = volume.path(folder / "dicom")
        rows.append(dicom_slices.whole(volume, path, workers, rounds))
        rows.append(dicom_slices.slices(volume, path, rounds))
        rows.append(dicom_slices.patches(volume, path, workers, rounds))
    return rows


def volume_memory(folder: Path, workers: int) -> dict[str, float]:
    """Return how many MB beside the result reading each volume takes."""
    memory: dict[str, float] = {}
    for volume in VOLUMES:
        path = volume.path(folder / "dicom")
        memory |= dicom_slices.peak_memory(volume, path, workers)
    return memory
