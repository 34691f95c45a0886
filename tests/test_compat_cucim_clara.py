"""regionio.compat.cucim.clara: caches, devices, types and files as cuCIM has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regionio
from regionio.compat.cucim import CuImage, clara, is_available
from regionio.compat.cucim.clara import DLDataTypeCode, cache, filesystem, io

cucim = pytest.importorskip("cucim")
if not cucim.is_available("clara"):
    pytest.skip("cuCIM can't read images here", allow_module_level=True)

REAL = cucim.CuImage


def test_the_cache_is_set_up_as_cucims(slide_path: str) -> None:
    for kind, options in (
        ("per_process", {}),
        ("per_process", {"memory_capacity": 64}),
        ("per_process", {"memory_capacity": 7, "capacity": 500, "record_stat": True}),
        ("nocache", {}),
        ("no_cache", {"memory_capacity": 3}),
    ):
        actual, expected = CuImage.cache(kind, **options), REAL.cache(kind, **options)
        assert actual.config == expected.config
        assert (actual.type.name, int(actual.type)) == (expected.type.name, int(expected.type))
        for name in (
            "size",
            "memory_size",
            "capacity",
            "memory_capacity",
            "free_memory",
            "hit_count",
            "miss_count",
        ):
            assert getattr(actual, name) == getattr(expected, name), (kind, options, name)
        assert actual.record() == expected.record()
        assert regionio.cache.capacity == actual.memory_capacity
    with pytest.raises(ValueError, match="per_process"):
        CuImage.cache("shared_memory")
    with pytest.raises(ValueError, match="bogus"):
        CuImage.cache("bogus")
    with pytest.raises(TypeError, match="memory_size"):
        CuImage.cache("per_process", memory_size=3)
    CuImage(slide_path).read_region((0, 0), (8, 8))
    assert CuImage.cache("nocache").size == 0


def test_the_cache_can_grow_but_not_shrink() -> None:
    actual, expected = (c.cache("per_process", memory_capacity=10) for c in (CuImage, REAL))
    for mebibytes, options in ((30, {}), (20, {}), (40, {"capacity": 9}), (5, {"capacity": 3})):
        actual.reserve(mebibytes, **options)
        expected.reserve(mebibytes, **options)
        assert actual.memory_capacity == expected.memory_capacity
    assert regionio.cache.capacity == 40 * 2**20


def test_preferred_memory_capacity_is_the_same(slide_path: str) -> None:
    function, other = cache.preferred_memory_capacity, cucim.clara.cache.preferred_memory_capacity
    rng = np.random.default_rng(4)
    for _ in range(50):
        image_size, tile_size, patch_size = (
            rng.integers(1, most, 2).tolist() for most in (200_000, 600, 3_000)
        )
        arguments = (None, image_size, tile_size, patch_size, int(rng.integers(1, 9)))
        assert function(*arguments) == other(*arguments)
    for patch_size in (None, (512, 512)):
        actual = function(CuImage(slide_path), patch_size=patch_size)
        assert actual == other(REAL(slide_path), patch_size=patch_size)
    with pytest.raises(ValueError, match="image_size"):
        function()


def test_devices_are_the_same() -> None:
    for name in ("cpu", "cuda", "cuda:1"):
        actual, expected = io.Device(name), cucim.clara.io.Device(name)
        assert (str(actual), actual.index) == (str(expected), expected.index)
        assert (actual.type.name, int(actual.type)) == (expected.type.name, int(expected.type))
        assert actual == io.Device(actual)
    for wrong in ("gpu", "cuda:", "cuda:x", ""):
        with pytest.raises(ValueError, match="device"):
            io.Device(wrong)


def test_enumerations_are_the_same() -> None:
    pairs: list[tuple[Any, Any]] = [
        (DLDataTypeCode, cucim.clara.DLDataTypeCode),
        (io.DeviceType, cucim.clara.io.DeviceType),
        (cache.CacheType, cucim.clara.cache.CacheType),
    ]
    for actual, expected in pairs:
        members = {name: int(member) for name, member in expected.__members__.items()}
        assert {member.name: member.value for member in actual} == members
    assert {name for name in dir(REAL) if name[0] != "_"} - {"device_cache"} <= set(dir(CuImage))
    assert set(clara.__all__) >= {"CuImage", "DLDataType", "DLDataTypeCode", "io", "cache"}
    assert is_available("clara")
    assert not is_available()


def test_bytes_are_read_and_written_where_told(tmp_path: Path) -> None:
    path = tmp_path / "bytes.bin"
    data = np.arange(1000, dtype=np.uint16)
    with filesystem.open(path, "w") as driver:
        assert driver.pwrite(data, 2000, 0) == 2000
        assert driver.pwrite(b"abcdef", 3, 10, buf_offset=2) == 3
    expected = bytearray(data.tobytes())
    expected[10:13] = b"cde"
    assert path.read_bytes() == expected
    for flags in ("r", "rp", "rnp", "rm", "r+"):
        driver = filesystem.open(str(path), flags)
        buffer = np.zeros(20, np.uint8)
        assert filesystem.pread(driver, buffer, 7, 8, 4) == 7
        assert buffer.tobytes() == bytes(4) + bytes(expected[8:15]) + bytes(9)
        assert driver.pread(bytearray(50), 50, 1980) == 20
        assert filesystem.close(driver)
        with pytest.raises(ValueError, match="closed"):
            driver.pread(buffer, 1, 0)
    with filesystem.open(path, "r") as driver:
        with pytest.raises(OSError, match=r"[Bb]ad file"):
            driver.pwrite(b"x", 1, 0)
        for buffer_, count, offset in (
            (np.zeros(4), 33, 0),
            (bytearray(4), 3, 2),
            (bytearray(4), -1, 0),
        ):
            with pytest.raises(ValueError, match="not inside"):
                driver.pread(buffer_, count, 0, offset)
        with pytest.raises(ValueError, match="read-only"):
            driver.pread(b"abc", 1, 0)
        with pytest.raises(TypeError):
            driver.pread([0, 0], 1, 0)
    with pytest.raises(ValueError, match="flags"):
        filesystem.open(path, "x")
    with pytest.raises(FileNotFoundError):
        filesystem.open(tmp_path / "missing", "r")
    assert not filesystem.discard_page_cache(tmp_path / "missing")
    assert isinstance(filesystem.discard_page_cache(path), bool)
    assert path.read_bytes() == expected
