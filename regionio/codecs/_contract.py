"""What decoders do, and where their pixels go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regionio.storage import FileRanges

__all__ = ["BoxDecoder", "Decoder", "PieceDecoder", "Target"]


class Decoder(Protocol):
    """Decodes the tiles of one encoding and shape; safe to call from many threads at once."""

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        """Decode one tile.

        Parameters
        ----------
        data
            The tile's bytes, as they stand in the file.
        valid
            (rows, columns) from the tile's first pixel that lie inside the image. Writers may
            leave out what is beyond.
        rows
            Rows wanted. A decoder that can stop early may leave out those below.
        out
            ``[rows, columns, samples]`` of the stored dtype and the full tile's shape, C-contiguous,
            which may be written to.

        Returns
        -------
        ndarray
            ``[rows, columns, samples]``: `out` or another array, which covers `valid`, or at
            least the rows of it that are wanted.

        Raises
        ------
        DecodeError
            The bytes are damaged or too short, or hold something else than the encoding says.
        """
        ...


class BoxDecoder(Protocol):
    """Decodes rectangles of tiles; safe to call from many threads at once."""

    def __call__(self, data: memoryview, box: tuple[int, int, int, int]) -> NDArray[Any] | None:
        """Decode a rectangle of one tile.

        Parameters
        ----------
        data
            The tile's bytes, as they stand in the file.
        box
            (top, left, bottom, right), the last row and column excluded.

        Returns
        -------
        ndarray or None
            ``[rows, columns, samples]`` of the stored dtype; None if it is left to the `Decoder`,
            which decodes the tile or says what is wrong with it.
        """
        ...


@dataclass(frozen=True, eq=False)
class Target:
    """How pixels lie in the memory that pieces of 8-bit tiles are written to.

    Parameters
    ----------
    row_stride, pixel_stride
        Bytes from one row, and from one pixel of a row, to the next.
    channels
        ``int64[n, 2]``: the sample that each channel written takes, and the channel's offset in
        bytes from the pixel's address.
    table
        ``[n, 256]``, what each value of a sample becomes in each channel; empty: pixels are
        copied as they are.
    """

    row_stride: int
    pixel_stride: int
    channels: NDArray[np.int64]
    table: NDArray[Any]

    @property
    def fields(self) -> tuple[int, int, NDArray[np.int64], NDArray[Any], int]:
        """All of it, as the compiled part takes it."""
        itemsize = self.table.itemsize
        return self.row_stride, self.pixel_stride, self.channels, self.table, itemsize


class PieceDecoder(Protocol):
    """Decodes tiles straight into pieces of regions; safe to call from many threads at once."""

    def __call__(
        self,
        tiles: list[memoryview] | FileRanges,
        first: NDArray[np.int64],
        pieces: NDArray[np.int64],
        target: Target,
        keep: NDArray[np.int64] | None = None,
        threads: int = 1,
    ) -> tuple[Sequence[int], int, int]:
        """Decode tiles, of each what its pieces need.

        Parameters
        ----------
        tiles
            Each tile's bytes, as they stand in the file, or where they stand.
        first
            ``int64[len(tiles) + 1]``: pieces of tile i are ``pieces[first[i]:first[i + 1]]``.
        pieces
            ``int64[p, 5]``: (y, x, height, width) in the tile and the address that the first of
            these pixels goes to. The caller sees to it that the memory is there.
        target
            How pixels lie there.
        keep
            ``int64[len(tiles), 3]``: the address of memory for the whole tile, and how many of its
            rows and columns lie inside the image. Address 0: the tile is not kept.
        threads
            Most threads that decode, the caller's included; the others are its own.

        Returns
        -------
        done
            For each tile 1, or 0 if it was left to the `Decoder`, which decodes it or says what is
            wrong with it.
        requests, bytes_read
            What it read from the file.
        """
        ...
