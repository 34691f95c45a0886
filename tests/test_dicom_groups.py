"""Functional groups and geometry of multi-frame files and series, against pydicom's objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from regionio._errors import CorruptFileError
from regionio.formats.dicom.geometry import FrameGeometry, frames_of, geometric_order
from regionio.formats.dicom.groups import PerFrameGroups
from regionio.formats.dicom.header import PER_FRAME_GROUPS, read_header
from regionio.storage import open_storage

POSITION, INDICES, CENTER = 0x00200032, 0x00209157, 0x00281050
ROW, COLUMN = 0x0048021F, 0x0048021E


def listed(value: Any) -> list[float]:
    many = isinstance(value, list | tuple | pydicom.multival.MultiValue)
    return [float(number) for number in (value if many else [value])]


@pytest.mark.filterwarnings("ignore:.*functional groups of 45")
def test_groups_say_what_pydicom_finds(wider_data: Path) -> None:
    checked = set()
    for path in sorted(wider_data.rglob("*.dcm")):
        header = read_header(open_storage(str(path)))
        if PER_FRAME_GROUPS not in header.elements:
            continue
        count = header.number("NumberOfFrames", 1)
        groups = PerFrameGroups(header, count)
        found = groups.values((POSITION, INDICES, CENTER, ROW, COLUMN))
        items = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
        for number, item in enumerate(items[:count]):
            for tag, sequence, keyword in (
                (POSITION, "PlanePositionSequence", "ImagePositionPatient"),
                (INDICES, "FrameContentSequence", "DimensionIndexValues"),
                (CENTER, "FrameVOILUTSequence", "WindowCenter"),
                (ROW, "PlanePositionSlideSequence", "RowPositionInTotalImagePixelMatrix"),
                (COLUMN, "PlanePositionSlideSequence", "ColumnPositionInTotalImagePixelMatrix"),
            ):
                inner = item.get(sequence)
                value = inner[0].get(keyword) if inner else None
                expected = None if value is None else listed(value)
                assert found[tag][number] == expected, (path, number, keyword)
                checked.add(keyword if value is not None else "")
        if None not in found[ROW]:
            expected_places = [
                (y[0] - 1, x[0] - 1) for y, x in zip(found[ROW], found[COLUMN], strict=True)
            ]
            places = groups.tile_positions()
            assert places is not None
            assert places.tolist() == [list(place) for place in expected_places]
    assert len(checked) == 6


def test_fewer_groups_than_frames_raise(wider_data: Path) -> None:
    header = read_header(
        open_storage(str(wider_data / "real/dicom_volume/philips_enhanced_mr_40f.dcm"))
    )
    with pytest.raises(CorruptFileError, match="functional groups of only 40"):
        PerFrameGroups(header, 41).values((POSITION,))


@pytest.mark.parametrize("folder", ["ct_series", "dcmqi_23x38x3"])
def test_slices_of_a_series_are_ordered_by_their_place(wider_data: Path, folder: str) -> None:
    paths = sorted((wider_data / "real/dicom_volume" / folder).glob("*[0-9].dcm"))
    random = np.random.default_rng(1)
    shuffled = [paths[number] for number in random.permutation(len(paths))]
    geometry = joined_geometry(shuffled)
    order = geometric_order(geometry)
    assert order is not None
    heights = [float(pydicom.dcmread(shuffled[n]).ImagePositionPatient[2]) for n in order]
    assert heights in (sorted(heights), sorted(heights, reverse=True))
    assert geometry.step(order) == pytest.approx(abs(heights[1] - heights[0]))


def test_positions_that_fall_keep_their_direction_and_gaps_have_no_spacing(
    wider_data: Path,
) -> None:
    paths = sorted((wider_data / "real/dicom_volume/ct_series").glob("*.dcm"))
    for chosen in (paths, paths[::-1]):
        geometry = joined_geometry(chosen)
        order = geometric_order(geometry)
        assert order is not None
        assert order.tolist() == list(range(7))
        assert geometry.step(order) == pytest.approx(4.0)
    geometry = joined_geometry([paths[0], *paths[2:]])
    order = geometric_order(geometry)
    assert order is not None
    assert order.tolist() == list(range(6))
    assert geometry.step(order) is None
    assert geometric_order(joined_geometry([paths[0], paths[0]])) is None


def joined_geometry(paths: list[Path]) -> FrameGeometry:
    headers = [read_header(open_storage(str(path))) for path in paths]
    return FrameGeometry.joined([frames_of(header, 1) for header in headers])
