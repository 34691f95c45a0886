"""A table of many TIFFs: what they are of, how large, where on the disk."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from regionio._errors import RegionIOError, UnsupportedFormatError
from regionio._extras import package
from regionio._workers import default_num_workers
from regionio.preprocess.files import files_in, result_stem
from regionio.preprocess.tiff import check_whole, provenance_in

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Failure",
    "Manifest",
    "describe_tiff",
    "find_tiffs",
    "read_table",
    "write_manifest",
]

EXTENSIONS = {".tif", ".tiff"}
ROWS, RUN_ROWS, MERGED_ROWS = 10_000, 20_000, 500
"""That are looked at and written at a time, that are sorted together, and that are read of each run."""

KEYS = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")

Order = Literal["uid", "inode"]


@dataclass(frozen=True)
class Failure:
    """A TIFF that could not be read, and is not in the table.

    Parameters
    ----------
    path
        The file.
    error
        Why.
    """

    path: Path
    error: Exception


def schema() -> pa.Schema:
    """Return the columns; the first nine are the original's."""
    import pyarrow as pa

    text = [(name, pa.string()) for name in (*KEYS, "path")]
    numbers = [(name, pa.uint32()) for name in ("width", "height", "channels", "num_frames")]
    more = [(name, pa.float64()) for name in ("spacing_x", "spacing_y", "spacing_z")]
    words = [(name, pa.string()) for name in ("laterality", "view", "source")]
    place = [("instance_number", pa.int64())]
    return pa.schema([*text, ("inode", pa.uint64()), *numbers, *more, *words, *place])


def write_manifest(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    order: Order = "uid",
    num_workers: int | None = None,
) -> Iterator[Failure | int]:
    """Write the table of all TIFFs in a folder and in those in it.

    Memory is bounded, however many files there are: rows are sorted on the disk.

    Parameters
    ----------
    source
        The folder.
    target
        ``*.parquet`` or ``*.csv``. Paths in it are relative to its own folder.
    order
        ``"uid"``: by study, series and instance; ``"inode"``: as files mostly lie on a spinning
        disk.
    num_workers
        Files that are read at a time; None is as many as there are CPUs for this process.

    Yields
    ------
    Failure or int
        What could not be read; and, as it goes on, how many rows were written since the last.

    Raises
    ------
    ValueError
        `source` is no folder or has no TIFF, or `target` ends in something else.
    """
    package("pyarrow", "preprocess")
    path = Path(target)
    if not Path(source).is_dir():
        msg = f"there is no folder {str(source)!r}"
        raise ValueError(msg)
    if path.suffix.lower() not in {".parquet", ".csv"}:
        msg = f"{str(path)!r} must end in .parquet or .csv"
        raise ValueError(msg)
    workers = default_num_workers() if num_workers is None else num_workers
    table = _Table(path, order)
    try:
        yield from _filled(table, Path(source), max(1, workers))
        table.finish()
    except BaseException:
        table.discard()
        raise


def _filled(table: _Table, source: Path, workers: int) -> Iterator[Failure | int]:
    """Write rows of all files, a few thousand at a time."""
    files = find_tiffs(source)
    if (first := next(files, None)) is None:
        msg = f"there is no TIFF in {str(source)!r}"
        raise ValueError(msg)
    files = chain((first,), files)
    home = table.path.parent.resolve()
    with ThreadPoolExecutor(workers) as pool:
        while chunk := list(islice(files, ROWS)):
            found = list(pool.map(lambda file: _row(file, home), chunk))
            table.add([row for row in found if isinstance(row, dict)])
            yield from (row for row in found if isinstance(row, Failure))
            yield sum(isinstance(row, dict) for row in found)


def find_tiffs(folder: Path) -> Iterator[Path]:
    """Return TIFFs, folder by folder in the order of their names, and folders that can't be read."""
    return files_in(folder, _is_tiff)


