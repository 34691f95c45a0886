"""What is known of an image before any pixel is read.

Frozen dataclasses over NumPy arrays: cheap to pickle, to cache and to send elsewhere. Formats
build them, the plan and the engines read them, nobody changes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._identity import FileIdentity
from regionio._lazy import lazy_property
from regionio._transform import Transform

__all__ = ["Encoding", "ImageIndex", "Level", "Placement", "SceneInfo", "TileTable"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """What a decoder must know to turn a tile's bytes into stored values.

    Parameters
    ----------
    compression
        Codec name, a key of `regionio.codecs.cpu.DECODERS` (``"none"``, ``"jpeg"``, ``"deflate"`` …).
    dtype
        NumPy dtype of the decoded samples in native byte order, as a string (``"uint8"``).
    samples
        Samples that lie together at each pixel of a tile.
    bits
        Bits of a sample in the file, before unpacking; one number a sample where they differ.
    byteorder
        ``"<"`` or ``">"``: byte order of uncompressed samples.
    photometric
        TIFF photometric interpretation in lower case (``"rgb"``, ``"ycbcr"``, ``"minisblack"`` …);
        ``"ybr"`` where decoded samples of DICOM are YCbCr (``"ycbcr"`` decodes to RGB).
    predictor
        TIFF predictor: 1 none, 2 horizontal differences, 3 floating point.
    reverse_bits
        Bits of each byte are stored least significant first (TIFF FillOrder 2).
    prefix
        Bytes to put in front of each tile: JPEG tables or a whole JPEG header.
    stored_colorspace
        Colour space of JPEG and JPEG 2000 components where the container states it:
        ``"rgb"``, ``"ycbcr"``, or None to believe the stream.
    separate
        Samples are in separate planes (TIFF PlanarConfiguration 2): a tile holds one of them.
    options
        What single codecs need besides (CCITT options, number of extra samples), as sorted pairs.
        Of DICOM: ``items`` (bytes of a frame are items), ``used_bits`` (only so many bits of a
        sample count), ``ybr_to_rgb``, ``ybr`` and ``to_rgb`` (colour), ``first_bit``, ``planar``,
        ``subsampled`` and ``swapped`` (`regionio.codecs.cpu.native`).
    """

    compression: str
    dtype: str
    samples: int = 1
    bits: int | tuple[int, ...] = 8
    byteorder: str = "<"
    photometric: str = "minisblack"
    predictor: int = 1
    reverse_bits: bool = False
    prefix: bytes = b""
    stored_colorspace: str | None = None
    separate: bool = False
    options: tuple[tuple[str, int], ...] = ()

    def option(self, name: str, default: int = 0) -> int:
        """Return one of `options`, or `default` where it is not given."""
        return dict(self.options).get(name, default)

    def has_options(self, *names: str) -> bool:
        """Return whether no other options than these are given."""
        return {name for name, value in self.options if value} <= set(names)

    @property
    def itemsize(self) -> int:
        """Bytes of one decoded sample."""
        return np.dtype(self.dtype).itemsize


@dataclass(frozen=True, eq=False)
class TileTable:
    """Where every tile of a level is: its bytes in the file and its place in the level.

    Parameters
    ----------
    offset, nbytes
        ``int64[n]``, byte range of each tile in its source; ``nbytes`` 0 is an absent tile.
    grid
        Numbers of tiles along (t, c, z, y, x); tiles are numbered in that order, row-major.
        Along c there is one tile a *plane*, which holds `Encoding.samples` channels.
    tile_shape
        (height, width) of a tile in pixels.
    source
        ``int32[n]``, index into `ImageIndex.sources`, or None: all in source 0.
    encoding
        ``int16[n]``, index into `ImageIndex.encodings`, or None: all have encoding 0.
    transform
        ``int32[n]``, index into `ImageIndex.transforms`, or None: all take transform 0, if there
        is one.
    position
        (y, x) of first pixels where tiles do not lie on a grid, else None: ``int64[n, 2]`` for the
        n tiles of one plane (all planes lie alike) or of all planes; or
        ``int64[rows * p, columns * q, 2]`` where every tile is cut into p × q equal parts, each
        with a place of its own. Later ones are painted over earlier ones. What lies at negative
        coordinates is not seen.
    """

    offset: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    grid: tuple[int, int, int, int, int]
    tile_shape: tuple[int, int]
    source: NDArray[np.int32] | None = None
    encoding: NDArray[np.int16] | None = None
    transform: NDArray[np.int32] | None = None
    position: NDArray[np.int64] | None = None

    @property
    def plane_tiles(self) -> int:
        """Number of tiles of one (t, c, z) plane."""
        return self.grid[3] * self.grid[4]

    @lazy_property
    def complete(self) -> bool:
        """Whether every tile is present."""
        return bool((self.nbytes > 0).all())


@dataclass(frozen=True, eq=False)
class Level:
    """One resolution of an image.

    Parameters
    ----------
    width, height
        Size in pixels. The tiles may cover more; what lies beyond is never returned.
    downsample
        (x, y) factors to level 0, 1.0 for level 0 itself.
    tiles
        The tile table.
    """

    width: int
    height: int
    downsample: tuple[float, float]
    tiles: TileTable


@dataclass(frozen=True, eq=False)
class Placement:
    """Where an image lies in the patient, in mm; x runs to the left, y to the back, z to the head.

    Parameters
    ----------
    origin
        ``float64[3]``, centre of the first pixel.
    direction
        ``float64[3, 3]``; its columns are the directions in which x, y and z of the image grow.
    """

    origin: NDArray[np.float64]
    direction: NDArray[np.float64]

    def affine(self, spacing: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``float64[4, 4]``, from (x, y, z, 1) in pixels of some (x, y, z) spacing to mm."""
        affine = np.eye(4)
        affine[:3, :3] = self.direction * spacing
        affine[:3, 3] = self.origin
        return affine


