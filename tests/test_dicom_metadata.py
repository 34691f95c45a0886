"""Attributes as plain values: complete, never an exception, and confidential ones marked."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_files
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from regionio import CorruptFileError, RegionIOError
from regionio.formats.dicom.confidential import (
    CONFIDENTIAL,
    CONFIDENTIAL_VRS,
    HARMLESS_UIDS,
    is_phi,
)
from regionio.formats.dicom.header import Header, read_header
from regionio.formats.dicom.metadata import (
    DEEPEST,
    HIDDEN,
    MOST_VALUES,
    hidden,
    metadata_of,
)
from regionio.storage import open_storage
from tests.dicom_files import ROOT, noise, shape_of, write

PIXELS = noise(1, 4, 6, 1)
EXPLICIT = ROOT + ".1"
PATIENCE_SECONDS = 10.0


def header_of(path: Path | str) -> Header:
    return read_header(open_storage(str(path)))


def metadata_with(tmp_path: Path, *, syntax: str = EXPLICIT, **attributes: Any) -> dict[str, Any]:
    path = write(tmp_path / "a.dcm", syntax, PIXELS.tobytes(), **shape_of(PIXELS), **attributes)
    return metadata_of(header_of(path))


def metadata_before(tmp_path: Path, elements: bytes) -> dict[str, Any]:
    """Return the metadata of a file in which these elements stand before all others."""
    path = write(tmp_path / "a.dcm", EXPLICIT, PIXELS.tobytes(), **shape_of(PIXELS))
    content = path.read_bytes()
    first = content.index(struct.pack("<HH", 0x0028, 0x0002))  # samples per pixel
    path.write_bytes(content[:first] + elements + content[first:])
    return metadata_of(header_of(path))


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    long = vr in {b"OB", b"OW", b"SQ", b"UN", b"UT"}
    return head + struct.pack("<HI" if long else "<H", *((0,) if long else ()), len(value)) + value


def pydicom_files() -> list[str]:
    return [name for name in get_testdata_files("**/*") if Path(name).is_file()]


def assert_plain(value: Any) -> None:
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
        for inner in value.values():
            assert_plain(inner)
    elif isinstance(value, list):
        for inner in value:
            assert_plain(inner)
    else:
        assert value is None or type(value) in {str, int, float, bool, bytes}


def as_text(value: Any) -> str:
    assert isinstance(value, bytes)
    return value.hex()


def check_whole(path: Path | str) -> dict[str, Any] | None:
    try:
        header = header_of(path)
    except RegionIOError:
        return None
    metadata = metadata_of(header)
    assert_plain(metadata)
    assert json.loads(json.dumps(metadata, default=as_text))["dicom"].keys()
    tags = [tag for tag in header.dataset.keys() if tag & 0xFFFF]  # noqa: SIM118
    assert len(metadata["dicom"]) == len(tags) + 1
    assert metadata["dicom_phi"] == sorted(set(metadata["dicom_phi"]))
    shown = hidden(metadata)
    assert json.dumps(shown, default=as_text).count(HIDDEN) == len(metadata["dicom_phi"])
    return metadata


def test_every_file_of_pydicom_has_plain_metadata() -> None:
    found = [check_whole(path) for path in pydicom_files() if not path.endswith((".py", ".txt"))]
    assert sum(metadata is not None for metadata in found) > 80


def test_every_real_file_has_plain_metadata(wider_data: Path) -> None:
    found = [check_whole(path) for path in sorted(wider_data.rglob("*.dcm"))]
    assert len(found) > 50
    assert None not in found


def expected_value(value: Any) -> Any:
    """Return pydicom's value as it should be in the metadata."""
    if isinstance(value, pydicom.multival.MultiValue | list):
        return [expected_value(part) for part in value] or None
    if isinstance(value, pydicom.tag.BaseTag):
        return pydicom.datadict.keyword_for_tag(value) or f"({value.group:04X},{value.elem:04X})"
    if isinstance(value, bytes | None):
        return value or None
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value)
    return str(value).strip(" \0") or None


