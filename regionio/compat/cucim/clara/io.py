"""Where pixels are."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Device", "DeviceType"]


class DeviceType(IntEnum):
    """Kind of memory."""

    CPU = 1
    CUDA = 2
    CUDAHost = 3
    CUDAManaged = 13
    CPUShared = 101
    CUDAShared = 102


TYPES = {
    "cpu": DeviceType.CPU,
    "cuda": DeviceType.CUDA,
    "cuda_host": DeviceType.CUDAHost,
    "cuda_managed": DeviceType.CUDAManaged,
    "cpu_shared": DeviceType.CPUShared,
    "cuda_shared": DeviceType.CUDAShared,
}


class Device:
    """A device.

    Parameters
    ----------
    name
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` …, or a Device.

    Raises
    ------
    ValueError
        There is no such kind of device.

    Examples
    --------
    >>> device = Device("cuda:1")
    >>> device.type.name, device.index, str(device)
    ('CUDA', 1, 'cuda:1')
    """

    def __init__(self, name: str | Device) -> None:
        kind, colon, index = str(name).partition(":")
        if colon and not index.isdigit():
            msg = f"a device is 'cpu', 'cuda' or 'cuda:N', not {str(name)!r}"
            raise ValueError(msg)
        self._type = self.parse_type(kind)
        self._index = int(index) if colon else -1

    @staticmethod
    def parse_type(name: str) -> DeviceType:
        """Return the kind of device of a name without a number.

        Parameters
        ----------
        name
            ``"cpu"``, ``"cuda"`` …

        Raises
        ------
        ValueError
            There is no such kind.
        """
        if name not in TYPES:
            msg = f"a device is one of {list(TYPES)}, not {name!r}"
            raise ValueError(msg)
        return TYPES[name]

    @property
    def type(self) -> DeviceType:
        """Kind of device."""
        return self._type

    @property
    def index(self) -> int:
        """Its number, or -1 where none is given."""
        return self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        name = next(name for name, kind in TYPES.items() if kind is self._type)
        return name if self._index < 0 else f"{name}:{self._index}"

    __repr__ = __str__
