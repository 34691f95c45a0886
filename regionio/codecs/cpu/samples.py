"""Decoded pictures to stored values: sign, unused bits, colour; what DICOM leaves to the reader.

Source: DICOM PS3.5, 8.1.1 (pixel cells), 8.2 (streams that know less of sign and depth than the
attributes); PS3.3, C.7.6.3.1.2 (photometric interpretation).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from regionio._errors import DecodeError
from regionio.codecs._contract import Decoder

__all__ = [
    "RgbDecoder",
    "UsedBitsDecoder",
    "decoded",
    "keep_bits",
    "rgb_of_ybr",
    "room_in",
    "stored",
]

Decoded = TypeVar("Decoded")


def decoded(
    codec: str, decode: Callable[..., Decoded], data: memoryview, *values: Any, **options: Any
) -> Decoded:
    """Return what a function of imagecodecs makes of a stream.

    Parameters
    ----------
    codec
        Name for the message.
    decode
        The function.
    data
        The stream.
    values, options
        The function's other arguments.

    Raises
    ------
    DecodeError
        The function complains of the stream.
    """
    try:
        return decode(data, *values, **options)
    except (RuntimeError, ValueError) as error:
        msg = f"{codec} stream is damaged: {error}"
        raise DecodeError(msg) from error


def room_in(out: NDArray[Any], bits: int, *, signed: bool = False) -> NDArray[Any] | None:
    """Return memory that a library can decode a picture into, None if its values don't fit.

    Parameters
    ----------
    out
        ``[rows, columns, samples]``, where the picture is wanted.
    bits, signed
        What the stream says of its samples.

    >>> room_in(np.zeros((2, 3, 1), np.int16), 12).dtype
    dtype('uint16')
    >>> room_in(np.zeros((2, 3, 1), np.uint16), 8) is None
    True
    """
    itemsize = 1 if bits <= 8 else 2 if bits <= 16 else 4
    if out.dtype.kind not in "ui" or out.itemsize != itemsize or not out.flags.c_contiguous:
        return None
    room = out.view(f"{'i' if signed else 'u'}{itemsize}")
    return room[:, :, 0] if out.shape[2] == 1 else room


def stored(
    picture: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any], codec: str
) -> NDArray[Any]:
    """Return a decoded picture as stored values.

    A stream may have fewer bits than are allocated, and most do not know of signs: its values are
    read again as signed or unsigned ones of as many bytes, and widened.

    Parameters
    ----------
    picture
        ``[rows, columns]`` or ``[rows, columns, samples]`` of integers.
    shape, dtype
        ``[rows, columns, samples]`` and dtype of the frame.
    codec
        Name for the message.

    Raises
    ------
    DecodeError
        The picture has another shape, or more bytes a sample than the frame.
    """
    if picture.ndim == 2:
        picture = picture[:, :, None]
    if picture.dtype == np.bool_:
        picture = picture.view(np.uint8)
    if picture.shape != shape or picture.itemsize > dtype.itemsize or picture.dtype.kind == "f":
        msg = (
            f"{codec} stream holds {picture.shape} {picture.dtype}, but the attributes of the "
            f"image say {shape} {dtype}"
        )
        raise DecodeError(msg)
    same_size = np.dtype(f"{dtype.kind}{picture.itemsize}")
    return np.ascontiguousarray(picture).view(same_size).astype(dtype, copy=False)


def keep_bits(pixels: NDArray[Any], bits: int, out: NDArray[Any]) -> NDArray[Any]:
    """Return values of which only the lowest bits count, the highest of them being the sign's.

    Parameters
    ----------
    pixels
        Integers.
    bits
        How many bits of each are used.
    out
        Where they go if they fit, which may be `pixels`.
    """
    shift = pixels.itemsize * 8 - bits
    target = out[: pixels.shape[0]]
    if target.shape != pixels.shape or target.dtype != pixels.dtype.newbyteorder("="):
        target = np.empty(pixels.shape, pixels.dtype.newbyteorder("="))
    if target.dtype.kind == "u":
        np.bitwise_and(pixels, (1 << bits) - 1, out=target)
    else:
        np.left_shift(pixels, shift, out=target)
        np.right_shift(target, shift, out=target)
    return target


class UsedBitsDecoder:
    """Decode, then free values of their unused bits, which may hold anything.

    Parameters
    ----------
    decode
        What gives whole pixel cells.
    bits
        How many bits of each are used. They are the lowest ones, as the standard demands, and as
        pydicom takes them whatever the attribute HighBit says.
    """

    def __init__(self, decode: Decoder, bits: int) -> None:
        self._decode = decode
        self._bits = bits

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        return keep_bits(self._decode(data, valid, rows, out), self._bits, out)


class RgbDecoder:
    """Decode YBR_FULL, then convert to RGB.

    Parameters
    ----------
    decode
        What gives 8-bit YBR.
    """

    def __init__(self, decode: Decoder) -> None:
        self._decode = decode

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        return rgb_of_ybr(self._decode(data, valid, rows, out))


def rgb_of_ybr(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return RGB of 8-bit YBR_FULL.

    Some values lie exactly between two integers; only the same floating-point operations round
    them as pydicom does.
    """
    from pydicom.pixels.processing import convert_color_space

    return convert_color_space(pixels, "YBR_FULL", "RGB")
