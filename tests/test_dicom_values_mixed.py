"""Values of series whose files differ, and windows where there can be none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regionio
from tests.dicom_files import ROOT, noise, shape_of, write


@pytest.mark.parametrize("window", [(1, 2), 0, "LUNG"])
def test_colour_has_no_window(tmp_path: Path, window: Any) -> None:
    pixels = noise(1, 6, 5, 3)
    path = write(tmp_path / "a.dcm", ROOT + ".1", pixels.tobytes(), **shape_of(pixels))
    with pytest.raises(ValueError, match="is in colour"):
        regionio.open(path, values="display", window=window)


def test_signed_and_unsigned_slices_have_modality_values(tmp_path: Path) -> None:
    for number, dtype in enumerate(("uint16", "int16")):
        pixels = noise(1, 6, 5, 1, dtype=dtype)
        write(
            tmp_path / f"{number}.dcm", ROOT + ".1", pixels.tobytes(), **shape_of(pixels),
            SeriesInstanceUID="1.2", SOPInstanceUID=f"1.2.{number}", Modality="PT",
            ImagePositionPatient=[0, 0, number], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            RescaleSlope=number + 2, RescaleIntercept=-5,
        )  # fmt: skip
    found = np.asarray(regionio.open(tmp_path, values="modality").read_region())
    for number, dtype in enumerate(("uint16", "int16")):
        stored = noise(1, 6, 5, 1, dtype=dtype)[0, ..., 0].astype(np.float64)
        np.testing.assert_array_equal(found[number], (stored * (number + 2) - 5).astype(np.float32))
    with pytest.raises(regionio.UnsupportedFormatError, match="do not fit together"):
        regionio.open(tmp_path)


def test_slices_that_are_turned_otherwise_warn(tmp_path: Path) -> None:
    for number in range(2):
        pixels = noise(1, 6, 5, 1, dtype="uint16")
        attributes = shape_of(pixels) | {"PhotometricInterpretation": f"MONOCHROME{number + 1}"}
        write(
            tmp_path / f"{number}.dcm", ROOT + ".1", pixels.tobytes(), **attributes,
            SeriesInstanceUID="1.2", SOPInstanceUID=f"1.2.{number}", Modality="CT",
            ImagePositionPatient=[0, 0, number], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        )  # fmt: skip
    with pytest.warns(UserWarning, match="MONOCHROME1"):
        regionio.open(tmp_path)
    regionio.open(tmp_path, values="display")
