"""Opens slides for commands, and turns what goes wrong into exit codes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer

import regionio
from regionio import Image, LevelInfo, RegionIOError

__all__ = ["checked_arguments", "level_of", "opened", "reported"]


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
        typer.echo(f"regionio: {_one_line(error, path)}", err=True)
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
def opened(path: str, scene: int) -> Iterator[Image]:
    """Open a slide for the block; whatever fails with it there is reported.

    Parameters
    ----------
    path
        Of the file.
    scene
        Number of the image in it.
    """
    with reported(path):
        with checked_arguments():
            image = regionio.open(path, scene=scene)
        with image:
            yield image


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


def _one_line(error: Exception, path: str) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or path!r}: {error.strerror}"
    text = " ".join(str(error).split())
    return text if os.path.basename(path) in text else f"{path!r}: {text}"
