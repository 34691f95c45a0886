"""What files and regions have in common: what they say of themselves."""

from __future__ import annotations

from typing import Any

from regionio.compat.cucim.clara._dtype import DLDataType
from regionio.compat.cucim.clara._facts import Facts

__all__ = ["Described"]


class Described:
    """An image with cuCIM's names for what is known of it.

    Parameters
    ----------
    facts
        What is known of it.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    @property
    def path(self) -> str:
        """Path of the file, as it was given."""
        return self._facts.path

    @property
    def is_loaded(self) -> bool:
        """Whether the file is parsed: True."""
        return True

    @property
    def raw_metadata(self) -> str:
        """ImageDescription of the file or of an associated image; empty for regions."""
        return self._facts.raw_metadata

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known: ``"cucim"``, and for files ``"tiff"`` and the vendor's name or ``"dicom"``."""
        return self._facts.metadata()

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._facts.dims)

    @property
    def dims(self) -> str:
        """``"YXC"``, or ``"NYXC"`` for a batch."""
        return self._facts.dims

    @property
    def shape(self) -> list[int]:
        """Size along each of `dims`."""
        return list(self._facts.shape)

    def size(self, dim_order: str = "") -> list[int]:
        """Return the sizes along some axes.

        Parameters
        ----------
        dim_order
            Letters of axes; those that the image does not have are left out.
        """
        return self._facts.sizes(dim_order)

    @property
    def dtype(self) -> DLDataType:
        """Type of the pixels' values."""
        return DLDataType.of(self._facts.dtype)

    @property
    def typestr(self) -> str:
        """The same as NumPy writes it: ``"|u1"``."""
        return self._facts.dtype.str

    @property
    def channel_names(self) -> list[str]:
        """One name a channel."""
        return list(self._facts.channel_names)

    def spacing(self, dim_order: str = "") -> list[float]:
        """Return the distance of neighbouring pixels along some axes.

        Parameters
        ----------
        dim_order
            Letters of axes.

        Returns
        -------
        list
            In units of `spacing_units`; 1.0 where it is not known.
        """
        return self._facts.spacings(dim_order)

    def spacing_units(self, dim_order: str = "") -> list[str]:
        """Return the unit of each number that `spacing` returns, empty where it is not known."""
        return self._facts.units(dim_order)

    @property
    def origin(self) -> list[float]:
        """Centre of the first pixel in the patient, in mm, where DICOM tells it, else zeros."""
        return list(self._facts.origin)

    @property
    def direction(self) -> list[list[float]]:
        """Columns are the directions of the axes in the patient, else of the identity."""
        return [list(row) for row in self._facts.direction]

    @property
    def coord_sys(self) -> str:
        """``"LPS"``."""
        return "LPS"

    @property
    def resolutions(self) -> dict[str, Any]:
        """The levels.

        Returns
        -------
        dict
            level_count; level_dimensions and level_tile_sizes as (width, height);
            level_downsamples.
        """
        return dict(self._facts.resolutions)

    @property
    def associated_images(self) -> set[str]:
        """Names of label, macro and thumbnail, as far as there are."""
        return set(self._facts.associated)

    def __repr__(self) -> str:
        return f"<cucim.CuImage path:{self.path}>"
