"""``regionio manifest``: a table of preprocessed TIFFs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regionio.cli.opening import checked_arguments, one_line, reported
from regionio.preprocess.manifest import Failure, Order, write_manifest

__all__ = ["manifest"]


def manifest(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="The folder of TIFFs; those in it are searched.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT.{parquet,csv}", help="The table.", show_default="SOURCE/manifest.parquet"
        ),
    ] = None,
    order: Annotated[
        Order,
        typer.Option(
            help="Rows by study, series and instance, or as files mostly lie on a spinning disk."
        ),
    ] = "uid",
) -> None:
    """Write a table of TIFFs: UIDs, path, inode, size, channels, frames, spacing, side and view.

    TIFFs that can't be read are told and left out; then the exit code is 1. Paths are relative to the
    table's folder. What stood at OUT is replaced.
    """
    target = source / "manifest.parquet" if output is None else output
    rows = failed = 0
    with reported(str(source)), checked_arguments():
        for found in write_manifest(source, target, order):
            if isinstance(found, Failure):
                failed += 1
                typer.echo(f"regionio: {one_line(found.error, str(found.path))}", err=True)
            else:
                rows += found
    typer.echo(f"{target}: {rows} rows, {failed} failed")
    if failed:
        raise typer.Exit(1)
