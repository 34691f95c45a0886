"""By which way tiles get to a GPU, and what becomes of what goes wrong; with what stands for one."""

from __future__ import annotations

import ctypes
import subprocess
import time
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

import regionio
from regionio import ClosedError, DeviceError, RegionIOError
from regionio.codecs.cuda import ByteStreams, adler_of, source_text
from regionio.engines.cuda import libraries, nvcomp, nvjpeg, streams
from regionio.engines.cuda.tasks import Tasks
from regionio.storage import kvikio as storage_kvikio
from tests import fake_cuda
from tests.dicom_files import ROOT, noise, scene, shape_of, write
from tests.fake_cuda import Cupy, fake_gpu
from tests.fake_nvjpeg import JpegLibrary
from tests.kernels import COMPILER, compiled_bytestream
from tests.tiff_files import tiff

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")

SIDE = 1024


def frames(path: Path, syntax: str, shape: tuple[int, int, int], encode: Any, dtype: str) -> Path:
    volume = np.stack(
        [scene(shape[1], shape[2], 1, dtype, 12)[..., 0] + i for i in range(shape[0])]
    )
    streams = [encode(frame) for frame in volume]
    return write(path, ROOT + syntax, streams, **shape_of(volume[..., None], 16))


def equal(path: Path, size: tuple[int, int] = (100, 90), count: int = 60, **options: Any) -> Any:
    """Compare batches with the CPU's; return the GPU's loader."""
    image = regionio.open(path)
    width, height = image.size("XY")
    locations = np.random.default_rng(4).integers(-30, [width, height], (count, 2))
    if image.is_volume:
        z = np.random.default_rng(5).integers(0, image.size("Z")[0], (count, 1))
        locations = np.concatenate([locations, z], axis=1)
    loader = image.read_region(locations, size, batch_size=8, device="cuda", **options)
    found = [np.array(batch.array) for batch in loader]
    options.pop("num_workers", None)
    expected = list(image.read_region(locations, size, batch_size=8, **options))
    for batch, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(batch, np.asarray(wanted))
    return loader


@pytest.mark.parametrize(("num_workers", "on_gpu"), [(0, True), (1, True), (64, False)])
def test_nvjpeg_decodes_where_that_is_sooner(
    fake: Cupy, slide: Path, num_workers: int, on_gpu: bool
) -> None:
    image = regionio.open(slide)
    found = image.read_region(device="cuda", num_workers=num_workers)
    np.testing.assert_array_equal(np.array(found.array), np.asarray(image.read_region()))
    assert JpegLibrary.tiles_decoded == (256 if on_gpu else 0)
    equal(slide, num_workers=num_workers)


