"""Opens slides and volumes for commands, and turns what goes wrong into exit codes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

import regionio
from regionio import Image, LevelInfo, RegionIOError
from regionio.formats.dicom.signature import is_dicom

__all__ = [
    "checked_arguments",
    "holds_dicom",
    "level_of",
    "one_line",
    "opened",
    "reported",
    "slice_of",
]

SIGNATURE_BYTES = 256


@contextmanager
def reported(path: str) -> Iterator[None]:
    """Print what fails in the block as one line on stderr, and exit with 1.

    Parameters
    ----------
    path
        The file that the block works on. The line names it unless the error names another.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # who reads our output went away: that is no failure of the file
    except (RegionIOError, OSError) as error:
        typer.echo(f"regionio: {one_line(error, path)}", err=True)
        raise typer.Exit(1) from error


@contextmanager
def checked_arguments() -> Iterator[None]:
    """Turn what regionio says of wrong arguments into wrong usage: exit with 2."""
    try:
        yield
    except RegionIOError:
        raise
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise typer.BadParameter(str(error.args[0])) from error


@contextmanager
def opened(
    path: str, scene: str, index_folder: str | None = None, **interpretation: Any
) -> Iterator[Image]:
    """Open a slide or a volume for the block; whatever fails with it there is reported.

    Parameters
    ----------
    path
        Of the file or folder.
    scene
        Number or name of the image in it.
    index_folder, interpretation
        As in `regionio.open`.
    """
    with reported(path):
        with checked_arguments(), told_of_warnings():
            image = regionio.open(
                path,
                scene=int(scene) if scene.isdecimal() else scene,
                index_folder=index_folder,
                **interpretation,
            )
        with image:
            yield image


@contextmanager
def told_of_warnings() -> Iterator[None]:
    """Print warnings of the block as a line each on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        typer.echo(f"regionio: {' '.join(message.split())}", err=True)


def holds_dicom(path: str) -> bool:
    """Return whether a path is that of a folder or of a DICOM file; False where it can't be read."""
    try:
        if os.path.isdir(path):
            return True
        with open(path, "rb") as file:
            return is_dicom(file.read(SIGNATURE_BYTES))
    except OSError:
        return False


def level_of(image: Image, number: int) -> LevelInfo:
    """Return a level of an image.

    Raises
    ------
    typer.BadParameter
        It has no such level.
    """
    levels = image.levels
    if number >= len(levels):
        msg = f"{image.path!r} has {len(levels)} levels, counted from 0; there is no {number}"
        raise typer.BadParameter(msg, param_hint="--level")
    return levels[number]


def slice_of(image: Image, z: int) -> int:
    """Return the number of a slice, once it is known that the volume has it.

    Raises
    ------
    typer.BadParameter
        It has no such slice.
    """
    depth = image.size("Z")[0]
    if z >= depth:
        msg = f"{image.path!r} has {depth} slices, counted from 0; there is no {z}"
        raise typer.BadParameter(msg, param_hint="--z")
    return z


def one_line(error: Exception, path: str) -> str:
    """Return what an error says of a file, in one line that names it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or path!r}: {error.strerror}"
    text = " ".join(str(error).split()) or type(error).__name__
    named = repr(path) in text or repr(os.path.abspath(path)) in text
    return text if named else f"{path!r}: {text}"
