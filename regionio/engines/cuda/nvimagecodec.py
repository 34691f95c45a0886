"""nvImageCodec: JPEG 2000 streams in pinned memory to pictures in the GPU's.

Source: docs.nvidia.com/cuda/nvimagecodec.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio.codecs.cuda import Colors
from regionio.engines.cuda.slabs import Slab
from regionio.engines.cuda.slots import Slots

__all__ = ["Jpeg2000Decoder", "nvimagecodec", "parsed", "slot_views"]

MOST_VIEWS = 4
"""Kinds of slots whose pictures a slab keeps."""

KINDS = ("GPU_ONLY", "HYBRID_CPU_GPU")
"""nvImageCodec's names for what decodes JPEG 2000. The CPU's is never used: what it falls back to
may be zeros, and ours says what is wrong."""


@cache
def nvimagecodec() -> Any | None:
    """Return nvImageCodec's module, None where it is not installed."""
    try:
        from nvidia import nvimgcodec
    except ImportError:
        return None
    return nvimgcodec


class Jpeg2000Decoder:
    """A decoder, which belongs to one thread and one GPU.

    Parameters
    ----------
    device
        Number of the GPU.
    """

    def __init__(self, device: int) -> None:
        codec = nvimagecodec()
        assert codec is not None
        backends = [codec.Backend(getattr(codec.BackendKind, kind)) for kind in KINDS]
        self._decoder = codec.Decoder(device_id=device, backends=backends)
        colors, formats = codec.ColorSpec, codec.SampleFormat
        asked = {
            "gray": (colors.GRAY, formats.P_Y),
            "rgb": (colors.SRGB, formats.I_RGB),
        }
        self._parameters = {
            name: codec.DecodeParams(
                apply_exif_orientation=False,
                allow_any_depth=True,
                color_spec=color,
                sample_format=layout,
            )
            for name, (color, layout) in asked.items()
        }

    def decode(
        self, streams: list[Any], into: list[Any], colors: Colors, stream: Any
    ) -> list[bool]:
        """Decode streams that were parsed into pictures; return which of them were decoded."""
        found = self._decoder.decode(
            streams,
            images=into,
            params=self._parameters[colors],
            cuda_stream=stream.ptr,
        )
        return [image is not None for image in found]

    def close(self) -> None:
        """Give back what the decoder holds."""
        self._decoder.__exit__(None, None, None)


def parsed(stream: NDArray[np.uint8]) -> Any:
    """Return a stream as nvImageCodec takes it, which keeps the memory; None: it is no picture."""
    codec: Any = nvimagecodec()
    try:
        return codec.CodeStream(stream)
    except RuntimeError:
        return None


def slot_views(slab: Slab, slots: Slots, idle_stream: Any) -> list[Any]:
    """Return a picture for each slot; a slab's are made once.

    Parameters
    ----------
    slab
        The memory.
    slots
        In it.
    idle_stream
        Is said to be what the pictures are used by: for each of them nvImageCodec lets the host
        wait until that has nothing to do.
    """
    codec: Any = nvimagecodec()
    kind = slots.shape, slots.dtype
    views = slab.views[kind] = slab.views.pop(kind, [])  # the last of them
    while len(slab.views) > MOST_VIEWS:
        slab.views.pop(next(iter(slab.views)))
    address = int(slab.memory.data.ptr)
    plain = slots.shape[:2] if slots.shape[2] == 1 else slots.shape
    for number in range(len(views), len(slots.members)):
        array = _Array(address + number * slots.step, plain, slots.dtype)
        views.append(codec.as_image(array, idle_stream.ptr))
    return views


class _Array:
    """An array of the GPU's memory, made in less time than CuPy's."""

    __slots__ = ("__cuda_array_interface__",)

    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (address, False),
            "version": 3,
        }
