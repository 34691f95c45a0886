"""Indexes in files of their own: the same again, fast, and never of what has changed."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pickle
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

import regionio
from regionio import _opened, _saved_index
from regionio._parsed_index import OpenRequest, ParsedIndex
from regionio._saved_index import SavedIndex
from regionio.formats import read_index
from tests.dicom_files import noise, rle
from tests.dicom_volumes import multi_frame, placed, slices
from tests.test_dicom_frames import real_files

DATA = Path(__file__).parent / "data"
SLIDE = DATA / "CMU-1-Small-Region.svs"
SERIES = DATA / "dcmqi_23x38x3"
PIXELS = noise(4, 7, 9, dtype="uint16")
HEIGHTS = [(0.0, 0.0, float(z)) for z in (2, 0, 3, 1)]


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    """Forget what this process has parsed, before and after."""
    _opened.indexes.clear()
    yield
    _opened.indexes.clear()


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list of what was parsed from here on."""
    paths: list[Any] = []

    def noted(path: Any, *arguments: Any) -> Any:
        paths.append(path)
        return read_index(path, *arguments)

    monkeypatch.setattr("regionio._opened.read_index", noted)
    return paths


def opened(path: Any, folder: Path, **options: Any) -> regionio.Image:
    """Open as a process does that has parsed nothing yet."""
    _opened.indexes.clear()
    return regionio.open(path, index_folder=folder, **options)


def assert_same(found: Any, expected: Any, where: str = "index") -> None:
    """Check that two values are equal in every part, types included."""
    assert type(found) is type(expected) or isinstance(expected, Mapping), where
    if dataclasses.is_dataclass(expected):
        for field in dataclasses.fields(expected):
            inner = getattr(found, field.name), getattr(expected, field.name)
            assert_same(*inner, f"{where}.{field.name}")
    elif isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), where
        np.testing.assert_array_equal(found, expected, where)
    elif isinstance(expected, Mapping):
        assert list(found) == list(expected), where
        for key, value in expected.items():
            assert_same(found[key], value, f"{where}[{key!r}]")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for number, pair in enumerate(zip(found, expected, strict=True)):
            assert_same(*pair, f"{where}[{number}]")
    else:
        assert found == expected or (found != found and expected != expected), where  # noqa: PLR0124


def all_files() -> list[Path]:
    folder = os.environ.get("REGIONIO_TEST_DATA")
    suffixes = {".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif"}
    wider = sorted(p for p in Path(folder).rglob("*") if p.suffix in suffixes) if folder else []
    series = sorted({path.parent for path in real_files() if path.suffix == ".dcm"})
    return [SLIDE, SERIES, *wider, *real_files(), *series]


@pytest.mark.filterwarnings("ignore::UserWarning")  # of odd files
@pytest.mark.parametrize("path", all_files(), ids=lambda path: path.name)
@pytest.mark.parametrize("values", ["auto", "display"])
def test_saved_indexes_are_the_same(
    tmp_path: Path, path: Path, values: Any, parsed: list[Any]
) -> None:
    try:
        image = regionio.open(path, values=values)
    except (regionio.RegionIOError, ValueError):
        return  # what can't be opened has no index
    assert opened(path, tmp_path, values=values)._index is not image._index
    before = len(parsed)
    again = opened(path, tmp_path, values=values)
    assert len(parsed) == before
    assert_same(again._index, image._index)
    assert_same(again._file.identities, image._file.identities)
    size = [min(length, 50) for length in image.size("XY")]
    location: Any = (1, 2, 0) if image.is_volume else (1, 2)
    try:
        expected = np.asarray(image.read_region(location, size))
    except regionio.RegionIOError:
        return
    np.testing.assert_array_equal(again.read_region(location, size), expected)
    for name in image.associated_images:
        picture = np.asarray(image.associated_image(name).read_region())
        np.testing.assert_array_equal(again.associated_image(name).read_region(), picture)


