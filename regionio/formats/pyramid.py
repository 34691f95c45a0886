"""Which pages are levels of one pyramid, by their sizes alone."""

from __future__ import annotations

import math

__all__ = ["downsample_factor", "explained_by_one_factor", "is_scaled"]


def explained_by_one_factor(base: tuple[int, int], size: tuple[int, int]) -> bool:
    """Return whether one factor shrinks `base` (width, height) to `size`, up to rounding.

    >>> explained_by_one_factor((2967, 2220), (741, 555))
    True
    >>> explained_by_one_factor((2967, 2220), (387, 463))
    False
    """
    bounds = [
        (whole / (part + 1), whole / max(part - 1, 0.5))
        for whole, part in zip(base, size, strict=True)
    ]
    smaller = size != base and size[0] <= base[0] and size[1] <= base[1]
    return smaller and max(low for low, _ in bounds) < min(high for _, high in bounds)


def downsample_factor(
    base: tuple[int, int], size: tuple[int, int], previous: float
) -> tuple[float, float]:
    """Return the (x, y) factors from a level of (width, height) `size` to level 0.

    Tried in this order, the same factor for both axes: powers of two, multiples of the previous
    level's factor, the nearest integer; a factor fits if rounding down, up or to nearest of the
    quotient gives the size. Else the quotients themselves.

    Parameters
    ----------
    base
        (width, height) of level 0.
    size
        (width, height) of the level.
    previous
        Factor of the next larger level.

    >>> downsample_factor((2967, 2220), (741, 555), 1.0)
    (4.0, 4.0)
    >>> downsample_factor((1000, 1000), (300, 300), 1.0)[0]
    3.3333333333333335
    """
    ratio = max(base[0] / size[0], base[1] / size[1])
    power = 2.0 ** round(math.log2(ratio)) if ratio >= 1 else 1.0
    multiple = previous * max(1, round(ratio / previous))
    for factor in (power, multiple, float(max(1, round(ratio)))):
        if is_scaled(base[0], size[0], factor) and is_scaled(base[1], size[1], factor):
            return factor, factor
    return base[0] / size[0], base[1] / size[1]


def is_scaled(whole: int, part: int, factor: float) -> bool:
    """Return whether `part` is `whole / factor`, rounded down, up or to nearest; at least 1."""
    quotient = whole / factor
    return part in {max(1, math.floor(quotient)), max(1, math.ceil(quotient))}