def test_what_nvjpeg_refuses_threads_decode(
    fake: Cupy, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, seen = JpegLibrary._decode, []

    def refuses(self: Any, data: bytes, layout: int) -> np.ndarray:
        seen.append(data)
        if len(seen) == 40:
            raise ValueError
        return decode(self, data, layout)

    monkeypatch.setattr(JpegLibrary, "_decode", refuses)
    image = regionio.open(slide)
    expected = np.asarray(image.read_region())
    for _ in range(3):
        found = image.read_region(device="cuda", num_workers=0)
        np.testing.assert_array_equal(np.array(found.array), expected)
    assert len(seen) == 40 + 2 * 256


def test_what_is_not_the_files_fault_is_an_error(
    fake: Cupy, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(JpegLibrary, "nvjpegDecodeBatched", lambda *_: 6)
        with pytest.raises(DeviceError, match="nvJPEG refused decoding with status 6"):
            regionio.open(slide).read_region(device="cuda", num_workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(JpegLibrary, "nvjpegCreateEx", lambda *_: 7)
        with pytest.raises(DeviceError, match="is the driver as new as the package"):
            regionio.open(slide).read_region(device="cuda", num_workers=1)
    equal(slide, num_workers=1)


def test_where_nvjpeg_has_no_memory_threads_decode(
    fake: Cupy, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JpegLibrary, "nvjpegDecodeBatched", lambda *_: 5)
    equal(slide, num_workers=1)
    assert JpegLibrary.tiles_decoded == 0


def test_a_thread_that_can_not_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: Any) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    tasks = Tasks(1)
    with monkeypatch.context() as patch:
        patch.setattr("regionio._workers.worker_pool.submit", none)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="new thread"):
                tasks.run(pow, 2, 3)
    assert tasks.run(pow, 2, 3).result(10) == 8


def test_jobs_that_wait_are_given_up_at_the_end(
    fake: Cupy, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = JpegLibrary.nvjpegDecodeBatched

    def slowly(*arguments: Any) -> int:
        time.sleep(0.2)
        return decode(*arguments)

    monkeypatch.setattr(JpegLibrary, "nvjpegDecodeBatched", slowly)
    image = regionio.open(slide)
    loaders = [
        image.read_region([(0, 0)] * 8, (900, 900), batch_size=1, device="cuda", num_workers=1)
        for _ in range(20)
    ]
    for loader in loaders:
        next(loader)
    began = time.monotonic()
    [thread] = streams._threads.values()
    thread.close()
    assert time.monotonic() - began < 20  # all of it would take 30 s
    with pytest.raises(ClosedError, match="the process ends"):
        list(loaders[-1])
    streams._threads.clear()


def test_chunks_of_a_job_go_the_same_way(
    fake: Cupy, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regionio._cuda_job.CHUNK_TILES", 100)
    sooner = "regionio.engines.cuda.routes.gpu_decodes_jpeg_sooner"
    monkeypatch.setattr(sooner, lambda count, *_: count > 100)
    image = regionio.open(slide)  # 256 tiles: the last ones alone would be too few
    found = image.read_region(device="cuda", num_workers=2)
    np.testing.assert_array_equal(np.array(found.array), np.asarray(image.read_region()))
    assert JpegLibrary.tiles_decoded == 256


LOSSLESS = {1: True, 2: True, 4: False, 7: False}
"""Predictor → whether nvJPEG has it."""


def lossless(frame: np.ndarray, predictor: int, bits: int) -> bytes:
    options: dict[str, Any] = {"predictor": predictor, "bitspersample": bits}
    return bytes(imagecodecs.jpeg8_encode(frame, lossless=True, **options))


@pytest.mark.parametrize("predictor", LOSSLESS)
@pytest.mark.parametrize("bits", [12, 16])
def test_lossless_jpeg(
    fake: Cupy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, predictor: int, bits: int
) -> None:
    def encode(frame: np.ndarray) -> bytes:
        return lossless(frame, predictor, bits)

    path = frames(tmp_path / "l.dcm", ".4.57", (3, 900, 1000), encode, "uint16")
    equal(path, num_workers=1)
    assert (JpegLibrary.tiles_decoded > 0) == LOSSLESS[predictor]
    JpegLibrary.tiles_decoded = 0
    monkeypatch.setattr(JpegLibrary, "version", (12, 4, 0))  # gives zeros now and then
    equal(path, num_workers=1)
    assert JpegLibrary.tiles_decoded == 0


def test_lossless_jpeg_with_a_sign(fake: Cupy, tmp_path: Path) -> None:
    def encode(frame: np.ndarray) -> bytes:
        return lossless(frame.view(np.uint16), 1, 16)

    volume = np.stack([scene(900, 1000, 1, "uint16", 12) for _ in range(3)]).view(np.int16) - 900
    for used in (16, 12):
        attributes = {**shape_of(volume, used), "PixelRepresentation": 1}
        streams = [encode(frame[..., 0]) for frame in volume]
        JpegLibrary.tiles_decoded = 0
        equal(write(tmp_path / f"{used}.dcm", ROOT + ".4.70", streams, **attributes), num_workers=1)
        assert JpegLibrary.tiles_decoded > 0


def test_nvjpeg_is_found_where_its_package_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "nvidia" / "cu13" / "lib"
    folder.mkdir(parents=True)
    source = tmp_path / "property.cpp"
    source.write_text('extern "C" int nvjpegGetProperty(int n, int *v) { *v = 13 - n; return 0; }')
    built = [str(COMPILER), "-shared", "-fPIC", "-o", str(folder / "libnvjpeg.so.13"), str(source)]
    subprocess.run(built, check=True)
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path / "nvidia")])
    monkeypatch.setattr(libraries, "find_spec", lambda name: spec if name == "nvidia" else None)
    found = nvjpeg.nvjpeg.__wrapped__()
    assert found is not None
    assert found.takes("lossless", "as is")


def test_without_decoders_threads_do_all(monkeypatch: pytest.MonkeyPatch, slide: Path) -> None:
    with fake_gpu(monkeypatch, codec=False):
        equal(slide)


