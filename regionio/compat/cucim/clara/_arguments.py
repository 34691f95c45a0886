"""The arguments of cuCIM's read_region, in regionio's terms."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._locations import LocationSequence, parse_locations

__all__ = ["location_table", "plane_selection"]


def location_table(location: Any) -> NDArray[np.int64]:
    """Return ``int64[n, 2]`` of locations.

    Parameters
    ----------
    location
        One pair, numbers in a row, pairs, an array, or an iterable of pairs, which is read to
        its end. An empty tuple is the origin.

    Raises
    ------
    TypeError, ValueError
        It is not made of pairs of integers.

    Examples
    --------
    >>> location_table((3, 4)).tolist(), location_table([(3, 4), (5, 6)]).tolist()
    ([[3, 4]], [[3, 4], [5, 6]])
    """
    if isinstance(location, tuple) and not location:
        location = (0, 0)
    parsed = parse_locations(location, 2)
    if not isinstance(parsed, LocationSequence):
        parsed = parse_locations(list(location), 2)
    assert isinstance(parsed, LocationSequence)
    return parsed.table


def plane_selection(dimensions: Mapping[str, Any]) -> dict[str, Any]:
    """Return `Image.read_region`'s z, t and channels from arguments named by dimension.

    Parameters
    ----------
    dimensions
        Letter of a dimension → index. C=-1 is all channels.

    Raises
    ------
    ValueError
        It is no dimension that can be chosen.

    Examples
    --------
    >>> plane_selection({"C": 1, "Z": 3})
    {'channels': [1], 'z': 3}
    """
    selection: dict[str, Any] = {}
    for name, value in dimensions.items():
        if len(name) != 1:
            msg = f"Argument name for Dimension should be a single character but '{name}' is used."
            raise ValueError(msg)
        index = operator.index(value)
        if name == "C":
            selection["channels"] = None if index == -1 else [index]
        elif name in "ZT":
            selection[name.lower()] = index
        elif index != 0:
            msg = f"{name}={index}: regions are chosen by C, Z and T only"
            raise ValueError(msg)
    return selection
