"""``regionio combine``: TIFFs of single slices to one a series."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regionio.cli.opening import checked_arguments, one_line
from regionio.cli.progress import progress_bar
from regionio.preprocess.combine import combine as combine_series
from regionio.preprocess.combine import numbers_in

__all__ = ["combine"]


def combine(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of TIFFs of one page each; those in it are searched.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT",
            help="Another folder, which gets study/series/instance.tiff; it has to be there.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ],
    numbers: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="CSV or Parquet with sop_instance_uid and instance_number, for TIFFs that do not "
            "say their number.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", "-j", min=1, help="Default: one a CPU.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write results again that are there.")
    ] = False,
) -> None:
    """Write the slices of each series into one TIFF, sorted by InstanceNumber.

    Pages are copied as they are, with their tags. What fails is told, and the rest goes on; then the
    exit code is 1.
    """
    inner, outer = output.resolve(), source.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        msg = f"{str(output)!r} and {str(source)!r} lie in each other: results would be sources"
        raise typer.BadParameter(msg, param_hint="OUTPUT")
    with checked_arguments():
        known = None if numbers is None else numbers_in(numbers)
    states = {"done": 0, "skipped": 0, "failed": 0}
    with progress_bar("combining", None, "series") as advance:
        for outcome in combine_series(
            source, output, known, num_workers=threads, overwrite=overwrite
        ):
            advance(1)
            states[outcome.state] += 1
            if outcome.error is not None:
                typer.echo(f"regionio: {one_line(outcome.error, str(outcome.source))}", err=True)
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    typer.echo(f"{counts}, of {sum(states.values())} series")
    if states["failed"]:
        raise typer.Exit(1)
