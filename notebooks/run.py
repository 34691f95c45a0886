"""Run the cells of notebooks, and store in them what they print and draw. Jupyter is not needed.

python notebooks/run.py notebooks/slide_patches.ipynb
python notebooks/run.py notebooks/*.ipynb --no-gpu

Cells run in order, in the notebook's folder, as Jupyter runs them. Stored are what they print and
the matplotlib figures that they leave open, but not the value of a last expression. An error ends
the run, and its notebook stays as it was. With --no-gpu, cells that have the tag "gpu" are left
out, and what is stored in them stays.
"""  # noqa: INP001  a folder of notebooks is no package

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import linecache
import os
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

__all__ = ["main", "read_notebook", "run_cells", "write_notebook"]

Notebook = dict[str, Any]


def read_notebook(path: str | os.PathLike[str]) -> Notebook:
    """Return a notebook as its JSON has it."""
    with open(path, encoding="utf-8") as file:
        notebook: Notebook = json.load(file)
    return notebook


def write_notebook(path: str | os.PathLike[str], notebook: Notebook) -> None:
    """Write a notebook, laid out as Jupyter does."""
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def run_cells(
    notebook: Notebook, *, gpu: bool = True, values: Mapping[str, Any] | None = None
) -> None:
    """Run a notebook's cells in a namespace of their own, and put their outputs into it.

    Parameters
    ----------
    notebook
        What `read_notebook` returns; it is changed.
    gpu
        Whether to run cells that have the tag "gpu".
    values
        Names and values that replace those of the cell that has the tag "sizes".
    """
    mpl.use("Agg")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] != "code" or ("gpu" in tags and not gpu):
            continue
        count += 1
        cell["outputs"] = _run(cell, namespace)
        cell["execution_count"] = count
        if "sizes" in tags:
            namespace.update(values or {})


def _run(cell: Mapping[str, Any], namespace: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a cell and return its outputs."""
    lines = cell["source"]
    name = f"<cell {cell['id']}>"
    linecache.cache[name] = 0, None, lines, name  # tracebacks show the lines
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile("".join(lines), name, "exec"), namespace)  # noqa: S102
    except BaseException:
        sys.stderr.write(printed.getvalue())
        raise
    outputs: list[dict[str, Any]] = []
    if text := printed.getvalue():
        outputs.append(
            {"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)}
        )
    outputs += [
        {"output_type": "display_data", "metadata": {}, "data": _drawn(number)}
        for number in plt.get_fignums()
    ]
    plt.close("all")
    return outputs


def _drawn(number: int) -> dict[str, Any]:
    """Return a figure as the data of an output."""
    figure = plt.figure(number)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    axes = len(figure.axes)
    return {
        "image/png": base64.b64encode(picture.getvalue()).decode() + "\n",
        "text/plain": [f"<Figure with {axes} Axes>"],
    }


def main() -> None:
    """Run the notebooks that the command line names."""
    parser = argparse.ArgumentParser(description="Run notebooks and store their outputs.")
    parser.add_argument("notebook", nargs="+")
    parser.add_argument("--no-gpu", action="store_true", help='leave out cells tagged "gpu"')
    arguments = parser.parse_args()
    for path in map(os.path.abspath, arguments.notebook):
        notebook = read_notebook(path)
        start = time.perf_counter()
        try:
            with contextlib.chdir(os.path.dirname(path)):
                run_cells(notebook, gpu=not arguments.no_gpu)
        except Exception:  # noqa: BLE001  whatever a cell raises
            traceback.print_exc()  # with the cell's lines, which Python by itself does not show
            sys.exit(1)
        write_notebook(path, notebook)
        took = time.perf_counter() - start
        size = os.path.getsize(path) / 1000
        sys.stdout.write(f"{os.path.basename(path)}: {took:.1f} s, {size:.0f} kB\n")


if __name__ == "__main__":
    main()
