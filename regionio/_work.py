"""Which kind of work a reader's regions take: in main memory, or on a GPU."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regionio._reader import Reader, Work
from regionio._region import Region
from regionio.engines import ReadStats
from regionio.engines.cuda.budget import Reservation

__all__ = ["AnyWork", "begun", "read_region", "reserve_ahead"]

AHEAD_BYTES = 2**30
"""Of main memory, for batches that a loader reads ahead."""


class AnyWork(Protocol):
    """Batches on their way from locations to pixels."""

    @property
    def stats(self) -> ReadStats:
        """What it has cost so far."""
        ...

    def add(self, locations: NDArray[np.int64], indices: NDArray[np.int64]) -> list[Any]:
        """Plan one or more batches and have them read."""
        ...

    def finish(self, batch: Any, *, help_render: bool = False) -> Region:
        """Wait for a batch and return it."""
        ...

    def cancel(self) -> None:
        """Drop what is not finished."""
        ...


def begun(
    reader: Reader,
    batch_size: int,
    num_workers: int,
    out: Any = None,
    ahead: int = 0,
) -> AnyWork:
    """Return a run of batches.

    Parameters
    ----------
    reader
        What they have in common.
    batch_size
        1 gives regions without a leading axis.
    num_workers
        Most concurrent tasks.
    out
        Memory for a single region.
    ahead
        Batches that will be begun before the first is finished; 0: a region is read alone, and who
        waits for it helps.
    """
    if reader.device is None:
        return Work(reader, batch_size, num_workers, out, is_helped=ahead == 0)
    from regionio._cuda_work import CudaWork  # and with it what only a GPU needs

    return CudaWork(reader, batch_size, num_workers, out, ahead)


def reserve_ahead(reader: Reader, wanted: int) -> Reservation:
    """Return what batches that are read ahead may take together, beside one.

    Parameters
    ----------
    reader
        Of the batches.
    wanted
        What they would take if there were enough.
    """
    if reader.device is None:
        return Reservation(AHEAD_BYTES)
    from regionio.engines.cuda.streams import device_thread

    return device_thread(reader.device).context.reserve_ahead(wanted)


def read_region(reader: Reader, location: NDArray[np.int64], num_workers: int, out: Any) -> Region:
    """Read one region.

    Parameters
    ----------
    reader
        Of such regions.
    location
        ``int64[2]`` or ``int64[3]``, in level-0 pixels.
    num_workers
        Most concurrent tasks, the caller's thread included.
    out
        Memory to read into, or None.
    """
    work = begun(reader, 1, num_workers, out)
    try:
        [batch] = work.add(location[None], np.zeros(1, dtype=np.int64))
        return work.finish(batch, help_render=True)
    except BaseException:
        work.cancel()
        raise
