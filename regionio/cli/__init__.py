"""The command line: ``regionio info | thumbnail | read | extract | bench``."""

from __future__ import annotations

import sys

from regionio._errors import DeviceError, MissingPackageError

__all__ = ["main"]

EXTRA = {"click", "rich", "typer", "zarr"}
"""Packages that only the command line needs."""


def main() -> None:
    """Run the command line on the arguments of the process.

    Raises
    ------
    SystemExit
        Always, with 0 for fine, 1 for a file that failed, 2 for wrong usage.
    """
    try:
        from regionio.cli.app import app

        app(prog_name="regionio")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA:
            raise
        sys.stderr.write(f'regionio: {package} is missing: pip install "regionio[cli]"\n')
        raise SystemExit(1) from None
    except (DeviceError, MissingPackageError) as error:
        sys.stderr.write(f"regionio: {error}\n")
        raise SystemExit(1) from None
