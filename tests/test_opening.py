"""What is no image of regionio's says what it is, and what to do."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest

import regionio
from regionio import UnsupportedFormatError

SLIDE = Path(__file__).parent / "data" / "CMU-1-Small-Region.svs"


@pytest.mark.parametrize("path", [None, 3, io.BytesIO(b"II*\0")])
def test_what_is_no_path(path: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(path).__name__}: save it to a file"):
        regionio.open(path)


def test_what_a_folder_yields() -> None:
    names = sorted((SLIDE.parent / "dcmqi_23x38x3").glob("IMG*.dcm"))
    assert regionio.open(path for path in names).shape == regionio.open(names).shape  # type: ignore[arg-type]


def test_a_list_of_tiffs(tmp_path: Path) -> None:
    other = shutil.copy(SLIDE, tmp_path / "b.svs")
    with pytest.raises(UnsupportedFormatError, match="is a TIFF; a list is of DICOM files"):
        regionio.open([SLIDE, other])
    assert regionio.open([SLIDE]).format == "aperio"


@pytest.mark.parametrize(
    ("head", "told"),
    [(b"\xff\xd8\xff\xe0", "OpenSlide if it is MIRAX"), (b"ZISRAWFILE", "a Zeiss CZI slide"),
     (b"\x89PNG\r\n", "a PNG picture"), (b"\x1f\x8b\x08", "unpack it first")],
)  # fmt: skip
def test_files_of_other_formats(tmp_path: Path, head: bytes, told: str) -> None:
    (tmp_path / "x.tif").write_bytes(head + bytes(1000))
    with pytest.raises(UnsupportedFormatError, match=told):
        regionio.open(tmp_path / "x.tif")


def test_remote_files() -> None:
    with pytest.raises(UnsupportedFormatError, match="remote files are not read yet"):
        regionio.open("s3://bucket/slide.svs")
