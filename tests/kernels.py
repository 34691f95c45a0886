"""Kernels of the GPU, compiled for the CPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

COMPILER = shutil.which("g++") or shutil.which("clang++")

AROUND = """
#include <math.h>
#include <string.h>
#define __device__
#define __global__
struct Index { unsigned int x, y; };
static Index blockIdx, threadIdx, gridDim, blockDim;
static float __fmul_rn(float a, float b) { return a * b; }
static float __fadd_rn(float a, float b) { return a + b; }
static double __dmul_rn(double a, double b) { return a * b; }
static void atomicAdd(unsigned long long *place, unsigned long long value) { *place += value; }
static double __dadd_rn(double a, double b) { return a + b; }
"""
GATHER_DRIVER = """
extern "C" void run(const Piece *pieces, unsigned int count, const Channel *channels,
                    int64 row_stride, int64 pixel_stride, const void *scale, const void *offset) {
    gridDim = {count, 2};
    blockDim = {32, 4};
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
            for (threadIdx.y = 0; threadIdx.y < blockDim.y; threadIdx.y++)
                for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++)
                    gather(pieces, channels, row_stride, pixel_stride, (const WORKING *)scale,
                           (const WORKING *)offset);
}
"""

BYTESTREAM_DRIVER = """
extern "C" void run_adler(unsigned int count, const unsigned char *slots, int64 step,
                          const uint64 *sizes, uint64 *sums) {
    gridDim = {count, 1};
    blockDim = {32, 1};
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++)
            adler(slots, step, sizes, sums);
}
extern "C" void run_unpack(unsigned int count, unsigned char *slots, int64 step, int64 rows,
                           int64 columns, int64 samples) {
    gridDim = {count, 1};
    blockDim = {32, 1};
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++)
            unpack(slots, step, rows, columns, samples);
}
"""
AVERAGE_DRIVER = """
extern "C" void run(const unsigned char *source, unsigned char *target, const Shape *shape,
                    const int64 *first_y, const void *share_y, const int64 *first_x,
                    const void *share_x) {
    gridDim = {3, 1};
    blockDim = {32, 1};
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++)
            average(source, target, shape, first_y, (const WORKING *)share_y, first_x,
                    (const WORKING *)share_x);
}
"""


@cache
def compiled_gather(text: str) -> Any:
    """Return the function that runs `gather` for all blocks and threads, of the kernel's text."""
    return _compiled(text, GATHER_DRIVER)


@cache
def compiled_average(text: str) -> Any:
    """Return the function that runs `average` for all blocks and threads, of the kernel's text."""
    return _compiled(text, AVERAGE_DRIVER)


@cache
def compiled_bytestream(text: str) -> Any:
    """Return the library with `adler` and `unpack`, of the kernels' text, for all blocks."""
    return _library(text, BYTESTREAM_DRIVER)


def _compiled(text: str, driver: str) -> Any:
    return _library(text, driver).run


def _library(text: str, driver: str) -> Any:
    text = text.replace("#include <cuda_fp16.h>", "").replace("__half", "_Float16")
    options = ["-O1", "-shared", "-fPIC", "-ffp-contract=off", "-w"]
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
        source.write_text(AROUND + text + driver)
        subprocess.run([str(COMPILER), *options, str(source), "-o", str(library)], check=True)
        return ctypes.CDLL(str(library))
