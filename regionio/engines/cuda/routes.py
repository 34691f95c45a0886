"""By which way tiles get into the memory of a GPU.

==================  ================================================================================
``JpegChunk``       JPEG of 8 bits whose colours libjpeg and nvJPEG understand alike, and lossless
                    JPEG of one 16-bit channel: nvJPEG's kernels, where a cost model says that they
                    are done before the CPU's threads
``Jpeg2000Chunk``   HTJ2K; JPEG 2000 where `gpu_decodes_jpeg2000_sooner` says so: nvJPEG2000
``KvikioChunk``     uncompressed samples in whole bytes that lie together in the file: read into the
                    GPU's memory as they stand, where KvikIO is installed
``RawChunk``        other uncompressed samples in whole bytes: the same through pinned memory
``InflatedChunk``   deflate and Zstandard: nvCOMP, if ``REGIONIO_NVCOMP=1`` says that files are sound
``CpuChunk``        everything else, and whatever another way leaves: decoded by CPU threads into
                    pinned memory
==================  ================================================================================

What stands behind it, measured on one H200 with 16 cores (``benchmarks/results/cuda-*.md``):

* JPEG, 256² 4:2:0: nvJPEG's batched kernels 40,000 to 122,000 tiles/s, 256 to 1,024 a call, 1 to 3
  calls at a time; its hardware engine 38,000 to 70,000; nvImageCodec, which decodes by both and by
  the CPU, 46,000; 16 threads of libjpeg-turbo 40,000. Kernels round otherwise than libjpeg: 1.3 % of RGB
  values differ, by 3 at most.
* Lossless JPEG, 2,500 × 2,000: 1,800 a second in batches of 32, 16 threads of libjpeg-turbo 90;
  nvImageCodec 340, and it refuses some.
* HTJ2K: at every size faster than 16 threads of OpenJPH, 2,500 × 2,000 nine times.
* JPEG 2000: 2,500 × 2,000 311 a second, 16 threads of OpenJPEG 47; 512² 1,000 to 1,200 against
  1,400; both at once no more than the better of the two.
* KvikIO without GPUDirect Storage 45 GB/s with 16 threads, pinned memory 30 GB/s; but 14 µs of
  Python's lock a request.
* nvCOMP: deflate 15 GB/s, Zstandard 20; but damaged streams make it read past its buffers, after
  which the process can't use the GPU any more, and it does not look at checksums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._index import Encoding, ImageIndex
from regionio.codecs.cuda import (
    Colors,
    GpuStreams,
    byte_streams,
    gpu_streams,
)
from regionio.engines.cuda.chunk import ChunkPlan, TileChunk
from regionio.engines.cuda.decoded import CpuChunk
from regionio.engines.cuda.inflated import InflatedChunk
from regionio.engines.cuda.nvcomp import nvcomp
from regionio.engines.cuda.nvimagecodec import nvimagecodec
from regionio.engines.cuda.nvjpeg import LEAST_BATCH, Process, nvjpeg
from regionio.engines.cuda.pictures import Jpeg2000Chunk, JpegChunk
from regionio.engines.cuda.raw import KvikioChunk, RawChunk, are_long_runs
from regionio.engines.cuda.streams import Context
from regionio.engines.group import TileGroup
from regionio.storage import NO_RANGES, FetchCount
from regionio.storage.kvikio import kvikio
from regionio.values import TileConversion

COEFFICIENT_BYTES = 2
"""Of each sample, which nvJPEG keeps of a batch, all of it at a time."""

__all__ = [
    "chunk_of",
    "gpu_decodes_jpeg2000_sooner",
    "gpu_decodes_jpeg_sooner",
    "gpu_decodes_lossless_sooner",
]


def chunk_of(
    context: Context, plan: ChunkPlan, index: ImageIndex, convert: TileConversion | None
) -> TileChunk:
    """Return the chunk that takes the tiles' way.

    Parameters
    ----------
    context
        Of the GPU.
    plan
        The tiles, and what becomes of them.
    index
        The image that they are of.
    convert
        What happens to values and has no tables, or None.
    """
    group = plan.group
    if convert is not None:
        return CpuChunk(plan, convert=convert, samples=index.samples, dtype=index.dtype)
    if group.by_rows and _is_plain(group.encoding) and _are_whole(group):
        if _is_for_kvikio(group):
            return KvikioChunk(plan, context.device_file(group.storage.identity, plan.tasks.most))
        return RawChunk(plan)
    packed = byte_streams(group.encoding)
    if packed is not None and nvcomp() is not None:
        return InflatedChunk(plan, packed)
    chunk = _picture_chunk(context, plan)
    return chunk or CpuChunk(plan, samples=group.encoding.samples, dtype=group.dtype)


def _picture_chunk(context: Context, plan: ChunkPlan) -> TileChunk | None:
    """Return the chunk of pictures that one of the GPU's decoders takes, and takes sooner."""
    compression = plan.group.encoding.compression
    if compression in {"jpeg2000", "htj2k"}:
        if nvimagecodec() is None or not _is_for_jpeg2000(plan):
            return None
        streams = _streams(plan, lambda _: True)
        return None if streams is None else Jpeg2000Chunk(plan, streams)
    library = nvjpeg()
    process: Process = "lossless" if compression == "jpeg-lossless" else "baseline"
    if library is None or not _is_for_jpeg(context, plan, process):
        return None
    streams = _streams(plan, lambda colors: library.takes(process, colors))
    return None if streams is None else JpegChunk(plan, streams, library, process)


