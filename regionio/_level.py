"""What users are told of a level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regionio._index import ImageIndex

__all__ = ["LevelInfo"]


@dataclass(frozen=True, slots=True)
class LevelInfo:
    """One level of an image.

    Parameters
    ----------
    width, height
        Size in pixels.
    downsample
        (x, y) factors to level 0.
    tile_size
        (width, height) of a tile or strip in pixels.
    tiles
        Number of tiles, over all planes.
    compression
        Name of the codec, with the most tiles first where there are several.
    nbytes
        Compressed bytes.
    """

    width: int
    height: int
    downsample: tuple[float, float]
    tile_size: tuple[int, int]
    tiles: int
    compression: str
    nbytes: int

    @classmethod
    def of(cls, index: ImageIndex, number: int) -> LevelInfo:
        """Describe one level of an image."""
        level = index.levels[number]
        tiles = level.tiles
        height, width = tiles.tile_shape
        if tiles.encoding is None:
            names = [index.encodings[0].compression]
        else:
            counts = np.bincount(tiles.encoding, minlength=len(index.encodings))
            order = np.argsort(-counts, kind="stable")
            names = [index.encodings[code].compression for code in order if counts[code]]
        return cls(
            width=level.width,
            height=level.height,
            downsample=level.downsample,
            tile_size=(width, height),
            tiles=len(tiles.offset),
            compression="+".join(dict.fromkeys(names)),
            nbytes=int(tiles.nbytes.sum()),
        )
