"""Packages that only a part of regionio needs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from regionio._errors import MissingPackageError

__all__ = ["package"]


def package(name: str, extra: str) -> Any:
    """Return a package, or a module in it.

    Parameters
    ----------
    name
        Of the module, with dots.
    extra
        Of regionio, which installs it.

    Raises
    ------
    MissingPackageError
        It is not installed.

    Examples
    --------
    >>> package("json", "cli").loads("[1]")
    [1]
    """
    top = name.partition(".")[0]
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != top:
            raise  # it is there, but lacks something else
        msg = f"this needs {top}, which is not installed: pip install 'regionio[{extra}]'"
        raise MissingPackageError(msg, name=top) from error