def series_in(tmp_path: Path) -> Path:
    slices(tmp_path / "series", PIXELS, HEIGHTS)
    return tmp_path / "series"


def test_a_second_open_parses_nothing(tmp_path: Path, parsed: list[Any]) -> None:
    folder = series_in(tmp_path)
    expected = np.asarray(opened(folder, tmp_path / "cache").read_region())
    again = opened(folder, tmp_path / "cache")
    assert parsed == [str(folder)]
    np.testing.assert_array_equal(again.read_region(), expected)
    np.testing.assert_array_equal(expected, PIXELS[[1, 3, 0, 2]])


@pytest.mark.parametrize(
    "options",
    [
        {"values": "modality"},
        {"values": "display"},
        {"values": "display", "window": 0},
        {"values": "display", "window": (0, 1)},
        {"values": "display", "display_bits": 16},
        {"frame_order": "stored"},
        {"scene": "1.2.826.3"},
    ],
)
def test_other_options_have_an_index_of_their_own(
    tmp_path: Path, options: dict[str, Any], parsed: list[Any]
) -> None:
    slices(tmp_path / "series", PIXELS, HEIGHTS, WindowCenter=3, WindowWidth=9)
    folder = tmp_path / "series"
    opened(folder, tmp_path / "cache")
    image = opened(folder, tmp_path / "cache", **options)
    assert len(parsed) == 2
    again = opened(folder, tmp_path / "cache", **options)
    assert len(parsed) == 2
    np.testing.assert_array_equal(again.read_region(), image.read_region())
    assert len(list((tmp_path / "cache").iterdir())) == 2


def longer(folder: Path) -> None:
    with (folder / "slice2.dcm").open("ab") as file:
        file.write(bytes(8))


