"""TIFFs of one page each, the slices of a series, as one TIFF a series."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from regionio._errors import CorruptFileError, UnsupportedFormatError
from regionio._workers import default_num_workers
from regionio.preprocess.files import is_name
from regionio.preprocess.manifest import describe_tiff, find_tiffs, read_table
from regionio.preprocess.run import Outcome
from regionio.preprocess.tiff import (
    ACTIVE_AREA,
    CLASSIC_BYTES,
    DEFAULT_CROP_ORIGIN,
    DEFAULT_CROP_SIZE,
    PAGE_NUMBER,
    provenance_in,
    write_pages,
)

__all__ = ["combine", "numbers_in"]

OF_PIXELS = {
    254,
    255,
    256,
    257,
    258,
    259,
    262,
    266,
    273,
    277,
    278,
    279,
    284,
    317,
    322,
    323,
    324,
    325,
}
OF_ARGUMENTS = {270, 282, 283, 296, 338, 339, PAGE_NUMBER}
"""Tags that `TiffWriter.write` makes of a page's pixels, and of its arguments."""

OF_CROP = DEFAULT_CROP_ORIGIN, DEFAULT_CROP_SIZE, ACTIVE_AREA
"""Tags that tell how a page was cropped and padded that has no description of regionio's."""

NUMBER = "instance_number"


@dataclass(frozen=True)
class _Slice:
    """A TIFF and its place in its series."""

    path: Path
    study: str
    series: str
    instance: str
    number: int | None


def combine(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    numbers: Mapping[str, int] | None = None,
    *,
    num_workers: int | None = None,
    overwrite: bool = False,
) -> Iterator[Outcome]:
    """Write the slices of each series into one TIFF, by their InstanceNumber.

    Pages are copied as they are, each with its tags and its description. Slices that were cropped
    or resized otherwise than others of their series are no volume, and fail: ``regionio preprocess
    --series`` treats slices alike.

    Parameters
    ----------
    source
        A folder of TIFFs of one page each; those in it are searched.
    output
        A folder that is there, other than `source`. Results get ``{study}/{series}/{instance}.tiff``,
        named after their first slice.
    numbers
        SOPInstanceUID → InstanceNumber; None is what the TIFFs of `regionio preprocess` say.
    num_workers
        Series that are written at a time; None is as many as there are CPUs for this process.
    overwrite
        Write results again that are there.

    Yields
    ------
    Outcome
        Of each series; and of each TIFF that can't be read, which fails every series of its folder.
    """
    target = Path(output)
    workers = default_num_workers() if num_workers is None else max(1, num_workers)
    together: dict[tuple[str, str], list[_Slice]] = {}
    failed: dict[Path, Outcome] = {}
    for path in find_tiffs(Path(source)):
        found = _slice_of(path, numbers)
        if isinstance(found, _Slice):
            together.setdefault((found.study, found.series), []).append(found)
        else:
            failed.setdefault(path.parent, found)
            yield found

    def one(slices: list[_Slice]) -> Outcome:
        try:
            return _combined(slices, target, failed, overwrite=overwrite)
        except Exception as error:  # noqa: BLE001  the others go on
            return Outcome(slices[0].path.parent, "failed", error=error)

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(one, together.values())


def numbers_in(table: str | os.PathLike[str]) -> dict[str, int]:
    """Return SOPInstanceUID → InstanceNumber of a table.

    Parameters
    ----------
    table
        ``*.parquet`` or ``*.csv`` with the columns ``sop_instance_uid`` and ``instance_number``.

    Raises
    ------
    ValueError
        It has no such columns, a number is missing, or an instance has two.
    """
    path = Path(table)
    columns = read_table(path)
    missing = {"sop_instance_uid", NUMBER} - set(columns.column_names)
    if missing:
        msg = f"{str(path)!r} has no column {' and '.join(sorted(missing))}"
        raise ValueError(msg)
    numbers = columns[NUMBER].to_pylist()
    uids = columns["sop_instance_uid"].to_pylist()
    for uid, number in zip(uids, numbers, strict=True):
        if number is None:
            msg = f"{str(path)!r} has no instance_number for {uid}"
            raise ValueError(msg)
    found: dict[str, int] = {}
    for uid, number in zip(map(str, uids), map(int, numbers), strict=True):
        if found.setdefault(uid, number) != number:
            msg = f"{str(path)!r} has two numbers for {uid}: {found[uid]} and {number}"
            raise ValueError(msg)
    return found


def _slice_of(path: Path, numbers: Mapping[str, int] | None) -> _Slice | Outcome:
    try:
        row = describe_tiff(path, path.parent)
        if row["num_frames"] != 1:
            msg = f"{str(path)!r} has {row['num_frames']} pages: only TIFFs of one are combined"
            raise UnsupportedFormatError(msg)
    except Exception as error:  # noqa: BLE001  the others go on
        return Outcome(path, "failed", error=error)
    uid = row["sop_instance_uid"]
    number = row[NUMBER] if numbers is None else numbers.get(uid)
    return _Slice(path, row["study_instance_uid"], row["series_instance_uid"], uid, number)


def _combined(
    slices: list[_Slice], output: Path, failed: dict[Path, Outcome], *, overwrite: bool
) -> Outcome:
    """Combine the slices of a series, unless one may be missing."""
    for one in slices:
        if one.path.parent in failed:
            other = failed[one.path.parent].source
            msg = f"series {one.series!r} may lack a slice: {str(other)!r} beside it can't be read"
            raise UnsupportedFormatError(msg)
    slices = _in_order(slices)
    first = slices[0]
    if not all(map(is_name, (first.study, first.series, first.instance))):
        msg = f"{str(first.path)!r} has UIDs that can't be names: {first.study!r}, {first.series!r}"
        raise UnsupportedFormatError(msg)
    result = output / first.study / first.series / f"{first.instance}.tiff"
    if result.exists() and not overwrite:
        _check_made_of(result, slices)
        return Outcome(first.path.parent, "skipped", result)
    _write(slices, result)
    return Outcome(first.path.parent, "done", result)


