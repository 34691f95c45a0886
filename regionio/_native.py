"""The compiled part, where it could be built: it needs a C compiler and libjpeg-turbo's headers."""

from __future__ import annotations

from types import ModuleType

__all__ = ["native"]

native: ModuleType | None
"""`regionio._compiled`, or None: everything works without it, only slower."""

try:
    from regionio import _compiled
except ImportError:
    native = None
else:
    native = _compiled
