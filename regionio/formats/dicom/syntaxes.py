"""Transfer syntaxes: which codec reads their frames, and what the others are.

Source: DICOM PS3.6, annex A (registry of unique identifiers); PS3.5, section 10 and annex A.
"""

from __future__ import annotations

from regionio._errors import UnsupportedFormatError

__all__ = ["codec_of", "is_encapsulated"]

STANDARD = "1.2.840.10008."
ROOT = STANDARD + "1.2"

NATIVE = frozenset((ROOT, ROOT + ".1", ROOT + ".1.99", ROOT + ".2"))

CODECS = {
    **dict.fromkeys(NATIVE, "native"),
    ROOT + ".1.98": "native",
    ROOT + ".4.50": "jpeg",
    ROOT + ".4.51": "jpeg",
    ROOT + ".4.53": "jpeg",
    ROOT + ".4.55": "jpeg",
    ROOT + ".4.57": "jpeg-lossless",
    ROOT + ".4.70": "jpeg-lossless",
    ROOT + ".4.80": "jpeg-ls",
    ROOT + ".4.81": "jpeg-ls",
    ROOT + ".4.90": "jpeg2000",
    ROOT + ".4.91": "jpeg2000",
    ROOT + ".4.110": "jpegxl",
    ROOT + ".4.111": "jpegxl",
    ROOT + ".4.112": "jpegxl",
    ROOT + ".4.201": "htj2k",
    ROOT + ".4.202": "htj2k",
    ROOT + ".4.203": "htj2k",
    ROOT + ".5": "rle",
    ROOT + ".8.1": "deflated-frame",
}
"""Identifier → name of the codec, "native" where there is none."""

VIDEO = "its frames are parts of a video; make pictures of it with ffmpeg first"
RETIRED = "a retired kind of JPEG; convert the file with dcmdjpeg or gdcmconv --raw first"
REMOTE = "its pixels are on a server that only the file's sender knows; ask for a file with pixels"
NO_FILE = "a live stream, not a file of frames"
SEVERAL_COMPONENTS = "transforms across frames; convert the file with gdcmconv --raw first"
NO_IMAGE = "a retired encoding of whole files; ask for the file in another transfer syntax"

