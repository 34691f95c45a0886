"""All commands under one name."""

from __future__ import annotations

from typing import Annotated

import typer

import regionio
from regionio._native import native, native_jpeg2000, native_pixels
from regionio.cli.bench import bench
from regionio.cli.combine import combine
from regionio.cli.extract import extract
from regionio.cli.info import info
from regionio.cli.manifest import manifest
from regionio.cli.options import epilog
from regionio.cli.preprocess import preprocess
from regionio.cli.read import read
from regionio.cli.thumbnail import thumbnail
from regionio.cli.tiff_stats import tiff_stats

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # wraps paragraphs to the terminal
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=epilog("info slide.svs --json"))(info)
app.command(epilog=epilog("thumbnail slide.svs slide.png --max-size 1024"))(thumbnail)
app.command(
    epilog=epilog("read slide.svs region.tif --location 12000 8000 --size 2048 2048 --level 1")
)(read)
app.command(epilog=epilog("extract slide.svs patches/ --size 256 --level 1 --tissue 0.25"))(extract)
app.command(epilog=epilog("preprocess study/ out/ --crop --size 512,384 --compressor zstd"))(
    preprocess
)
app.command(epilog=epilog("manifest out/ out.parquet --order inode"))(manifest)
app.command(epilog=epilog("combine out/ series/"))(combine)
app.command(name="tiff-stats", epilog=epilog("tiff-stats out/ --normalized"))(tiff_stats)
app.command(epilog=epilog("bench slide.svs --threads 1,4,16 --patch 256"))(bench)


def _print_version(wanted: bool) -> None:
    if wanted:
        jpeg = native.JPEG_LIBRARY if native is not None else "JPEG not built"
        jpeg2000 = "JPEG 2000 not built"
        if native_jpeg2000 is not None:
            jpeg2000 = native_jpeg2000.JPEG2000_LIBRARY
        pixels = "tables and resizing" + ("" if native_pixels is not None else " not built")
        parts = f"{jpeg}, {jpeg2000}, {pixels}"
        typer.echo(f"regionio {regionio.__version__} (compiled parts: {parts})")
        raise typer.Exit


@app.callback()
def describe(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Look at whole slides and volumes, and take regions and patches out of them."""
