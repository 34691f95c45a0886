"""Regions on a GPU are those on the CPU; these tests need one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

import regionio
from regionio import DeviceError
from tests.dicom_files import ROOT, noise, scene, shape_of, write
from tests.fake_cuda import Cupy
from tests.tiff_files import tiff

DATA = Path(__file__).parent / "data"
gpu = pytest.mark.gpu  # others do with what stands for a GPU


def native_volume(path: Path, *, syntax: str = ".1") -> Path:
    volume = noise(9, 60, 70, 1, dtype="uint16")
    order = ">" if syntax == ".2" else "<"
    attributes = shape_of(volume, 12)
    return write(path, ROOT + syntax, volume.astype(order + "u2").tobytes(), **attributes)


def files(folder: Path) -> dict[str, Any]:
    """Return images of every route, by name."""
    gray16 = scene(400, 500, 1, "uint16", 12)[..., 0]
    color = scene(500, 700, 3)
    return {
        "aperio": DATA / "CMU-1-Small-Region.svs",
        "dicom slide": DATA / "camelyon_jpeg.dcm",
        "dicom volume": DATA / "dcmqi_23x38x3",
        "native volume": native_volume(folder / "v.dcm"),
        "big-endian volume": native_volume(folder / "b.dcm", syntax=".2"),
        "jpeg": tiff(folder / "j.tif", color, compression="jpeg", photometric="ycbcr",
                     subsampling=(2, 2)),
        "jpeg gray": tiff(folder / "g.tif", color[..., 0], compression="jpeg"),
        "raw": tiff(folder / "r.tif", gray16),
        "raw big-endian": tiff(folder / "e.tif", gray16, byteorder=">"),
        "planar": tiff(folder / "p.tif", np.moveaxis(color, 2, 0), photometric="rgb",
                       planarconfig="separate"),
        "deflate": tiff(folder / "d.tif", gray16, compression="zlib", predictor=2),
        "float": tiff(folder / "f.tif", gray16.astype(np.float32) / 7),
    }  # fmt: skip


NAMES = (
    "aperio", "dicom slide", "dicom volume", "native volume", "big-endian volume", "jpeg",
    "jpeg gray", "raw", "raw big-endian", "planar", "deflate", "float",
)  # fmt: skip


LOSSY = {
    "aperio": 1, "jpeg gray": 1, "jpeg": 3, "jpeg 4:2:2": 3, "jpeg 4:4:4": 3, "dicom slide": 3,
}  # fmt: skip
"""How far from libjpeg's values nvJPEG's are at most: it rounds otherwise, and colours add that up."""


def most_different(name: str, cupy: Any) -> int:
    return 0 if isinstance(cupy, Cupy) else LOSSY.get(name, 0)


def same(found: Any, expected: np.ndarray, cupy: Any, most: float = 0) -> None:
    assert isinstance(found.array, cupy.ndarray)
    assert found.device == "cuda:0"
    values = cupy.asnumpy(found.array)
    assert values.dtype == expected.dtype
    if most:
        assert np.abs(values.astype(np.float64) - expected).max() <= most
    else:
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("options", [
    {}, {"layout": "CYX"}, {"layout": "CYX", "scale": 0.25, "offset": -3, "dtype": "float32"},
    {"layout": "YXC", "scale": 1 / 4096, "dtype": "float16"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("name", NAMES)
def test_regions_equal_the_cpus(
    tmp_path: Path, cupy: Any, name: str, options: dict[str, Any]
) -> None:
    image = regionio.open(files(tmp_path)[name])
    width, height = image.size("XY")
    random = np.random.default_rng(1)
    locations = random.integers(-20, [width, height], (50, 2))
    if image.is_volume:
        z = random.integers(-1, image.size("Z")[0], (50, 1))
        locations = np.concatenate([locations, z], axis=1)
    size = (32, 24)
    on_cpu = list(image.read_region(locations, size, batch_size=16, **options))
    on_gpu = list(image.read_region(locations, size, batch_size=16, device="cuda", **options))
    assert len(on_gpu) == len(on_cpu)
    for found, expected in zip(on_gpu, on_cpu, strict=True):
        same(found, np.asarray(expected), cupy, most_different(name, cupy))
        np.testing.assert_array_equal(found.locations, expected.locations)
    single = tuple(locations[0].tolist())
    found = image.read_region(single, size, device="cuda", **options)
    alone = np.asarray(image.read_region(single, size, **options))
    same(found, alone, cupy, most_different(name, cupy))


def pictures(folder: Path) -> dict[str, Any]:
    """Return images that the GPU's decoders take, by name."""
    color = scene(1100, 1300, 3)
    jpeg: dict[str, Any] = {"compression": "jpeg", "photometric": "ycbcr"}
    volume = np.stack([scene(400, 500, 1, "uint16", 12) + i for i in range(8)])

    def lossless(bits: int) -> Path:
        options: dict[str, Any] = {"predictor": 1, "bitspersample": bits}
        streams = [
            bytes(imagecodecs.jpeg8_encode(v[..., 0], lossless=True, **options)) for v in volume
        ]
        path = folder / f"lossless{bits}.dcm"
        return write(path, ROOT + ".4.70", streams, **shape_of(volume, bits))

    return {
        "aperio": DATA / "CMU-1-Small-Region.svs",
        "dicom slide": DATA / "camelyon_jpeg.dcm",
        "jpeg": tiff(folder / "0.tif", color, subsampling=(2, 2), **jpeg),
        "jpeg 4:2:2": tiff(folder / "2.tif", color, subsampling=(2, 1), **jpeg),
        "jpeg 4:4:4": tiff(folder / "4.tif", color, subsampling=(1, 1), **jpeg),
        "jpeg gray": tiff(folder / "g.tif", color[..., 0], compression="jpeg"),
        "lossless 12 bit": lossless(12),
        "lossless 16 bit": lossless(16),
    }


