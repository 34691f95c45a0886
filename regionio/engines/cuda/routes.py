"""By which way tiles get into the memory of a GPU.

==================  ================================================================================
``JpegChunk``       JPEG of 8 bits whose colours libjpeg and nvJPEG understand alike: the GPU's
                    hardware engine and the CPU's threads side by side
``Jpeg2000Chunk``   HTJ2K; JPEG 2000 where `gpu_decodes_sooner` says so: nvJPEG2000
``KvikioChunk``     uncompressed samples in whole bytes that lie together in the file: read into the
                    GPU's memory as they stand, where KvikIO is installed
``RawChunk``        other uncompressed samples in whole bytes: the same through pinned memory
``InflatedChunk``   deflate and Zstandard: nvCOMP, if ``REGIONIO_NVCOMP=1`` says that files are sound
``CpuChunk``        everything else, and whatever another way leaves: decoded by CPU threads into
                    pinned memory
==================  ================================================================================

What stands behind it, measured on one H200 with 16 cores (``benchmarks/results/cuda-*.md``):

* JPEG, 256² 4:2:0: one caller of the hardware engine 31,000 tiles/s, four 47,000, 16 threads of
  libjpeg-turbo 40,000; nvJPEG's own threads 42,000, which take as much of the CPU.
* HTJ2K: at every size faster than 16 threads of OpenJPH, 2,500 × 2,000 nine times.
* JPEG 2000: 2,500 × 2,000 311 a second, 16 threads of OpenJPEG 47; 512² 1,000 to 1,200 against
  1,400; both at once no more than the better of the two.
* Lossless JPEG: nvImageCodec refuses 16-bit streams.
* KvikIO without GPUDirect Storage 45 GB/s with 16 threads, pinned memory 30 GB/s; but 14 µs of
  Python's lock a request.
* nvCOMP: deflate 15 GB/s, Zstandard 20; but damaged streams make it read past its buffers, after
  which the process can't use the GPU any more, and it does not look at checksums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._index import Encoding, ImageIndex
from regionio.codecs.cuda import GpuStreams, Jpeg2000Streams, byte_streams, gpu_streams
from regionio.engines.cuda.chunk import ChunkPlan, TileChunk
from regionio.engines.cuda.decoded import CpuChunk
from regionio.engines.cuda.inflated import InflatedChunk
from regionio.engines.cuda.nvcomp import nvcomp
from regionio.engines.cuda.nvimagecodec import nvimagecodec
from regionio.engines.cuda.pictures import Jpeg2000Chunk, JpegChunk
from regionio.engines.cuda.raw import KvikioChunk, RawChunk, is_for_kvikio
from regionio.engines.cuda.streams import Context
from regionio.engines.group import TileGroup
from regionio.storage import FetchCount
from regionio.storage.kvikio import kvikio
from regionio.values import TileConversion

__all__ = ["chunk_of", "gpu_decodes_sooner"]


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
    streams = gpu_streams(group.encoding, group.tile_shape[:2])
    if streams is not None and nvimagecodec() is not None and _is_for_gpu(context, plan, streams):
        kind = Jpeg2000Chunk if isinstance(streams, Jpeg2000Streams) else JpegChunk
        return kind(plan, streams)
    return CpuChunk(plan, samples=group.encoding.samples, dtype=group.dtype)


def _is_for_kvikio(group: TileGroup) -> bool:
    """Return whether KvikIO is there, and reads a group's tiles sooner than `preadv` does."""
    if kvikio() is None or not is_for_kvikio(group.ranges()):
        return False
    return group.storage.ranges(np.zeros((0, 2), np.int64)) is not None  # a file, and no memory


def _are_whole(group: TileGroup) -> bool:
    """Return whether no tile has fewer bytes than its rows need; the CPU knows what that means."""
    _, columns, samples = group.tile_shape
    row_bytes = columns * samples * group.dtype.itemsize
    nbytes = group.ranges()[:, 1]
    return bool((nbytes >= np.array(group.rows, dtype=np.int64) * row_bytes).all())


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


def _is_for_gpu(context: Context, plan: ChunkPlan, streams: GpuStreams) -> bool:
    """Return whether the GPU decodes tiles like the first, and sooner than the CPU."""
    group = plan.group
    if isinstance(streams, Jpeg2000Streams):
        samples = int(np.prod(group.tile_shape))
        is_fast = group.encoding.compression == "htj2k"
        if not is_fast and not gpu_decodes_sooner(group.ranges()[:, 1], samples, plan.tasks.most):
            return False
    elif not context.engine.is_there:
        return False
    if group.encoding not in plan.suits:  # decided by the first tile that is seen
        [(_, first)] = group.fetch([0], FetchCount())
        takes = isinstance(first, memoryview) and streams.colors(first) is not None
        plan.suits[group.encoding] = takes
    return plan.suits[group.encoding]


def gpu_decodes_sooner(nbytes: NDArray[np.int64], samples: int, threads: int) -> bool:
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
    >>> gpu_decodes_sooner(np.array([1_200_000]), 2500 * 2000, 16)
    True
    >>> gpu_decodes_sooner(np.array([41_000]), 512 * 512, 16)
    False
    """
    mean = float(nbytes.mean()) if len(nbytes) else 0.0
    on_cpu = 1.15 * (mean / 4.5e6 + samples / 2e8) / max(1, threads)
    on_gpu = 0.7e-3 + mean / 1e9 + samples / 4e9
    return on_gpu < on_cpu
