"""Side and view of mammograms, wherever a file has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping

from regionio.formats.dicom.header import read_header
from regionio.formats.dicom.mammography import MODIFIERS, VIEWS
from regionio.formats.dicom.metadata import metadata_of
from regionio.storage import open_storage
from tests.dicom_files import ROOT, noise, shape_of, write

PIXELS = noise(1, 4, 6, 1)
EXPLICIT = ROOT + ".1"


def metadata_with(tmp_path: Path, *, syntax: str = EXPLICIT, **attributes: Any) -> dict[str, Any]:
    path = write(tmp_path / "a.dcm", syntax, PIXELS.tobytes(), **shape_of(PIXELS), **attributes)
    return metadata_of(read_header(open_storage(str(path))))


MAMMOGRAPHY = "1.2.840.10008.5.1.4.1.1.1.2"


def coded(value: str, meaning: str, **attributes: Any) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", meaning
    for name, inner in attributes.items():
        setattr(code, name, inner)
    return code


def test_codes_are_those_of_the_standard() -> None:
    groups: dict[int, dict[str, str]] = {4014: VIEWS, 4015: MODIFIERS}
    for group, mine in groups.items():
        known: dict[str, str] = {}
        for name in cid_concepts[group]["SCT"]:
            codes: Any = concepts["SCT"][name]
            for code, (meaning, _) in codes.items():
                known |= {code: meaning.lower(), mapping["SCT"][code]: meaning.lower()}
        assert mine.keys() <= known.keys()
        assert set(known) - set(mine) <= {"127457009", "G-8310"}  # a specimen is no view
        if group == 4015:
            assert mine == known


def test_mammograms_without_functional_groups(tmp_path: Path) -> None:
    displaced = coded("399209000", "Implant Displaced")
    view = coded("R-10226", "medio-lateral oblique", ViewModifierCodeSequence=[displaced])
    found = metadata_with(
        tmp_path, SOPClassUID=MAMMOGRAPHY, ImageLaterality="R", ViewCodeSequence=[view]
    )["mammography"]
    assert found == {
        "laterality": "R",
        "view": "MLO",
        "view_modifiers": ["implant displaced"],
        "implant": True,
        "magnification": None,
    }
    found = metadata_with(
        tmp_path,
        Modality="MG",
        Laterality="L",
        ViewPosition="XCCL",
        BreastImplantPresent="NO",
        EstimatedRadiographicMagnificationFactor="1.8",
        ViewModifierCodeSequence=[coded("77", "Of a Later Edition")],
    )["mammography"]
    assert found == {
        "laterality": "L",
        "view": "XCCL",
        "view_modifiers": ["of a later edition"],
        "implant": False,
        "magnification": 1.8,
    }
    nothing: dict[str, Any] = {
        "laterality": None,
        "view": None,
        "view_modifiers": [],
        "implant": None,
        "magnification": None,
    }
    assert metadata_with(tmp_path, Modality="MG")["mammography"] == nothing
    assert "mammography" not in metadata_with(tmp_path, Modality="CT", ImageLaterality="R")


@pytest.mark.parametrize(
    "name", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]
)
@pytest.mark.parametrize("syntax", [ROOT, EXPLICIT])
def test_side_in_functional_groups(tmp_path: Path, name: str, syntax: str) -> None:
    anatomy = Dataset()
    anatomy.FrameLaterality = "L"
    group = Dataset()
    group.FrameAnatomySequence = [anatomy]
    metadata = metadata_with(tmp_path, syntax=syntax, Modality="MG", **{name: [group]})
    assert metadata["mammography"]["laterality"] == "L"


def test_a_real_tomosynthesis(wider_data: Path) -> None:
    path = wider_data / "real/dicom_breast/hologic_dbt_j2k_4frames.dcm"
    metadata = metadata_of(read_header(open_storage(str(path))))
    assert metadata["mammography"] == {
        "laterality": "L",
        "view": "CC",
        "view_modifiers": [],
        "implant": False,
        "magnification": None,
    }
    assert metadata["dicom"]["Exposure"] == 48
    assert "PatientID" in metadata["dicom_phi"]
    assert "PerFrameFunctionalGroupsSequence" not in metadata["dicom"]
