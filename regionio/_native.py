"""The compiled part, where it could be built: it needs a C compiler and libjpeg-turbo's headers."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["native"]


def _compiled() -> ModuleType | None:
    try:
        return importlib.import_module("regionio._compiled")
    except ImportError:
        return None


native = _compiled()
"""The module that `regionio/compiled` becomes, or None: all works without it, only slower."""
