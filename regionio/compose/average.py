"""Averages over areas by one kernel: what it is compiled for, and what it is given.

The kernel stands in ``average.cu``; it does what `regionio._resample.area_average` does along rows
and then along columns, value by value in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionio._resample import area_shares, working_dtype
from regionio.compose.gather import C_TYPES

__all__ = ["AverageKind", "AverageTables", "average_tables"]

SHAPE = np.dtype(
    [
        ("result", np.int64, 5),
        ("source", np.int64, 5),
        ("target", np.int64, 5),
        ("source_size", np.int64, 2),
        ("taps", np.int64, 2),
    ]
)
"""``struct Shape`` of the kernel."""


@dataclass(frozen=True, slots=True)
class AverageKind:
    """What a kernel is compiled for.

    Parameters
    ----------
    dtype
        Of the values.
    """

    dtype: str

    @property
    def working(self) -> np.dtype[Any]:
        """Dtype that values are averaged in."""
        return working_dtype(np.dtype(self.dtype))

    def source_text(self) -> str:
        """Return the kernel's source, with the definitions that it needs before it."""
        kind, is_double = np.dtype(self.dtype).kind, self.working == np.float64
        definitions = {
            "VALUE": C_TYPES[self.dtype],
            "WORKING": "double" if is_double else "float",
            "WHOLE": int(kind in "ui"),
            "TRUTH": int(kind == "b"),
            "MULTIPLY": "__dmul_rn" if is_double else "__fmul_rn",
            "ADD": "__dadd_rn" if is_double else "__fadd_rn",
            "ROUND": "rint" if is_double else "rintf",
        }
        lines = [f"#define {name} {value}" for name, value in definitions.items()]
        body = files("regionio.compose").joinpath("average.cu").read_text(encoding="utf-8")
        return "\n".join([*lines, body])


@dataclass(frozen=True, eq=False)
class AverageTables:
    """What the kernel is given besides the values.

    Parameters
    ----------
    shape
        ``SHAPE[1]``.
    first_y, share_y, first_x, share_x
        Of each region and each row or column of the result, as `area_shares` gives them.
    """

    shape: NDArray[Any]
    first_y: NDArray[np.int64]
    share_y: NDArray[Any]
    first_x: NDArray[np.int64]
    share_x: NDArray[Any]

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All of it, in the order of the kernel's arguments."""
        return self.shape, self.first_y, self.share_y, self.first_x, self.share_x


def average_tables(
    source: Any,
    target: Any,
    edges: tuple[NDArray[np.float64], NDArray[np.float64]],
    working: np.dtype[Any],
) -> AverageTables:
    """Return what the kernel is given.

    Parameters
    ----------
    source, target
        Arrays ``[regions, depth, height, width, channels]``, of which only shapes and strides
        count.
    edges
        ``float64[regions, n + 1]`` of rows and of columns.
    working
        As `AverageKind.working`.
    """
    (first_y, share_y), (first_x, share_x) = (area_shares(part, working) for part in edges)
    shape = np.zeros(1, dtype=SHAPE)
    shape["result"] = target.shape
    shape["source"], shape["target"] = source.strides, target.strides
    shape["source_size"] = source.shape[2:4]
    shape["taps"] = share_y.shape[-1], share_x.shape[-1]
    return AverageTables(shape, first_y, share_y, first_x, share_x)
