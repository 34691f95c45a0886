"""CuImage: an image file, a region of it, or a batch of regions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from regionio._errors import UnsupportedFormatError
from regionio._image import Image
from regionio._loader import Loader
from regionio._open import open as open_image
from regionio._region import Region
from regionio.compat.cucim.clara._arguments import location_table, plane_selection
from regionio.compat.cucim.clara._described import Described
from regionio.compat.cucim.clara._dtype import DLDataType
from regionio.compat.cucim.clara._facts import Facts, facts_of_image
from regionio.compat.cucim.clara._profiler import Profiler
from regionio.compat.cucim.clara.cache import CacheType, ImageCache, configure
from regionio.compat.cucim.clara.io import Device

__all__ = ["CuImage", "CuImageIterator", "CuImageRegion"]


class CuImage(Described):
    """An image file, from which regions are read.

    Regions, and batches of them, are images too, which have pixels: see `CuImageRegion`.

    Parameters
    ----------
    path
        Path of the file, or of a folder that holds the files of one DICOM slide.

    Raises
    ------
    ValueError
        There is no such file, or it is none that regionio reads as a slide; a volume is none.

    Examples
    --------
    >>> with CuImage("tests/data/CMU-1-Small-Region.svs") as img:
    ...     region = img.read_region(location=(1000, 900), size=(224, 224))
    >>> region.shape, region.typestr, region.spacing(), region.spacing_units()
    ([224, 224, 3], '|u1', [0.499, 0.499, 1.0], ['micrometer', 'micrometer', 'color'])
    """

    is_trace_enabled: ClassVar[bool] = False
    """Whether reads are traced: never."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = os.fspath(path)
        try:
            self._image = open_image(name)
        except FileNotFoundError as error:
            msg = f"Cannot open {name}! There is no such file"
            raise ValueError(msg) from error
        self._closed = False
        if self._image.is_volume:
            msg = (
                f"{name!r} is a volume of {self._image.size('Z')[0]} slices, which cuCIM's interface "
                "can't address: use regionio.open(path).read_region((x, y, z), (width, height))"
            )
            raise UnsupportedFormatError(msg)
        DLDataType.of(self._image.dtype)  # refuses what has no name there
        super().__init__(facts_of_image(self._image, name))

    @property
    def device(self) -> Device:
        """Where the pixels are."""
        return Device("cpu")

    def associated_image(self, name: str = "", device: str | Device = "cpu") -> CuImageRegion:
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
            facts = facts_of_image(associated, self.path)
        own = facts.of_pixels(region.dims, region.shape)
        return CuImageRegion(region.array, replace(own, raw_metadata=facts.raw_metadata))

    @overload
    def read_region(
        self,
        location: tuple[()] | tuple[int, int] = (),
        size: Sequence[int] = (),
        level: int = 0,
        num_workers: int = 0,
        batch_size: Literal[1] = 1,
        **options: Any,
    ) -> CuImageRegion: ...

    @overload
    def read_region(
        self,
        location: Iterable[Any],
        size: Sequence[int] = (),
        level: int = 0,
        num_workers: int = 0,
        batch_size: int = 1,
        **options: Any,
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
    ) -> CuImageRegion | CuImageIterator:
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
        CuImageRegion or CuImageIterator
            A region for one location and ``batch_size=1``, else an iterator. Outside the image
            pixels are 255 for RGB of recognised slide formats, else 0.

        Raises
        ------
        TypeError, ValueError
            An argument is wrong, or there is no such level.
        RuntimeError
            The file is closed.
        """
        image = self._opened()
        self._check_level(level)
        if shm_name:
            msg = f"shm_name={shm_name!r}: regions can't be put into shared memory"
            raise ValueError(msg)
        table = location_table(location)
        options = {
            "size": None if len(size) == 0 else size,
            "level": level,
            "num_workers": num_workers,
            "device": str(Device(device)),
            "layout": "YXC",
            **plane_selection(kwargs),
        }
        facts = self._facts.of_channels(options.get("channels"))
        if len(table) == 1 and batch_size == 1:
            region = image.read_region((int(table[0, 0]), int(table[0, 1])), out=buf, **options)
            return CuImageRegion.of(region, facts)
        if buf is not None:
            msg = "buf takes one region: give one location and batch_size=1"
            raise ValueError(msg)
        loader = image.read_region(
            table,
            batch_size=batch_size,
            drop_last=drop_last,
            prefetch_factor=prefetch_factor,
            shuffle=shuffle,
            seed=seed,
            **options,
        )
        return CuImageIterator(self, loader, facts)

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
        msg = f"{os.fspath(path)!r} holds one region: img.read_region(location, size).save(path)"
        raise ValueError(msg)

    def close(self) -> None:
        """Let go of the file. Regions stay as they are."""
        self._closed = True
        self._image.close()

    @staticmethod
    def cache(type: str | CacheType | None = None, **kwargs: Any) -> ImageCache:  # noqa: A002
        """Return the process's cache of decoded tiles, set up anew if a kind is given.

        Parameters
        ----------
        type
            ``"per_process"`` or ``"nocache"``; None leaves the cache as it is.
        kwargs
            memory_capacity (MiB), record_stat and more, see
            `regionio.compat.cucim.clara.cache.configure`.
        """
        return configure(type, **kwargs)

    @staticmethod
    def profiler(*, trace: bool = False) -> Profiler:
        """Return the profiler.

        Parameters
        ----------
        trace
            Must be False.

        Raises
        ------
        ValueError
            It is True.
        """
        profiler = Profiler()
        profiler.trace(trace)
        return profiler

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> Image:
        if self._closed:
            msg = f"[Error] The image file is closed! Open {self.path!r} again"
            raise RuntimeError(msg)
        return self._image

    def _check_level(self, level: int) -> None:
        count = self._facts.resolutions["level_count"]
        if not 0 <= level < count:
            msg = f"'level' should be less than {count} and 0 or more, not {level}"
            raise ValueError(msg)


class CuImageRegion(CuImage):
    """A region or a batch of them: an image with pixels.

    ``np.asarray(region)`` shares its memory. Iterating over a batch yields its regions.

    Parameters
    ----------
    pixels
        Array with axes YXC or NYXC.
    facts
        What is known of them.
    """

    def __init__(self, pixels: NDArray[Any], facts: Facts) -> None:
        Described.__init__(self, facts)
        self._pixels = pixels

    @classmethod
    def of(cls, region: Region, facts: Facts) -> CuImageRegion:
        """Return a region of a file.

        Parameters
        ----------
        region
            As regionio read it.
        facts
            What is known of the file.
        """
        return cls(region.array, facts.of_pixels(region.dims, region.shape, region.spacing))

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._pixels.__array_interface__

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        interface: dict[str, Any] = self._pixels.__cuda_array_interface__  # type: ignore[attr-defined]
        return interface

    @property
    def device(self) -> Device:
        """Where the pixels are."""
        return Device("cpu") if isinstance(self._pixels, np.ndarray) else Device("cuda")

    def read_region(
        self,
        location: Any = (),
        size: Sequence[int] = (),
        level: int = 0,
        num_workers: int = 0,
        batch_size: int = 1,
        **options: Any,
    ) -> Any:
        """Copy a smaller region out of this one.

        Parameters
        ----------
        location
            (x, y) of its first pixel in this region.
        size
            (width, height); the default is that of this region.
        level, num_workers, batch_size, options
            As they are by default.

        Returns
        -------
        CuImageRegion
            A copy.

        Raises
        ------
        ValueError
            It is not inside this region, or this is a batch.
        """
        self._check_level(level)
        if options or batch_size != 1 or num_workers != 0:
            msg = "a region is cut by location and size alone"
            raise ValueError(msg)
        if self.dims != "YXC":
            msg = f"{self.dims} is a batch: read from one of its regions, which iterating yields"
            raise ValueError(msg)
        [(x, y)] = location_table(location).tolist()
        own_width, own_height = self.size("XY")
        width, height = size or (own_width, own_height)
        inside = 0 <= x < x + width <= own_width and 0 <= y < y + height <= own_height
        if not inside:
            msg = (
                f"Invalid location/size (it exceeds the image {own_width} by {own_height}): "
                f"({x}, {y}), {width} by {height}"
            )
            raise ValueError(msg)
        part = self._pixels[y : y + height, x : x + width].copy()
        return CuImageRegion(part, self._facts.of_pixels("YXC", part.shape))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the region as a PPM file (P6): its first three channels, or gray three times.

        Parameters
        ----------
        path
            Of the file to write.

        Raises
        ------
        ValueError
            It is a batch, on a GPU, or not of 8 bits.
        """
        pixels = self._pixels
        if self.dims != "YXC" or pixels.dtype != np.uint8 or self.device != Device("cpu"):
            msg = (
                f"a PPM file holds one region of 8 bits from cpu, not {self.dims} of "
                f"{pixels.dtype} from {self.device}"
            )
            raise ValueError(msg)
        height, width, channels = pixels.shape
        colors = pixels[..., :3] if channels >= 3 else pixels[..., [0, 0, 0]]
        with open(path, "wb") as file:
            file.write(b"P6\n%d\n%d\n255\n" % (width, height))
            file.write(colors.tobytes())

    def close(self) -> None:
        """Do nothing: the pixels stay as long as they are needed."""

    def __iter__(self) -> Iterator[CuImageRegion]:
        """Yield the regions of a batch; a single region yields itself."""
        if self.dims == "YXC":
            return iter([self])
        facts = self._facts.of_pixels("YXC", self._pixels.shape[1:])
        return (CuImageRegion(pixels, facts) for pixels in self._pixels)


class CuImageIterator:
    """Regions or batches of them, in order, once.

    Parameters
    ----------
    image
        The file that they come from, which stays open as long as it is read from.
    loader
        Reads them.
    facts
        What is known of the file.
    """

    def __init__(self, image: CuImage, loader: Loader, facts: Facts) -> None:
        self._image = image
        self._loader = loader
        self._facts = facts
        self._delivered = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> CuImageRegion:
        region = next(self._loader)
        self._delivered += 1
        return CuImageRegion.of(region, self._facts)

    def __len__(self) -> int:
        return len(self._loader)

    def __repr__(self) -> str:
        return f"<cucim.CuImageIterator index:{self._delivered}>"