def _is_tiff(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def _row(path: Path, home: Path) -> dict[str, Any] | Failure:
    try:
        return describe_tiff(path, home)
    except Exception as error:  # noqa: BLE001  the others go on
        return Failure(path, error)


def _is_text(name: str) -> bool:
    return _as_text(name) == name


def _as_text(name: str) -> str:
    """Return a name of any bytes as one that UTF-8 can hold."""
    return str(name).encode(errors="backslashreplace").decode()


def describe_tiff(path: Path, home: Path) -> dict[str, Any]:
    """Return the row of a TIFF in the table of a folder."""
    with tifffile.TiffFile(path) as file:
        check_whole(file)
        page = file.pages.first
        frames = len(file.pages)
        height, width = page.imagelength, page.imagewidth
        channels, spacing = page.samplesperpixel, _spacing(page)
        more: tuple[Any, ...] = (None, None, None, None, None)
        try:
            made = provenance_in(page.description, str(path))
            origin, depth = made.origin, made.spacing.get("Z")
            stated = (origin.study, origin.series, result_stem(origin))
            more = depth, origin.laterality, origin.view, origin.paths[0], origin.number
        except RegionIOError:  # of somebody else's: names of folders have to do
            stated = ("", "", "")
        named = (path.parent.parent.name, path.parent.name, path.stem)
        uids = [str(uid or name) for uid, name in zip(stated, named, strict=True)]
    depth, laterality, view, source, number = more
    place = os.path.relpath(path.resolve(), home)
    if not all(map(_is_text, (*uids, place))):
        msg = f"{str(path)!r} has a name that is no UTF-8, which a table can't hold: rename it"
        raise UnsupportedFormatError(msg)
    return {
        **dict(zip(KEYS, uids, strict=True)),
        "path": place,
        "inode": path.stat().st_ino,
        "width": width,
        "height": height,
        "channels": channels,
        "num_frames": frames,
        "spacing_x": spacing[0],
        "spacing_y": spacing[1],
        "spacing_z": depth,
        "laterality": laterality,
        "view": view,
        "source": None if source is None else _as_text(source),
        "instance_number": number if _is_int64(number) else None,
    }


def _is_int64(value: Any) -> bool:
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _spacing(page: Any) -> tuple[float | None, float | None]:
    """Return millimetres from one pixel to the next, None where a page does not tell."""
    unit = {2: 25.4, 3: 10.0}.get(int(page.resolutionunit))
    across, down = page.resolution
    if unit is None or not across or not down:
        return None, None
    return unit / across, unit / down


class _Table:
    """The table while it is written, under names beside its own.

    Rows are gathered in sorted runs, one row group each of a file of its own, which are merged at the
    end: no more than two runs are in memory at a time.
    """

    def __init__(self, path: Path, order: Order) -> None:
        self.path = path
        self._names = KEYS if order == "uid" else ("inode", "path")
        self._schema = schema()
        stem = f".{path.stem}.{os.getpid()}"
        self._part = path.with_name(f"{stem}.partial{path.suffix}")
        self._runs = path.with_name(f"{stem}.runs.partial")
        self._held: list[dict[str, Any]] = []
        self._writer = self._parquet(self._runs)

    def _parquet(self, path: Path) -> Any:
        import pyarrow.parquet

        return pyarrow.parquet.ParquetWriter(path, self._schema)

    def _key(self, row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in self._names)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Take rows."""
        self._held += rows
        if len(self._held) >= RUN_ROWS:
            self._end_run()

    def _end_run(self) -> None:
        if self._held:
            self._held.sort(key=self._key)
            self._write(self._writer, self._held)
            self._held = []

    def _write(self, writer: Any, rows: list[dict[str, Any]]) -> None:
        import pyarrow as pa

        writer.write_table(pa.Table.from_pylist(rows, schema=self._schema))

    def finish(self) -> None:
        """Merge the runs, and give the table its name."""
        self._end_run()
        self._writer.close()
        self._writer = self._final()
        merged = heapq.merge(*self._runs_in_file(), key=self._key)
        while rows := list(islice(merged, ROWS)):
            self._write(self._writer, rows)
        self._writer.close()
        os.replace(self._part, self.path)
        self._runs.unlink()

    def _final(self) -> Any:
        import pyarrow.csv

        if self.path.suffix.lower() != ".csv":
            return self._parquet(self._part)
        options = pyarrow.csv.WriteOptions(quoting_style="needed")
        return pyarrow.csv.CSVWriter(self._part, self._schema, write_options=options)

    def _runs_in_file(self) -> list[Iterator[dict[str, Any]]]:
        import pyarrow.parquet

        def run(number: int) -> Iterator[dict[str, Any]]:
            with pyarrow.parquet.ParquetFile(self._runs, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_size=MERGED_ROWS, row_groups=[number]):
                    yield from batch.to_pylist()

        with pyarrow.parquet.ParquetFile(self._runs) as file:
            count = file.metadata.num_row_groups
        return [run(number) for number in range(count)]

    def discard(self) -> None:
        """Leave nothing."""
        with suppress(Exception):  # where the disk is full, that fails, too
            self._writer.close()
        self._part.unlink(missing_ok=True)
        self._runs.unlink(missing_ok=True)


def read_table(path: Path) -> Any:
    """Read a table, UIDs as text.

    Raises
    ------
    ValueError
        It can't be read.
    """
    package("pyarrow", "preprocess")
    import pyarrow.csv
    import pyarrow.parquet

    try:
        if path.suffix.lower() == ".csv":
            types = pyarrow.csv.ConvertOptions(
                column_types=schema(), strings_can_be_null=True, null_values=[""]
            )
            return pyarrow.csv.read_csv(path, convert_options=types)
        return pyarrow.parquet.read_table(path)
    except FileNotFoundError:
        raise
    except (pyarrow.ArrowException, OSError) as error:
        msg = f"{str(path)!r} is no table that can be read: {error}"
        raise ValueError(msg) from error


class Manifest:
    """A table that was written, to draw samples from.

    Parameters
    ----------
    path
        ``*.parquet`` or ``*.csv``.

    Attributes
    ----------
    columns
        Name → array, one entry a file.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tifffile.imwrite(f"{folder}/a.tif", np.zeros((5, 8, 9), np.uint8), photometric="minisblack")
    ...     rows = list(write_manifest(folder, f"{folder}/manifest.parquet"))
    ...     found = Manifest(f"{folder}/manifest.parquet")
    >>> found.columns["width"].tolist(), found.frames().tolist()
    ([9], [[0, 0], [0, 1], [0, 2], [0, 3], [0, 4]])
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        table = read_table(self._path)
        self.columns: dict[str, NDArray[Any]] = {
            name: table[name].to_numpy() for name in table.column_names
        }

    def __len__(self) -> int:
        return len(self.columns["path"])

    @property
    def paths(self) -> list[Path]:
        """The files, in the order of the table."""
        return [self._path.parent / path for path in self.columns["path"].tolist()]

    def by_inode(self) -> NDArray[np.int64]:
        """Return the numbers of all rows in the order in which files mostly lie on a disk."""
        return np.argsort(self.columns["inode"], kind="stable").astype(np.int64)

    def frames(self) -> NDArray[np.int64]:
        """Return ``int64[n, 2]``, (row, frame) of every frame, files by inode, frames by offset."""
        order = self.by_inode()
        counts = self.columns["num_frames"][order].astype(np.int64)
        row = np.repeat(order, counts)
        first = np.repeat(np.cumsum(counts) - counts, counts)
        return np.column_stack([row, np.arange(len(row)) - first])
