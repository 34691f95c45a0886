"""CuImage: an image file, a region of it, or a batch of regions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from regionio._errors import UnsupportedFormatError
from regionio._image import Image
from regionio._image import open as open_image
from regionio._loader import Loader
from regionio._region import Region
from regionio.compat.cucim.clara._arguments import location_table, plane_selection
from regionio.compat.cucim.clara._dtype import DLDataType
from regionio.compat.cucim.clara._facts import (
    DIRECTION,
    ORIGIN,
    Facts,
    facts_of_image,
    facts_of_region,
)
from regionio.compat.cucim.clara._profiler import Profiler
from regionio.compat.cucim.clara.cache import CacheType, ImageCache, configure
from regionio.compat.cucim.clara.io import Device

__all__ = ["CuImage", "CuImageIterator"]


class CuImage:
    """An image file, a region of it, or a batch of regions.

    Regions and batches have pixels: ``np.asarray(region)`` shares their memory. A file has none
    until a region is read.

    Parameters
    ----------
    path
        Path of the file.

    Raises
    ------
    ValueError
        There is no such file, or it is none that regionio reads as a slide.

    Examples
    --------
    >>> with CuImage("tests/data/CMU-1-Small-Region.svs") as img:
    ...     region = img.read_region(location=(1000, 900), size=(224, 224))
    >>> region.shape, region.dtype, region.spacing("XY"), region.spacing_units("XY")
    ([224, 224, 3], <cucim.clara.DLDataType code:DLUInt(1) bits:8 lanes:1>, [0.499, 0.499], \
['micrometer', 'micrometer'])
    """

    is_trace_enabled: ClassVar[bool] = False
    """Whether reads are traced: False."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = os.fspath(path)
        try:
            image = open_image(name)
        except FileNotFoundError as error:
            msg = f"Cannot open {name}! There is no such file"
            raise ValueError(msg) from error
        if image.is_volume:
            msg = f"{name!r} is a volume, which cuCIM's interface can't address: use regionio.open"
            raise UnsupportedFormatError(msg)
        DLDataType.of(image.dtype)  # refuses what has no name there
        self._facts = facts_of_image(image, name)
        self._image: Image | None = image
        self._region: Region | None = None

    @classmethod
    def _with_pixels(cls, region: Region, facts: Facts) -> CuImage:
        made = cls.__new__(cls)
        made._facts, made._image, made._region = facts, None, region
        return made

    @property
    def path(self) -> str:
        """Path of the file, as it was given."""
        return self._facts.path

    @property
    def is_loaded(self) -> bool:
        """Whether the file is parsed: True."""
        return True

    @property
    def device(self) -> Device:
        """Where the pixels are."""
        return Device("cpu" if self._region is None else self._region.device)

    @property
    def raw_metadata(self) -> str:
        """ImageDescription of the file or of an associated image; empty for regions."""
        return self._facts.raw_metadata

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known: ``"cucim"``, and for files ``"tiff"`` and the vendor's name."""
        return self._facts.metadata()

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._facts.dims)

    @property
    def dims(self) -> str:
        """``"YXC"``, or ``"NYXC"`` for a batch."""
        return self._facts.dims

    @property
    def shape(self) -> list[int]:
        """Size along each of `dims`."""
        return list(self._facts.shape)

    def size(self, dim_order: str = "") -> list[int]:
        """Return the sizes along some axes.

        Parameters
        ----------
        dim_order
            Letters of axes; those that the image does not have are left out.
        """
        return self._facts.sizes(dim_order)

    @property
    def dtype(self) -> DLDataType:
        """Type of the pixels' values."""
        return DLDataType.of(self._facts.dtype)

    @property
    def typestr(self) -> str:
        """The same as NumPy writes it: ``"|u1"``."""
        return self._facts.dtype.str

    @property
    def channel_names(self) -> list[str]:
        """One name a channel."""
        return list(self._facts.channel_names)

    def spacing(self, dim_order: str = "") -> list[float]:
        """Return the distance of neighbouring pixels along some axes.

        Parameters
        ----------
        dim_order
            Letters of axes.

        Returns
        -------
        list
            In units of `spacing_units`; 1.0 where it is not known.
        """
        return self._facts.spacings(dim_order)

    def spacing_units(self, dim_order: str = "") -> list[str]:
        """Return the unit of each number that `spacing` returns, empty where it is not known."""
        return self._facts.units(dim_order)

    @property
    def origin(self) -> list[float]:
        """Zeros."""
        return list(ORIGIN)

    @property
    def direction(self) -> list[list[float]]:
        """The identity."""
        return [list(row) for row in DIRECTION]

    @property
    def coord_sys(self) -> str:
        """``"LPS"``."""
        return "LPS"

    @property
    def resolutions(self) -> dict[str, Any]:
        """The levels.

        Returns
        -------
        dict
            level_count; level_dimensions and level_tile_sizes as (width, height);
            level_downsamples.
        """
        return dict(self._facts.resolutions)

    @property
    def associated_images(self) -> set[str]:
        """Names of label, macro and thumbnail, as far as there are."""
        return set(self._facts.associated)

    def associated_image(self, name: str = "", device: str | Device = "cpu") -> CuImage:
        """Read the label, macro or thumbnail.

        Parameters
        ----------
        name
            One of `associated_images`.
        device
            Where it is read to.

        Raises
        ------
        KeyError
            There is none of that name.
        """
        with self._opened().associated_image(name) as associated:
            region = associated.read_region(layout="YXC", device=str(Device(device)))
            parent = facts_of_image(associated, self.path)
        return self._with_pixels(region, facts_of_region(region, parent, parent.raw_metadata))

    @overload
    def read_region(
        self,
        location: tuple[()] | tuple[int, int] = (),
        size: Sequence[int] = (),
        level: int = 0,
        num_workers: int = 0,
        batch_size: Literal[1] = 1,
        *args: Any,
        **kwargs: Any,
    ) -> CuImage: ...

    @overload
    def read_region(
        self,
        location: Iterable[Any],
        size: Sequence[int] = (),
        level: int = 0,
        num_workers: int = 0,
        batch_size: int = 1,
        *args: Any,
        **kwargs: Any,
    ) -> CuImageIterator: ...

    def read_region(
        self,
        location: Any = (),
        size: Sequence[int] = (),
        level: int = 0,
        num_workers: int = 0,
        batch_size: int = 1,
        drop_last: bool = False,  # noqa: FBT001, FBT002  cuCIM's signature
        prefetch_factor: int = 2,
        shuffle: bool = False,  # noqa: FBT001, FBT002
        seed: int = 0,
        device: str | Device = "cpu",
        buf: NDArray[Any] | None = None,
        shm_name: str = "",
        **kwargs: int,
    ) -> CuImage | CuImageIterator:
        """Read one region, or several in batches.

        Parameters
        ----------
        location
            (x, y) of the first pixel in level-0 pixels, whatever the level: one pair, numbers in
            a row, pairs, an array, or any iterable of pairs, which is read to its end. The
            default is the origin.
        size
            (width, height) in pixels of the level; the default is the whole level.
        level
            Number of the level.
        num_workers
            Most concurrent tasks; 0 reads in the caller's thread.
        batch_size
            Regions a batch.
        drop_last
            Leave out a last batch that is short.
        prefetch_factor
            Batches that are read ahead.
        shuffle, seed
            Read in a random order.
        device
            Where pixels are read to.
        buf
            Array to read a single region into; shape and type must match.
        shm_name
            Must be empty.
        kwargs
            C, Z, T: number of the channel (-1 for all), focal plane and time.

        Returns
        -------
        CuImage or CuImageIterator
            A region for one location and ``batch_size=1``, else an iterator. Outside the image
            pixels are 255 for RGB of recognised slide formats, else 0.

        Raises
        ------
        TypeError, ValueError
            An argument is wrong, or there is no such level.
        RuntimeError
            The file is closed.
        """
        if not 0 <= level < self._facts.resolutions["level_count"]:
            msg = f"'level' should be less than {self._facts.resolutions['level_count']}"
            raise ValueError(msg)
        if shm_name:
            msg = f"shm_name={shm_name!r}: regions can't be put into shared memory"
            raise ValueError(msg)
        table = location_table(location)
        several = len(table) != 1 or batch_size != 1
        if several and buf is not None:
            msg = "buf takes one region: give one location and batch_size=1"
            raise ValueError(msg)
        if self._region is not None:
            if several or buf is not None or kwargs:
                msg = "from a region one smaller region is read, by location and size alone"
                raise ValueError(msg)
            return self._cropped(table[0], size)
        options = {
            "size": None if len(size) == 0 else size,
            "level": level,
            "num_workers": num_workers,
            "device": str(Device(device)),
            "layout": "YXC",
            **plane_selection(kwargs),
        }
        image = self._opened()
        if not several:
            return self._pixels(image.read_region(tuple(table[0]), out=buf, **options))
        loader = image.read_region(
            table,
            batch_size=batch_size,
            drop_last=drop_last,
            prefetch_factor=prefetch_factor,
            shuffle=shuffle,
            seed=seed,
            **options,
        )
        return CuImageIterator(self, loader)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a region as a PPM file (P6): its first three channels, or gray three times.

        Parameters
        ----------
        path
            Of the file to write.

        Raises
        ------
        ValueError
            It is a file itself or a batch, on a GPU, or not of 8 bits.
        """
        region = self._region
        if region is None or region.dims != "YXC" or region.dtype != np.uint8:
            msg = "a PPM file holds one region of 8 bits: img.read_region(…).save(path)"
            raise ValueError(msg)
        if region.device != "cpu":
            msg = f"the region is on {region.device!r}: read it with device='cpu' to save it"
            raise ValueError(msg)
        pixels = region.array[..., :3] if region.shape[2] >= 3 else region.array[..., [0, 0, 0]]
        with open(path, "wb") as file:
            file.write(b"P6\n%d\n%d\n255\n" % (region.shape[1], region.shape[0]))
            file.write(np.ascontiguousarray(pixels))

    def close(self) -> None:
        """Let go of the file. Regions stay as they are."""
        if self._image is not None:
            self._image.close()
            self._closed = True

    @staticmethod
    def cache(type: str | CacheType | None = None, **kwargs: Any) -> ImageCache:  # noqa: A002
        """Return the process's cache of decoded tiles, set up anew if a kind is given.

        Parameters
        ----------
        type
            ``"per_process"`` or ``"nocache"``; None leaves the cache as it is.
        kwargs
            memory_capacity (MiB), record_stat, and others: see
            `regionio.compat.cucim.clara.cache.configure`.
        """
        return configure(type, **kwargs)

    @staticmethod
    def profiler(**kwargs: bool) -> Profiler:
        """Return the profiler.

        Parameters
        ----------
        kwargs
            trace, which must not be true.

        Raises
        ------
        ValueError
            It is.
        """
        profiler = Profiler()
        profiler.trace(**{"value": value for value in kwargs.values()})
        return profiler

    def __iter__(self) -> Iterator[CuImage]:
        """Yield the regions of a batch; a region yields itself."""
        if self._region is None:
            msg = f"{self!r} is a file: iterate over what its read_region returns"
            raise TypeError(msg)
        if self._region.dims[0] != "N":
            return iter([self])
        return (self._pixels(region) for region in self._region)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<cucim.CuImage path:{self.path}>"

    def _opened(self) -> Image:
        if self._image is None:
            msg = "a region has no file to read from"
            raise ValueError(msg)
        return self._image

    def _pixels(self, region: Region) -> CuImage:
        return self._with_pixels(region, facts_of_region(region, self._facts))
