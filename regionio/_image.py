"""The image: described, read."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NoReturn, Self, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from regionio._errors import ClosedError, UnsupportedFormatError
from regionio._index import SceneInfo
from regionio._level import LevelInfo
from regionio._loader import Loader
from regionio._opened import OpenedFile, reopen_file
from regionio._parsed_index import OpenRequest
from regionio._region import Region
from regionio._request import ReadOptions, ReadRequest, read_request
from regionio.storage import FileIdentity
from regionio.values import srgb_transform

__all__ = ["Image"]


class Image:
    """A slide, volume or picture, from which regions are read.

    `regionio.open` makes it. It may be used from many threads at once, pickled (it is opened
    again where it arrives), used after a fork, and as a context manager.
    """

    def __init__(self, file: OpenedFile, *, path: tuple[str, ...], icc: str | None) -> None:
        self._file = file
        self._associated_path = path
        self._icc = icc
        self._index = file.index
        for name in path:
            self._index = self._index.associated[name]
        self._convert = None
        self._closed = False
        self._closed_once = threading.Lock()  # taken by whoever closes, and never given back
        profile = self._index.icc_profile
        if icc is not None and profile is not None:
            if self._index.is_rgb8:
                self._convert = srgb_transform(profile)
            elif not path:  # labels and the like stay as they are
                msg = f"{file.path!r}: icc='srgb' is for RGB of three 8-bit channels"
                raise UnsupportedFormatError(msg)

    @property
    def path(self) -> str:
        """Absolute path of the file or folder, or of the first of several files."""
        return self._file.path

    @property
    def format(self) -> str:
        """Who defined the file's layout: ``"aperio"``, ``"ome-tiff"``, ``"tiff"`` and so on."""
        return self._index.format

    @property
    def dims(self) -> str:
        """Axes that the image has, out of TZYXC in that order."""
        return self._index.dims

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each of `dims` at level 0."""
        return self._index.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._index.dims)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the stored values."""
        return self._index.dtype

    @property
    def files(self) -> tuple[str, ...]:
        """Absolute paths of the files that pixels come from, associated images left out."""
        return self._index.sources

    @property
    def frame_indices(self) -> NDArray[np.int64] | None:
        """Which stored frame each plane is, None where planes are no frames.

        ``int64[n]`` along T, C or Z, whichever the image has, else ``int64[t, c, z]``. Frames of
        several `files` are counted from one to the next.
        """
        numbers = self._index.frame_indices
        if numbers is None or numbers.size > max(numbers.shape):
            return None if numbers is None else numbers.copy()
        return numbers.flatten()

    @property
    def origin(self) -> NDArray[np.float64] | None:
        """``float64[3]``, mm of the first pixel's centre in the patient; None where unknown.

        As in DICOM, x runs to the patient's left, y to the back, z to the head.
        """
        placement = self._index.placement
        return None if placement is None else placement.origin.copy()

    @property
    def direction(self) -> NDArray[np.float64] | None:
        """``float64[3, 3]``, whose columns are the directions of the image's x, y and z axes.

        None where the file does not tell them.
        """
        placement = self._index.placement
        return None if placement is None else placement.direction.copy()

    @property
    def affine(self) -> NDArray[np.float64] | None:
        """``float64[4, 4]``, from (x, y, z, 1) in pixels to mm in the patient.

        None where origin, direction or a spacing is unknown.
        """
        placement, spacing = self._index.placement, self.spacing("XYZ")
        steps = [spacing[0], spacing[1], spacing[2] if self.is_volume else 1.0]
        if placement is None or None in steps:
            return None
        return placement.affine(np.array(steps, dtype=np.float64))

    @property
    def is_volume(self) -> bool:
        """Whether locations and sizes have three numbers."""
        return self._index.is_volume

    def size(self, dims: str | None = None) -> tuple[int, ...]:
        """Return the sizes at level 0 along some axes.

        Parameters
        ----------
        dims
            Letters out of T, Z, Y, X, C in any order; None is those of the image. An axis that
            the image does not have has size 1.

        Examples
        --------
        >>> import regionio
        >>> regionio.open("tests/data/CMU-1-Small-Region.svs").size("XY")
        (2220, 2967)
        """
        return tuple(self._index.sizes[axis] for axis in self._axes(dims))

    def spacing(self, dims: str | None = None) -> tuple[float | None, ...]:
        """Return the distance of neighbouring pixels at level 0 along some axes.

        Parameters
        ----------
        dims
            As in `size`.

        Returns
        -------
        tuple
            In units of `spacing_units`; None where unknown. That of a projection X-ray is mostly at
            the detector; ``metadata["mammography"]`` may tell by how much to divide it.
        """
        return tuple(self._index.spacing.get(axis) for axis in self._axes(dims))

    def spacing_units(self, dims: str | None = None) -> tuple[str | None, ...]:
        """Return the unit of each number that `spacing` returns; None where that is None."""
        known, unit = self._index.spacing, self._index.spacing_unit
        return tuple(unit if axis in known else None for axis in self._axes(dims))

    @property
    def channel_names(self) -> tuple[str, ...]:
        """One name a channel."""
        return self._index.channel_names

    @property
    def icc_profile(self) -> bytes | None:
        """The image's ICC profile."""
        return self._index.icc_profile

    @property
    def orientation(self) -> int:
        """TIFF Orientation as the file states it, 1 for upright. It is not applied."""
        return self._index.orientation

    @property
    def levels(self) -> tuple[LevelInfo, ...]:
        """The levels, from the largest to the smallest."""
        return tuple(LevelInfo.of(self._index, number) for number in range(self.level_count))

    @property
    def level_count(self) -> int:
        """Number of levels."""
        return len(self._index.levels)

    @property
    def resolutions(self) -> dict[str, Any]:
        """The levels as cuCIM gives them.

        Returns
        -------
        dict
            level_count; level_dimensions and level_tile_sizes as (width, height);
            level_downsamples as the mean of both axes.
        """
        levels = self.levels
        return {
            "level_count": len(levels),
            "level_dimensions": tuple((level.width, level.height) for level in levels),
            "level_downsamples": tuple(sum(level.downsample) / 2 for level in levels),
            "level_tile_sizes": tuple(level.tile_size for level in levels),
        }

    @property
    def scenes(self) -> tuple[SceneInfo, ...]:
        """The images of the file; ``regionio.open(path, scene=…)`` opens another one."""
        return self._index.scenes

    @property
    def scene(self) -> int:
        """Number of this image among `scenes`."""
        return self._file.scene

    @property
    def metadata(self) -> dict[str, Any]:
        """What the file says, as plain types, under the name of the format that says it; a copy."""
        return copy.deepcopy(dict(self._index.metadata))

    @property
    def raw_metadata(self) -> str:
        """The first page's ImageDescription, as it stands in a TIFF."""
        return self._index.raw_metadata

    @property
    def associated_images(self) -> tuple[str, ...]:
        """Names of the label, macro and thumbnail that the file has."""
        return tuple(self._index.associated)

    def associated_image(self, name: str) -> Image:
        """Return the label, macro or thumbnail as an image of its own.

        Parameters
        ----------
        name
            One of `associated_images`.

        Raises
        ------
        KeyError
            The file has none of that name.
        """
        self._check_open()
        if name not in self._index.associated:
            msg = f"{self.path!r} has no {name!r}; it has {list(self.associated_images)}"
            raise KeyError(msg)
        return Image(self._file.shared(), path=(*self._associated_path, name), icc=self._icc)

    @overload
    def read_region(
        self,
        location: tuple[int, int] | tuple[int, int, int] | None = None,
        size: Sequence[int] | None = None,
        level: int = 0,
        *,
        batch_size: Literal[1] = 1,
        **options: Unpack[ReadOptions],
    ) -> Region: ...

    @overload
    def read_region(
        self,
        location: Iterable[Any] | None = None,
        size: Sequence[int] | None = None,
        level: int = 0,
        *,
        batch_size: int = 1,
        **options: Unpack[ReadOptions],
    ) -> Loader: ...

    def read_region(
        self,
        location: Any = None,
        size: Sequence[int] | None = None,
        level: int = 0,
        *,
        z: int | slice = 0,
        t: int | slice = 0,
        channels: int | str | slice | Sequence[int | str] | None = None,
        num_workers: int | None = None,
        batch_size: int = 1,
        drop_last: bool = False,
        prefetch_factor: int = 2,
        shuffle: bool = False,
        seed: int = 0,
        device: str = "cpu",
        fill: ArrayLike | None = None,
        out: NDArray[Any] | None = None,
        return_mask: bool = False,
        layout: str | None = None,
        dtype: DTypeLike | None = None,
        scale: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        spacing: float | tuple[float, float] | None = None,
    ) -> Region | Loader:
        """Read one region, or many in batches.

        Parameters
        ----------
        location
            (x, y) of the first pixel in level-0 pixels, rounded down to the level's; (x, y, z) in a
            volume. It may be negative or beyond the edge. One flat location gives a `Region`;
            anything else gives a `Loader`: a sequence of locations, an integer array
            ``[n, 2]``, a longer flat sequence, a generator. None is the origin.
        size
            (width, height) in pixels of the level; (width, height, depth) in a volume, where
            (width, height) reads one plane. None is the whole level.
        level
            Number of the level.
        z, t
            Focal plane and time, in an image that has several. A slice, ``t=slice(None)`` of a
            cine for instance, gives regions with an axis Z, or with T of one plane a time.
        channels
            Number, name, slice or list of channels; None is all. One number or name drops C.
        num_workers
            Most concurrent tasks. None is as many as there are CPUs for this process; 0 reads
            in the caller's thread.
        batch_size
            Regions a batch; more than 1 gives a `Loader`, and a leading axis, as N in `layout` does.
        drop_last
            Leave out a last batch that is short.
        prefetch_factor
            Batches read ahead, as far as memory goes (1 GiB; on a GPU more); 0 is none. Small
            ones go further: to 512 tiles or 16 MiB a worker, 4,096 and 256 MiB at most or on a GPU.
        shuffle, seed
            Read in a random order, a new one every epoch.
        device
            ``"cpu"``; ``"cuda"`` or ``"cuda:1"`` gives CuPy arrays in a GPU's memory.
        fill
            Value where the image has no pixels, in output space: one number or one a channel. None
            is what white becomes in RGB of slide formats, else 0, or the lowest of ``values=``.
        out
            Array to read a single region into, of its shape and dtype; undefined after an error.
        return_mask
            Also give `Region.mask`.
        layout
            Order of a region's axes, as ``"YXC"``, ``"CYX"``, ``"HWC"``, ``"NCHW"`` …; None is
            that of `dims`. It has a C even where there is one channel, an N even of one region.
        dtype
            Of the result. None is the stored dtype.
        scale, offset
            The result is ``stored * scale + offset``: numbers, or one a channel. They need a
            floating dtype, float32 if none is given.
        spacing
            Distance of neighbouring pixels of the result, one number or (x, y), in the image's
            unit, instead of a level. Where no level has it (to 1 %), the next finer one is read
            and averaged over areas; `size` is in pixels of the result, and the mask says which of
            them lie wholly inside the image. Up to 10 % finer than level 0 it is interpolated;
            finer is a ValueError.

        Returns
        -------
        Region or Loader
            Memory of a region is its own.

        Raises
        ------
        TypeError, ValueError, IndexError
            An argument is wrong; the message says which and why.
        CorruptFileError, DecodeError
            A tile can't be read; the message names file, level and tile.
        ClosedError
            The image was closed.

        Examples
        --------
        >>> import regionio
        >>> slide = regionio.open("tests/data/CMU-1-Small-Region.svs")
        >>> slide.read_region((100, 200), (64, 32)).shape
        (32, 64, 3)
        >>> for batch in slide.read_region([(0, 0), (64, 0)], (64, 64), batch_size=2,
        ...                                layout="NCHW", scale=1 / 255):
        ...     print(batch.shape, batch.dtype)
        (2, 3, 64, 64) float32
        """
        self._check_open()
        request = ReadRequest(
            location=location,
            size=size,
            level=level,
            z=z,
            t=t,
            channels=channels,
            num_workers=num_workers,
            batch_size=batch_size,
            drop_last=drop_last,
            prefetch_factor=prefetch_factor,
            shuffle=shuffle,
            seed=seed,
            device=device,
            fill=fill,
            out=out,
            return_mask=return_mask,
            layout=layout,
            dtype=dtype,
            scale=scale,
            offset=offset,
            spacing=spacing,
        )
        file = self._file.shared()  # closing the image does not take it away from this read
        try:
            result = read_request(file, self._index, request, self._cache_key(), self._convert)
        finally:
            file.close()
        if isinstance(result, Loader):
            result.image = self  # whose file must stay open while anybody reads from it
        return result

    def thumbnail(self, max_size: int = 512, *, z: int | None = None) -> Region:
        """Return the whole image, small.

        Parameters
        ----------
        max_size
            Most pixels along the longer side.
        z
            Slice or focal plane; None is the middle one of a volume, else the first.

        Returns
        -------
        Region
            Averaged over areas, from the smallest level that is large enough.
        """
        from regionio._thumbnail import make_thumbnail

        return make_thumbnail(self, max_size, z)

    def close(self) -> None:
        """Refuse new reads. The file is let go of when the last one is done."""
        if self._closed_once.acquire(blocking=False):
            self._closed = True
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_closed_once"):
            self.close()

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        msg = "an image is not read by itself: use its read_region(…) or thumbnail()"
        raise TypeError(msg)

    def __repr__(self) -> str:
        sizes = "×".join(map(str, self.shape))
        state = " closed" if self._closed else ""
        count = len(self._index.scenes)
        of_several = f" scene {self.scene} of {count}" if count > 1 else ""
        name = "/".join((self.path, *self._associated_path))
        kind = f"{self.format} {self.dims} {sizes} {self.dtype} {self.level_count} levels"
        return f"<Image {name!r} {kind}{of_several}{state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        self._check_open()
        file = self._file
        opened = file.request, file.identities, file.index_folder
        return _reopen, (*opened, self._icc, self._associated_path)

    def _cache_key(self) -> tuple[Any, ...]:
        """Return what identifies this image's decoded tiles in the process's cache."""
        return (self._file.parsed, self._associated_path, self._icc)

    def _axes(self, dims: str | None) -> str:
        axes = self.dims if dims is None else dims.upper()
        unknown = set(axes) - set("TZYXC")
        if unknown:
            msg = f"axes are letters out of T, Z, Y, X and C, not {dims!r}"
            raise ValueError(msg)
        return axes

    def _check_open(self) -> None:
        if self._closed:
            msg = f"{self.path!r} is closed; open it again to read from it"
            raise ClosedError(msg)


def _reopen(
    request: OpenRequest,
    identities: tuple[FileIdentity, ...],
    index_folder: str | None,
    icc: Literal["srgb"] | None,
    associated_path: tuple[str, ...],
) -> Image:
    """Open an image that was pickled."""
    file = reopen_file(request, identities, index_folder)
    return Image(file, path=associated_path, icc=icc)
