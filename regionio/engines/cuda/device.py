"""Which GPU is meant, and whether it can be used."""

from __future__ import annotations

import os
import sys
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._errors import DeviceError

__all__ = ["current_event", "device_number", "explained", "opened_device", "uploaded_mask"]

EXTRAS = "pip install 'regionio[cuda12]' or 'regionio[cuda13]', whichever CUDA your driver has"
DRIVER_SIGNS = "/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg", "/dev/nvhost-gpu"
"""Of a driver on Linux: NVIDIA's, Windows's for Linux, Jetson's."""

DRIVER_ERRORS = "InsufficientDriver", "StubLibrary", "DriverMismatch", "CompatNotSupported"
"""In CUDA's names of errors that another driver mends."""

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


def current_event(number: int) -> Any:
    """Return an event of the stream that is current in the caller's thread."""
    cupy = opened_device(number)
    with cupy.cuda.Device(number):
        return cupy.cuda.get_current_stream().record()


def uploaded_mask(number: int, mask: NDArray[np.bool_]) -> Any:
    """Return a mask on the GPU, by the stream that is current in the caller's thread."""
    cupy = opened_device(number)
    try:
        with cupy.cuda.Device(number):
            return cupy.asarray(mask)
    except Exception as error:
        told = explained(number, error, mask.nbytes)
        if told is error:
            raise
        raise told from error


def explained(number: int, error: BaseException, nbytes: int) -> BaseException:
    """Return an error of CuPy's as one that says what to do, any other as it is.

    Parameters
    ----------
    number
        Of the GPU.
    error
        What was raised.
    nbytes
        Bytes of the regions that were read together.
    """
    if isinstance(error, _cupy().cuda.memory.OutOfMemoryError):
        msg = (
            f"the memory of cuda:{number} is full: regions that are read together take "
            f"{nbytes} bytes, and their tiles as many again; lower batch_size, have nothing read "
            f"ahead by prefetch_factor=0, or read smaller regions ({error})"
        )
        return DeviceError(msg)
    if isinstance(error, RuntimeError) and str(error).startswith("CuPy failed to load"):
        return DeviceError(f"cuda:{number} can't be used: {error}: {EXTRAS}")
    if type(error).__module__.partition(".")[0] in {"cupy", "cupy_backends"}:
        msg = (
            f"cuda:{number} failed: {error}. Where this was no lack of memory, what this process "
            "does on the GPU fails from now on: start another; nvidia-smi shows the GPU's state"
        )
        return DeviceError(msg)
    return error


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
        what = "nvidia-smi shows in what state GPU and driver are"
        if any(sign in reason for sign in DRIVER_ERRORS):
            what = "the driver is missing or too old for CuPy's CUDA; nvidia-smi shows what it has"
        msg = f"device 'cuda' can't be used ({reason}): {what}"
        raise DeviceError(msg) from error
