"""Runs tifffile's parser over files that may be damaged."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from regionio._errors import CorruptFileError, RegionIOError

__all__ = ["parsing"]


class _QuietThreads(logging.Filter):
    """Drops what a thread logs while it parses: the error that is raised says it."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread not in self.threads


_quiet = _QuietThreads()
logging.getLogger("tifffile").addFilter(_quiet)


@contextmanager
def parsing(path: str) -> Iterator[None]:
    """Turn whatever a parser stumbles over into a `CorruptFileError` that names the file.

    Parameters
    ----------
    path
        For the message.

    Raises
    ------
    CorruptFileError
        The block raised anything but regionio's own errors and errors of the operating system.
    """
    thread = threading.get_ident()
    outermost = thread not in _quiet.threads
    _quiet.threads.add(thread)
    try:
        yield
    except (RegionIOError, OSError):
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        msg = f"{path!r} is damaged or not copied whole: its directories do not parse ({what})"
        raise CorruptFileError(msg) from error
    finally:
        if outermost:
            _quiet.threads.discard(thread)
