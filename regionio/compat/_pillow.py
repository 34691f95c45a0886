"""Says what to install where Pillow is missing, before anything needs it."""

from __future__ import annotations

from regionio._extras import package

__all__ = ["PILLOW"]

PILLOW = package("PIL", "openslide")
"""The package."""
