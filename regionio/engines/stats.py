"""What reading cost."""

from __future__ import annotations

from dataclasses import dataclass, fields

from regionio.storage import FetchCount

__all__ = ["ReadStats"]


@dataclass(slots=True)
class ReadStats:
    """Counts of a reader since it was made.

    Parameters
    ----------
    bytes_wanted
        Compressed bytes of the tiles that had to be decoded.
    bytes_read
        Bytes read to get them, gaps between neighbouring tiles included.
    requests
        Number of reads.
    tiles_decoded
        Tiles decoded.
    cache_hits
        Tiles that the cache held, or that another reader was decoding.
    regions
        Regions delivered.
    bytes_kvikio
        Of `bytes_read`, those that KvikIO read into the memory of a GPU.
    bytes_cufile
        Of these, those that went through cuFile (GPUDirect Storage), not through POSIX reads.
    """

    bytes_wanted: int = 0
    bytes_read: int = 0
    requests: int = 0
    tiles_decoded: int = 0
    cache_hits: int = 0
    regions: int = 0
    bytes_kvikio: int = 0
    bytes_cufile: int = 0

    def add(self, other: ReadStats) -> None:
        """Add another reader's counts to these."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def add_fetched(self, count: FetchCount) -> None:
        """Add what fetching cost."""
        self.bytes_wanted += count.bytes_wanted
        self.bytes_read += count.bytes_read
        self.requests += count.requests