@pytest.mark.parametrize("name", [*LOSSY, "lossless 12 bit", "lossless 16 bit"])
def test_whole_pictures_by_the_gpus_decoders(tmp_path: Path, cupy: Any, name: str) -> None:
    image = regionio.open(pictures(tmp_path)[name])
    expected = np.asarray(image.read_region())
    for _ in range(4):
        found = image.read_region(device="cuda", num_workers=0)
        same(found, expected, cupy, most_different(name, cupy))
        values = cupy.asnumpy(found.array)
        assert (values != expected).mean() <= 0.06
        if not isinstance(cupy, Cupy) and name in LOSSY:
            assert (values != expected).any(), "the CPU has decoded it"


def test_a_whole_volume_and_values(tmp_path: Path, cupy: Any) -> None:
    path = native_volume(tmp_path / "v.dcm")
    for values in ("stored", "modality", "display"):
        image = regionio.open(path, values=values)
        whole = np.asarray(image.read_region())
        same(image.read_region(device="cuda"), whole, cupy)


def test_masks_and_fill(tmp_path: Path, cupy: Any) -> None:
    image = regionio.open(DATA / "CMU-1-Small-Region.svs")
    on_cpu = image.read_region((-30, 2900), (100, 100), return_mask=True)
    on_gpu = image.read_region((-30, 2900), (100, 100), return_mask=True, device="cuda")
    same(on_gpu, np.asarray(on_cpu), cupy, most_different("aperio", cupy))
    np.testing.assert_array_equal(cupy.asnumpy(on_gpu.mask), on_cpu.mask)


SPIN = r"""
extern "C" __global__ void slow_sum(const unsigned char *data, long long n, long long spin,
                                    unsigned long long *sum) {
    long long start = clock64();
    while (clock64() - start < spin) {}
    unsigned long long mine = 0;
    for (long long i = threadIdx.x; i < n; i += blockDim.x) mine += data[i];
    atomicAdd(sum, mine);
}
"""


