"""The conformance tests that every format passes; needs pytest."""

from __future__ import annotations

from regionio.testing.conformance import ImageConformance
from regionio.testing.volume_conformance import VolumeConformance

__all__ = ["ImageConformance", "VolumeConformance"]