def assert_same(dicom: dict[str, Any], dataset: Dataset, checked: set[str]) -> None:
    for found in dataset:
        if found.keyword not in dicom or found.tag.group in {0x50FF, 0x60FF}:
            continue
        value = dicom[found.keyword]
        if isinstance(value, str) and value.startswith("("):
            continue
        if found.VR == "SQ":
            assert len(value) == len(found.value)
            for mine, item in zip(value, found.value, strict=True):
                assert_same(mine, item, checked)
        else:
            expected = expected_value(found.value)
            if expected == [""] or isinstance(value, bytes):
                continue
            assert value == pytest.approx(expected, nan_ok=True) or value == expected, found
        checked.add(found.VR)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_values_are_those_of_pydicom(wider_data: Path) -> None:
    checked: set[str] = set()
    for path in sorted(wider_data.rglob("*.dcm")):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        dataset.pop("PerFrameFunctionalGroupsSequence", None)
        assert_same(metadata_of(header_of(path))["dicom"], dataset, checked)
    assert len(checked) > 18


def test_converted_and_raw_elements_are_the_same(wider_data: Path) -> None:
    for name in ("dicom_breast/hologic_dbt_j2k_4frames.dcm", "dicom_wsi/camelyon_jpeg.dcm"):
        header = header_of(wider_data / "real" / name)
        raw = metadata_of(header)
        for found in header.dataset.iterall():
            assert found.tag
        assert metadata_of(header) == raw


def test_values_of_each_kind(tmp_path: Path) -> None:
    tomograph = Dataset()
    tomograph.CodeValue = "1"
    metadata = metadata_with(
        tmp_path,
        SpecificCharacterSet="ISO_IR 192",
        PatientName="Müller^Jörg",
        PatientComments="a\\b",
        ImageType=["ORIGINAL", "", "AXIAL"],
        StudyDate="20200102",
        PatientWeight="70.5",
        SeriesNumber="7",
        InstanceNumber=None,
        PixelSpacing=[0.5, 0.25],
        FrameIncrementPointer=[0x00181063],
        AnatomicRegionSequence=[tomograph],
        AcquisitionContextSequence=[],
        SmallestImagePixelValue=3,
    )["dicom"]
    assert metadata["PatientName"] == "Müller^Jörg"
    assert metadata["PatientComments"] == "a\\b"
    assert metadata["ImageType"] == ["ORIGINAL", "", "AXIAL"]
    assert metadata["StudyDate"] == "20200102"
    assert metadata["PatientWeight"] == 70.5
    assert metadata["SeriesNumber"] == 7
    assert type(metadata["SeriesNumber"]) is int
    assert metadata["PixelSpacing"] == [0.5, 0.25]
    assert metadata["FrameIncrementPointer"] == "FrameTime"
    assert metadata["AnatomicRegionSequence"] == [{"CodeValue": "1"}]
    assert metadata["AcquisitionContextSequence"] == []
    assert metadata["SmallestImagePixelValue"] == 3
    assert metadata["FileMetaInformation"]["TransferSyntaxUID"] == EXPLICIT


@pytest.mark.parametrize("syntax", [ROOT, EXPLICIT, ROOT + ".2"])
def test_signs_and_byte_orders(tmp_path: Path, syntax: str) -> None:
    pixels = noise(1, 4, 6, 1, dtype="int16")
    path = tmp_path / "a.dcm"
    write(path, syntax, pixels.tobytes(), **shape_of(pixels), PixelPaddingValue=-2000)
    dicom = metadata_of(header_of(path))["dicom"]
    assert dicom["PixelPaddingValue"] == -2000
    assert dicom["Rows"] == 4


@pytest.mark.parametrize(
    ("tag", "vr", "raw", "expected"),
    [
        (0x00101030, b"DS", b"7,5 ", "7,5"),
        (0x00101030, b"DS", b"1e999 ", "1e999"),
        (0x00101030, b"DS", b"nan ", "nan"),
        (0x00101030, b"DS", b"1_0 ", "1_0"),
        (0x00200011, b"IS", b"7.0 ", 7),
        (0x00200011, b"IS", b"seven ", "seven"),
        (0x00200011, b"IS", b"9" * 6000, "9" * 6000),
        (0x00200011, b"IS", b"\\2\\ ", [None, 2, None]),
        (0x00280106, b"US", b"\1\0\2", b"\1\0\2"),
        (0x00081030, b"LO", b"\xff\xfe\x81 ", "\xff\xfe\x81"),
        (0x00081030, b"LO", b"\x1b$B\xff\xff\xff ", "\x1b$B\xff\xff\xff"),
        (0x00080020, b"DA", b"2020.13.45", "2020.13.45"),
        (0x00081030, b"ZZ", b"abc ", b"abc "),
        (0x00080018, b"UI", b"not a UID\0", "not a UID"),
        (0x00081140, b"SQ", b"\1\2\3\4\5\6", "(6 bytes)"),
        (0x00081140, b"SQ", b"", []),
        (0x00281201, b"OW", bytes(2048), "(2048 bytes)"),
        (0x00281201, b"OW", bytes(4), bytes(4)),
        (0x00280009, b"AT", b"\1\0\2", b"\1\0\2"),
        (0x00204000, b"UT", b"x" * 100_000, "(100000 bytes)"),
    ],
)
def test_odd_values_are_kept_as_they_are(
    tmp_path: Path, tag: int, vr: bytes, raw: bytes, expected: Any
) -> None:
    dicom = metadata_before(tmp_path, element(tag, vr, raw))["dicom"]
    assert dicom[pydicom.datadict.keyword_for_tag(tag)] == expected