def touched(folder: Path) -> None:
    status = (folder / "slice2.dcm").stat()
    os.utime(folder / "slice2.dcm", ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def new_file(folder: Path) -> None:
    dataset = pydicom.dcmread(folder / "slice1.dcm")
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = "1.2.826.7", "1.2.826.8"
    dataset.save_as(folder / "zzz.dcm")


def removed(folder: Path) -> None:
    (folder / "slice2.dcm").unlink()


def renamed(folder: Path) -> None:
    (folder / "slice2.dcm").rename(folder / "slice9.dcm")


@pytest.mark.parametrize("change", [longer, touched, new_file, removed, renamed])
def test_what_has_changed_is_parsed_anew(tmp_path: Path, change: Any, parsed: list[Any]) -> None:
    folder = series_in(tmp_path)
    opened(folder, tmp_path / "cache")
    change(folder)
    image = opened(folder, tmp_path / "cache")
    assert len(parsed) == 2
    assert image.shape[0] == (3 if change is removed else 4)
    opened(folder, tmp_path / "cache")
    assert len(parsed) == 2


def test_files_that_are_no_dicom_change_nothing(tmp_path: Path, parsed: list[Any]) -> None:
    folder = series_in(tmp_path)
    image = opened(folder, tmp_path / "cache")
    pickled = pickle.dumps(image)
    (folder / "train.log").write_text("epoch 1")
    opened(folder, tmp_path / "cache")
    assert len(parsed) == 1
    assert pickle.loads(pickled).shape == image.shape


def test_other_files_of_a_list_are_watched(tmp_path: Path) -> None:
    folder = series_in(tmp_path)
    paths = sorted(folder.glob("*.dcm"))
    last = pydicom.dcmread(paths[-1])
    series = last.SeriesInstanceUID
    last.SeriesInstanceUID = "1.2.826.9"
    last.save_as(paths[-1])
    assert opened(paths, tmp_path / "cache").shape[0] == len(paths) - 1
    last.SeriesInstanceUID = series
    last.save_as(paths[-1])
    assert opened(paths, tmp_path / "cache").shape[0] == len(paths)


def test_an_index_is_saved_though_it_is_known(tmp_path: Path) -> None:
    folder = series_in(tmp_path)
    regionio.open(folder)
    regionio.open(folder, index_folder=tmp_path / "cache")
    [saved] = (tmp_path / "cache").iterdir()
    assert saved.stat().st_mode & 0o077 == 0  # it holds what the file says of the patient


def test_a_slice_that_is_replaced_is_seen(tmp_path: Path) -> None:
    folder = series_in(tmp_path)
    opened(folder, tmp_path / "cache")
    slices(tmp_path / "other", PIXELS[::-1].copy(), HEIGHTS)
    for path in (tmp_path / "other").iterdir():
        shutil.copy(path, folder / path.name)
    image = opened(folder, tmp_path / "cache")
    np.testing.assert_array_equal(image.read_region(), PIXELS[::-1][[1, 3, 0, 2]])


def test_a_file_of_another_series_that_becomes_a_slice_is_seen(tmp_path: Path) -> None:
    folder = series_in(tmp_path)
    shutil.copy(SERIES / "IMG0001.dcm", folder / "slice4.dcm")
    opened(folder, tmp_path / "cache")
    slices(tmp_path / "longer", np.concatenate([PIXELS, PIXELS[:1]]), [*HEIGHTS, (0.0, 0.0, 4.0)])
    shutil.copy(tmp_path / "longer" / "slice4.dcm", folder)
    assert opened(folder, tmp_path / "cache").shape[0] == 5


def test_another_version_parses_anew(
    tmp_path: Path, parsed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(SLIDE, tmp_path)
    monkeypatch.setattr(_saved_index, "__version__", "0.0.0")
    opened(SLIDE, tmp_path)
    assert len(parsed) == 2
    opened(SLIDE, tmp_path)
    assert len(parsed) == 2


def test_an_index_of_another_file_is_not_used(tmp_path: Path, parsed: list[Any]) -> None:
    """Nor one whose name says that it is this file's."""
    other = shutil.copy(SERIES / "IMG0001.dcm", tmp_path / "a.dcm")
    opened(other, tmp_path / "cache")
    [saved] = (tmp_path / "cache").iterdir()
    place = SavedIndex(str(tmp_path / "cache"), OpenRequest(str(SERIES / "IMG0002.dcm")))
    shutil.copy(saved, place.path)
    opened(SERIES / "IMG0002.dcm", tmp_path / "cache")
    assert len(parsed) == 2


def small_index(folder: Path) -> tuple[SavedIndex, bytes]:
    """Return the place and the content of a saved index."""
    path = SERIES / "IMG0001.dcm"
    opened(path, folder)
    saved = SavedIndex(str(folder), OpenRequest(str(path)))
    assert saved.load() is not None
    return saved, Path(saved.path).read_bytes()


def test_damaged_indexes_are_ignored(tmp_path: Path, parsed: list[Any]) -> None:
    saved, content = small_index(tmp_path)
    path = Path(saved.path)
    random = np.random.default_rng(1)
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= int(random.integers(1, 256))
        path.write_bytes(flipped)
        assert saved.load() is None, place
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert saved.load() is None, length
    for wrong in (content + b"\0", b"", b"{}", content[::-1], os.urandom(len(content))):
        path.write_bytes(wrong)
        assert saved.load() is None
    before = len(parsed)
    image = opened(SERIES / "IMG0001.dcm", tmp_path)
    assert (len(parsed), image.shape) == (before + 1, (38, 23))
    assert path.read_bytes() == content  # and it is saved again


@pytest.mark.parametrize(
    "value",
    [
        [],
        ["1", 2, 3],
        {"!": "os", "items": []},
        [{"!": "map", "items": 3}] * 4,
        {"!": "ImageIndex", "items": [["path", 3]]},
        {"!": "array", "dtype": "O", "shape": [1]},
        {"!": "array", "dtype": "<i8", "shape": [2**40]},
        {"!": "array", "dtype": "<i8", "shape": [-3]},
        {"!": "tuple"},
    ],
)
def test_what_only_looks_like_an_index_is_ignored(
    tmp_path: Path, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, _ = small_index(tmp_path)
    monkeypatch.setattr(_saved_index, "_plain", lambda *_: value)
    Path(saved.path).write_bytes(_saved_index._packed(None))
    assert saved.load() is None


def test_a_folder_that_can_not_be_written_warns(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.warns(UserWarning, match="can't be saved in") as caught:
        image = opened(SERIES / "IMG0001.dcm", tmp_path / "file")
    assert image.shape == (38, 23)
    assert caught[0].filename == __file__ or "tests" in caught[0].filename
    place = SavedIndex(str(tmp_path), OpenRequest(str(SERIES / "IMG0001.dcm"))).path
    Path(place).mkdir()  # in the way of the index itself
    with pytest.warns(UserWarning, match="can't be saved in"):
        opened(SERIES / "IMG0001.dcm", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["file", Path(place).name])


def saved_often(folder: str, times: int) -> None:
    for _ in range(times):
        opened(SERIES, Path(folder)).read_region()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks of threaded processes
def test_many_may_write_at_once(tmp_path: Path) -> None:
    request = OpenRequest(str(SERIES))
    file = _opened.open_file(request)
    saved = SavedIndex(str(tmp_path), request)
    done = threading.Event()
    seen: list[ParsedIndex | None] = []

    def watch() -> None:
        saved.save(file.parsed)
        while not done.is_set():
            seen.append(saved.load())

    watcher = threading.Thread(target=watch)
    watcher.start()
    processes = [
        multiprocessing.get_context("fork").Process(target=saved_often, args=(str(tmp_path), 20))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(saved.save, [file.parsed] * 200))
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    done.set()
    watcher.join()
    assert len(seen) > 0
    assert all(found is not None for found in seen)  # replaced as a whole, never half written
    assert [path.name for path in tmp_path.iterdir()] == [Path(saved.path).name]
    found = saved.load()
    assert found is not None
    assert_same(found.index, file.index)


def test_indexes_lie_beside_the_data(tmp_path: Path, parsed: list[Any]) -> None:
    folder = series_in(tmp_path)
    for _ in range(3):
        opened(folder, folder)
        opened(folder / "slice1.dcm", folder)
    assert len(parsed) == 2
    hidden = [path.name for path in folder.iterdir() if path.name.endswith(".regionio-index")]
    assert len(hidden) == 2
    assert all(name.startswith(".") for name in hidden)


def test_the_environment_names_a_folder(
    tmp_path: Path, parsed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGIONIO_INDEX_FOLDER", str(tmp_path / "made" / "when needed"))
    for _ in range(2):
        _opened.indexes.clear()
        regionio.open(SLIDE)
    assert len(parsed) == 1
    opened(SLIDE, tmp_path / "other")
    assert len(parsed) == 2
    assert len(list((tmp_path / "other").iterdir())) == 1


def test_nothing_is_saved_unless_asked_for(tmp_path: Path) -> None:
    folder = series_in(tmp_path)
    regionio.open(folder)
    assert len(list(folder.iterdir())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["series"]


def test_a_large_file_opens_in_milliseconds(tmp_path: Path, parsed: list[Any]) -> None:
    pixels = np.broadcast_to(noise(1, 3, 4), (6000, 3, 4))
    frames = [placed(0, 0, n) for n in range(len(pixels))]
    path = multi_frame(tmp_path / "a.dcm", pixels, frames, syntax="1.2.840.10008.1.2.5", encode=rle)
    first = opened(path, tmp_path)
    fastest = np.inf
    for _ in range(5):
        begin = time.perf_counter()
        again = opened(path, tmp_path)
        fastest = min(fastest, time.perf_counter() - begin)
    assert len(parsed) == 1
    assert fastest < 0.05
    np.testing.assert_array_equal(again.read_region((0, 0, 5999), (4, 3)), pixels[0])
    assert again.shape == first.shape
