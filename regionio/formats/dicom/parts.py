"""The frames of several files, as columns of a tile table."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import UnsupportedFormatError
from regionio._index import Encoding
from regionio._interpretation import Interpretation
from regionio._transform import Transform
from regionio.codecs import decoder_for
from regionio.formats.dicom.encoding import encoding_of
from regionio.formats.dicom.frames import frame_table
from regionio.formats.dicom.header import Header
from regionio.formats.dicom.transforms import transforms_of
from regionio.storage import FileIdentity

__all__ = ["Columns", "Parts", "joined"]


@dataclass(frozen=True, eq=False)
class Columns:
    """What a tile table says of some frames, one entry a frame."""

    offset: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    source: NDArray[np.int32]
    encoding: NDArray[np.int16]
    transform: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.offset)

    def placed(self, place: NDArray[np.int64], count: int) -> Columns:
        """Return columns of `count` tiles of which frame i is tile ``place[i]``; others are absent."""
        columns: dict[str, Any] = {}
        for name, column in self._columns().items():
            columns[name] = np.zeros(count, dtype=column.dtype)
            columns[name][place] = column
        return Columns(**columns)

    def ordered(self, order: NDArray[np.int64]) -> Columns:
        """Return the columns of the frames in another order."""
        return Columns(**{name: column[order] for name, column in self._columns().items()})

    def fields(self) -> dict[str, Any]:
        """Return the arguments of a `TileTable`, columns of nothing but zeros left out."""
        columns = self._columns()
        needed = {name: columns.pop(name) for name in ("offset", "nbytes")}
        return needed | {n: column if column.any() else None for n, column in columns.items()}

    def _columns(self) -> dict[str, NDArray[Any]]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def joined(parts: Sequence[Columns]) -> Columns:
    """Return the columns of one file's frames behind those of another's."""
    if len(parts) == 1:
        return parts[0]
    names = [field.name for field in fields(Columns)]
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in names
    }
    return Columns(**columns)


class Parts:
    """Collects the distinct files, encodings and transforms of an image.

    Parameters
    ----------
    interpretation
        What the caller wants to see.
    """

    def __init__(self, interpretation: Interpretation) -> None:
        self.interpretation = interpretation
        self._sources: dict[FileIdentity, int] = {}
        self.encodings: list[Encoding] = []
        self.deflated: dict[str, int] = {}
        self._transforms: dict[Any, int] = {}
        self.transforms: list[Transform] = []

    @property
    def sources(self) -> tuple[str, ...]:
        """Paths of the files."""
        return tuple(identity.path for identity in self._sources)

    @property
    def identities(self) -> tuple[FileIdentity, ...]:
        """The files as they were when they were read."""
        return tuple(self._sources)

    def columns(self, header: Header) -> Columns:
        """Find the frames of a file and take in what they need.

        Raises
        ------
        CorruptFileError, UnsupportedFormatError
            Its frames can't be found, or can't be decoded.
        """
        table = frame_table(header)
        source_number = self._sources.setdefault(header.identity, len(self._sources))
        if header.deflated_from is not None:
            self.deflated[header.path] = header.deflated_from
        count = len(table)
        encoding = np.zeros(count, dtype=np.int16)
        first_bits = [0] if table.first_bit is None else np.unique(table.first_bit).tolist()
        for first_bit in first_bits:
            number = self._encoding(header, first_bit)
            if table.first_bit is None:
                encoding[:] = number
            else:
                encoding[table.first_bit == first_bit] = number
        transform = np.zeros(count, dtype=np.int32)
        known = self.encodings[int(encoding[0])]
        for numbers, found in transforms_of(header, count, known, self.interpretation):
            transform[numbers] = self._transform(found)
        source = np.full(count, source_number, dtype=np.int32)
        return Columns(table.offset, table.nbytes, source, encoding, transform)

    def _encoding(self, header: Header, first_bit: int) -> int:
        to_rgb = self.interpretation.values != "stored"
        encoding = encoding_of(header, first_bit, to_rgb=to_rgb)
        if encoding not in self.encodings:
            try:
                decoder_for(encoding, (header.number("Rows"), header.number("Columns")))
            except UnsupportedFormatError as error:
                msg = f"{header.path!r}: {error}"
                raise UnsupportedFormatError(msg) from error
            self.encodings.append(encoding)
        return self.encodings.index(encoding)

    def _transform(self, transform: Transform) -> int:
        """Return the number of a transform; those of plain numbers are kept once."""
        key = repr(transform)
        if "array" in key:
            key = str(id(transform))
        number = self._transforms.setdefault(key, len(self.transforms))
        if number == len(self.transforms):
            self.transforms.append(transform)
        return number

    def check_alike(self) -> None:
        """Raise where frames differ in type or number of samples.

        Raises
        ------
        UnsupportedFormatError
            They do.
        """
        kinds = {(e.dtype, e.samples) for e in self.transforms or self.encodings}
        if len(kinds) > 1:
            what = " and ".join(f"{samples} × {dtype}" for dtype, samples in sorted(kinds))
            msg = (
                f"{self.sources[0]!r} and the files with it do not fit together: samples of {what}"
            )
            raise UnsupportedFormatError(msg)
        turned = {encoding.photometric for encoding in self.encodings}
        if {"miniswhite", "minisblack"} <= turned and self.interpretation.values != "display":
            msg = (
                f"{self.sources[0]!r} and the files with it: high values are bright in some and dark "
                "in others (MONOCHROME1); values='display' makes them alike"
            )
            warnings.warn(msg, stacklevel=2)