@dataclass(frozen=True, slots=True)
class SceneInfo:
    """One of the images of a file: its name and the place of its origin on a common canvas.

    Parameters
    ----------
    name
        As the file calls it, else ``"0"``, ``"1"`` …
    offset
        (x, y) of its first pixel in level-0 pixels of the canvas, or None where not known.
    shape, dims
        Shape at level 0, and the axes that it has.
    """

    name: str
    offset: tuple[int, int] | None
    shape: tuple[int, ...]
    dims: str


@dataclass(frozen=True, eq=False)
class ImageIndex:
    """Everything that is known of one image (one scene of a file).

    Parameters
    ----------
    format
        ``"aperio"``, ``"ome-tiff"``, ``"tiff"`` …
    sources
        Paths of the files that hold tiles; `TileTable.source` counts in it.
    levels
        From the largest to the smallest.
    encodings
        Distinct ways in which tiles are encoded; `TileTable.encoding` counts in it.
    channel_names
        One name a channel (planes × samples).
    spacing
        Axis letter → distance of neighbouring pixels at level 0, for axes where it is known.
    spacing_unit
        ``"micrometer"`` or ``"millimeter"``.
    is_volume
        Whether z is addressed in `read_region` as x and y are.
    background
        What lies outside the image: one value, or one a channel, of the image's dtype.
    associated
        Label, macro and thumbnail, each an image of its own.
    metadata
        What the file says, as plain types, under the name of the format that says it.
    raw_metadata
        The first ImageDescription or the like, as it stands in the file.
    transforms
        Distinct ways from stored values to the image's; `TileTable.transform` counts in it. Empty:
        the image's values are the stored ones.
    frame_indices
        ``int64[t, c, z]``, the frame that each plane is, counted over the frames of all sources;
        None where planes are no frames.
    placement
        Where the image lies in the patient, None where that is not known.
    deflated
        Source → byte from which on its content is deflated: places count in what was inflated.
    searched
        Folders whose files were looked through; another file in one of them may change the index.
    read_from
        Sources as they were when they were read, as far as that is known.
    """

    format: str
    sources: tuple[str, ...]
    levels: tuple[Level, ...]
    encodings: tuple[Encoding, ...]
    channel_names: tuple[str, ...]
    spacing: Mapping[str, float] = field(default_factory=dict)
    spacing_unit: str = "micrometer"
    is_volume: bool = False
    background: tuple[float, ...] = (0,)
    orientation: int = 1
    icc_profile: bytes | None = None
    associated: Mapping[str, ImageIndex] = field(default_factory=dict)
    scenes: tuple[SceneInfo, ...] = ()
    scene: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    raw_metadata: str = ""
    transforms: tuple[Transform, ...] = ()
    frame_indices: NDArray[np.int64] | None = None
    placement: Placement | None = None
    deflated: Mapping[str, int] = field(default_factory=dict)
    searched: tuple[str, ...] = ()
    read_from: tuple[FileIdentity, ...] = ()

    @lazy_property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the image's values, native byte order."""
        return np.dtype((self.transforms or self.encodings)[0].dtype)

    @property
    def samples(self) -> int:
        """Channels that lie together in one tile."""
        return (self.transforms or self.encodings)[0].samples

    @lazy_property
    def channels(self) -> int:
        """Number of channels: planes × samples a plane."""
        return self.levels[0].tiles.grid[1] * self.samples

    @lazy_property
    def dims(self) -> str:
        """Axes that the image has, out of TZYXC in that order."""
        times, _, depth, _, _ = self.levels[0].tiles.grid
        has = {"T": times > 1, "Z": depth > 1, "C": self.channels > 1, "Y": True, "X": True}
        return "".join(axis for axis in "TZYXC" if has[axis])

    @lazy_property
    def sizes(self) -> dict[str, int]:
        """Size along each of T, Z, Y, X and C at level 0, 1 included."""
        level = self.levels[0]
        times, _, depth, _, _ = level.tiles.grid
        sizes = (times, depth, level.height, level.width, self.channels)
        return dict(zip("TZYXC", sizes, strict=True))

    @lazy_property
    def shape(self) -> tuple[int, ...]:
        """Size along each of `dims` at level 0."""
        return tuple(self.sizes[axis] for axis in self.dims)

    @lazy_property
    def over_time(self) -> ImageIndex:
        """The same image with its times along Z; it has to have one plane a time.

        >>> import regionio
        >>> regionio.open("tests/data/CMU-1-Small-Region.svs")._index.over_time.levels[0].tiles.grid
        (1, 1, 1, 13, 10)
        """
        levels = []
        for level in self.levels:
            times, planes, depth, rows, columns = level.tiles.grid
            assert planes == depth == 1
            tiles = replace(level.tiles, grid=(1, 1, times, rows, columns))
            levels.append(replace(level, tiles=tiles))
        return replace(self, levels=tuple(levels))

    @lazy_property
    def is_rgb8(self) -> bool:
        """Whether pixels are RGB of 8 bits, which colour management knows."""
        color = self.encodings[0].photometric in {"rgb", "ycbcr"} or bool(self.transforms)
        return color and self.samples == 3 and self.dtype == np.uint8

    @lazy_property
    def files(self) -> tuple[str, ...]:
        """All files that the image and its associated images are read from, each once."""
        inner = (source for image in self.associated.values() for source in image.sources)
        return tuple(dict.fromkeys((*self.sources, *inner)))
