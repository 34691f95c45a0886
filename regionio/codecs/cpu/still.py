"""Tiles that are each a whole picture: PNG, WebP, JPEG XL, JPEG XR, LERC."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import imagecodecs
from numpy.typing import NDArray

from regionio._errors import DecodeError
from regionio._index import Encoding
from regionio.codecs.cpu.picture_size import check_size

__all__ = ["StillImageDecoder", "fit"]


class StillImageDecoder:
    """Decode with imagecodecs and check that the picture is what the encoding says."""

    def __init__(self, encoding: Encoding, tile_shape: tuple[int, int]) -> None:
        self._encoding = encoding
        self._decode = _picture_decoder(encoding)

    def __call__(
        self, data: memoryview, valid: tuple[int, int], rows: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        codec = self._encoding.compression
        check_complete(codec, data)
        size = check_size(codec, data, out.shape[:2], out.shape[2])
        try:
            if size.is_film:
                return _rows_of_jpegxl(data, valid, out)
            picture = self._decode(data)
        except (RuntimeError, ValueError) as error:
            msg = f"{codec} tile is damaged: {error}"
            raise DecodeError(msg) from error
        return fit(picture, valid, out, codec)


def _rows_of_jpegxl(data: memoryview, valid: tuple[int, int], out: NDArray[Any]) -> NDArray[Any]:
    """Decode a film of rows, of which JPEG XL tells the number only as it goes.

    imagecodecs compares it with the array's before it decodes. Tiles are whole, but the last strip
    ends with the image.
    """
    stream = bytes(data)
    if valid[0] < len(out):
        try:
            return imagecodecs.jpegxl_decode(stream, out=out[: valid[0]])
        except ValueError:  # as many rows as there are; damage is told below
            pass
    return imagecodecs.jpegxl_decode(stream, out=out)


def _picture_decoder(encoding: Encoding) -> Callable[..., NDArray[Any]]:
    if encoding.compression == "webp" and encoding.samples == 4:
        # WebP leaves out an alpha channel that is opaque everywhere
        return partial(imagecodecs.webp_decode, hasalpha=True)
    decoders: dict[str, Callable[..., NDArray[Any]]] = {
        "webp": imagecodecs.webp_decode,
        "png": imagecodecs.png_decode,
        "jpegxl": imagecodecs.jpegxl_decode,
        "jpegxr": imagecodecs.jpegxr_decode,
        "lerc": imagecodecs.lerc_decode,
    }
    return decoders[encoding.compression]


PNG_END = b"IEND\xaeB`\x82"
JPEGXR_IMAGE_OFFSET, JPEGXR_IMAGE_BYTES = 0xBCC0, 0xBCC1


def check_complete(codec: str, data: memoryview) -> None:
    """Raise where a stream is cut and its decoder would make do with what there is.

    Parameters
    ----------
    codec
        Name of the codec; only ``"png"`` and ``"jpegxr"`` need this.
    data
        The tile's bytes.

    Raises
    ------
    DecodeError
        The end is missing.
    """
    if codec == "png":
        complete = bytes(data[-16:]).rstrip(b"\x00").endswith(PNG_END)
    elif codec == "jpegxr":
        complete = _jpegxr_end(data) <= len(data)
    else:
        return
    if not complete:
        msg = f"{codec} tile is cut short: it has no end"
        raise DecodeError(msg)


def _jpegxr_end(data: memoryview) -> int:
    """Return where the image of a JPEG XR file ends, as its directory says (ITU-T T.832, A.7)."""
    if len(data) < 8:
        return len(data) + 1
    (directory,) = struct.unpack_from("<I", data, 4)
    if directory + 2 > len(data):
        return len(data) + 1
    (count,) = struct.unpack_from("<H", data, directory)
    fields: dict[int, int] = {}
    for number in range(count):
        place = directory + 2 + 12 * number
        if place + 12 > len(data):
            return len(data) + 1
        tag, _, _, value = struct.unpack_from("<HHII", data, place)
        fields[tag] = value
    return fields.get(JPEGXR_IMAGE_OFFSET, 0) + fields.get(JPEGXR_IMAGE_BYTES, 0)


def fit(
    picture: NDArray[Any], valid: tuple[int, int], out: NDArray[Any], codec: str
) -> NDArray[Any]:
    """Return a decoded picture as ``[rows, columns, samples]``, or say why it does not fit.

    Parameters
    ----------
    picture
        ``[rows, columns]`` or ``[rows, columns, samples]``.
    valid
        (rows, columns) that it must cover at least.
    out
        An array of the tile's full shape and dtype.
    codec
        Name for the message.

    Raises
    ------
    DecodeError
        The picture has another dtype or number of samples, or is too small or too large.
    """
    if picture.ndim == 2:
        picture = picture[:, :, None]
    rows, columns, samples = out.shape
    if (
        picture.ndim != 3
        or picture.dtype != out.dtype
        or picture.shape[2] != samples
        or not valid[0] <= picture.shape[0] <= rows
        or not valid[1] <= picture.shape[1] <= columns
    ):
        msg = (
            f"{codec} tile holds {picture.shape} {picture.dtype}, "
            f"{(rows, columns, samples)} {out.dtype} expected"
        )
        raise DecodeError(msg)
    return picture
