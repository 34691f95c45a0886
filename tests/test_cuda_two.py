"""Two GPUs at once; these tests need them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

import regionio
from tests.conftest import real_cupy
from tests.dicom_files import ROOT, scene, shape_of, write
from tests.tiff_files import tiff

pytestmark = pytest.mark.gpu


@pytest.fixture
def two_gpus() -> Any:
    cupy = real_cupy()
    if cupy is None or cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there are no two GPUs")
    return cupy


def images(folder: Path) -> dict[str, tuple[Path, int]]:
    """Return files that take different ways, and how far from the CPU's their values may be."""
    color, gray = scene(1100, 1300, 3), scene(1100, 1300, 1, "uint16", 12)[..., 0]
    volume = np.stack([scene(900, 1000, 1, "uint16", 12) + i for i in range(6)])
    streams = [bytes(imagecodecs.htj2k_encode(v[..., 0], reversible=True)) for v in volume]
    jpeg = tiff(folder / "j.tif", color, compression="jpeg", photometric="ycbcr")
    return {
        "jpeg": (jpeg, 3),
        "raw": (tiff(folder / "r.tif", gray), 0),
        "deflate": (tiff(folder / "d.tif", gray, compression="zlib"), 0),
        "htj2k": (write(folder / "h.dcm", ROOT + ".4.201", streams, **shape_of(volume, 12)), 0),
    }


@pytest.mark.parametrize("name", ["jpeg", "raw", "deflate", "htj2k"])
def test_both_at_once(tmp_path: Path, two_gpus: Any, name: str) -> None:
    path, most = images(tmp_path)[name]
    image = regionio.open(path)
    random = np.random.default_rng(0)
    locations = random.integers(0, 700, (200, 2))
    if image.is_volume:
        locations = np.column_stack([locations, random.integers(0, 6, 200)])
    expected = np.concatenate(list(image.read_region(locations, (200, 180), batch_size=32)))
    failed: list[str] = []

    def run(number: int) -> None:
        for _ in range(3):
            loader = image.read_region(
                locations, (200, 180), batch_size=32, device=f"cuda:{number}", num_workers=1
            )
            parts = []
            for batch in loader:
                array: Any = batch.array
                if array.device.id != number or batch.device != f"cuda:{number}":
                    failed.append(f"{batch.device} for {number}")
                with two_gpus.cuda.Device(number):
                    parts.append(two_gpus.asnumpy(array))
            found = np.concatenate(parts)
            if np.abs(found.astype(int) - expected).max() > most:
                failed.append(f"pixels on {number}")

    threads = [threading.Thread(target=run, args=(number,)) for number in (0, 1, 0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_the_current_device_stays(tmp_path: Path, two_gpus: Any) -> None:
    path, most = images(tmp_path)["jpeg"]
    image = regionio.open(path)
    expected = np.asarray(image.read_region())
    for current in (0, 1):
        with two_gpus.cuda.Device(current):
            for number in (1, 0):
                region: Any = image.read_region(device=f"cuda:{number}", num_workers=0)
                assert two_gpus.cuda.runtime.getDevice() == current
                assert region.array.device.id == number
                with two_gpus.cuda.Device(number):
                    found = two_gpus.asnumpy(region.array)
                assert np.abs(found.astype(int) - expected).max() <= most


def test_torch_takes_them_where_they_are(tmp_path: Path, two_gpus: Any) -> None:
    torch = pytest.importorskip("torch")
    path, _ = images(tmp_path)["raw"]
    image = regionio.open(path)
    expected = np.asarray(image.read_region((5, 6), (300, 200)))
    for number in (1, 0):
        tensor = torch.from_dlpack(image.read_region((5, 6), (300, 200), device=f"cuda:{number}"))
        assert tensor.device == torch.device("cuda", number)
        np.testing.assert_array_equal(tensor.cpu().numpy(), expected)
