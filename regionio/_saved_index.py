"""Indexes in files of their own, so that a large file is not searched again.

A saved index is a line of text, a JSON object and the bytes of arrays, with a checksum over both.
Nothing in it is code, and it is used only for the request it was made for, by the same version,
while all files are as they were.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio import _index, _transform
from regionio._interpretation import Interpretation
from regionio._parsed_index import OpenRequest, ParsedIndex
from regionio._version import __version__
from regionio.storage import FileIdentity

__all__ = ["SavedIndex"]

MAGIC = b"regionio index 2\n"
HEAD = struct.Struct("<17sI")
"""What it is, checksum of all that follows."""

LENGTH = struct.Struct("<Q")
"""Bytes of JSON, which is next."""

ALIGNMENT = 8

MEANINGLESS = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError,
    MemoryError, struct.error,
)  # fmt: skip
"""What comes of taking for an index what is none."""

CLASSES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        OpenRequest,
        Interpretation,
        FileIdentity,
        _index.ImageIndex,
        _index.Level,
        _index.TileTable,
        _index.Encoding,
        _index.SceneInfo,
        _index.Placement,
        _transform.ColorTransform,
        _transform.GrayTransform,
        _transform.PaletteTransform,
        _transform.LookupTable,
        _transform.Rescale,
        _transform.Window,
    )
}
"""Everything that may be in an index; nothing else is ever made from a file."""


class SavedIndex:
    """The place of one request's index in a folder.

    Parameters
    ----------
    folder
        Where indexes are saved.
    request
        What it is the index of.
    """

    def __init__(self, folder: str, request: OpenRequest) -> None:
        self._request = request
        key = hashlib.blake2b(repr(request).encode("utf-8", "surrogateescape"), digest_size=12)
        # hidden, so that a folder that is opened as a whole is not another for having it
        self.path = os.path.join(folder, f".{key.hexdigest()}.regionio-index")

    @property
    def is_there(self) -> bool:
        """Whether something was saved, true or not."""
        return os.path.exists(self.path)

    def load(self) -> ParsedIndex | None:
        """Return what was saved, None if there is nothing or it is no longer true."""
        try:
            with open(self.path, "rb") as file:
                content = file.read()
            version, request, index, identities = _unpacked(content)
        except (OSError, *MEANINGLESS):
            return None  # it is not there, or damaged: the file itself is parsed again
        if (version, request) != (__version__, self._request):
            return None
        parsed = ParsedIndex(index, identities)
        return parsed if parsed.is_current else None

    def save(self, parsed: ParsedIndex) -> None:
        """Write the index; where that is not possible, warn."""
        content = _packed([__version__, self._request, parsed.index, parsed.identities])
        folder = os.path.dirname(self.path)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            temporary = f"{self.path}.{os.getpid()}-{threading.get_ident()}"
            try:
                # attributes say who the patient is: nobody else's business
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
                with open(os.open(temporary, flags, 0o600), "wb") as file:
                    file.write(content)
                os.replace(temporary, self.path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
        except OSError as error:
            msg = f"the index of {self._request.name!r} can't be saved in {folder!r}: {error}"
            warnings.warn(msg, stacklevel=4)


def _packed(value: Any) -> bytes:
    arrays: list[NDArray[Any]] = []
    text = json.dumps(_plain(value, arrays), separators=(",", ":")).encode()
    parts, place = [LENGTH.pack(len(text)), text], HEAD.size + LENGTH.size + len(text)
    for array in arrays:
        gap = -place % ALIGNMENT
        parts += [bytes(gap), array.tobytes()]
        place += gap + array.nbytes
    body = b"".join(parts)
    return HEAD.pack(MAGIC, zlib.crc32(body)) + body


def _unpacked(content: bytes) -> Any:
    magic, checksum = HEAD.unpack_from(content)
    if magic != MAGIC or zlib.crc32(memoryview(content)[HEAD.size :]) != checksum:
        msg = "no saved index, or a damaged one"
        raise ValueError(msg)
    [length] = LENGTH.unpack_from(content, HEAD.size)
    begin = HEAD.size + LENGTH.size
    reader = _Reader(content, begin + length)
    return reader.value(json.loads(content[begin : begin + length]))


def _plain(value: Any, arrays: list[NDArray[Any]]) -> Any:
    """Return what JSON can hold; arrays and bytes are put aside, in this order."""
    if isinstance(value, list):
        return [_plain(item, arrays) for item in value]
    if isinstance(value, bytes | np.ndarray):
        array = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
        arrays.append(array)
        kind = "bytes" if isinstance(value, bytes) else "array"
        return {"!": kind, "dtype": array.dtype.str, "shape": list(array.shape)}
    if isinstance(value, tuple):
        return {"!": "tuple", "items": [_plain(item, arrays) for item in value]}
    if isinstance(value, Mapping):
        return {"!": "map", "items": [[k, _plain(item, arrays)] for k, item in value.items()]}
    if type(value) in CLASSES.values():
        named = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        items = [[name, _plain(item, arrays)] for name, item in named]
        return {"!": type(value).__name__, "items": items}
    return value


class _Reader:
    """Makes values of what `_plain` returned, and of the arrays that lie from `place` on."""

    def __init__(self, content: bytes, place: int) -> None:
        self._content, self._place = content, place

    def value(self, plain: Any) -> Any:
        if isinstance(plain, list):
            return [self.value(item) for item in plain]
        if not isinstance(plain, dict):
            return plain
        kind = plain["!"]
        if kind in {"bytes", "array"}:
            array = self._array(plain["dtype"], plain["shape"])
            return array.tobytes() if kind == "bytes" else array
        if kind == "tuple":
            return tuple([self.value(item) for item in plain["items"]])
        named = {name: self.value(item) for name, item in plain["items"]}
        return named if kind == "map" else CLASSES[kind](**named)

    def _array(self, name: str, shape: list[int]) -> NDArray[Any]:
        dtype, count = np.dtype(name), int(np.prod(shape))
        self._place += -self._place % ALIGNMENT
        array = np.frombuffer(self._content, dtype, count, self._place)
        self._place += array.nbytes
        return array.reshape(shape)
