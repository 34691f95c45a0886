"""Files that hold the frames of one image between them.

Source: DICOM PS3.3, C.7.6.16.1.1 (multi-frame functional groups, concatenation attributes).
"""

from __future__ import annotations

from collections.abc import Sequence

from regionio._errors import CorruptFileError
from regionio.formats.dicom.instance import Instance

__all__ = ["concatenations", "whole_concatenation"]

OFFSET, TOTAL = "ConcatenationFrameOffsetNumber", "InConcatenationTotalNumber"


def concatenations(files: Sequence[Instance]) -> list[list[Instance]]:
    """Group the parts of concatenations, in order; a file that is whole is a group of its own.

    Raises
    ------
    CorruptFileError
        A part is missing.
    """
    groups: dict[str, list[Instance]] = {}
    for file in files:
        groups.setdefault(file.concatenation or file.uid, []).append(file)
    return [whole_concatenation(group) for group in groups.values()]


def whole_concatenation(group: Sequence[Instance]) -> list[Instance]:
    """Return the parts of a concatenation in order, or the one file that is none.

    Raises
    ------
    CorruptFileError
        A part is missing.
    """
    if not group[0].concatenation:
        return list(group)
    parts = sorted(group, key=lambda file: file.header.number(OFFSET, 0))
    expected = 0
    for part in parts:
        offset = part.header.number(OFFSET, 0)
        if offset != expected:
            msg = (
                f"{part.path!r} begins with frame {offset + 1} of its concatenation, but frame "
                f"{expected + 1} is the next of the files given: a part is missing"
            )
            raise CorruptFileError(msg)
        expected += part.frames
    total = parts[0].header.number(TOTAL, len(parts))
    if total != len(parts):
        msg = f"{parts[0].path!r} is part of a concatenation of {total} files, of which {len(parts)} are given"
        raise CorruptFileError(msg)
    return parts
