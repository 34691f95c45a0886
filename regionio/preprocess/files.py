"""Which files are meant, and where their results go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regionio._errors import RegionIOError
from regionio.formats.dicom.siblings import read_instance
from regionio.formats.dicom.signature import is_dicom
from regionio.preprocess.source import Origin

__all__ = [
    "Source",
    "by_inode",
    "by_series",
    "files_in",
    "find_dicom",
    "is_name",
    "result_path",
    "result_stem",
]

EXTENSIONS = {".dcm", ".dicom"}
SIGNATURE_BYTES = 256
LIST_OF_FILES = "DICOMDIR"
"""Is DICOM, but holds no picture: exports to disks have one."""

UNNAMED_SERIES = "series"


@dataclass(frozen=True)
class Source:
    """Files that one result is made of.

    Parameters
    ----------
    files
        A file, or the slices of a series.
    """

    files: tuple[Path, ...]

    @property
    def path(self) -> Path:
        """The file; of several, the folder that holds them."""
        if len(self.files) == 1:
            return self.files[0]
        return Path(os.path.commonpath([file.parent for file in self.files]))


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
    ValueError
        The text file is none.
    """
    path = Path(source)
    if path.is_dir():
        return by_inode(files_in(path, _looks_like_dicom))
    if not path.exists():
        raise FileNotFoundError(2, "there is no such file or folder", str(path))
    if path.suffix.lower() == ".txt":
        # bytes that are no text may be part of a file's name
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        if "\0" in text:
            msg = f"{str(path)!r} is no text with a path a line, encoded as UTF-8"
            raise ValueError(msg)
        lines = dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())
        return by_inode(path.parent / line for line in lines)
    return [path]


def by_series(files: Iterable[Path]) -> Iterator[Source]:
    """Yield the slices of each series together, and all other files one by one.

    Slices are files of one frame of CT, MR and the like, or that say where in a patient they lie;
    single mammograms are none.

    Parameters
    ----------
    files
        DICOM files; what cannot be read is one by one, too, and is reported when it is preprocessed.
    """
    together: dict[tuple[str, str], list[Path]] = {}
    for file in files:
        try:
            instance = read_instance(os.path.abspath(file))
            is_slice = instance.is_slice and bool(instance.series)
        except (RegionIOError, OSError):
            is_slice = False
        if is_slice:
            key = (instance.text("StudyInstanceUID"), instance.series)
            together.setdefault(key, []).append(file)
        else:
            yield Source((file,))
    yield from (Source(tuple(slices)) for slices in together.values())


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


def files_in(folder: Path, wanted: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield files of a folder and of those in it, by name, and folders that can't be looked into.

    Parameters
    ----------
    folder
        Is searched.
    wanted
        Tells which files.
    """
    waiting = [(folder, True)]
    while waiting:
        place, is_folder = waiting.pop()
        if not is_folder:
            if wanted(place):
                yield place
            continue
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name, reverse=True)
        except OSError:
            yield place  # it is reported when it is read
            continue
        kinds = ((entry, _kind(entry)) for entry in entries)
        waiting += [(Path(e.path), kind == "folder") for e, kind in kinds if kind != "other"]


def _kind(entry: os.DirEntry[str]) -> Literal["folder", "file", "other"]:
    """Return what an entry of a folder is.

    A link that leads nowhere, and what can't be looked at, is a file: it is reported when it is read.
    """
    try:
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        if entry.is_file():
            return "file"
        return "file" if entry.is_symlink() and not os.path.exists(entry.path) else "other"
    except OSError:
        return "file"


def _looks_like_dicom(path: Path) -> bool:
    """Return whether a file has an extension of DICOM, or none and DICOM's signature."""
    if path.name == LIST_OF_FILES:
        return False
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


def result_path(output: Path, origin: Origin) -> Path:
    """Return where a result goes in a folder: ``{study}/{series}/{instance}.tiff``.

    That of a whole series is ``{study}/{series}/series.tiff``.

    Raises
    ------
    ValueError
        There are no UIDs that could be names.
    """
    names = (origin.study, origin.series or UNNAMED_SERIES, result_stem(origin))
    if not all(map(is_name, names)):
        msg = f"{origin.paths[0]!r} has no UIDs to name its result by: give a file as output"
        raise ValueError(msg)
    study, series, stem = names
    return output / study / series / f"{stem}.tiff"


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a file or folder, and no hidden one.

    >>> is_name("1.2.3"), is_name(""), is_name("../1"), is_name(".1")
    (True, False, False, False)
    """
    return bool(text) and not text.startswith(".") and not set(text) & set("/\\\0")


def result_stem(origin: Origin) -> str:
    """Return the last part of a result's name: a SOPInstanceUID, or ``series``."""
    return origin.instances[0] if len(origin.instances) == 1 else UNNAMED_SERIES
