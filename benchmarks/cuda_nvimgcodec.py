"""nvImageCodec alone: the decoder that regionio drives, on bitstreams that are in memory already."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from benchmarks.cuda_measure import cupy, fastest
from benchmarks.measure import UnableError, library


def nvimgcodec() -> Any:
    """Return nvImageCodec's module."""
    try:
        return library("nvidia.nvimgcodec")
    except ImportError as error:
        msg = (
            f"nvImageCodec is not installed ({error}): pip install nvidia-nvimgcodec-cu13[nvjpeg,"
            "nvjpeg2k], or -cu12"
        )
        raise UnableError(msg) from error


class BareDecoder:
    """nvImageCodec with its default backends.

    Parameters
    ----------
    streams
        Whole bitstreams of pictures of one size.
    shape, dtype
        Of a picture: (rows, columns, samples).
    color
        Name of a ``ColorSpec``.
    batches
        How many streams a call may have; the best is found out.
    kinds
        Whether streams are given as ``bytes`` or ``CodeStreams``; the best is found out.

    Attributes
    ----------
    form, rates
        How it is fastest, and pictures a second by every form that was tried.
    """

    def __init__(
        self,
        streams: Sequence[bytes],
        shape: tuple[int, int, int],
        color: str,
        batches: Sequence[int],
        kinds: Sequence[str] = ("bytes", "CodeStreams"),
        dtype: str = "uint8",
    ) -> None:
        codec = nvimgcodec()
        self.form = ""
        self.rates: dict[str, float] = {}
        self._kinds = kinds
        self._best: Callable[[int], list[Any]] | None = None
        self._batches = batches
        self._streams = list(streams)
        self._shape, self._dtype = shape, dtype
        self._decoder = codec.Decoder(device_id=0)
        self._parameters = codec.DecodeParams(
            apply_exif_orientation=False,
            allow_any_depth=True,
            color_spec=getattr(codec.ColorSpec, color),
        )
        self._stream = cupy().cuda.Stream(non_blocking=True)
        self._prebuilt: list[Any] = []
        self._places: list[Any] = []
        self._reading: list[np.ndarray] | None = None
        decoders.append(self)

    def close(self) -> None:
        """Give back what the decoder holds."""
        self._prebuilt.clear()
        self._places.clear()
        self._decoder.__exit__(None, None, None)

    def prebuilt(self) -> list[Any]:
        """Return the streams parsed by nvImageCodec, in pinned memory; they are made once."""
        if not self._prebuilt:
            codec = nvimgcodec()
            sizes = [len(data) for data in self._streams]
            memory = cupy().cuda.alloc_pinned_memory(sum(sizes))
            pinned = np.frombuffer(memory, np.uint8, sum(sizes))
            pinned[:] = np.frombuffer(b"".join(self._streams), np.uint8)
            parts = np.split(pinned, np.cumsum(sizes)[:-1])
            self._prebuilt = [codec.CodeStream(part) for part in parts]
        return self._prebuilt

    def decode_file(self, path: Path, ranges: np.ndarray, batch: int, threads: int) -> list[Any]:
        """Decode pictures of a file, of which a batch is read while another is decoded.

        Parameters
        ----------
        path
            The file.
        ranges
            ``int64[n, 2]``, offset and bytes of each picture.
        batch
            Pictures a call.
        threads
            Which read.
        """
        groups = np.split(ranges, range(batch, len(ranges), batch))
        size = max(int(group[:, 1].sum()) for group in groups)
        if self._reading is None or len(self._reading[0]) < size:
            memory = [cupy().cuda.alloc_pinned_memory(size) for _ in range(2)]
            self._reading = [np.frombuffer(each, np.uint8, size) for each in memory]
        found: list[Any] = []
        with (
            path.open("rb") as file,
            ThreadPoolExecutor(threads) as pool,
            ThreadPoolExecutor(1) as ahead,
        ):
            read = partial(_read_pictures, file.fileno(), pool)
            parts = [ahead.submit(read, groups[0], self._reading[0])]
            for number in range(len(groups)):
                pictures = parts[number].result()
                if number + 1 < len(groups):
                    following = groups[number + 1], self._reading[(number + 1) % 2]
                    parts.append(ahead.submit(read, *following))
                streams = [nvimgcodec().CodeStream(picture) for picture in pictures]
                found = self.decode_streams(streams, self._images(len(streams)))
                self._stream.synchronize()  # before the memory is read into again
        return found

    def _images(self, count: int) -> list[Any]:
        """Return so many pictures in the GPU's memory, which are used again."""
        if len(self._places) < count:
            memory = cupy().empty((count, *self._shape), self._dtype)
            tiles = memory[..., 0] if self._shape[2] == 1 else memory
            self._places = [nvimgcodec().as_image(tile) for tile in tiles]
        return self._places[:count]

    def decode(
        self, count: int, batch: int, *, prebuilt: bool = True, placed: bool = False
    ) -> list[Any]:
        """Decode so many pictures, and return those of the last batch.

        Parameters
        ----------
        count
            Number of pictures; streams are taken again where there are fewer.
        batch
            Streams a call.
        prebuilt
            Streams are parsed already, else given as bytes.
        placed
            Into memory that is there already, else into new memory.
        """
        sources = self.prebuilt() if prebuilt else self._streams
        sources = (sources * -(-count // len(sources)))[:count]
        found: list[Any] = []
        for start in range(0, count, batch):
            part = sources[start : start + batch]
            found = self.decode_streams(part, self._images(len(part)) if placed else None)
        return found

    def decode_streams(self, streams: list[Any], images: list[Any] | None = None) -> list[Any]:
        """Decode streams by one call, into pictures that are there or new ones."""
        found: list[Any] = self._decoder.decode(
            streams, images=images, params=self._parameters, cuda_stream=self._stream.ptr
        )
        missing = sum(image is None for image in found)
        if missing:
            msg = f"nvImageCodec did not decode {missing} of {len(streams)} pictures"
            raise UnableError(msg)
        return found

    def arrays(self, found: list[Any]) -> np.ndarray:
        """Return decoded pictures in main memory."""
        self._stream.synchronize()
        return np.stack([cupy().asnumpy(cupy().asarray(image)) for image in found])

    def fastest(self, count: int) -> list[Any]:
        """Decode so many pictures in the way that is fastest, which is found out once."""
        assert count > 0
        if self._best is None:
            self._best = self._best_form()
        return self._best(count)

    def _best_form(self) -> Callable[[int], list[Any]]:
        count = len(self._streams)
        forms = {
            f"by {batch} {kind} a call into {memory} memory": partial(
                self.decode, batch=batch, prebuilt=kind == "CodeStreams", placed=memory == "given"
            )
            for batch in self._batches
            for kind in self._kinds
            for memory in ("new", "given")
        }
        self.form, seconds = fastest({name: partial(form, count) for name, form in forms.items()})
        self.rates = {name: count / spent for name, spent in seconds.items()}
        return forms[self.form]


def _read_pictures(
    descriptor: int, pool: ThreadPoolExecutor, ranges: np.ndarray, memory: np.ndarray
) -> list[np.ndarray]:
    """Read pictures by several threads, one after the other into memory; return where each is."""
    parts = np.split(memory[: int(ranges[:, 1].sum())], np.cumsum(ranges[:-1, 1]))
    list(pool.map(os.preadv, repeat(descriptor), [[part] for part in parts], ranges[:, 0].tolist()))
    return parts


decoders: list[BareDecoder] = []
"""Those that have not been closed, which must not wait for the interpreter's end."""


PLUGIN = "nvidia.nvimgcodec.tools.dicom.pydicom_plugin"


def close_decoders() -> None:
    """Close what is open, the decoder of nvImageCodec's plugin for pydicom too."""
    while decoders:
        decoders.pop().close()
    plugin: Any = sys.modules.get(PLUGIN)
    if plugin is not None and plugin._NVIMGCODEC_DECODER is not None:
        plugin._NVIMGCODEC_DECODER.__exit__(None, None, None)
        plugin._NVIMGCODEC_DECODER = None


def tile_streams(path: Path, most: int) -> list[bytes]:
    """Return the first tiles of a TIFF as whole JPEG streams."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        offsets, sizes = page.dataoffsets[:most], page.databytecounts[:most]
        start = (page.jpegtables or b"")[:-2] or b"\xff\xd8"
    with path.open("rb") as file:
        tiles = [os.pread(file.fileno(), n, at) for n, at in zip(sizes, offsets, strict=True)]
    return [start + tile[2:] for tile in tiles]
