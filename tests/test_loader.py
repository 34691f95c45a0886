"""What a loader promises beyond the conformance class: laziness, order, ends, memory, state."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest
import tifffile

import regionio
from regionio._cache import TileCache
from regionio._workers import default_num_workers


@pytest.fixture
def slide(slide_path: str) -> Iterator[regionio.Image]:
    with regionio.open(slide_path) as image:
        yield image


def grid(step: int = 200) -> list[tuple[int, int]]:
    return [(x, y) for y in range(0, 2900, step) for x in range(0, 2200, step)]


def test_one_flat_location_gives_a_region_anything_else_a_loader(slide: regionio.Image) -> None:
    size = (10, 10)
    assert isinstance(slide.read_region((3, 4), size), regionio.Region)
    assert isinstance(slide.read_region([3, 4], size), regionio.Region)
    assert isinstance(slide.read_region(np.array([3, 4], np.int32), size), regionio.Region)
    assert isinstance(slide.read_region((3, 4), size, batch_size=2), regionio.Loader)
    for many in (
        [(3, 4)],
        [[3, 4], [5, 6]],
        (3, 4, 5, 6),
        np.array([[3, 4]], np.uint16),
        iter([(3, 4)]),
    ):
        assert isinstance(slide.read_region(many, size), regionio.Loader)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "q", "l"])
def test_locations_of_every_integer_dtype(slide: regionio.Image, dtype: str) -> None:
    locations = np.array([[1, 2], [30, 40]], dtype=dtype)
    regions = list(slide.read_region(locations, (20, 20)))
    np.testing.assert_array_equal(regions[1], slide.read_region((30, 40), (20, 20)))


def test_wrong_locations_are_refused(slide: regionio.Image) -> None:
    size = (10, 10)
    wrong: list[Any] = [(1.0, 2), [(1.5, 2)], np.zeros((3, 2)), np.array([1.0, 2.0])]
    for floats in wrong:
        with pytest.raises(TypeError, match="integers"):
            slide.read_region(floats, size)
    with pytest.raises(TypeError, match="integers"):
        slide.read_region("12", size)
    with pytest.raises(ValueError, match="locations"):
        slide.read_region([1, 2, 3], size)
    with pytest.raises(ValueError, match="locations"):
        slide.read_region(np.zeros((4, 3), int), size)
    with pytest.raises(TypeError, match="location"):
        slide.read_region(7, size)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="2 integers"):
        next(slide.read_region(iter([(1, 2, 3)]), size))


def test_wrong_arguments_are_refused(slide: regionio.Image) -> None:
    def read(**arguments: Any) -> None:
        slide.read_region((0, 0), (8, 8), **arguments)

    with pytest.raises(IndexError, match="level=1"):
        read(level=1)
    with pytest.raises(IndexError, match="z=2"):
        read(z=2)
    wrong: list[dict[str, Any]] = [
        {"num_workers": -1},
        {"batch_size": 0},
        {"fill": 300},
        {"fill": (1, 2)},
        {"fill": 0.5},
        {"dtype": "int8"},
        {"scale": 2, "dtype": "uint8"},
        {"scale": (1, 2)},
        {"offset": float("nan")},
        {"layout": "YX"},
        {"layout": "XYCC"},
        {"channels": []},
        {"channels": "green"},
        {"device": "gpu"},
        {"shuffle": True},
        {"drop_last": True},
    ]
    for arguments in wrong:
        with pytest.raises(ValueError):
            read(**arguments)
    with pytest.raises(regionio.DeviceError, match="cuda"):
        read(device="cuda:1")
    for size in ((8,), (8, 8, 8), (0, 8), (8, -1)):
        with pytest.raises(ValueError, match="size"):
            slide.read_region((0, 0), size)
    with pytest.raises(TypeError, match="size"):
        slide.read_region((0, 0), (8.0, 8))  # type: ignore[arg-type]


def test_two_threads_begin_one_epoch(slide: regionio.Image) -> None:
    for _ in range(40):
        loader = slide.read_region(grid(900), (30, 30), batch_size=1)
        found: list[int] = []
        both = threading.Barrier(2)

        def draw(
            loader: regionio.Loader = loader,
            found: list[int] = found,
            both: threading.Barrier = both,
        ) -> None:
            both.wait()
            try:
                while True:
                    found.append(int(next(loader).indices))
            except StopIteration:
                pass

        threads = [threading.Thread(target=draw) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == list(range(len(grid(900))))


def test_a_layout_with_n_has_that_axis_in_batches_of_one(slide: regionio.Image) -> None:
    for layout, dims in ((None, "YXC"), ("CYX", "CYX"), ("NCHW", "NCYX"), ("nhwc", "NYXC")):
        with slide.read_region(grid(1000), (9, 7), batch_size=1, layout=layout) as loader:
            batches = list(loader)
        assert {batch.dims for batch in batches} == {dims}
        assert {batch.shape[0] for batch in batches if dims[0] == "N"} <= {1}
        assert np.concatenate([np.atleast_1d(b.indices) for b in batches]).tolist() == list(
            range(len(grid(1000)))
        )


def test_a_layout_with_n_has_that_axis_at_one_place(slide: regionio.Image) -> None:
    plain = slide.read_region((3, 4), (9, 7), layout="CHW")
    region = slide.read_region((3, 4), (9, 7), layout="NCHW", return_mask=True)
    assert (plain.dims, region.dims, region.shape) == ("CYX", "NCYX", (1, *plain.shape))
    np.testing.assert_array_equal(region[0], plain)
    assert region.mask is not None
    assert region.mask.shape == (1, 7, 9)
    out = np.zeros(region.shape, region.dtype)
    assert np.shares_memory(
        np.asarray(slide.read_region((3, 4), (9, 7), layout="NCHW", out=out)), out
    )
    np.testing.assert_array_equal(out[0], plain)
    with pytest.raises(ValueError, match="out has shape"):
        slide.read_region((3, 4), (9, 7), layout="NCHW", out=out[0])


def test_nothing_is_pulled_before_the_first_batch(slide: regionio.Image) -> None:
    pulled = []

    def endless() -> Iterator[tuple[int, int]]:
        place = 0
        while True:
            pulled.append(threading.get_ident())
            yield place % 2000, place % 2500
            place += 17

    loader = slide.read_region(  # of regions that are too large to be planned together
        endless(), (512, 512), batch_size=32, prefetch_factor=2, num_workers=1
    )
    assert not pulled
    next(loader)
    assert len(pulled) == 3 * 32
    next(loader)
    assert len(pulled) == 4 * 32
    time.sleep(0.05)
    assert len(pulled) == 4 * 32
    assert set(pulled) == {threading.get_ident()}
    loader.close()


def test_generators_are_read_once_and_sequences_again(slide: regionio.Image) -> None:
    loader = slide.read_region(iter(grid(700)), (9, 9), batch_size=4)
    with pytest.raises(TypeError, match="not known"):
        len(loader)
    first = [batch.indices.tolist() for batch in loader]
    assert list(chain.from_iterable(first)) == list(range(len(grid(700))))
    with pytest.raises(RuntimeError, match="used up"):
        iter(loader)
    with pytest.raises(ValueError, match="shuffle"):
        slide.read_region(iter(grid(700)), (9, 9), shuffle=True)
    again = slide.read_region(grid(700), (9, 9), batch_size=4)
    assert [len(b) for b in again] == [len(b) for b in again]


def test_drop_last_leaves_out_a_short_batch(slide: regionio.Image) -> None:
    locations = grid(500)
    for count in (8, 9, 11, 12):
        loader = slide.read_region(locations[:count], (5, 5), batch_size=4, drop_last=True)
        assert [len(batch) for batch in loader] == [4] * (count // 4)
        assert len(loader) == count // 4


def test_no_locations_give_no_batches(slide: regionio.Image) -> None:
    assert list(slide.read_region([], (5, 5))) == []
    assert list(slide.read_region(np.zeros((0, 2), int), (5, 5), batch_size=3)) == []


def test_an_error_in_the_sampler_reaches_the_caller(slide: regionio.Image) -> None:
    def broken() -> Iterator[tuple[int, int]]:
        yield 0, 0
        msg = "no more slides"
        raise LookupError(msg)

    loader = slide.read_region(broken(), (5, 5), batch_size=2)
    with pytest.raises(LookupError, match="no more slides"):
        next(loader)


def test_a_shuffled_region_finds_its_label(slide: regionio.Image) -> None:
    locations = np.array(grid(300))
    for batch in slide.read_region(locations, (12, 12), batch_size=7, shuffle=True, seed=3):
        np.testing.assert_array_equal(locations[batch.indices], batch.locations)
        for region in batch:
            expected = slide.read_region(tuple(region.locations.tolist()), (12, 12))
            np.testing.assert_array_equal(region, expected)


def test_a_newer_loop_ends_the_older_one_with_an_error(slide: regionio.Image) -> None:
    loader = slide.read_region(grid(250), (16, 16), batch_size=5)
    older = iter(loader)
    next(older)
    newer = iter(loader)
    with pytest.raises(RuntimeError, match="newer loop"):
        next(older)
    assert len(list(newer)) == len(loader)


def test_threads_that_share_a_loop_get_each_batch_once(slide: regionio.Image) -> None:
    for _ in range(20):
        batches = iter(slide.read_region(grid(100), (50, 50), batch_size=8, num_workers=2))
        found: list[list[int]] = []
        errors: list[BaseException] = []

        def draw(
            batches: Iterator[regionio.Region] = batches,
            found: list[list[int]] = found,
            errors: list[BaseException] = errors,
        ) -> None:
            try:
                found.extend(batch.indices.tolist() for batch in batches)
            except BaseException as error:  # noqa: BLE001
                errors.append(error)

        threads = [threading.Thread(target=draw) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert sorted(chain.from_iterable(found)) == list(range(len(grid(100))))


def test_batches_before_an_error_of_the_sampler_are_delivered(slide: regionio.Image) -> None:
    def broken() -> Iterator[tuple[int, int]]:
        yield from [(0, 0)] * 7
        msg = "no more slides"
        raise LookupError(msg)

    loader = slide.read_region(broken(), (5, 5), batch_size=2)
    got: list[int] = []
    with pytest.raises(LookupError, match="no more slides"):
        got.extend(len(batch) for batch in loader)
    assert got == [2, 2, 2]


def test_a_dropped_loader_stops_and_frees_its_memory(slide: regionio.Image) -> None:
    loader = slide.read_region(grid(20), (512, 512), batch_size=8, num_workers=2)
    batch = next(loader)
    work = weakref.ref(loader._current._work)  # type: ignore[union-attr]
    stats = loader.stats
    del loader
    gc.collect()
    deadline = time.monotonic() + 10
    while work() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert work() is None
    assert stats.regions == 8
    assert batch.shape == (8, 512, 512, 3)


def test_a_closed_loader_refuses(slide: regionio.Image) -> None:
    with slide.read_region(grid(), (50, 50), batch_size=4) as loader:
        next(loader)
    with pytest.raises(regionio.ClosedError):
        next(loader)
    with pytest.raises(regionio.ClosedError):
        iter(loader)


def test_a_window_decodes_a_shared_tile_once(slide: regionio.Image) -> None:
    regionio.cache.capacity = 0
    locations = [(x, 0) for x in range(0, 240 - 30, 10)]  # all in one 240² tile
    loader = slide.read_region(locations, (30, 30), batch_size=len(locations))
    list(loader)
    stats = loader.stats
    assert stats.tiles_decoded == 1
    assert stats.regions == len(locations)
    assert stats.bytes_wanted == stats.bytes_read > 0
    assert stats.requests == 1


def test_the_cache_is_used_and_bounded(slide: regionio.Image) -> None:
    regionio.cache.capacity = 2 * 1024 * 1024
    box = ((100, 100), (300, 300))
    first = np.asarray(slide.read_region(*box))
    before = regionio.cache.stats
    second = np.asarray(slide.read_region(*box))
    after = regionio.cache.stats
    np.testing.assert_array_equal(first, second)
    assert after.hits - before.hits == 4
    assert after.misses == before.misses
    for x, y in grid():
        slide.read_region((x, y), (100, 100))
        assert regionio.cache.stats.nbytes <= regionio.cache.capacity
    regionio.cache.capacity = 0
    assert regionio.cache.stats.tiles == 0


def test_tiles_used_once_are_not_kept(slide: regionio.Image) -> None:
    list(slide.read_region(grid(240), (100, 100), batch_size=16))
    assert regionio.cache.stats.tiles == 0


def test_a_job_that_comes_back_to_its_tiles_keeps_them(slide: regionio.Image) -> None:
    loader = slide.read_region(grid(100), (100, 100), batch_size=16)
    for _ in range(3):
        list(loader)
    decoded = loader.stats.tiles_decoded
    list(loader)
    assert loader.stats.tiles_decoded == decoded


def test_one_decode_serves_threads_that_want_a_tile_at_once(
    slide_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes first is held up until all others have found his claims."""
    regionio.cache.capacity = 64 * 1024 * 1024
    claimed = threading.Barrier(6)
    claim = TileCache.claim

    def claim_and_wait(self: TileCache, *args: Any) -> Any:
        result = claim(self, *args)
        claimed.wait(10)
        return result

    monkeypatch.setattr(TileCache, "claim", claim_and_wait)
    results = []

    def read() -> None:
        with regionio.open(slide_path) as image:
            results.append(np.asarray(image.read_region((10, 10), (900, 900), num_workers=0)))

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = tifffile.imread(slide_path)[10:910, 10:910]
    assert len(results) == 6
    for result in results:
        np.testing.assert_array_equal(result, expected)
    stats = regionio.cache.stats
    assert (stats.misses, stats.hits) == (16, 5 * 16)