REFUSED = {
    ROOT + ".1.100": ("Papyrus 3", NO_IMAGE),
    STANDARD + "1.20": ("Papyrus 3 Implicit VR Little Endian", NO_IMAGE),
    ROOT + ".4.52": ("JPEG Extended, arithmetic coding (Process 3 and 5)", RETIRED),
    ROOT + ".4.54": ("JPEG Spectral Selection, arithmetic coding (Process 7 and 9)", RETIRED),
    ROOT + ".4.56": ("JPEG Full Progression, arithmetic coding (Process 11 and 13)", RETIRED),
    ROOT + ".4.58": ("JPEG Lossless, arithmetic coding (Process 15)", RETIRED),
    ROOT + ".4.59": ("JPEG Extended, Hierarchical (Process 16 and 18)", RETIRED),
    ROOT + ".4.60": ("JPEG Extended, Hierarchical (Process 17 and 19)", RETIRED),
    ROOT + ".4.61": ("JPEG Spectral Selection, Hierarchical (Process 20 and 22)", RETIRED),
    ROOT + ".4.62": ("JPEG Spectral Selection, Hierarchical (Process 21 and 23)", RETIRED),
    ROOT + ".4.63": ("JPEG Full Progression, Hierarchical (Process 24 and 26)", RETIRED),
    ROOT + ".4.64": ("JPEG Full Progression, Hierarchical (Process 25 and 27)", RETIRED),
    ROOT + ".4.65": ("JPEG Lossless, Hierarchical (Process 28)", RETIRED),
    ROOT + ".4.66": ("JPEG Lossless, Hierarchical (Process 29)", RETIRED),
    ROOT + ".4.92": ("JPEG 2000 Part 2 Multi-component, Lossless", SEVERAL_COMPONENTS),
    ROOT + ".4.93": ("JPEG 2000 Part 2 Multi-component", SEVERAL_COMPONENTS),
    ROOT + ".4.94": ("JPIP Referenced", REMOTE),
    ROOT + ".4.95": ("JPIP Referenced Deflate", REMOTE),
    ROOT + ".4.204": ("JPIP HTJ2K Referenced", REMOTE),
    ROOT + ".4.205": ("JPIP HTJ2K Referenced Deflate", REMOTE),
    ROOT + ".4.100": ("MPEG2 Main Profile / Main Level", VIDEO),
    ROOT + ".4.101": ("MPEG2 Main Profile / High Level", VIDEO),
    ROOT + ".4.102": ("MPEG-4 AVC/H.264 High Profile / Level 4.1", VIDEO),
    ROOT + ".4.103": ("MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", VIDEO),
    ROOT + ".4.104": ("MPEG-4 AVC/H.264 High Profile / Level 4.2 for 2D Video", VIDEO),
    ROOT + ".4.105": ("MPEG-4 AVC/H.264 High Profile / Level 4.2 for 3D Video", VIDEO),
    ROOT + ".4.106": ("MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", VIDEO),
    ROOT + ".4.107": ("HEVC/H.265 Main Profile / Level 5.1", VIDEO),
    ROOT + ".4.108": ("HEVC/H.265 Main 10 Profile / Level 5.1", VIDEO),
    ROOT + ".6.1": ("RFC 2557 MIME encapsulation", NO_IMAGE),
    ROOT + ".6.2": ("XML encoding", NO_IMAGE),
    ROOT + ".7.1": ("SMPTE ST 2110-20 Uncompressed Progressive Active Video", NO_FILE),
    ROOT + ".7.2": ("SMPTE ST 2110-20 Uncompressed Interlaced Active Video", NO_FILE),
    ROOT + ".7.3": ("SMPTE ST 2110-30 PCM Digital Audio", NO_FILE),
    "1.2.840.113619.5.2": (
        "GE's private Implicit VR Big Endian",
        "convert the file with gdcmconv --raw first",
    ),
}
"""Identifier → name, and why its frames are not read and what to do about it."""

FRAGMENTABLE = ".1"
"""Ends the identifiers of videos that may be split into fragments."""


def codec_of(path: str, uid: str) -> str:
    """Return the name of the codec that reads the frames of a transfer syntax.

    Parameters
    ----------
    path
        Of the file, for the message.
    uid
        The transfer syntax; empty where the file does not state it.

    Returns
    -------
    str
        ``"native"`` where frames are not compressed.

    Raises
    ------
    UnsupportedFormatError
        Its frames can't be read; the message says what they are and what to do.

    Examples
    --------
    >>> codec_of("scan.dcm", "1.2.840.10008.1.2.4.90")
    'jpeg2000'
    """
    if not uid:  # files from before there was meta information are native
        return "native"
    codec = CODECS.get(uid)
    if codec is not None:
        return codec
    if uid in REFUSED:
        name, why = REFUSED[uid]
    elif REFUSED.get(uid.removesuffix(FRAGMENTABLE), ("", ""))[1] == VIDEO:
        name, why = "Fragmentable " + REFUSED[uid.removesuffix(FRAGMENTABLE)][0], VIDEO
    elif uid.startswith(STANDARD):
        name, why = "a transfer syntax unknown to regionio", "it may be newer; look for an update"
    else:
        name, why = "a private transfer syntax", "export the file in a standard one"
    msg = f"{path!r}: the pixels are in {uid}, {name}, which is not supported: {why}"
    raise UnsupportedFormatError(msg)


def is_encapsulated(uid: str) -> bool:
    """Return whether frames of a transfer syntax stand in items."""
    return bool(uid) and uid not in NATIVE
