"""Opening a DICOM slide and reading one tile of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import regionio
from benchmarks.dicom_slides import TILE, DicomSlide
from benchmarks.measure import Row, compare, library
from benchmarks.works import warm


def first_tile(slide: DicomSlide, path: Path, rounds: int) -> Row:
    """Compare opening a slide and reading the tile in its middle, with nothing kept in memory.

    OpenSlide and wsidicom are asked for the tile by its place. So is highdicom of a sparse slide;
    of a full one it is given the number of the frame, which is faster and only arithmetic.
    """
    row = Row("open + first tile", slide.name, 1, 1, "slides")
    places = slide.places()
    number = len(places) // 2
    column, line = (int(place) for place in places[number])
    x, y = column * TILE, line * TILE

    def ours() -> None:
        _open_and_read(path, x, y)

    def wsidicom() -> None:
        with library("wsidicom").WsiDicom.open(path) as other:
            _check(other.read_tile(0, (column, line), as_array=True))

    def openslide() -> None:
        with library("openslide").OpenSlide(path) as other:
            _check(other.read_region((x, y), 0, (TILE, TILE)))

    def highdicom() -> None:
        if slide.frames is None:
            with library("highdicom").io.ImageFileReader(path) as reader:
                _check(reader.read_frame(number, correct_color=False))
            return
        other = library("highdicom").imread(path, lazy_frame_retrieval=True)
        _check(
            other.get_total_pixel_matrix(
                y + 1,
                y + TILE + 1,
                x + 1,
                x + TILE + 1,
                dtype=np.uint8,
                apply_icc_profile=False,
            )
        )

    contestants = {
        "regionio": ours,
        "wsidicom": wsidicom,
        "openslide": openslide,
        "highdicom": highdicom,
    }
    return compare(row, contestants, rounds, prepare=lambda: warm(path))


def first_tile_by_index(slide: DicomSlide, path: Path, rounds: int) -> Row:
    """Time the same with an index that an earlier opening saved, which no peer can."""
    row = Row("open + first tile, saved index", slide.name, 1, 1, "slides")
    places = slide.places()
    column, line = (int(place) for place in places[len(places) // 2])
    with tempfile.TemporaryDirectory() as folder:

        def ours() -> None:
            _open_and_read(path, column * TILE, line * TILE, index_folder=folder)

        return compare(row, {"regionio": ours}, rounds, prepare=lambda: warm(path))


def _open_and_read(path: Path, x: int, y: int, **options: Any) -> None:
    from regionio import _opened

    _opened.indexes.clear()
    with regionio.open(path, **options) as image:
        _check(image.read_region((x, y), (TILE, TILE), num_workers=0))


def _check(pixels: Any) -> None:
    assert np.asarray(pixels).shape[:2] == (TILE, TILE)
