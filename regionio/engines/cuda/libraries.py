"""Shared libraries of NVIDIA's: from its packages, or wherever the system has them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

__all__ = ["loaded"]


def loaded(*places: str) -> Iterator[ctypes.CDLL]:
    """Yield those of some libraries that can be loaded.

    Parameters
    ----------
    places
        Where packages have them, in the folder ``nvidia``; then each is looked for by its name.
    """
    try:
        spec = find_spec("nvidia")
    except ValueError:  # a module that was not imported
        spec = None
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    installed = [str(Path(folder, place)) for place in places for folder in folders]
    for path in (*installed, *(Path(place).name for place in places)):
        try:
            yield ctypes.CDLL(path)
        except OSError:
            continue
