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
#include <string.h>
#define __device__
#define __global__
struct Index { unsigned int x, y; };
static Index blockIdx, threadIdx, gridDim, blockDim;
static float __fmul_rn(float a, float b) { return a * b; }
static float __fadd_rn(float a, float b) { return a + b; }
static double __dmul_rn(double a, double b) { return a * b; }
static double __dadd_rn(double a, double b) { return a + b; }
"""
DRIVER = """
extern "C" void run(const Piece *pieces, unsigned int count, const Channel *channels,
                    int64 row_stride, int64 pixel_stride, const void *scale, const void *offset) {
    gridDim = {count, 2};
    blockDim = {32, 1};
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
            for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++)
                gather(pieces, channels, row_stride, pixel_stride, (const WORKING *)scale,
                       (const WORKING *)offset);
}
"""


@cache
def compiled_gather(text: str) -> Any:
    """Return the function that runs `gather` for all blocks and threads, of the kernel's text."""
    text = text.replace("#include <cuda_fp16.h>", "").replace("__half", "_Float16")
    options = ["-O1", "-shared", "-fPIC", "-ffp-contract=off", "-w"]
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "gather.cpp", Path(folder) / "gather.so"
        source.write_text(AROUND + text + DRIVER)
        subprocess.run([str(COMPILER), *options, str(source), "-o", str(library)], check=True)
        return ctypes.CDLL(str(library)).run