def test_tiles_are_decoded_once_for_neighbouring_batches(fake: Cupy, slide: Path) -> None:
    image = regionio.open(slide)
    steps = np.arange(0, SIDE - 64, 32)
    grid = np.array([(x, y) for y in steps for x in steps])
    counts = {}
    for ahead in (0, 2):
        loader = image.read_region(
            grid, (64, 64), batch_size=200, prefetch_factor=ahead, device="cuda"
        )
        on_cpu = image.read_region(grid, (64, 64), batch_size=200)
        for batch, expected in zip(loader, on_cpu, strict=True):
            np.testing.assert_array_equal(np.array(batch.array), np.asarray(expected))
        counts[ahead] = loader.stats.tiles_decoded
    assert counts[2] == 256
    assert counts[0] <= 1.2 * 256


JPEG_2000 = {
    "jpeg2000": (".4.90", lambda frame: imagecodecs.jpeg2k_encode(
        frame, level=0, codecformat="j2k", reversible=True)),
    "boxed": (".4.90", lambda frame: imagecodecs.jpeg2k_encode(frame, level=0, reversible=True)),
    "htj2k": (".4.201", lambda frame: imagecodecs.htj2k_encode(frame, reversible=True)),
}  # fmt: skip


@pytest.mark.parametrize("kind", JPEG_2000)
def test_jpeg_2000_goes_to_the_gpu_where_that_is_sooner(
    fake: Cupy, tmp_path: Path, kind: str
) -> None:
    syntax, encode = JPEG_2000[kind]
    large = frames(tmp_path / "large.dcm", syntax, (3, 900, 1000), encode, "uint16")
    equal(large, num_workers=1)
    assert fake_cuda.ImageDecoder.tiles_decoded > 0
    fake_cuda.ImageDecoder.tiles_decoded = 0
    small = frames(tmp_path / "small.dcm", syntax, (3, 40, 50), encode, "uint16")
    equal(small, (20, 20), num_workers=64)
    assert (fake_cuda.ImageDecoder.tiles_decoded > 0) == (kind == "htj2k")


def test_rgb_stored_as_such_is_not_converted(fake: Cupy, monkeypatch: pytest.MonkeyPatch) -> None:
    image = regionio.open(Path(__file__).parent / "data" / "CMU-1-Small-Region.svs")
    expected = np.asarray(image.read_region())
    tiles = 10 * 13
    for version in ((13, 0, 0), (12, 4, 0)):  # 12 has no such format: the count stays
        monkeypatch.setattr(JpegLibrary, "version", version)
        found = image.read_region(device="cuda", num_workers=0)
        np.testing.assert_array_equal(np.array(found.array), expected)
        assert JpegLibrary.tiles_decoded == tiles


@pytest.mark.parametrize("gds", [False, True])
def test_kvikio_reads_what_lies_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gds: bool
) -> None:
    volume = noise(12, 420, 400, 1, dtype="uint16")
    path = write(tmp_path / "v.dcm", ROOT + ".1", volume.tobytes(), **shape_of(volume, 16))
    with fake_gpu(monkeypatch, kvikio=True, gds=gds) as cupy:
        image = regionio.open(path)
        found = image.read_region(device="cuda", num_workers=6)
        np.testing.assert_array_equal(np.array(found.array), volume[..., 0])
        loader = image.read_region([(0, 0, z) for z in range(12)], (400, 420, 1), device="cuda")
        np.testing.assert_array_equal(
            np.concatenate([np.array(region.array) for region in loader]), volume[..., 0]
        )
        stats = loader.stats
        assert stats.bytes_kvikio == stats.bytes_read >= volume.nbytes
        assert stats.bytes_cufile == (stats.bytes_read if gds else 0)
        equal(path, (10, 10))  # too little at a time for it
        assert cupy.kvikio.defaults.get("num_threads") == 6


