"""Files that change, images that are closed, reads that are interrupted, processes that fork."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import regionio
from regionio._schedule import Schedule
from regionio.engines import cpu

SLIDE = "tests/data/CMU-1-Small-Region.svs"


@pytest.fixture(autouse=True)
def _in_project_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(request.config.rootpath)
    regionio.cache.clear()


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return tifffile.imread(SLIDE)


def test_a_loader_closed_while_it_is_waited_for_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    hold, waiting = threading.Event(), threading.Event()
    render = cpu.CpuEngine.render

    def held(self: cpu.CpuEngine, *args: Any) -> Any:
        waiting.set()
        hold.wait(10)
        return render(self, *args)

    monkeypatch.setattr(cpu.CpuEngine, "render", held)
    results: list[object] = []
    with regionio.open(SLIDE) as slide:
        loader = slide.read_region([(0, 0)] * 8, (300, 300), batch_size=4, num_workers=2)

        def consume() -> None:
            try:
                results.append(next(loader))
            except Exception as error:  # noqa: BLE001
                results.append(error)

        thread = threading.Thread(target=consume)
        thread.start()
        assert waiting.wait(10)
        loader.close()
        thread.join(10)
        hold.set()
    assert isinstance(results[0], regionio.ClosedError)


def test_an_interrupted_read_leaves_no_claim(
    pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with regionio.open(SLIDE) as slide:
        for place in ("claim", "_worth_keeping", "decode"):
            owner: Any = {"claim": cpu._Offer, "_worth_keeping": cpu.CpuEngine}.get(place, cpu._Run)
            with monkeypatch.context() as patch:
                patch.setattr(owner, place, interrupted)
                with pytest.raises(KeyboardInterrupt):
                    slide.read_region((5, 6), (300, 300))
            assert not regionio.cache._claims
        region = slide.read_region((5, 6), (300, 300))
    np.testing.assert_array_equal(region, pixels[6:306, 5:305])


def test_an_error_outside_the_engine_is_raised_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def out_of_memory(*_: object) -> None:
        raise MemoryError

    with regionio.open(SLIDE) as slide:
        loader = slide.read_region([(0, 0)] * 9, (300, 300), batch_size=3, num_workers=2)
        monkeypatch.setattr(Schedule, "_take", out_of_memory)
        with pytest.raises(MemoryError):
            next(loader)


def test_reads_that_have_begun_outlive_closing(
    pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = regionio.open(SLIDE)
    render = cpu.CpuEngine.render

    def close_first(self: cpu.CpuEngine, *args: Any) -> Any:
        slide.close()
        return render(self, *args)

    monkeypatch.setattr(cpu.CpuEngine, "render", close_first)
    region = slide.read_region((100, 200), (700, 600))
    np.testing.assert_array_equal(region, pixels[200:800, 100:800])
    with pytest.raises(regionio.ClosedError):
        slide.read_region((100, 200), (7, 6))


def test_a_loop_that_has_begun_outlives_closing(pixels: np.ndarray) -> None:
    slide = regionio.open(SLIDE)
    locations = [(x, 300) for x in range(0, 2000, 100)]
    loader = slide.read_region(locations, (50, 60), batch_size=2)
    batches = iter(loader)
    next(batches)
    slide.close()
    for batch, (x, y) in zip(batches, locations[2::2], strict=True):
        np.testing.assert_array_equal(batch[0], pixels[y : y + 60, x : x + 50])
    with pytest.raises(regionio.ClosedError):
        iter(loader)


def test_closing_in_many_threads_closes_once() -> None:
    slide = regionio.open(SLIDE)
    label = slide.associated_image("label")
    threads = [threading.Thread(target=slide.close) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert label.read_region((0, 0), (4, 4)).shape == (4, 4, 3)


def test_images_in_cycles_may_be_collected_at_any_time() -> None:
    slide = regionio.open(SLIDE)
    old = gc.get_threshold()
    gc.set_threshold(1, 3, 5)
    try:
        for _ in range(200):
            cycle: list[object] = [slide.associated_image("label")]
            cycle.append(cycle)
            del cycle
            slide.read_region((0, 0), (4, 4))
    finally:
        gc.set_threshold(*old)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_loop_that_is_forked_while_it_reads_raises_in_the_child(
    pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold, waiting = threading.Event(), threading.Event()
    render = cpu.CpuEngine.render

    def held(self: cpu.CpuEngine, *args: Any) -> Any:
        if args[0].pieces["region"].min() >= 2:  # of no batch that has been asked for
            waiting.set()
            hold.wait(20)
        return render(self, *args)

    monkeypatch.setattr(cpu.CpuEngine, "render", held)
    monkeypatch.setattr("regionio._schedule.LARGEST_TASK_TILES", 1)  # several calls
    locations = [(x, y) for y in range(0, 2400, 600) for x in range(0, 2000, 200)]
    with regionio.open(SLIDE) as slide:
        batches = iter(
            loader := slide.read_region(locations, (300, 300), batch_size=2, num_workers=1)
        )
        next(batches)
        assert waiting.wait(20)
        child = os.fork()
        if child == 0:  # no assert may leave this block
            code = 1
            try:
                monkeypatch.setattr(cpu.CpuEngine, "render", render)
                try:
                    for _ in range(19):
                        next(batches)
                except RuntimeError:
                    batch = next(iter(loader))
                    code = 0 if (batch.array[1] == pixels[:300, 200:500]).all() else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        hold.set()
        assert os.waitstatus_to_exitcode(status) == 0
        assert [len(batch) for batch in batches] == [2] * 19


@pytest.fixture
def ome_set(tmp_path: Path) -> Path:
    """Two files, the second of which holds the second channel."""
    write_set(tmp_path, ["one.ome.tif", "two.ome.tif"])
    return tmp_path / "one.ome.tif"


def write_set(folder: Path, names: list[str]) -> None:
    """Write an OME-TIFF of several files, each with one channel, whose pixels are its number."""
    count = len(names)
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{n}" for n in range(count)]
    blocks = "".join(
        f'<TiffData FirstC="{n}" IFD="0" PlaneCount="1"><UUID FileName="{name}">{uuid}</UUID>'
        "</TiffData>"
        for n, (name, uuid) in enumerate(zip(names, uuids, strict=True))
    )
    channels = "".join(f'<Channel ID="Channel:{n}"/>' for n in range(count))
    for number, name in enumerate(names):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{uuids[number]}"><Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint8" '
            f'DimensionOrder="XYCZT" SizeX="64" SizeY="64" SizeC="{count}" SizeZ="1" SizeT="1">'
            f"{channels}{blocks}</Pixels></Image></OME>"
        )
        write_plane(folder / name, number, xml)


def write_plane(path: Path, value: int, description: str) -> None:
    pixels = np.full((64, 64), value, np.uint8)
    tifffile.imwrite(path, pixels, tile=(32, 32), description=description.encode(), metadata=None)


def test_a_companion_that_changes_is_noticed(ome_set: Path) -> None:
    companion = ome_set.parent / "two.ome.tif"
    with regionio.open(ome_set) as image:
        assert image.read_region()[0, 0].tolist() == [0, 1]
        pickled = pickle.dumps(image)
    opened = regionio.open(ome_set)
    with tifffile.TiffFile(companion) as tiff:
        description = tiff.pages.first.description
    write_plane(companion, 9, description + " ")
    with pytest.raises(regionio.ChangedFileError, match=r"two\.ome\.tif"):
        opened.read_region()
    with pytest.raises(regionio.ChangedFileError, match=r"two\.ome\.tif"):
        pickle.loads(pickled)
    with regionio.open(ome_set) as image:
        assert image.read_region()[0, 0].tolist() == [0, 9]


def test_a_file_cut_after_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    shutil.copy(SLIDE, path)
    with regionio.open(path) as slide:
        os.truncate(path, os.path.getsize(path) // 4)
        with pytest.raises(regionio.CorruptFileError, match=r"slide\.svs"):
            slide.read_region((1900, 2700), (300, 200))


def test_a_set_of_many_files_needs_few_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regionio._opened.MOST_OPEN_SOURCES", 3)
    names = [f"z{n}.ome.tif" for n in range(9)]
    write_set(tmp_path, names)
    with regionio.open(tmp_path / names[0]) as image:
        region = image.read_region()
        assert region.array[0, 0].tolist() == list(range(9))
        for number in (8, 0, 4):
            assert (image.read_region(channels=number).array == number).all()
        assert len(image._file._storages) <= 3
