"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

__all__ = ["refuse_source", "replacing"]


def refuse_source(sources: Iterable[str], target: Path) -> None:
    """Refuse to write over a file that is read.

    Parameters
    ----------
    sources
        Paths of what is read.
    target
        Of what is to be written.

    Raises
    ------
    typer.BadParameter
        It is one of them.
    """
    if not os.path.exists(target):
        return
    for source in sources:
        if os.path.exists(source) and os.path.samefile(source, target):
            msg = f"{str(target)!r} is what is read itself; give another name"
            raise typer.BadParameter(msg)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a name beside `target` to write to; what is there takes its place at the end.

    Parameters
    ----------
    target
        File or folder. What it was before stays until the block has ended well.

    Yields
    ------
    Path
        Where to write. It is removed if the block fails.

    Raises
    ------
    FileNotFoundError
        The folder of `target` does not exist.
    """
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(target.parent))
    temporary = _beside(target, "partial")
    try:
        yield temporary
        if temporary.is_dir() and target.is_dir():
            _swap_folders(temporary, target)
        else:
            os.replace(temporary, target)
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(target)  # the name that the user knows
        raise


def _swap_folders(new: Path, target: Path) -> None:
    old = _beside(target, "old")
    os.rename(target, old)
    try:
        os.rename(new, target)
    except OSError:
        os.rename(old, target)
        raise
    shutil.rmtree(old)


def _beside(target: Path, purpose: str) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.{purpose}")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
