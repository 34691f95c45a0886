"""How a DICOM file begins.

Source: DICOM PS3.10, section 7.1.
"""

from __future__ import annotations

__all__ = ["HEAD_BYTES", "is_dicom"]

HEAD_BYTES = 132
"""So many bytes tell."""


def is_dicom(head: bytes) -> bool:
    r"""Return whether a file is DICOM, with or without the preamble, by its first 132 bytes.

    >>> is_dicom(bytes(128) + b"DICM")
    True
    >>> is_dicom(b"II*\0")
    False
    """
    if head[128:132] == b"DICM":
        return True
    # without a preamble: the meta information, or the first elements of an identifying group
    if head[:4] == b"\x02\x00\x00\x00" and head[4:6] == b"UL":
        return True
    return head[:2] == b"\x08\x00" and head[2:4] in {
        b"\x00\x00",
        b"\x05\x00",
        b"\x08\x00",
        b"\x16\x00",
    }
