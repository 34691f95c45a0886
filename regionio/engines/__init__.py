"""Windows to pixels: an engine drives fetch, decode, values and compose."""

from __future__ import annotations

from regionio.engines.cpu import CpuEngine, Failure
from regionio.engines.stats import ReadStats

__all__ = ["CpuEngine", "Failure", "ReadStats"]
