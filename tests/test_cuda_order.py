"""What streams do to the same memory is ordered by events, whatever the consumer does meanwhile."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regionio
from regionio import CorruptFileError
from regionio.engines.cuda import chunk, fetch
from regionio.engines.cuda.memory import PinnedBuffer
from tests.dicom_files import ROOT, noise, scene, shape_of, write
from tests.fake_cuda import fake_gpu
from tests.fake_nvjpeg import JpegLibrary
from tests.kernels import COMPILER
from tests.stream_order import CheckedCuda, Order, checked_gpu
from tests.tiff_files import tiff

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")

JPEG = {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 2)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    picture = scene(1024, 1024, 3)
    volume = noise(12, 300, 320, 1, dtype="uint16")
    return {
        "jpeg": tiff(folder / "jpeg.tif", picture, **JPEG),
        "raw": tiff(folder / "raw.tif", picture, photometric="rgb"),
        "deflate": tiff(folder / "deflate.tif", picture, compression="zlib"),
        "volume": write(folder / "v.dcm", ROOT + ".1", volume.tobytes(), **shape_of(volume, 16)),
    }


def consume(cuda: CheckedCuda, path: Path, *, epochs: int = 2, **options: Any) -> Order:
    """Read batches on a stream of the consumer's, which the host never waits for."""
    image = regionio.open(path)
    width, height = image.size("XY")
    side = 298 if image.is_volume else 64
    stream = cuda.stream(non_blocking=True)
    for epoch in range(epochs):
        random = np.random.default_rng(epoch)
        count = 24 if image.is_volume else 200
        locations = random.integers(0, [width - side + 1, height - side + 1], (count, 2))
        if image.is_volume:
            depths = random.integers(0, image.size("Z")[0], (count, 1))
            locations = np.concatenate([locations, depths], axis=1)
        loader = image.read_region(
            locations, (side, side), batch_size=count // 8, device="cuda", **options
        )
        with stream:
            for batch in loader:
                cuda.order.note(stream, batch.array, "consumer reads", write=False)
    return cuda.order


@pytest.mark.parametrize("share", [None, 2**19], ids=["one window", "small windows"])
@pytest.mark.parametrize(
    ("name", "workers", "kvikio"),
    [("jpeg", 0, False), ("jpeg", 2, False), ("raw", 2, False), ("deflate", 2, False),
     ("volume", 2, False), ("volume", 2, True)],
)  # fmt: skip
def test_nothing_is_read_or_written_out_of_turn(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, Path], name: str, workers: int,
    kvikio: bool, share: int | None,
) -> None:  # fmt: skip
    if share is not None:
        monkeypatch.setattr("regionio.engines.cuda.streams.LEAST_SHARE_BYTES", share)
        monkeypatch.setattr("regionio.engines.cuda.streams.MOST_SHARE_BYTES", share)
        monkeypatch.setattr("regionio.engines.cuda.slabs.ROUNDING_BYTES", 2**12)
    with checked_gpu(monkeypatch, kvikio=kvikio) as (_, cuda):
        order = consume(cuda, files[name], num_workers=workers)
        assert not order.races
        assert order.reused > 0


def to_nvjpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all JPEG decoded by nvJPEG, a few tiles a chunk."""
    monkeypatch.setattr("regionio.engines.cuda.routes.gpu_decodes_jpeg_sooner", lambda *_: True)
    monkeypatch.setattr("regionio._cuda_job.CHUNK_TILES", 20)


@pytest.mark.parametrize("refuses", [False, True])
def test_nvjpeg_works_in_turn(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, Path], refuses: bool
) -> None:
    to_nvjpeg(monkeypatch)
    read, decode, calls = fetch.read_to_places, JpegLibrary.nvjpegDecodeBatched, []

    def late(*arguments: Any) -> Any:
        time.sleep(0.003)
        return read(*arguments)

    def sometimes(*arguments: Any) -> int:
        calls.append(1)
        return 3 if refuses and len(calls) % 3 == 0 else decode(*arguments)

    monkeypatch.setattr(chunk, "read_to_places", late)
    monkeypatch.setattr(JpegLibrary, "nvjpegDecodeBatched", sometimes)
    with checked_gpu(monkeypatch) as (_, cuda):
        order = consume(cuda, files["jpeg"], num_workers=2)
        assert not order.races
        assert JpegLibrary.tiles_decoded > 100
        image, JpegLibrary.tiles_decoded = regionio.open(files["jpeg"]), 0
        found = image.read_region(device="cuda", num_workers=2)
        np.testing.assert_array_equal(np.array(found.array), np.asarray(image.read_region()))
        assert (JpegLibrary.tiles_decoded == 256) == (not refuses)
    assert len(calls) > 10


def test_bytes_that_can_not_be_read_are_told(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]
) -> None:
    to_nvjpeg(monkeypatch)

    def fails(*_: Any) -> Any:
        raise CorruptFileError("the file has become shorter")

    monkeypatch.setattr(chunk, "read_to_places", fails)
    with checked_gpu(monkeypatch):
        with pytest.raises(CorruptFileError, match="has become shorter"):
            regionio.open(files["jpeg"]).read_region(device="cuda", num_workers=2)
        assert JpegLibrary.tiles_decoded == 0


def test_a_wait_that_is_missing_is_noticed(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]
) -> None:
    with checked_gpu(monkeypatch) as (_, cuda):
        monkeypatch.setattr(
            "regionio.engines.cuda.memory.BatchMemory.used_by", lambda self, stream: None
        )
        monkeypatch.setattr("regionio.engines.cuda.memory.Retired._wait_for", lambda *_: None)
        order = consume(cuda, files["jpeg"], num_workers=0, epochs=3)
    assert any("consumer reads" in race for race in order.races)


def test_a_stream_that_is_not_current_has_to_wait(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]
) -> None:
    with checked_gpu(monkeypatch) as (_, cuda):
        image = regionio.open(files["raw"])
        mine, other = cuda.stream(), cuda.stream()
        with mine:
            batch = image.read_region([(0, 0)] * 2, (64, 64), batch_size=2, device="cuda")
            array = next(batch).array
        cuda.order.note(mine, array, "consumer reads", write=False)
        assert not cuda.order.races
        cuda.order.note(other, array, "another reads", write=False)
        [(_, _, what, stream)] = cuda.order.races
        assert (what, stream) == ("another reads", other.name)
        assert array.shape == (2, 64, 64, 3)


def test_a_buffer_is_not_given_back_while_it_is_read_into(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]
) -> None:
    events: list[str] = []
    read, give_back = fetch.read_to_places, PinnedBuffer.give_back

    def late(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.2)
        found = read(*arguments, **options)
        events.append("read")
        return found

    def noted(buffer: PinnedBuffer, after: list[Any]) -> None:
        events.append("given back")
        give_back(buffer, after)

    def fails(*_: object) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr(chunk, "read_to_places", late)
    monkeypatch.setattr(PinnedBuffer, "give_back", noted)
    monkeypatch.setattr("regionio.engines.cuda.decoder_threads.DecoderThreads.run", fails)
    monkeypatch.setattr("regionio.engines.cuda.routes.gpu_decodes_jpeg_sooner", lambda *_: True)
    with fake_gpu(monkeypatch), pytest.raises(RuntimeError, match="new thread"):
        regionio.open(files["jpeg"]).read_region((0, 0), (200, 200), device="cuda")
    assert events == ["read", "given back"]
