"""``regionio preprocess``: DICOM to small TIFFs that models are trained on."""

from __future__ import annotations

import math
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from regionio.cli.opening import checked_arguments, one_line, told_of_warnings
from regionio.cli.progress import progress_bar
from regionio.preprocess import (
    CentralSlice,
    Interpolate,
    Keep,
    LaplacianMip,
    MaxIntensity,
    Preprocessor,
    VolumeHandler,
)
from regionio.preprocess.compat import (
    OriginalInterpolate,
    OriginalLaplacianMip,
    OriginalPreprocessor,
    read_frames_as_original,
    write_tiff_as_original,
)
from regionio.preprocess.files import Source, by_series, find_dicom
from regionio.preprocess.kernels import Filter
from regionio.preprocess.laplacian import ProjectionMode
from regionio.preprocess.padding import PaddingSide
from regionio.preprocess.run import Task, run
from regionio.preprocess.tiff import Compressor

__all__ = ["preprocess"]

DEVICE = re.compile(r"cpu|cuda(:\d+)?")


class Handlers(StrEnum):
    """What becomes of the frames of a volume."""

    KEEP = "keep"
    CENTRAL_SLICE = "central-slice"
    MAX_INTENSITY = "max-intensity"
    INTERPOLATE = "interpolate"
    LAPLACIAN_MIP = "laplacian-mip"


def _numbers(text: str | None, option: str, counts: set[int], *, whole: bool) -> Any:
    """Return the numbers of a text such as ``1,2``."""
    if text is None:
        return None
    try:
        values = tuple(int(part) if whole else float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in counts or not all(math.isfinite(value) for value in values):
        wanted = " or ".join(str(count) for count in sorted(counts))
        msg = (
            f"{text!r} is not {wanted} {'whole ' if whole else ''}numbers with a comma between them"
        )
        raise typer.BadParameter(msg, param_hint=option)
    return values


def preprocess(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A DICOM file; a folder, of which, with all in it, *.dcm, *.dicom and DICOM files "
            "without an extension are taken; or a text file with a path a line.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT",
            help="A TIFF, or a folder, which gets study/series/instance.tiff; it has to be there.",
            show_default=False,
        ),
    ],
    crop: Annotated[
        bool,
        typer.Option(
            "--crop",
            "-c",
            help="Cut off borders that are zero, and all but the largest bright part.",
        ),
    ] = False,
    crop_max: Annotated[
        bool,
        typer.Option(
            "--crop-max", "-m", help="Pixels of the largest value there can be are border, too."
        ),
    ] = False,
    no_components: Annotated[
        bool,
        typer.Option("--no-components", "-n", help="Keep all parts that are not zero."),
    ] = False,
    border_frac: Annotated[
        float | None,
        typer.Option("--border-frac", "-b", help="Part of each side that is not looked at.", min=0),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("--size", "-s", metavar="W,H", help="Size of the result, proportions kept."),
    ] = None,
    spacing: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y[,Z]",
            help="Millimetres from pixel to pixel, instead of --size; as near as whole pixels and frames of the same extent come to it.",
        ),
    ] = None,
    kind: Annotated[
        Filter, typer.Option("--filter", "-f", help="How pixels are resized.")
    ] = "triangle",
    padding: Annotated[
        PaddingSide,
        typer.Option(
            "--padding", "-p", help="Where zeros go that fill --size; zero: to the emptier side."
        ),
    ] = "zero",
    no_padding: Annotated[bool, typer.Option("--no-padding", help="Do not fill --size.")] = False,
    compressor: Annotated[
        Compressor, typer.Option("--compressor", "-z", help="How pages are compressed.")
    ] = "packbits",
    volume_handler: Annotated[
        Handlers,
        typer.Option("--volume-handler", "-v", help="What becomes of the frames of a volume."),
    ] = Handlers.KEEP,
    target_frames: Annotated[
        int, typer.Option("--target-frames", "-t", min=1, help="Frames that interpolate gives.")
    ] = 32,
    mip_weight: Annotated[
        float,
        typer.Option(min=0, help="Of the maximum's details in laplacian-mip."),
    ] = 1.5,
    skip_frames: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Frames at either end that laplacian-mip and max-intensity leave out.",
            show_default="5 and 0",
        ),
    ] = None,
    projection_mode: Annotated[
        ProjectionMode, typer.Option(help="What laplacian-mip adds the details to.")
    ] = "parallel-beam",
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            "-w",
            metavar="C,W",
            help="Window instead of the files' own; not of colours.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", "-j", min=1, help="Default: one a CPU.")
    ] = None,
    series: Annotated[
        bool,
        typer.Option(
            "--series", help="Slices of one series are one volume, cropped alike: series.tiff."
        ),
    ] = False,
    device: Annotated[
        str, typer.Option(help="Where frames are decoded and pictures made: cpu, cuda, cuda:1.")
    ] = "cpu",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first failure.")] = False,
    compat: Annotated[
        bool,
        typer.Option(
            "--compat", help="Levels, rounding and tags as dicom-preprocessing 0.1 has them."
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write results again that are there.")
    ] = False,
) -> None:
    """Crop, resize and pad DICOM images, and write them as TIFFs.

    Gray images are windowed first, those without a window from darkest to brightest. All frames of a
    volume are cropped alike; tomosynthesis that was stored upside down is turned. Results that are
    there are skipped, so that an interrupted run can be resumed. What fails is told, and the rest goes
    on; then the exit code is 1.
    """
    if not crop and (crop_max or no_components or border_frac is not None):
        msg = (
            "--crop-max, --no-components and --border-frac say how it is cropped: give --crop, too"
        )
        raise typer.BadParameter(msg, param_hint="--crop")
    make = OriginalPreprocessor if compat else Preprocessor
    make_fewer = OriginalInterpolate if compat else Interpolate
    make_mip = OriginalLaplacianMip if compat else LaplacianMip
    with checked_arguments():
        handlers: dict[Handlers, VolumeHandler] = {
            Handlers.KEEP: Keep(),
            Handlers.CENTRAL_SLICE: CentralSlice(),
            Handlers.MAX_INTENSITY: MaxIntensity(skip_frames or 0, skip_frames or 0),
            Handlers.INTERPOLATE: make_fewer(target_frames),
            Handlers.LAPLACIAN_MIP: make_mip(
                mip_weight, 5 if skip_frames is None else skip_frames, projection_mode
            ),
        }
        steps = make(
            crop=crop,
            crop_max=crop_max,
            components=not no_components,
            border_frac=border_frac,
            size=_numbers(size, "--size", {2}, whole=True),
            spacing=_numbers(spacing, "--spacing", {2, 3}, whole=False),
            filter=kind,
            padding=padding,
            use_padding=not no_padding,
            volume_handler=handlers[volume_handler],
        )
    levels = _numbers(window, "--window", {2}, whole=False)
    if levels is not None and levels[1] <= 0:
        raise typer.BadParameter("the width has to be more than 0", param_hint="--window")
    if not DEVICE.fullmatch(device):
        raise typer.BadParameter(f"{device!r} is not cpu, cuda or cuda:1", param_hint="--device")
    task = Task(steps, compressor, levels, device)
    if compat:
        read, write = read_frames_as_original, write_tiff_as_original
        task = Task(steps, compressor, levels, device, read, write)
    with checked_arguments():
        sources = _sources(source, output, together=series)
    done = skipped = failed = 0
    with told_of_warnings(), progress_bar("preprocessing", len(sources), "files") as advance:
        for outcome in run(sources, output, task, threads=threads, overwrite=overwrite):
            advance(1)
            done += outcome.state == "done"
            skipped += outcome.state == "skipped"
            if outcome.error is not None:
                failed += 1
                typer.echo(f"regionio: {one_line(outcome.error, str(outcome.source))}", err=True)
                if strict:
                    break
    typer.echo(f"{done} done, {skipped} skipped, {failed} failed, of {len(sources)}")
    if failed:
        raise typer.Exit(1)


