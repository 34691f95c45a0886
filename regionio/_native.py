"""The compiled parts, where they could be built: they need a C compiler and libraries' headers."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["native", "native_jpeg2000", "native_pixels"]


def _compiled(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"regionio.{name}")
    except ImportError:
        return None


native = _compiled("_compiled")
"""What `regionio/compiled` becomes with libjpeg-turbo, or None: all works without, only slower."""

native_jpeg2000 = _compiled("_jpeg2000")
"""The same for `regionio/compiled/jpeg2000.c` with OpenJPEG."""

native_pixels = _compiled("_pixels")
"""The same for tables and resizing, which need a compiler and nothing else."""
