"""What every decoder does."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = ["Decoder"]


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
