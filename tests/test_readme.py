"""What the README says is so."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from regionio.codecs.cpu import DECODERS
from regionio.formats.dicom.syntaxes import CODECS, STANDARD
from regionio.formats.tiff.page import COMPRESSIONS
from regionio.formats.tiff.vendors import VENDORS

README = Path(__file__).parent.parent / "README.md"


def table_after(heading: str) -> list[list[str]]:
    """Return the cells of the table whose first column has a heading."""
    lines = README.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_examples_run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(request.config.rootpath)
    result = doctest.testfile(
        str(README), module_relative=False, optionflags=doctest.ELLIPSIS, encoding="utf-8"
    )
    assert result.attempted > 10
    assert result.failed == 0


def test_the_table_of_codecs_is_complete() -> None:
    rows = table_after("codec")
    assert {row[0].strip("`") for row in rows} == set(DECODERS)
    for name, numbers, _, _ in rows:
        stated = {int(number) for number in re.findall(r"\d+", numbers)}
        known = {number for number, codec in COMPRESSIONS.items() if codec == name.strip("`")}
        assert stated == known, name


def test_the_table_of_codecs_has_all_transfer_syntaxes() -> None:
    for name, _, syntaxes, _ in table_after("codec"):
        stated = set(re.findall(r"[\d.]+\d", syntaxes))
        known = {uid.removeprefix(STANDARD) for uid, c in CODECS.items() if c == name.strip("`")}
        assert stated == known, name


def test_the_table_of_formats_is_complete() -> None:
    named = {row[0].strip("`") for row in table_after("format")}
    modules = {vendor.__name__.rpartition(".")[2] for vendor in VENDORS}
    assert named == {name.replace("ome", "ome-tiff") for name in modules} | {"dicom", "tiff"}
