"""Arguments that several commands have, and the end of every help text."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

__all__ = ["AsJson", "File", "Level", "Scene", "epilog"]

File: TypeAlias = Annotated[
    str, typer.Argument(metavar="FILE", help="The slide.", show_default=False)
]
Scene: TypeAlias = Annotated[
    int, typer.Option(min=0, metavar="N", help="Which image of a file that holds several.")
]
Level: TypeAlias = Annotated[
    int, typer.Option(min=0, metavar="N", help="Resolution level; 0 is the largest.")
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else.")
]


def epilog(example: str) -> str:
    """Return what a command's help ends with: an example and the exit codes."""
    return (
        f"Example: regionio {example}\n\n"
        "Exit codes: 0 fine; 1 the file or a read failed, with one line on stderr that says "
        "which and why; 2 wrong usage."
    )
