"""An opened file: its index, and the storages its tiles come from."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence

from regionio._errors import ClosedError
from regionio._index import ImageIndex
from regionio.formats import read_index
from regionio.storage import FileIdentity, Storage, open_storage

__all__ = ["OpenedFile", "open_file"]

MOST_INDEXES = 256
"""Parsed indexes that a process keeps, to open a file again without parsing it again."""

_lock = threading.Lock()
_indexes: OrderedDict[tuple[FileIdentity, int | str], ImageIndex] = OrderedDict()


def open_file(path: str, scene: int | str) -> OpenedFile:
    """Open a file and get its index.

    Parameters
    ----------
    path
        Path of the file.
    scene
        Number or name of the scene.
    """
    storage = open_storage(path)
    key = (storage.identity, scene)
    try:
        with _lock:
            index = _indexes.get(key)
        if index is None:
            index = read_index(storage, scene)
            with _lock:
                _indexes[key] = index
                while len(_indexes) > MOST_INDEXES:
                    _indexes.popitem(last=False)
    except BaseException:
        storage.close()
        raise
    return OpenedFile(storage, index)


class OpenedFile:
    """A file that one or more images read from; it is closed with the last of them.

    Parameters
    ----------
    storage
        The file itself.
    index
        One of its images.
    """

    def __init__(self, storage: Storage, index: ImageIndex) -> None:
        self.index = index
        self.identity = storage.identity
        self._storages: dict[str, Storage] = {index.sources[0]: storage}
        self._lock = threading.Lock()
        self._users = 1

    @property
    def scene(self) -> int:
        """Number of the scene."""
        return self.index.scene

    def shared(self) -> OpenedFile:
        """Return the same file for one more user."""
        with self._lock:
            self._users += 1
        return self

    def storages(self, sources: Sequence[str]) -> list[Storage]:
        """Return a storage for each of some sources, opened if need be.

        Raises
        ------
        ClosedError
            The file was closed.
        """
        with self._lock:
            if self._users == 0:
                msg = f"{self.identity.path!r} is closed; open it again to read from it"
                raise ClosedError(msg)
            for source in sources:
                if source not in self._storages:
                    self._storages[source] = open_storage(source)
            return [self._storages[source] for source in sources]

    def close(self) -> None:
        """Let go of the file, if this was the last user."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for storage in self._storages.values():
                    storage.close()


def _new_lock() -> None:
    """Forget the lock in a forked child, where the thread that held it does not exist."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)
