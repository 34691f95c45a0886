"""Which files are meant, and where their results go."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from regionio.formats.dicom.signature import is_dicom
from regionio.preprocess.source import Origin

__all__ = ["by_inode", "find_dicom", "result_path"]

EXTENSIONS = {".dcm", ".dicom"}
SIGNATURE_BYTES = 256
UNNAMED_SERIES = "series"


def find_dicom(source: str | os.PathLike[str]) -> list[Path]:
    """Return the DICOM files that are meant, in the order in which they lie on a disk.

    Parameters
    ----------
    source
        A DICOM file; a folder, which is searched with all folders in it; or a text file with a path
        a line, relative to its own folder.

    Raises
    ------
    FileNotFoundError
        There is no such thing.
    """
    path = Path(source)
    if path.is_dir():
        return by_inode(file for file in _files(path) if _looks_like_dicom(file))
    if not path.exists():
        raise FileNotFoundError(2, "there is no such file or folder", str(path))
    if path.suffix.lower() == ".txt":
        lines = path.read_text(encoding="utf-8").splitlines()
        return by_inode(path.parent / line.strip() for line in lines if line.strip())
    return [path]


def by_inode(paths: Iterable[Path]) -> list[Path]:
    """Sort files by inode, near to which they mostly lie on a spinning disk; missing ones last."""
    found = []
    for path in paths:
        try:
            inode = path.stat().st_ino
        except OSError:
            inode = 2**64
        found.append((inode, str(path), path))
    return [path for _, _, path in sorted(found)]


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files of a folder and of those in it."""
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif entry.is_file():
                    yield Path(entry.path)


def _looks_like_dicom(path: Path) -> bool:
    """Return whether a file has an extension of DICOM, or none and DICOM's signature."""
    extension = path.suffix.lower()
    if extension in EXTENSIONS:
        return True
    if extension and not extension[1:].isdigit():  # UIDs as names end in a number
        return False
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(SIGNATURE_BYTES))
    except OSError:
        return True  # it is reported when it is read


@dataclass(frozen=True)
class _Names:
    study: str
    series: str
    instance: str


def result_path(output: Path, origin: Origin) -> Path:
    """Return where a file's result goes in a folder: ``{study}/{series}/{instance}.tiff``.

    Raises
    ------
    ValueError
        The file has no UIDs that could be names.
    """
    names = _Names(origin.study, origin.series or UNNAMED_SERIES, origin.instance)
    for name in (names.study, names.series, names.instance):
        if not name or name.strip(".") == "" or "/" in name or "\\" in name or "\0" in name:
            msg = f"{origin.path!r} has no UIDs to name its result by: give a file as output"
            raise ValueError(msg)
    return output / names.study / names.series / f"{names.instance}.tiff"
