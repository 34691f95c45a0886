"""Patches and their places as a Zarr group."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

__all__ = ["PatchStore"]

CHUNK_BYTES = 2**24
"""Chunks of more than one patch are not larger, so that one patch is read without many others."""

ZSTD_LEVEL = 3


class PatchStore:
    """A Zarr v3 group with the arrays ``patches`` and ``locations``, filled from the start on.

    Parameters
    ----------
    path
        Folder of the group; it does not exist yet.
    count
        Number of patches.
    shape
        (height, width, channels) of a patch.
    dtype
        Of its pixels.
    batch
        Patches that are written together. A chunk holds so many, or as many as take 16 MiB.
    attributes
        Of the group, plain types.
    """

    def __init__(
        self,
        path: Path,
        count: int,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        batch: int,
        attributes: Mapping[str, Any],
    ) -> None:
        self.shape = shape
        self.chunk = min(batch, max(1, CHUNK_BYTES // (math.prod(shape) * dtype.itemsize)))
        group = zarr.create_group(path, zarr_format=3, attributes=dict(attributes))
        self._patches = group.create_array(
            "patches",
            shape=(count, *shape),
            chunks=(self.chunk, *shape),
            dtype=dtype,
            compressors=ZstdCodec(level=ZSTD_LEVEL),
            dimension_names=("patch", "y", "x", "channel"),
        )
        self._locations = group.create_array(
            "locations",
            shape=(count, 2),
            chunks=(max(1, count), 2),
            dtype=np.int64,
            dimension_names=("patch", "xy"),
        )
        self._done = 0

    def write_locations(self, locations: NDArray[np.int64]) -> None:
        """Write all places, ``int64[n, 2]``: (x, y) in level-0 pixels."""
        self._locations[:] = locations

    def append(self, patches: NDArray[Any]) -> None:
        """Write the next patches, ``[k, height, width, channels]``: whole chunks but at the end."""
        self._patches[self._done : self._done + len(patches)] = patches
        self._done += len(patches)