@pytest.mark.parametrize(
    "name", [b"ISO_IR 999", b"\\ISO 2022 IR 87", b"\xff\xff", b"GB18030 ", b""]
)
def test_odd_character_sets(tmp_path: Path, name: bytes) -> None:
    elements = element(0x00080005, b"CS", name) + element(0x00081030, b"LO", b"plain \x1b(B text")
    try:
        dicom = metadata_before(tmp_path, elements)["dicom"]
    except CorruptFileError:  # pydicom's warnings are errors in tests
        return
    assert "plain" in dicom["StudyDescription"]


def test_texts_in_japanese(tmp_path: Path) -> None:
    name = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"
    elements = element(0x00080005, b"CS", b"\\ISO 2022 IR 87") + element(
        0x00100010, b"PN", name + b" " * (len(name) % 2)
    )
    assert metadata_before(tmp_path, elements)["dicom"]["PatientName"] == "Yamada^Tarou=山田^太郎"


def nested(depth: int, *, undefined: bool) -> bytes:
    """Return sequences, each the only attribute of the item of the one around it."""
    content = b""
    for _ in range(depth):
        size = 0xFFFFFFFF if undefined else len(content)
        closing = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) if undefined else b""
        content = struct.pack("<HHI", 0xFFFE, 0xE000, size) + content + closing
        size = 0xFFFFFFFF if undefined else len(content)
        closing = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if undefined else b""
        content = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, size) + content + closing
    return content


def test_sequences_a_thousand_deep_are_cut_off(tmp_path: Path) -> None:
    begun = time.perf_counter()
    value = metadata_before(tmp_path, nested(1000, undefined=False))["dicom"]
    for _ in range(DEEPEST):
        [value] = value["ReferencedImageSequence"]
    assert value["ReferencedImageSequence"] == f"(nested more than {DEEPEST} deep)"
    assert time.perf_counter() - begun < PATIENCE_SECONDS


def test_endless_sequences_a_thousand_deep_are_no_recursion_error(tmp_path: Path) -> None:
    begun = time.perf_counter()
    with pytest.raises(CorruptFileError):
        metadata_before(tmp_path, nested(1000, undefined=True))
    inner = nested(1000, undefined=True)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    dicom = metadata_before(tmp_path, element(0x00081140, b"SQ", item))["dicom"]
    assert dicom["ReferencedImageSequence"] == f"({len(item)} bytes)"
    assert time.perf_counter() - begun < PATIENCE_SECONDS


def test_only_so_many_items_are_kept(tmp_path: Path) -> None:
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 200_000
    begun = time.perf_counter()
    dicom = metadata_before(tmp_path, element(0x00081140, b"SQ", items))["dicom"]
    assert len(dicom["ReferencedImageSequence"]) < MOST_VALUES
    assert time.perf_counter() - begun < PATIENCE_SECONDS


def test_damage_anywhere_is_no_other_error(wider_data: Path, tmp_path: Path) -> None:
    content = (wider_data / "real/dicom_volume/ct_series/slice1.dcm").read_bytes()
    random = np.random.default_rng(11)
    path = tmp_path / "a.dcm"
    for _ in range(200):
        damaged = bytearray(content)
        for place in random.integers(132, 4000, 6):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            header = header_of(path)
        except CorruptFileError:
            continue
        assert_plain(metadata_of(header))


def test_keys_of_private_repeating_and_unknown_attributes(tmp_path: Path) -> None:
    elements = (
        element(0x00080000, b"UL", bytes(4))  # length of a group
        + element(0x00090010, b"LO", b"GEMS_IDEN_01")
        + element(0x00091001, b"UN", b"GE_GENESIS_FF ")
        + element(0x00091099, b"UN", b"\1\2")
        + element(0x000800FE, b"LO", b"what ")
    )
    metadata = metadata_before(tmp_path, elements)
    dicom, phi = metadata["dicom"], metadata["dicom_phi"]
    assert "(0008,0000)" not in dicom
    assert dicom["(0009,0010)"] == "GEMS_IDEN_01"
    assert dicom["(0009,1001)"] == "GE_GENESIS_FF"  # of pydicom's private dictionary
    assert dicom["(0009,1099)"] == b"\1\2"
    assert dicom["(0008,00FE)"] == "what"
    assert {"(0009,0010)", "(0009,1001)", "(0009,1099)", "(0008,00FE)"} <= set(phi)


