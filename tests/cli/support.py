"""What the tests of the command line share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from typer.testing import CliRunner

from regionio.cli.app import app

SLIDE = Path(__file__).parent.parent / "data" / "CMU-1-Small-Region.svs"
ROOT = Path(__file__).parent.parent.parent
PIXELS: np.ndarray[Any, Any] = tifffile.imread(SLIDE)
GLASS = (243, 242, 244)
STAIN = (180, 60, 140)


def run(*arguments: object, code: int = 0) -> Any:
    """Run a command in this process and check its exit code."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def refused(*arguments: object) -> str:
    """Run a command that is wrong usage, and return what it says, without boxes and line ends."""
    result = run(*arguments, code=2)
    assert result.stdout == ""
    return " ".join(result.stderr.replace("│", " ").split())


def left_behind(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def write_pyramid(path: Path, pixels: np.ndarray[Any, Any], factors: tuple[int, ...]) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for factor in (1, *factors):
            tiff.write(
                pixels[::factor, ::factor],
                tile=(128, 128),
                compression="zlib",
                photometric="rgb" if pixels.ndim == 3 else "minisblack",
                subfiletype=factor > 1,
                metadata=None,
            )


def patches_in(folder: Path) -> Any:
    """Return the Zarr group that `extract` wrote."""
    return zarr.open_group(folder / "patches.zarr", mode="r")
