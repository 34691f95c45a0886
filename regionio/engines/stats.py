"""What reading cost."""

from __future__ import annotations

from dataclasses import dataclass, fields

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

    Examples
    --------
    >>> ReadStats(tiles_decoded=3) + ReadStats(tiles_decoded=4)
    ReadStats(bytes_wanted=0, bytes_read=0, requests=0, tiles_decoded=7, cache_hits=0, regions=0)
    """

    bytes_wanted: int = 0
    bytes_read: int = 0
    requests: int = 0
    tiles_decoded: int = 0
    cache_hits: int = 0
    regions: int = 0

    def __add__(self, other: ReadStats) -> ReadStats:
        return ReadStats(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(ReadStats)}
        )
