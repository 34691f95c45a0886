"""Pixels that know where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["DeviceMemory", "Region"]


class DeviceMemory(Protocol):
    """The memory of a GPU that a batch is in."""

    @property
    def device(self) -> int:
        """Number of the GPU."""
        ...

    def used_by_number(self, stream: int | None) -> None:
        """Note that a consumer's stream, as DLPack numbers it, works with the memory."""
        ...


class Region:
    """One region, or a batch of them, in memory of its own.

    Parameters
    ----------
    array
        Pixels, axes as in `dims`. It stays valid as long as anyone holds it, and may be changed.
    dims
        One letter an axis: N (regions of a batch), Z, Y, X, C.
    locations
        ``int64[n, d]`` for a batch, ``int64[d]`` for one region: (x, y) or (x, y, z) of the first
        pixel, in level-0 pixels.
    indices
        ``int64[n]``, without an axis for one region: the position of each region in the caller's
        input.
    level
        Level that was read.
    spacing
        Axis letter → distance of neighbouring pixels, for axes where it is known.
    spacing_unit
        ``"micrometer"`` or ``"millimeter"``.
    mask
        ``bool``, axes N, Z, Y, X as in `dims`: which pixels the image has; None if not asked for.
    memory
        Of a GPU, where pixels are there; `array` is CuPy's then. None: it is main memory.

    Examples
    --------
    >>> import regionio
    >>> with regionio.open("tests/data/CMU-1-Small-Region.svs") as slide:
    ...     region = slide.read_region((300, 400), (224, 224))
    >>> region.shape, region.dims, region.dtype
    ((224, 224, 3), 'YXC', dtype('uint8'))
    """

    __slots__ = (
        "array",
        "dims",
        "indices",
        "level",
        "locations",
        "mask",
        "memory",
        "spacing",
        "spacing_unit",
    )

    def __init__(
        self,
        array: NDArray[Any],
        *,
        dims: str,
        locations: NDArray[np.int64],
        indices: NDArray[np.int64],
        level: int,
        spacing: Mapping[str, float],
        spacing_unit: str,
        mask: NDArray[np.bool_] | None = None,
        memory: DeviceMemory | None = None,
    ) -> None:
        self.array = array
        self.dims = dims
        self.locations = locations
        self.indices = indices
        self.level = level
        self.spacing = spacing
        self.spacing_unit = spacing_unit
        self.mask = mask
        self.memory = memory

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each of `dims`."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the pixels."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.array.ndim

    @property
    def size(self) -> int:
        """Number of values."""
        return self.array.size

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return self.array.nbytes

    @property
    def device(self) -> str:
        """Where the pixels are: ``"cpu"`` or, for instance, ``"cuda:0"``."""
        return "cpu" if self.memory is None else f"cuda:{self.memory.device}"

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.array.__cuda_array_interface__  # type: ignore[attr-defined,no-any-return]

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.array.__array_interface__

    def __array__(
        self,
        dtype: np.dtype[Any] | None = None,
        copy: bool | None = None,  # noqa: FBT001
    ) -> NDArray[Any]:
        return np.asarray(self.array, dtype=dtype, copy=copy)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and hasattr(np.ndarray, name):
            msg = f"a Region has no {name!r}; its array has: region.array.{name}"
            raise AttributeError(msg)
        msg = f"a Region has no {name!r}"
        raise AttributeError(msg)

    def __dlpack__(self, **options: Any) -> Any:
        if self.memory is not None:
            self.memory.used_by_number(options.get("stream"))
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, key: Any) -> Any:
        """Return a part of a batch as a Region for a number, else of the array."""
        if self.dims[0] != "N" or not isinstance(key, int | np.integer):
            return self.array[key]
        return Region(
            self.array[key],
            dims=self.dims[1:],
            locations=self.locations[key],
            indices=np.asarray(self.indices[key]),
            level=self.level,
            spacing=self.spacing,
            spacing_unit=self.spacing_unit,
            mask=None if self.mask is None else self.mask[key],
            memory=self.memory,
        )

    def __iter__(self) -> Iterator[Any]:
        """Yield the regions of a batch, or the first axis of a region."""
        return (self[number] for number in range(len(self)))

    def __repr__(self) -> str:
        sizes = "×".join(map(str, self.shape))
        what = "batch" if self.dims[0] == "N" else "region"
        return f"<Region {what} {self.dims} {sizes} {self.dtype} level {self.level}>"