def test_overlays_of_several_groups_are_kept_apart(tmp_path: Path) -> None:
    elements = element(0x60000010, b"US", b"\1\0") + element(0x60020010, b"US", b"\2\0")
    metadata = metadata_before(tmp_path, elements + element(0x60003000, b"OW", b"\1\0"))
    dicom, phi = metadata["dicom"], metadata["dicom_phi"]
    assert (dicom["(6000,0010)"], dicom["(6002,0010)"]) == (1, 2)
    assert "(6000,3000)" in phi
    assert "(6000,0010)" not in phi


@pytest.mark.parametrize("keywords", [CONFIDENTIAL, HARMLESS_UIDS])
def test_every_keyword_is_in_pydicoms_dictionary(keywords: frozenset[str]) -> None:
    for keyword in keywords:
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        assert dictionary_has_tag(tag), keyword


def test_lists_of_keywords_are_no_longer_than_they_need_be() -> None:
    for keyword in CONFIDENTIAL:
        assert dictionary_VR(tag_for_keyword(keyword) or 0) not in CONFIDENTIAL_VRS - {"AE"}, (
            keyword
        )
    for keyword in HARMLESS_UIDS:
        assert dictionary_VR(tag_for_keyword(keyword) or 0) == "UI", keyword


def test_identifying_attributes_are_marked(tmp_path: Path) -> None:
    request = Dataset()
    request.RequestedProcedureID = "R1"
    request.ScheduledProtocolCodeSequence = [Dataset()]
    request.ScheduledProtocolCodeSequence[0].CodeValue = "P1"
    source = Dataset()
    source.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    source.ReferencedSOPInstanceUID = "1.2.3.4"
    metadata = metadata_with(
        tmp_path,
        PatientName="A^B",
        PatientID="17",
        PatientBirthDate="",
        StudyInstanceUID="1.2.3",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.7",
        StudyTime="1200",
        Modality="CT",
        InstitutionName="St. Elsewhere",
        RequestAttributesSequence=[request],
        SourceImageSequence=[source],
    )
    phi = set(metadata["dicom_phi"])
    assert {
        "PatientName",
        "PatientID",
        "StudyInstanceUID",
        "StudyTime",
        "InstitutionName",
        "FileMetaInformation.MediaStorageSOPInstanceUID",
        "RequestAttributesSequence[0].RequestedProcedureID",
        "RequestAttributesSequence[0].ScheduledProtocolCodeSequence[0].CodeValue",
        "SourceImageSequence[0].ReferencedSOPInstanceUID",
    } <= phi
    assert not phi & {
        "Modality",
        "SOPClassUID",
        "PatientBirthDate",  # empty: there is nothing to hide
        "Rows",
        "FileMetaInformation.TransferSyntaxUID",
        "FileMetaInformation.MediaStorageSOPClassUID",
        "SourceImageSequence[0].ReferencedSOPClassUID",
    }


def test_hidden_values_are_gone_and_the_rest_stays(tmp_path: Path) -> None:
    other = Dataset()
    other.PatientID = "secret 1"
    metadata = metadata_with(
        tmp_path, PatientID="secret 2", Modality="CT", OtherPatientIDsSequence=[other]
    )
    before = json.dumps(metadata, default=as_text)
    shown = hidden(metadata)
    assert "secret" in before
    assert "secret" not in json.dumps(shown, default=as_text)
    assert shown["dicom"]["OtherPatientIDsSequence"] == [{"PatientID": HIDDEN}]
    assert shown["dicom"]["Modality"] == "CT"
    assert shown["dicom_phi"] == metadata["dicom_phi"]
    assert json.dumps(metadata, default=as_text) == before
    assert hidden({"tiff": 1}) == {"tiff": 1}


def test_a_date_that_calls_itself_a_text_is_marked(tmp_path: Path) -> None:
    elements = element(0x00080020, b"LO", b"20200102")
    assert "StudyDate" in metadata_before(tmp_path, elements)["dicom_phi"]
    assert is_phi(0x00080020, "StudyDate", "DA")
    assert not is_phi(0x00280010, "Rows", "US")
