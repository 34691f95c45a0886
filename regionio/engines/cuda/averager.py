"""Makes regions of larger ones: one launch of one kernel for a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio.compose.average import AverageKind, average_tables
from regionio.engines.cuda.composer import uploaded
from regionio.engines.cuda.streams import Context

__all__ = ["averaged"]

THREADS = 256
MOST_BLOCKS = 4096


def averaged(
    context: Context,
    source: Any,
    target: Any,
    edges: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    """Average over areas, on the compose stream.

    Parameters
    ----------
    context
        Of the GPU.
    source, target
        ``[regions, depth, height, width, channels]``, what was read and what it becomes.
    edges
        As `Resampling.edges` gives them.
    """
    kind = AverageKind(str(target.dtype))
    tables = average_tables(source, target, edges, kind.working)
    kernel = context.kernels.get(kind)
    if kernel is None:
        text = kind.source_text()
        if "__half" in text:
            text = "#include <cuda_fp16.h>\n" + text
        kernel = context.cupy.RawKernel(text, "average", options=("--std=c++17",))
        context.kernels[kind] = kernel
    blocks = min(MOST_BLOCKS, -(-target.size // THREADS))
    with context.compose_stream:
        arguments = uploaded(context, *tables.arrays)
        addresses = [np.int64(array.data.ptr) for array in (source, target)]
        kernel((blocks,), (THREADS,), (*addresses, *arguments))
