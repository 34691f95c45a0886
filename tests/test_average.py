"""The kernel that averages regions on the GPU, compiled for the CPU and compared with NumPy."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from regionio._spacing import Resampling
from regionio.compose.average import AverageKind, average_tables
from tests.kernels import COMPILER, compiled_average

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")

DTYPES = ("bool", "uint8", "int8", "uint16", "int16", "int32", "uint32", "float16", "float32",
          "float64")  # fmt: skip
REGIONS, DEPTH, CHANNELS = 3, 2, 3


def values(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.default_rng(2)
    if dtype == "bool":
        return random.random(shape) < 0.5
    if np.dtype(dtype).kind == "f":
        picture = random.normal(size=shape).astype(dtype)
        picture[0, 0, 3, 4] = np.nan
        return picture
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("factors", [(2.0, 2.0), (1.7, 2.3), (1.0, 3.2)], ids=str)
@pytest.mark.parametrize("planar", [False, True], ids=["interleaved", "planar"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_kernel_does_what_numpy_does(
    dtype: str, planar: bool, factors: tuple[float, float]
) -> None:
    resampling = Resampling(factors, (11, 14), (1.0, 1.0))
    height, width = resampling.source_size
    source = values(dtype, (REGIONS, DEPTH, height, width, CHANNELS))
    target = np.zeros((REGIONS, DEPTH, 11, 14, CHANNELS), dtype)
    if planar:
        source = np.moveaxis(np.ascontiguousarray(np.moveaxis(source, 4, 2)), 2, 4)
        target = np.moveaxis(np.zeros((REGIONS, DEPTH, CHANNELS, 11, 14), dtype), 2, 4)
    begin = np.array([[0.0, 0.0], [0.25, 0.9], [0.5, 0.125]])
    expected = np.zeros_like(target)
    for part, start, out in zip(source, begin, expected, strict=True):
        resampling.average(part, start, out)
    kind = AverageKind(dtype)
    tables = average_tables(source, target, resampling.edges(begin), kind.working)
    run = compiled_average(kind.source_text())
    arrays = [np.ascontiguousarray(table) for table in tables.arrays]
    addresses = [array.ctypes.data for array in (source, target, *arrays)]
    run(*(ctypes.c_void_p(address) for address in addresses))
    np.testing.assert_array_equal(target, expected)
