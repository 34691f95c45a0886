"""One file's place among others: what it shows of which slide or series.

Source: DICOM PS3.3, C.7.6.16 (multi-frame functional groups, concatenations), C.8.12.4 (whole slide
microscopy image), C.8.12.6 (plane position, slide).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

from regionio._errors import CorruptFileError
from regionio._lazy import lazy_property
from regionio.formats.dicom.header import PER_FRAME_GROUPS, Header, parsing

__all__ = ["SHARED_GROUPS", "SLIDE_CLASS", "Instance"]

SLIDE_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"
SHARED_GROUPS = "SharedFunctionalGroupsSequence"
ASSOCIATED = {
    "LABEL": "label",
    "OVERVIEW": "macro",
    "THUMBNAIL": "thumbnail",
    "LOCALIZER": "macro",
}
"""Third value of Image Type → name; LOCALIZER is what older files call an overview."""

PROJECTIONS = frozenset(
    (
        "CR",
        "DX",
        "ES",
        "GM",
        "IO",
        "IVUS",
        "MG",
        "OP",
        "OT",
        "PX",
        "RF",
        "RG",
        "SM",
        "US",
        "XA",
        "XC",
    )
)
"""Modalities whose single pictures are no slices of one volume unless they say where they lie."""


@dataclass(frozen=True, eq=False)
class Instance:
    """What a file is.

    Parameters
    ----------
    header
        Its attributes.
    """

    header: Header

    @property
    def path(self) -> str:
        """Path of the file."""
        return self.header.path

    @property
    def name(self) -> str:
        """Name of the file, for messages."""
        return os.path.basename(self.path)

    @lazy_property
    def series(self) -> str:
        """SeriesInstanceUID."""
        return self.text("SeriesInstanceUID")

    @lazy_property
    def uid(self) -> str:
        """SOPInstanceUID, or the path where the file has none."""
        return self.text("SOPInstanceUID") or self.path

    @lazy_property
    def size(self) -> tuple[int, int]:
        """(width, height) of a frame."""
        return self.header.number("Columns"), self.header.number("Rows")

    @lazy_property
    def frames(self) -> int:
        """Number of frames."""
        return self.header.number("NumberOfFrames", 1)

    @lazy_property
    def matrix(self) -> tuple[int, int]:
        """(width, height) of what the tiles make up, or of a frame."""
        if self.header.value("TotalPixelMatrixColumns") is None:
            return self.size
        return (
            self.header.number("TotalPixelMatrixColumns"),
            self.header.number("TotalPixelMatrixRows"),
        )

    @lazy_property
    def is_slide(self) -> bool:
        """Whether frames are tiles of a slide, or of what was found in one."""
        if self.text("SOPClassUID") == SLIDE_CLASS:
            return True
        return self.header.value("TotalPixelMatrixColumns") is not None

    @property
    def is_of_slide(self) -> bool:
        """Whether it is a picture of a slide, tiled or not."""
        return self.text("SOPClassUID") == SLIDE_CLASS

    @lazy_property
    def associated(self) -> str | None:
        """Name of the associated image that it is; None: it is a level."""
        kinds = self.texts("ImageType")
        if self.text("SOPClassUID") != SLIDE_CLASS or len(kinds) < 3:
            return None
        return ASSOCIATED.get(kinds[2])

    @lazy_property
    def pyramid(self) -> str:
        """What the levels of one pyramid have in common."""
        return self.text("PyramidUID") or self.text("FrameOfReferenceUID")

    @lazy_property
    def concatenation(self) -> str:
        """ConcatenationUID, empty where the file is whole."""
        return self.text("ConcatenationUID")

    @lazy_property
    def is_slice(self) -> bool:
        """Whether it is a single picture that may be a slice of a volume."""
        if self.frames > 1 or PER_FRAME_GROUPS in self.header.elements or self.concatenation:
            return False
        if all(self.header.value(f"Image{what}Patient") for what in ("Position", "Orientation")):
            return True
        return self.text("Modality") not in PROJECTIONS

    @lazy_property
    def number(self) -> float:
        """InstanceNumber; infinite where the file has none."""
        value = self.text("InstanceNumber")
        try:
            return float(value)
        except ValueError:
            return float("inf")

    def check(self) -> None:
        """Raise where what sorts it among other files can't be parsed.

        Raises
        ------
        CorruptFileError
            An attribute is missing or damaged.
        """
        _ = self.matrix, self.size, self.frames, self.associated

    def text(self, keyword: str) -> str:
        """Return an attribute as text, empty where it is missing."""
        value = self.header.value(keyword)
        return "" if value is None else str(value).strip(" \0")

    def texts(self, keyword: str) -> list[str]:
        """Return the values of an attribute as texts."""
        value = self.header.value(keyword)
        if value is None or value == "":
            return []
        if isinstance(value, str | int | float):
            return [str(value)]
        with parsing(self.path):
            return [str(part) for part in value]

    def group_item(self, sequence: str) -> Any | None:
        """Return the first item of a sequence of the shared functional groups."""
        items = self.nested(SHARED_GROUPS, sequence)
        with parsing(self.path):
            return items[0] if items else None

    def nested(self, *keywords: str) -> Any:
        """Return an attribute that stands in the first items of sequences, None if it is missing.

        Parameters
        ----------
        keywords
            Of each sequence, from the outermost on, and of the attribute.

        Raises
        ------
        CorruptFileError
            Something on the way can't be parsed.
        """
        first, *others = keywords
        found: Any = self.header.value(first)
        with parsing(self.path):
            for keyword in others:
                if not found:
                    return None
                found = found[0].get(keyword)
            return found

    def numbers(self, *keywords: str) -> list[float]:
        """Return the numbers of an attribute as `nested` finds it, none where it is missing.

        Raises
        ------
        CorruptFileError
            They are no finite numbers.
        """
        value = self.nested(*keywords)
        if value is None or value == "":
            return []
        values = [value] if isinstance(value, str | int | float) else value
        with parsing(self.path):
            numbers = [float(part) for part in values]
        if not all(map(math.isfinite, numbers)):
            msg = f"{self.path!r}: {keywords[-1]} is {value!r}, finite numbers were expected"
            raise CorruptFileError(msg)
        return numbers

    def items(self, keyword: str) -> list[Any]:
        """Return the items of a sequence, none where it is missing."""
        with parsing(self.path):
            return list(self.header.value(keyword) or [])