def test_a_file_that_changes_is_not_read_by_kvikio(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    volume = noise(8, 300, 320, 1, dtype="uint16")
    path = write(tmp_path / "v.dcm", ROOT + ".1", volume.tobytes(), **shape_of(volume, 16))
    with fake_gpu(monkeypatch, kvikio=True):
        image = regionio.open(path)
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(RegionIOError, match="has changed since it was opened"):
            image.read_region(device="cuda")


def test_a_file_that_becomes_shorter_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    volume = noise(8, 300, 320, 1, dtype="uint16")
    path = write(tmp_path / "v.dcm", ROOT + ".1", volume.tobytes(), **shape_of(volume, 16))
    with fake_gpu(monkeypatch, kvikio=True):
        image = regionio.open(path)
        image.read_region(device="cuda")
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
        with pytest.raises(RegionIOError, match="has become shorter"):
            image.read_region(device="cuda")


def test_runs_lie_on_pages_and_hold_every_range() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        count = int(random.integers(0, 30))
        ranges = random.integers(0, [600_000, 9000], (count, 2))
        size = int(ranges.sum(axis=1).max(initial=0))
        runs = storage_kvikio.runs_of(ranges, size)
        content = random.integers(0, 256, size, dtype=np.uint8)
        memory = np.zeros(runs.total, np.uint8)
        assert (runs.begin % 4096 == 0).all()
        assert (runs.offset % 4096 == 0).all()
        for offset, nbytes, begin in zip(runs.offset, runs.nbytes, runs.begin, strict=True):
            assert offset + nbytes <= size
            memory[begin : begin + nbytes] = content[offset : offset + nbytes]
        for (offset, nbytes), place in zip(ranges, runs.place, strict=True):
            held = memory[place : place + nbytes] if nbytes else memory[:0]
            np.testing.assert_array_equal(held, content[offset : offset + nbytes])
        assert runs.bytes_wanted == ranges[:, 1].sum()


PACKED = [("zlib", 1), ("zlib", 2), ("zstd", 1), ("zstd", 2)]


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(("compression", "predictor"), PACKED)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_nvcomp_decompresses_where_it_is_allowed_to(
    fake: Cupy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compression: str, predictor: int,
    byteorder: str, dtype: str,
) -> None:  # fmt: skip
    library = fake_cuda.FakeNvcomp()
    monkeypatch.setattr("regionio.engines.cuda.routes.nvcomp", lambda: library)
    monkeypatch.setattr("regionio.engines.cuda.inflated.nvcomp", lambda: library)
    predictor = 1 if dtype == "float32" else predictor
    picture = scene(400, 500, 3, "uint16", 12)
    picture = (picture >> 4 if dtype == "uint8" else picture).astype(dtype)
    path = tiff(
        tmp_path / "d.tif", picture, compression=compression, predictor=predictor,
        byteorder=byteorder, photometric="rgb",
    )  # fmt: skip
    fake_cuda.FakeNvcomp.tiles_decompressed = 0
    equal(path)
    loader = regionio.open(path).read_region([(0, 0)], (400, 400), device="cuda")
    assert len(list(loader)) == 1
    assert loader.stats.bytes_read >= loader.stats.bytes_wanted > 0
    assert fake_cuda.FakeNvcomp.tiles_decompressed > 0
    with tifffile.TiffFile(path) as file:
        start, size = file.pages.first.dataoffsets[9], file.pages.first.databytecounts[9]
    data = bytearray(path.read_bytes())
    if compression == "zlib":
        data[start + size - 1] ^= 1  # of its checksum
    else:
        data[start + 20 : start + size] = bytes(size - 20)
    path.write_bytes(data)
    with pytest.raises(RegionIOError, match="tile in row 1, column 1"):
        regionio.open(path).read_region((64, 64), (40, 40), device="cuda")


@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
def test_checksums_are_zlibs(itemsize: int) -> None:
    random = np.random.default_rng(0)
    streams = ByteStreams("Deflate", itemsize, differences=False, swapped=False)
    library = compiled_bytestream(source_text(streams))
    step = 300_000
    sizes = np.array([0, 1, 5, 65521, 299_999], dtype=np.uint64)
    memory = random.integers(0, 256, len(sizes) * step, dtype=np.uint8)
    memory[4 * step :] = 255
    sums = np.zeros((len(sizes), 2), np.uint64)
    addresses = [ctypes.c_void_p(array.ctypes.data) for array in (memory, sizes, sums)]
    library.run_adler(len(sizes), addresses[0], ctypes.c_longlong(step), *addresses[1:])
    expected = [
        zlib.adler32(memory[i * step : i * step + int(size)].tobytes())
        for i, size in enumerate(sizes)
    ]
    assert adler_of(sums, sizes).tolist() == expected


def test_nvcomp_that_is_missing_is_an_error(
    fake: Cupy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tiff(tmp_path / "d.tif", scene(100, 100, 1)[..., 0], compression="zlib")
    monkeypatch.setenv("REGIONIO_NVCOMP", "1")
    nvcomp.nvcomp.cache_clear()
    try:
        with pytest.raises(DeviceError, match="pip install 'nvidia-libnvcomp-cu13"):
            regionio.open(path).read_region(device="cuda")
    finally:
        nvcomp.nvcomp.cache_clear()


@pytest.mark.parametrize("values", ["stored", "modality", "display"])
def test_values_are_looked_up(fake: Cupy, tmp_path: Path, values: Any) -> None:
    volume = (noise(5, 60, 70, 1, dtype="uint16") >> 4).astype("uint16")
    attributes = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": 40.0,
                  "WindowWidth": 400.0}  # fmt: skip
    path = write(
        tmp_path / "v.dcm", ROOT + ".1", volume.tobytes(), **shape_of(volume, 12), **attributes
    )
    image = regionio.open(path, values=values)
    choices: tuple[dict[str, Any], ...] = ({}, {"dtype": "float32", "scale": 0.5, "offset": 3})
    for options in choices:
        found = image.read_region(device="cuda", **options)
        expected = np.asarray(image.read_region(**options))
        np.testing.assert_array_equal(np.array(found.array), expected)


def test_out_is_written_to(fake: Cupy, slide: Path) -> None:
    image = regionio.open(slide)
    out: Any = fake.empty((90, 100, 3), np.uint8)
    region = image.read_region((10, 20), (100, 90), device="cuda", out=out)
    assert region.array.ctypes.data == out.ctypes.data
    np.testing.assert_array_equal(out, np.asarray(image.read_region((10, 20), (100, 90))))
    with pytest.raises(TypeError, match="out is a CuPy array, not ndarray"):
        image.read_region((0, 0), (4, 4), device="cuda", out=np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="out has shape"):
        image.read_region((0, 0), (4, 4), device="cuda", out=out)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_a_spacing_between_levels(fake: Cupy, tmp_path: Path, layout: str) -> None:
    path = tmp_path / "s.tif"
    options: dict[str, Any] = {
        "resolution": (20_000, 20_000),
        "resolutionunit": "CENTIMETER",
        "metadata": None,
    }
    tifffile.imwrite(path, scene(500, 600, 3), photometric="rgb", tile=(64, 64), **options)
    image = regionio.open(path)
    locations = np.random.default_rng(0).integers(-20, 400, (20, 2))
    wanted: dict[str, Any] = {
        "spacing": 0.85,
        "batch_size": 6,
        "return_mask": True,
        "layout": layout,
    }
    on_gpu = image.read_region(locations, (50, 40), device="cuda", **wanted)
    for found, expected in zip(
        on_gpu, image.read_region(locations, (50, 40), **wanted), strict=True
    ):
        np.testing.assert_array_equal(np.array(found.array), np.asarray(expected))
        np.testing.assert_array_equal(np.array(found.mask), expected.mask)
        assert found.spacing == expected.spacing


@pytest.mark.filterwarnings("ignore")
def test_real_files_are_the_same(fake: Cupy, wider_data: Path) -> None:
    compared = 0
    for path in sorted(wider_data.rglob("*")):
        try:
            image = regionio.open(path)
        except (RegionIOError, OSError):
            continue
        with image:
            compare_some(image)
        compared += 1
    assert compared > 100


def compare_some(image: regionio.Image) -> None:
    """Compare a few regions of a file's first and last level with the CPU's."""
    width, height = image.size("XY")
    random = np.random.default_rng(3)
    for level in {0, image.resolutions["level_count"] - 1}:
        locations = random.integers(-10, [width, height], (3, 2))
        if image.is_volume:
            z = random.integers(0, image.size("Z")[0], (3, 1))
            locations = np.concatenate([locations, z], axis=1)
        wanted: dict[str, Any] = {"level": level, "batch_size": 3}
        try:
            [expected] = image.read_region(locations, (65, 40), **wanted)
        except RegionIOError as error:
            with pytest.raises(type(error)):
                list(image.read_region(locations, (65, 40), device="cuda", **wanted))
            continue
        [found] = image.read_region(locations, (65, 40), device="cuda", **wanted)
        np.testing.assert_array_equal(np.array(found.array), np.asarray(expected))
