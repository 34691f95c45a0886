"""DICOM files that are no images are refused by name; real images are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom._uid_dict import UID_dictionary
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from regionio import CorruptFileError, RegionIOError, UnsupportedFormatError
from regionio.formats.dicom.frames import frame_table
from regionio.formats.dicom.header import Header, read_header
from regionio.formats.dicom.kinds import IMAGES, REMEDIES, STORAGE, check_image
from regionio.storage import open_storage

CT, SECONDARY_CAPTURE = STORAGE + "2", STORAGE + "7"


def header_of(path: Path | str) -> Header:
    return read_header(open_storage(str(path)))


def written(tmp_path: Path, sop_class: str, *, pixels: bool = False, **attributes: Any) -> Header:
    """Return the header of a small file of a class, without pixels or with some."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if sop_class:
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UID(sop_class)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    if pixels:
        dataset.Rows = dataset.Columns = 2
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.add_new(0x7FE00010, "OW", bytes(4))
    path = tmp_path / "a.dcm"
    dataset.preamble = bytes(128)
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    return header_of(path)


def refusal(header: Header) -> str:
    with pytest.raises(UnsupportedFormatError) as caught:
        check_image(header)
    assert header.path in str(caught.value)
    return str(caught.value).replace(header.path, "")


def kinds_of_pydicom() -> tuple[list[Header], dict[str, str]]:
    """Return the headers of pydicom's files that pass, and the messages of those that do not."""
    passed, refused = [], {}
    for path in get_testdata_files("**/*"):
        if not path.endswith(".dcm") and "DICOMDIR" not in path:
            continue
        try:
            header = header_of(path)
        except RegionIOError:
            continue
        try:
            check_image(header)
        except UnsupportedFormatError as error:
            refused[Path(path).name] = str(error)
        else:
            passed.append(header)
    return passed, refused


def test_files_of_pydicom_are_told_apart() -> None:
    passed, refused = kinds_of_pydicom()
    assert len(passed) > 60
    for header in passed:
        meta = header.dataset.file_meta
        cut_short = "Rows" in header.dataset or "Image Storage" in str(
            UID(str(meta.get("MediaStorageSOPClassUID"))).name
        )
        assert header.pixels is not None or cut_short, header.path
    for name in refused:
        assert "DICOMDIR" in name or not name.startswith(("MR", "CT", "US", "SC", "J2K")), name
    assert "contours" in refused["rtstruct.dcm"]
    assert "plan" in refused["rtplan.dcm"]
    assert "list of files" in refused["DICOMDIR"]
    assert "report" in refused["reportsi.dcm"]
    assert "rtdose.dcm" not in refused


def test_real_images_pass(wider_data: Path) -> None:
    paths = sorted(wider_data.rglob("*.dcm"))
    for path in paths:
        check_image(header_of(path))
    assert len(paths) > 50


@pytest.mark.parametrize("uid", sorted(uid for uid in UID_dictionary if uid.startswith(STORAGE)))
def test_every_storage_class_without_pixels_is_refused_unless_it_is_an_image(
    tmp_path: Path, uid: str
) -> None:
    name = UID_dictionary[uid][0]
    if "Image Storage" in name or uid in IMAGES:
        header = written(tmp_path, uid)
        check_image(header)
        with pytest.raises(CorruptFileError, match="no pixels"):
            frame_table(header)
    else:
        assert name in refusal(written(tmp_path, uid))
        check_image(written(tmp_path, uid, pixels=True))


def test_remedies_fit_their_classes() -> None:
    for tail in REMEDIES:
        uids = [uid for uid in UID_dictionary if (uid + ".").startswith(STORAGE + tail + ".")]
        assert uids, tail


def test_contours_name_the_series_that_they_refer_to(tmp_path: Path) -> None:
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = "1.2.3.4"
    study.RTReferencedSeriesSequence = [series]
    frame.RTReferencedStudySequence = [study]
    header = written(
        tmp_path,
        STORAGE + "481.3",
        SeriesInstanceUID="9.9",
        ReferencedFrameOfReferenceSequence=[frame],
    )
    message = refusal(header)
    assert "RT Structure Set Storage: it holds contours, not pixels" in message
    assert "those of the series 1.2.3.4" in message
    assert "9.9" not in message


def test_documents_say_how_to_get_at_them(tmp_path: Path) -> None:
    header = written(tmp_path, STORAGE + "104.1", EncapsulatedDocument=b"%PDF")
    assert "EncapsulatedDocument" in refusal(header)


def test_a_directory_is_known_by_its_records(tmp_path: Path) -> None:
    assert "DICOMDIR" in refusal(written(tmp_path, "", DirectoryRecordSequence=[Dataset()]))
    assert "DICOMDIR" in refusal(written(tmp_path, "1.2.840.10008.1.3.10"))


def test_files_of_no_or_a_private_class(tmp_path: Path) -> None:
    assert "no SOP class" in refusal(written(tmp_path, ""))
    assert "an object of the class 1.2.276.77" in refusal(written(tmp_path, "1.2.276.77"))
    for uid in ("", "1.2.276.77"):
        check_image(written(tmp_path, uid, Rows=2, Columns=2))  # cut short: damaged
        check_image(written(tmp_path, uid, pixels=True))


@pytest.mark.parametrize(("group", "block"), [(0x7E01, 0x10), (0x7E01, 0x11), (0x7F01, 0x10)])
def test_containers_of_hologic(tmp_path: Path, group: int, block: int) -> None:
    header = written(tmp_path, SECONDARY_CAPTURE, pixels=True)
    check_image(header)
    dataset = pydicom.dcmread(header.path)
    dataset.Manufacturer = "HOLOGIC, Inc."
    dataset.add_new(group << 16 | block, "LO", "HOLOGIC, Inc.")
    dataset.save_as(header.path)
    check_image(header_of(header.path))
    slices = Dataset()
    slices.add_new(group << 16 | block, "LO", "HOLOGIC, Inc.")
    slices.add_new(group << 16 | block << 8 | 0x12, "OB", bytes(4000))
    dataset.add_new(group << 16 | block << 8 | 0x10, "SQ", [slices])
    dataset.save_as(header.path)
    message = refusal(header_of(header.path))
    assert "Hologic's container" in message
    assert "Breast Tomosynthesis Image Storage" in message
    dataset.SOPClassUID = UID(STORAGE + "13.1.3")
    dataset.save_as(header.path)
    check_image(header_of(header.path))


@pytest.mark.parametrize(
    ("attributes", "refused"),
    [
        ({"Manufacturer": "SIEMENS", "ManufacturerModelName": "MAMMOMAT Inspiration"}, True),
        ({"Manufacturer": "Siemens Healthineers", "Modality": "MG"}, True),
        ({"Manufacturer": "SIEMENS", "ManufacturerModelName": "SOMATOM", "Modality": "CT"}, False),
        ({"Manufacturer": "SIEMENS", "BodyPartExamined": "BREAST", "Modality": "CT"}, False),
        ({"Manufacturer": "HOLOGIC, Inc.", "Modality": "MG"}, False),
        ({}, False),
    ],
)
def test_tomosynthesis_of_siemens_as_ct(
    tmp_path: Path, attributes: dict[str, str], refused: bool
) -> None:
    header = written(tmp_path, CT, pixels=True, **attributes)
    if refused:
        assert "CTO" in refusal(header)
    else:
        check_image(header)
    check_image(written(tmp_path, STORAGE + "1.2", pixels=True, **attributes))
