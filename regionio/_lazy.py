"""Properties that are computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ["lazy_property"]

Value = TypeVar("Value")


class lazy_property(Generic[Value]):  # noqa: N801  it is used as `property` is
    """A property that is computed when it is first asked for, and kept.

    Unlike `functools.cached_property` of Python 3.11 it has no lock, which a forked child would find
    locked for ever if another thread held it; two threads may compute the same at once.

    Parameters
    ----------
    compute
        What gives the value.

    Examples
    --------
    >>> class Square:
    ...     def __init__(self, side: float) -> None:
    ...         self.side = side
    ...     @lazy_property
    ...     def area(self) -> float:
    ...         return self.side**2
    >>> Square(3).area
    9
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, thing: None, owner: type) -> Self: ...

    @overload
    def __get__(self, thing: object, owner: type) -> Value: ...

    def __get__(self, thing: Any, owner: type) -> Self | Value:
        if thing is None:
            return self
        value = thing.__dict__[self._name] = self._compute(thing)
        return value
