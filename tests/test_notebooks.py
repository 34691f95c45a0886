"""Notebooks run without a GPU, and are stored with what they print and draw."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
RUN = ROOT / "notebooks" / "run.py"
NOTEBOOKS = sorted(RUN.parent.glob("*.ipynb"))
SMALL: dict[str, dict[str, Any]] = {
    "jpeg_frames": {"ROUNDS": 1},
    "mammography": {"ROWS": 300, "COLUMNS": 240, "FILES": 3, "BATCH": 2, "ROUNDS": 1},
    "native_volume": {"SLICES": 9, "SIDE": 130, "PART": 8, "PARTS": 5, "ROUNDS": 1},
    "preprocess": {"ROWS": 320, "COLUMNS": 260, "SLICES": 13, "ROUNDS": 1},
    "slide_patches": {"SIDE": 1024, "PATCHES": 20, "BATCH": 8, "ROUNDS": 1},
}
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
tool = runpy.run_path(str(RUN))


def notebook_of(*cells: str | tuple[str, str]) -> dict[str, Any]:
    """Return a notebook of code cells, those of pairs with a tag."""
    pairs = [cell if isinstance(cell, tuple) else (cell, "") for cell in cells]
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {},
        "cells": [
            {
                "cell_type": "code",
                "id": f"c{number}",
                "metadata": {"tags": [tag]} if tag else {},
                "execution_count": None,
                "source": source.splitlines(keepends=True),
                "outputs": [],
            }
            for number, (source, tag) in enumerate(pairs)
        ],
    }


def test_every_notebook_is_here() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(SMALL)


@each_notebook
def test_cells_run_without_a_gpu(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, folder = tmp_path / "temporary", tmp_path / "notebooks"
    temporary.mkdir()
    folder.mkdir()
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(folder)
    notebook = tool["read_notebook"](path)
    stored = [cell.get("outputs") for cell in notebook["cells"] if tagged(cell, "gpu")]
    tool["run_cells"](notebook, gpu=False, values=SMALL[path.stem])
    assert stored == [cell.get("outputs") for cell in notebook["cells"] if tagged(cell, "gpu")]
    assert {"stream", "display_data"} <= kinds_of_output(notebook)
    assert not [*temporary.iterdir(), *folder.iterdir()]  # it cleans up


@each_notebook
def test_what_is_stored(path: Path) -> None:
    assert path.stat().st_size < 1_000_000
    notebook = tool["read_notebook"](path)
    assert {"stream", "display_data"} <= kinds_of_output(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and not tagged(cell, "gpu"):
            assert cell["execution_count"], f"cell {cell['id']} was not run"


@each_notebook
def test_format(path: Path) -> None:
    """Version 4.5 of nbformat's schema, as far as these notebooks use it."""
    notebook = tool["read_notebook"](path)
    assert notebook.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"].keys() >= {"name", "display_name"}
    assert notebook["metadata"]["language_info"]["name"] == "python"
    names = [cell["id"] for cell in notebook["cells"]]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", name) for name in names)
    for cell in notebook["cells"]:
        keys = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            keys |= {"execution_count", "outputs"}
            compile("".join(cell["source"]), cell["id"], "exec")  # also those that need a GPU
        else:
            assert cell["cell_type"] == "markdown"
        assert cell.keys() == keys
        assert all(isinstance(line, str) for line in cell["source"])
        assert {type(tag) for tag in cell["metadata"].get("tags", [])} <= {str}
        for output in cell.get("outputs", []):
            if output["output_type"] == "stream":
                assert output.keys() == {"output_type", "name", "text"}
            else:
                assert output["output_type"] == "display_data"
                assert output.keys() == {"output_type", "data", "metadata"}


@each_notebook
def test_no_absolute_paths(path: Path) -> None:
    for cell in tool["read_notebook"](path)["cells"]:
        lines = list(cell["source"])
        for output in cell.get("outputs", []):
            lines += output["text"] if output["output_type"] == "stream" else []
        for line in lines:
            assert not re.search(r"(?<![\w.:/])(/\w[\w.-]*){2,}|\b[A-Z]:\\|file://", line), line


def test_figures_and_text_are_stored_and_sizes_replaced() -> None:
    drawing = "from matplotlib import pyplot\n_ = pyplot.subplots()\nprint(A + B)\nprint('end')"
    notebook = notebook_of(("A, B = 1, 2", "sizes"), ("undefined", "gpu"), drawing, "A")
    tool["run_cells"](notebook, gpu=False, values={"A": 40})
    cells = notebook["cells"]
    assert [cell["execution_count"] for cell in cells] == [1, None, 2, 3]
    text, figure = cells[2]["outputs"]
    assert text["text"] == ["42\n", "end\n"]
    assert figure["data"]["image/png"].startswith("iVBOR")  # PNG's first bytes in base 64
    assert not cells[3]["outputs"]


@pytest.mark.parametrize("wrong", [False, True])
def test_the_command(tmp_path: Path, *, wrong: bool) -> None:
    path = tmp_path / "some.ipynb"
    cells = "print('before', __import__('os').getcwd())", "1 / 0" if wrong else "one = 1"
    tool["write_notebook"](path, notebook_of(*cells, ("assert not one", "gpu")))
    before = path.read_text(encoding="utf-8")
    command = [sys.executable, str(RUN), str(path), "--no-gpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if wrong:
        assert done.returncode == 1
        assert "ZeroDivisionError" in done.stderr
        assert "1 / 0" in done.stderr  # the line
        assert path.read_text(encoding="utf-8") == before
    else:
        assert done.returncode == 0, done.stderr
        [output] = tool["read_notebook"](path)["cells"][0]["outputs"]
        assert output["text"] == [f"before {tmp_path}\n"]


def tagged(cell: dict[str, Any], tag: str) -> bool:
    return tag in cell["metadata"].get("tags", [])


def kinds_of_output(notebook: dict[str, Any]) -> set[str]:
    cells = [cell for cell in notebook["cells"] if not tagged(cell, "gpu")]
    return {output["output_type"] for cell in cells for output in cell.get("outputs", [])}
