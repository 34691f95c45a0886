"""Which GPU is meant, and whether it can be used."""

from __future__ import annotations

import os
import sys
from functools import cache
from types import ModuleType
from typing import Any

from regionio._errors import DeviceError

__all__ = ["device_number", "opened_device"]

EXTRAS = "pip install 'regionio[cuda12]' or 'regionio[cuda13]', whichever CUDA your driver has"
DRIVER_SIGNS = "/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg", "/dev/nvhost-gpu"
"""Of a driver on Linux: NVIDIA's, Windows's for Linux, Jetson's."""

_first_process: list[int] = []


def device_number(device: Any) -> int | None:
    """Return the number of a GPU, None for the CPU.

    Raises
    ------
    ValueError
        `device` is none of ``"cpu"``, ``"cuda"`` and ``"cuda:1"``.

    >>> device_number("cuda:1"), device_number("cpu")
    (1, None)
    """
    name, _, number = str(device).partition(":")
    if device == "cpu":
        return None
    if name == "cuda" and (number.isdigit() or str(device) == "cuda"):
        return int(number or 0)
    msg = f"device is 'cpu', 'cuda' or 'cuda:N', not {device!r}"
    raise ValueError(msg)


def opened_device(number: int) -> ModuleType:
    """Return CuPy, once it is sure that it can use a GPU.

    Raises
    ------
    DeviceError
        There is no such GPU, no driver or no CuPy, or CUDA was begun before this process was
        forked; the message says which, and what to do.
    """
    if _first_process and _first_process[0] != os.getpid():
        msg = (
            "CUDA can't be used in a process that was forked after CUDA had begun: start worker "
            "processes by spawn, multiprocessing.get_context('spawn') or the DataLoader's "
            "multiprocessing_context='spawn'"
        )
        raise DeviceError(msg)
    cupy = _cupy()
    count = _device_count(cupy)
    if number >= count:
        have = f"has {count}, numbered from 0" if count else "has none"
        msg = f"device 'cuda:{number}': this machine {have}"
        raise DeviceError(msg)
    if not _first_process:
        _first_process.append(os.getpid())
    return cupy


@cache
def _cupy() -> ModuleType:
    try:
        import cupy
    except ImportError as error:
        driver = "" if _has_driver() else "no NVIDIA driver was found on this machine, and "
        msg = (
            f"device 'cuda' can't be used: {driver}the package CuPy is missing ({error}): {EXTRAS}"
        )
        raise DeviceError(msg) from error
    module: ModuleType = cupy
    return module


def _has_driver() -> bool:
    """Return whether there are signs of a driver; where they are not known, there may be one."""
    return not sys.platform.startswith("linux") or any(map(os.path.exists, DRIVER_SIGNS))


def _device_count(cupy: Any) -> int:
    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        reason = str(error).partition(":")[0]
        if "NoDevice" in reason:
            return 0
        what = "the driver is missing or too old for CuPy's CUDA; nvidia-smi shows what it has"
        msg = f"device 'cuda' can't be used ({reason}): {what}"
        raise DeviceError(msg) from error
