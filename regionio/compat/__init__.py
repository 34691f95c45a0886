"""Other packages' interfaces over regionio: change the import, keep the script."""

from __future__ import annotations

__all__: list[str] = []
