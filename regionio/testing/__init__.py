"""The conformance tests that every format passes; needs pytest."""

from __future__ import annotations

from regionio.testing.conformance import ImageConformance

__all__ = ["ImageConformance"]
