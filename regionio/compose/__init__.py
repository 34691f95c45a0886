"""Pieces of tiles into regions."""

from __future__ import annotations

from regionio.compose.canvas import Canvas, ChannelMap, Targets

__all__ = ["Canvas", "ChannelMap", "Targets"]