def _sources(source: Path, output: Path, *, together: bool) -> list[Source]:
    """Return the files, or series, that are meant, once it is known that results have a place."""
    try:
        files = find_dicom(source)
    except OSError as error:
        raise typer.BadParameter(
            f"{str(source)!r}: {error.strerror}", param_hint="SOURCE"
        ) from error
    try:
        output.is_dir()
    except OSError as error:
        raise typer.BadParameter(
            f"{str(output)!r}: {error.strerror}", param_hint="OUTPUT"
        ) from error
    if not files:
        msg = f"{str(source)!r} holds no DICOM file"
        raise typer.BadParameter(msg, param_hint="SOURCE")
    sources = list(by_series(files)) if together else [Source((file,)) for file in files]
    if len(sources) > 1 and not output.is_dir():
        msg = f"{str(output)!r} has to be a folder that is there, for {len(sources)} files"
        raise typer.BadParameter(msg, param_hint="OUTPUT")
    if not output.is_dir() and output.suffix.lower() not in {".tif", ".tiff"}:
        msg = f"{str(output)!r} is no folder that is there, and no name of a TIFF"
        raise typer.BadParameter(msg, param_hint="OUTPUT")
    if not output.is_dir() and not output.parent.is_dir():
        msg = f"there is no folder {str(output.parent)!r}"
        raise typer.BadParameter(msg, param_hint="OUTPUT")
    return sources
