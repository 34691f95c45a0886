"""Arguments that several commands have, and the end of every help text."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "AsJson",
    "File",
    "FrameOrder",
    "FrameOrders",
    "IndexFolder",
    "Level",
    "Scene",
    "Values",
    "ValuesKinds",
    "Window",
    "epilog",
]


class ValuesKinds(StrEnum):
    """What pixels of DICOM are."""

    AUTO = "auto"
    STORED = "stored"
    MODALITY = "modality"
    DISPLAY = "display"


class FrameOrders(StrEnum):
    """In which order frames of DICOM are."""

    GEOMETRY = "geometry"
    STORED = "stored"


File: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="The slide or volume: a file, or a folder of DICOM files.",
        show_default=False,
    ),
]
Scene: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="N|NAME", help="Which image of a file or folder that holds several; see info."
    ),
]
Level: TypeAlias = Annotated[
    int, typer.Option(min=0, metavar="N", help="Resolution level; 0 is the largest.")
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else.")
]
Values: TypeAlias = Annotated[
    ValuesKinds | None,
    typer.Option(
        help="What pixels of DICOM are: as stored, with colour as RGB (auto) or not (stored); "
        "float32 after rescale, HU for instance (modality); gray levels for the eye (display).",
        show_default="auto; display with --window",
    ),
]
Window: TypeAlias = Annotated[
    tuple[float, float] | None,
    typer.Option(
        metavar="CENTER WIDTH",
        help="Of display values, in units of modality values.",
        show_default="the file's own",
    ),
]
FrameOrder: TypeAlias = Annotated[
    FrameOrders,
    typer.Option(
        help="Frames of a DICOM volume as they lie in space, or as they are stored.",
    ),
]
IndexFolder: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        envvar="REGIONIO_INDEX_FOLDER",
        help="Save here what is known of the file, to open it fast the next time; its metadata "
        "is part of that, names of patients included.",
        show_default=False,
    ),
]


def epilog(example: str) -> str:
    """Return what a command's help ends with: an example and the exit codes."""
    return (
        f"Example: regionio {example}\n\n"
        "Exit codes: 0 fine; 1 the file or a read failed, with one line on stderr that says "
        "which and why; 2 wrong usage."
    )