def test_regions_are_arrays_for_everybody(slide: regionio.Image) -> None:
    batch = next(slide.read_region(grid(), (20, 20), batch_size=3))
    assert np.shares_memory(np.asarray(batch), batch.array)
    assert np.shares_memory(np.from_dlpack(batch), batch.array)
    assert batch.array.flags.c_contiguous
    assert batch.array.flags.writeable
    assert batch.device == "cpu"
    assert batch.spacing == {"X": 0.499, "Y": 0.499}
    assert [region.indices for region in batch] == [0, 1, 2]
    assert repr(batch[1]).startswith("<Region region YXC 20×20×3 uint8")


def test_number_of_workers(monkeypatch: pytest.MonkeyPatch, slide: regionio.Image) -> None:
    monkeypatch.delenv("REGIONIO_NUM_THREADS", raising=False)
    assert default_num_workers() >= 1
    monkeypatch.setenv("REGIONIO_NUM_THREADS", "3")
    assert default_num_workers() == 3
    monkeypatch.setenv("REGIONIO_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="REGIONIO_NUM_THREADS"):
        slide.read_region((0, 0), (8, 8))


def test_a_changed_file_is_not_read_from_a_pickle(tmp_path: object, slide_path: str) -> None:
    import pickle
    import shutil
    from pathlib import Path

    path = Path(str(tmp_path)) / "slide.svs"
    shutil.copyfile(slide_path, path)
    data = pickle.dumps(regionio.open(path))
    pickle.loads(data).close()
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(regionio.ChangedFileError, match=r"slide\.svs"):
        pickle.loads(data)
