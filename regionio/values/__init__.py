"""From stored values to the values that the caller asked for."""

from __future__ import annotations

from regionio.values.color import srgb_transform
from regionio.values.conversion import Conversion, fill_values, selected_channels
from regionio.values.transform import TileConversion, lowest_value, transformed

__all__ = [
    "Conversion",
    "TileConversion",
    "fill_values",
    "lowest_value",
    "selected_channels",
    "srgb_transform",
    "transformed",
]
