"""What stands for nvJPEG: its functions in C, whose pictures libjpeg decodes."""

from __future__ import annotations

import ctypes
import itertools
import threading
from typing import Any

import imagecodecs
import numpy as np
import simplejpeg


def at(address: Any, nbytes: Any) -> Any:
    """Return bytes of memory, to be written, too."""
    return (ctypes.c_uint8 * int(nbytes)).from_address(int(address))


class JpegLibrary:
    """Stands for nvJPEG's C interface; a state that a second thread uses is an error."""

    tiles_decoded = 0
    version = 13, 3, 2

    def __init__(self) -> None:
        self._made = itertools.count(1)
        self._layouts: dict[int, tuple[int, int, int]] = {}
        self._open: set[int] = set()

    def nvjpegGetProperty(self, number: int, found: Any) -> int:
        found._obj.value = self.version[number]
        return 0

    def nvjpegCreateEx(self, backend: int, *rest: Any) -> int:
        assert backend in {2, 6}
        return self._make(rest[-1])

    def nvjpegJpegStateCreate(self, handle: Any, found: Any) -> int:
        assert handle.value in self._open
        return self._make(found)

    def _make(self, found: Any) -> int:
        found._obj.value = next(self._made)
        self._open.add(found._obj.value)
        return 0

    def nvjpegDecodeBatchedInitialize(
        self, handle: Any, state: Any, count: int, threads: int, layout: int
    ) -> int:
        assert {handle.value, state.value} <= self._open
        self._layouts[state.value] = count, layout, threading.get_ident()
        return 0

    def nvjpegDecodeBatched(
        self, handle: Any, state: Any, data: Any, nbytes: Any, pictures: Any, stream: Any
    ) -> int:
        assert stream.value, "the default stream would be waited for"
        count, layout, thread = self._layouts[state.value]
        assert thread == threading.get_ident(), "a state belongs to one thread"
        assert layout == 7 or count > 50, "the CPU would read so few streams' codes"
        sources, sizes = (np.frombuffer(at(t.value, 8 * count), np.uint64) for t in (data, nbytes))
        targets = np.frombuffer(at(pictures.value, 64 * count), np.uint64).reshape(count, 8)
        for source, size, target in zip(sources, sizes, targets, strict=True):
            try:
                pixels = self._decode(bytes(at(source, size)), layout)
            except (ValueError, RuntimeError):
                return 3
            for row, values in enumerate(pixels):
                line = values.tobytes()
                ctypes.memmove(int(target[0]) + row * int(target[4]), line, len(line))
        JpegLibrary.tiles_decoded += len({int(source) for source in sources})
        return 0

    def _decode(self, data: bytes, layout: int) -> np.ndarray:
        if layout == 7:
            return np.asarray(imagecodecs.jpeg8_decode(data)).astype(np.uint16)
        if layout == 10:
            return np.asarray(imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB"))
        return np.asarray(simplejpeg.decode_jpeg(data, {2: "GRAY", 5: "RGB"}[layout], strict=False))

    def nvjpegJpegStateDestroy(self, state: Any) -> int:
        self._open.remove(state.value)
        return 0

    def nvjpegDestroy(self, handle: Any) -> int:
        self._open.remove(handle.value)
        return 0

    def check_closed(self) -> None:
        """Assert that everything was given back."""
        assert not self._open
