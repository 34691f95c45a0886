"""``regionio tiff-stats``: mean and standard deviation of many TIFFs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from regionio.cli import options
from regionio.cli.opening import reported
from regionio.preprocess.manifest import find_tiffs
from regionio.preprocess.statistics import statistics_of

__all__ = ["tiff_stats"]


def tiff_stats(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of TIFFs; those in it are searched.",
            show_default=False,
        ),
    ],
    *,
    normalized: Annotated[
        bool, typer.Option("--normalized", "-n", help="Of values from 0 to 1.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Print mean and standard deviation of each channel, over all pages of all TIFFs."""
    with reported(str(source)):
        files = list(find_tiffs(source))
        if not files:
            msg = f"{str(source)!r} holds no TIFF"
            raise typer.BadParameter(msg, param_hint="SOURCE")
        try:
            found = statistics_of(files, normalized=normalized)
        except ValueError as error:
            typer.echo(f"regionio: {str(source)!r}: {error}", err=True)
            raise typer.Exit(1) from error
    if as_json:
        channels = [{"mean": one.mean, "std": one.std, "count": one.count} for one in found]
        typer.echo(json.dumps({"files": len(files), "channels": channels}))
        return
    table = Table("channel", "mean", "std", "pixels")
    for number, one in enumerate(found):
        table.add_row(str(number), f"{one.mean:.6g}", f"{one.std:.6g}", f"{one.count:,}")
    Console().print(table)
