"""``python -m regionio.cli`` is ``regionio``."""

from __future__ import annotations

from regionio.cli import main

main()