@gpu
@pytest.mark.parametrize("own_stream", [False, True])
def test_memory_is_not_used_again_before_its_consumer_is_done(
    tmp_path: Path, cupy: Any, own_stream: bool
) -> None:
    image = regionio.open(tiff(tmp_path / "r.tif", scene(2200, 2200, 3)))
    locations = np.random.default_rng(0).integers(0, 1900, (640, 2))
    expected = [
        int(np.asarray(batch).sum(dtype=np.uint64))
        for batch in image.read_region(locations, (224, 224), batch_size=32)
    ]
    kernel = cupy.RawKernel(SPIN, "slow_sum")
    stream = cupy.cuda.Stream(non_blocking=True) if own_stream else cupy.cuda.Stream.null
    sums = cupy.zeros(len(expected), cupy.uint64)
    cupy.cuda.Device().synchronize()
    with stream:
        loader = image.read_region(locations, (224, 224), batch_size=32, device="cuda")
        for number, batch in enumerate(loader):
            array = cupy.asarray(batch)
            kernel((1,), (256,), (array, array.size, 30_000_000, sums[number:]))
            del array, batch  # at once
    stream.synchronize()
    assert sums.get().tolist() == expected


@gpu
def test_torch_takes_batches_without_copies(tmp_path: Path, cupy: Any) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    image = regionio.open(tiff(tmp_path / "r.tif", scene(2200, 2200, 3)))
    locations = np.random.default_rng(0).integers(0, 1900, (256, 2))
    options: dict[str, Any] = {"layout": "NCHW", "scale": 1 / 255, "batch_size": 64}
    expected = list(image.read_region(locations, (224, 224), **options))
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for batch, wanted in zip(
            image.read_region(locations, (224, 224), device="cuda", **options),
            expected,
            strict=True,
        ):
            tensor = torch.from_dlpack(batch)
            array: Any = batch.array
            assert tensor.data_ptr() == array.data.ptr
            np.testing.assert_array_equal(tensor.cpu().numpy(), np.asarray(wanted))


def test_damaged_tiles_are_errors(tmp_path: Path, cupy: Any) -> None:
    path = files(tmp_path)["jpeg"]
    with tifffile.TiffFile(path) as file:
        start, size = file.pages.first.dataoffsets[9], file.pages.first.databytecounts[9]
    data = bytearray(path.read_bytes())
    data[start + 40 : start + size] = bytes(size - 40)
    path.write_bytes(data)
    image = regionio.open(path)
    with pytest.raises(regionio.RegionIOError, match="tile in row 0, column 9"):
        image.read_region((0, 0), (700, 64), device="cuda")
    good = image.read_region((0, 128), (300, 64), device="cuda")
    assert good.shape == (64, 300, 3)


def test_several_loaders_and_threads_at_once(cupy: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    image = regionio.open(DATA / "camelyon_jpeg.dcm")
    locations = np.random.default_rng(0).integers(0, 600, (128, 2))
    expected = np.concatenate(list(image.read_region(locations, (64, 64), batch_size=32)))

    def run(_: int) -> np.ndarray:
        loader = image.read_region(locations, (64, 64), batch_size=32, device="cuda")
        return np.concatenate([cupy.asnumpy(batch.array) for batch in loader])

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(run, range(8)):
            most = most_different("dicom slide", cupy)
            assert np.abs(found.astype(int) - expected).max() <= most


def test_without_a_gpu_the_error_says_what_is_missing() -> None:
    image = regionio.open(DATA / "CMU-1-Small-Region.svs")
    try:
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
    except Exception:  # noqa: BLE001
        count = 0
    with pytest.raises(DeviceError, match=r"CuPy|driver|this machine has"):
        image.read_region((0, 0), (8, 8), device=f"cuda:{count}")
    devices: list[Any] = ["gpu", "cuda:x", "", None, "CPU"]
    for device in devices:
        with pytest.raises(ValueError, match="device is 'cpu'"):
            image.read_region((0, 0), (8, 8), device=device)
