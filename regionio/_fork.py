"""What must be made anew in a forked child.

A fork copies locks as they are, but not the threads that hold them: a lock that another thread
held stays locked for ever. Objects with a lock of their own register here to renew it.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

# NumPy's `unique` imports it when it is first used: in a thread, a child that is forked meanwhile
# would find the import's lock held for ever
import numpy.ma  # noqa: F401

__all__ = ["ForkAware", "renew_after_fork"]


class ForkAware(Protocol):
    """An object that renews what a forked child can't use."""

    def _renew(self) -> None:
        """Replace locks, and forget what only other threads of the parent would finish."""
        ...


_registered: WeakSet[ForkAware] = WeakSet()


def renew_after_fork(thing: ForkAware) -> None:
    """Have `thing` renewed in every child forked from now on."""
    _registered.add(thing)


def _renew_all() -> None:
    for thing in list(_registered):
        thing._renew()  # noqa: SLF001  the protocol is between the two


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