def _check_made_of(result: Path, slices: list[_Slice]) -> None:
    """Raise where a result that is there has another number of slices, or is older than one.

    Raises
    ------
    FileExistsError
        It has, or is.
    """
    with tifffile.TiffFile(result) as file:
        pages = len(file.pages)
    if pages != len(slices):
        msg = f"{str(result)!r} is there and has {pages} slices, not {len(slices)}"
        raise FileExistsError(msg)
    made = result.stat().st_mtime_ns
    newer = next((one.path for one in slices if one.path.stat().st_mtime_ns > made), None)
    if newer is not None:
        msg = f"{str(result)!r} is older than {str(newer)!r}: --overwrite makes it again"
        raise FileExistsError(msg)


def _in_order(slices: list[_Slice]) -> list[_Slice]:
    """Sort slices by their number.

    Raises
    ------
    UnsupportedFormatError
        One has none, or two have the same.
    """
    by_number: dict[int, _Slice] = {}
    for one in slices:
        if one.number is None:
            msg = f"{str(one.path)!r} does not say its InstanceNumber: give a table of them"
            raise UnsupportedFormatError(msg)
        other = by_number.setdefault(one.number, one)
        if other is not one:
            msg = f"{str(one.path)!r} and {str(other.path)!r} have the same InstanceNumber {one.number}"
            raise UnsupportedFormatError(msg)
    return [by_number[number] for number in sorted(by_number)]


def _write(slices: list[_Slice], result: Path) -> None:
    """Copy pages; encoded strips and tiles stay as they are."""
    size = sum(one.path.stat().st_size for one in slices)
    result.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffFile(slices[0].path) as file:
        first = _First(slices[0].path, _kind(file), _place(file.pages.first))
    pages = (_page(one.path, number, len(slices), first) for number, one in enumerate(slices))
    order: Any = first.kind[-1]
    write_pages(result, pages, is_big=size > CLASSIC_BYTES, byteorder=order)


@dataclass(frozen=True)
class _First:
    """The first slice of a series, which others have to be like."""

    path: Path
    kind: tuple[Any, ...]
    place: Any

    def check_place(self, path: Path, page: Any) -> None:
        """Raise unless a page shows the same part of its picture.

        Raises
        ------
        UnsupportedFormatError
            It does not: what lies above one another in the pages does not in the patient.
        """
        if _place(page) != self.place:
            msg = (
                f"{str(path)!r} was cropped or resized otherwise than {str(self.path)!r}: preprocess "
                "with --series, which treats slices alike and makes one TIFF of them, or without "
                "--crop"
            )
            raise UnsupportedFormatError(msg)


def _place(page: Any) -> Any:
    """Return which part of its source a page shows, and how large; of what else made it, by tags."""
    try:
        return provenance_in(page.description, "").transform.to_dict()
    except UnsupportedFormatError:
        return {code: page.tags.valueof(code) for code in OF_CROP}


def _kind(file: tifffile.TiffFile) -> tuple[Any, ...]:
    """Return what all slices of a series have to have in common."""
    page: Any = file.pages.first
    return page.shape, page.dtype, file.byteorder


def _page(path: Path, number: int, count: int, first: _First) -> dict[str, Any]:
    """Return the arguments by which tifffile writes a page of another file."""
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages.first
        first.check_place(path, page)
        found = _kind(file)
        if found != first.kind:
            (shape, dtype, order), (other_shape, other_dtype, other_order) = found, first.kind
            msg = (
                f"{str(path)!r} is {dtype} of {shape}, bytes {order}; not {other_dtype} of "
                f"{other_shape}, bytes {other_order}, as the slices before it"
            )
            raise UnsupportedFormatError(msg)
        if page.fillorder != 1:
            msg = f"{str(path)!r} has its bits in reverse order, which can't be copied"
            raise UnsupportedFormatError(msg)
        segments = []
        for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.filehandle.seek(offset)
            segment = file.filehandle.read(length)
            if len(segment) != length:
                msg = f"{str(path)!r} was cut short: {length} bytes should be at {offset}"
                raise CorruptFileError(msg)
            segments.append(segment)
        tags = page.tags
        known = {
            "description": None if page.is_shaped else page.description or None,
            "resolution": (tags[282].value, tags[283].value) if 282 in tags else None,
            "resolutionunit": tags[296].value if 296 in tags else None,
            "tile": (page.tilelength, page.tilewidth) if page.is_tiled else None,
            "rowsperstrip": None if page.is_tiled else page.rowsperstrip,
        }
        return {
            **{name: value for name, value in known.items() if value is not None},
            "data": iter(segments),
            "shape": page.shape,
            "dtype": page.dtype,
            "photometric": page.photometric,
            "compression": page.compression,
            "predictor": page.predictor if page.predictor != 1 else None,
            "extratags": [*_others(page), (PAGE_NUMBER, 3, 2, _number(number, count), False)],
        }


def _number(number: int, count: int) -> tuple[int, int]:
    return min(number, 65535), min(count, 65535)


def _others(page: Any) -> list[tuple[int, int, int, Any, bool]]:
    skipped = OF_PIXELS | OF_ARGUMENTS
    return [
        (tag.code, int(tag.dtype), tag.count, tag.value, False)
        for tag in page.tags
        if tag.code not in skipped
    ]