def _is_for_kvikio(group: TileGroup) -> bool:
    """Return whether KvikIO is there, and reads a group's tiles sooner than `preadv` does."""
    if kvikio() is None or not are_long_runs(group.ranges()):
        return False
    return group.storage.ranges(NO_RANGES) is not None  # a file, and no memory


def _are_whole(group: TileGroup) -> bool:
    """Return whether no tile has fewer bytes than its rows need; the CPU knows what that means."""
    _, columns, samples = group.tile_shape
    row_bytes = columns * samples * group.dtype.itemsize
    return bool((group.nbytes >= group.height * row_bytes).all())


def _is_plain(encoding: Encoding) -> bool:
    """Return whether samples stand in whole bytes, which the kernel that composes can take."""
    dtype = np.dtype(encoding.dtype)
    whole: Any = encoding.bits == 8 * dtype.itemsize
    return (
        bool(whole)
        and encoding.has_options("used_bits")
        and dtype.kind in "uif"
        and encoding.predictor == 1
        and not encoding.reverse_bits
    )


def _is_for_jpeg(context: Context, plan: ChunkPlan, process: Process) -> bool:
    """Return whether nvJPEG decodes the job's tiles sooner than the CPU, and has the memory."""
    height, width, samples = plan.group.tile_shape
    pixels, threads = height * width, plan.tasks.most
    if process == "lossless":
        return gpu_decodes_lossless_sooner(plan.tiles, pixels, threads)
    if LEAST_BATCH * pixels * samples * COEFFICIENT_BYTES > context.share_bytes:
        return False
    return gpu_decodes_jpeg_sooner(plan.tiles, pixels, threads)


def _is_for_jpeg2000(plan: ChunkPlan) -> bool:
    """Return whether nvJPEG2000 decodes tiles sooner than the CPU."""
    group = plan.group
    if group.encoding.compression == "htj2k":
        return True
    samples = int(np.prod(group.tile_shape))
    return gpu_decodes_jpeg2000_sooner(group.nbytes, samples, plan.tasks.most)


def _streams(plan: ChunkPlan, takes: Callable[[Colors], bool]) -> GpuStreams | None:
    """Return what makes streams of tiles, None if the GPU decodes none of the first that are seen."""
    group = plan.group
    encoding = group.encoding
    if encoding not in plan.suits:
        streams = gpu_streams(encoding, group.tile_shape[:2])
        plan.suits[encoding] = streams if streams and _suits(group, streams, takes) else None
    return plan.suits[encoding]


def _suits(group: TileGroup, streams: GpuStreams, takes: Callable[[Colors], bool]) -> bool:
    for number in sorted({0, len(group) // 2, len(group) - 1}):  # one may be damaged
        [(_, data)] = group.fetch([number], FetchCount())
        colors = streams.colors(data) if isinstance(data, memoryview) else None
        if colors is not None:
            return takes(colors)
    return False


def gpu_decodes_jpeg_sooner(count: int, pixels: int, threads: int) -> bool:
    """Return whether nvJPEG decodes tiles of JPEG sooner than CPU threads do.

    A call of its kernels takes as long as the Huffman codes of one tile, which one GPU thread reads,
    and hardly longer for a thousand; three calls are under way at a time. The figures fit
    measurements of tiles from 256² to 2,048² on one H200 within a tenth.

    Parameters
    ----------
    count
        Of tiles.
    pixels
        Of a tile.
    threads
        Of the CPU.

    Examples
    --------
    >>> gpu_decodes_jpeg_sooner(256, 256 * 256, 16), gpu_decodes_jpeg_sooner(16, 256 * 256, 16)
    (True, False)
    """
    on_cpu = count * pixels / (2.8e8 * max(1, threads))
    padded = max(count, LEAST_BATCH)
    on_gpu = (2.5e-3 + 3.4e-8 * pixels) / 3 + padded * (6e-6 + 3.2e-11 * pixels)
    return on_gpu < on_cpu


def gpu_decodes_lossless_sooner(count: int, pixels: int, threads: int) -> bool:
    """Return whether nvJPEG decodes frames of lossless JPEG sooner than CPU threads do.

    Parameters as of `gpu_decodes_jpeg_sooner`; the figures are of 2,500 × 2,000, 16 bit.

    Examples
    --------
    >>> gpu_decodes_lossless_sooner(32, 2500 * 2000, 16), gpu_decodes_lossless_sooner(4, 512**2, 16)
    (True, False)
    """
    return 4e-3 + count * pixels / 9e9 < count * pixels / (5e7 * max(1, threads))


def gpu_decodes_jpeg2000_sooner(nbytes: NDArray[np.int64], samples: int, threads: int) -> bool:
    """Return whether nvJPEG2000 decodes tiles of JPEG 2000 sooner than CPU threads do.

    Both take a time for each tile, each byte and each sample. The figures fit measurements of tiles
    from 256² to 4,096 × 3,328 on one H200, and on its host's cores, within a third.

    Parameters
    ----------
    nbytes
        ``int64[n]``, of compressed tiles.
    samples
        Of a tile.
    threads
        Of the CPU.

    Examples
    --------
    >>> gpu_decodes_jpeg2000_sooner(np.array([1_200_000]), 2500 * 2000, 16)
    True
    >>> gpu_decodes_jpeg2000_sooner(np.array([41_000]), 512 * 512, 16)
    False
    """
    mean = float(nbytes.mean()) if len(nbytes) else 0.0
    on_cpu = 1.15 * (mean / 4.5e6 + samples / 2e8) / max(1, threads)
    on_gpu = 0.7e-3 + mean / 1e9 + samples / 4e9
    return on_gpu < on_cpu
