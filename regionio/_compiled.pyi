from typing import Any

from numpy.typing import NDArray

JPEG_LIBRARY: str

def decode_jpeg(
    streams: list[memoryview],
    prefix: bytes,
    suffix: bytes,
    skip: int,
    rows: int,
    columns: int,
    samples: int,
    is_rgb: bool,
    keep: NDArray[Any],
    first: NDArray[Any],
    pieces: NDArray[Any],
    row_stride: int,
    pixel_stride: int,
    channels: NDArray[Any],
    table: NDArray[Any],
    itemsize: int,
    /,
) -> bytes: ...
def paste(
    tiles: NDArray[Any],
    tile_row_stride: int,
    samples: int,
    first: NDArray[Any],
    pieces: NDArray[Any],
    row_stride: int,
    pixel_stride: int,
    channels: NDArray[Any],
    table: NDArray[Any],
    itemsize: int,
    /,
) -> None: ...
