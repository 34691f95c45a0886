"""Slides of realistic size, made by repeating compressed tiles of a real one.

Entropy, quantisation tables and tile sizes are those of a scanner, and a slide of 65,536² pixels
is written in seconds. Tiles are shuffled with a fixed seed, so that neighbours differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import simplejpeg
import tifffile

SOURCE = Path(__file__).parent.parent / "tests" / "data" / "CMU-1-Small-Region.svs"


@dataclass(frozen=True)
class Slide:
    """One slide to generate.

    Parameters
    ----------
    name
        Of the kind.
    side
        Width and height in pixels.
    tile
        Width and height of a tile.
    codec
        ``jpeg420``, ``jpeg_rgb``, ``j2k``, ``deflate``, ``zstd`` or ``lzw``; in DICOM
        ``jpeg422``.
    """

    codec: str
    side: int
    tile: int

    @property
    def name(self) -> str:
        return f"{self.codec}-{self.side}-{self.tile}"

    @property
    def tiles(self) -> int:
        return (-(-self.side // self.tile)) ** 2

    def path(self, folder: Path) -> Path:
        """Return the slide's path, having written it if it is not there."""
        suffix = ".svs" if self.codec in {"jpeg_rgb", "j2k"} else ".tif"
        path = folder / (self.name + suffix)
        if not path.exists():
            part = path.with_suffix(".part")
            _write(self, part)
            part.rename(path)
        return path


def real_pixels() -> np.ndarray:
    """Return the real slide that tiles are cut from."""
    return tifffile.imread(SOURCE)


def _pieces(side: int) -> list[np.ndarray]:
    pixels = real_pixels()
    rows, columns = (size // side for size in pixels.shape[:2])
    return [
        np.ascontiguousarray(pixels[y * side : (y + 1) * side, x * side : (x + 1) * side])
        for y in range(rows)
        for x in range(columns)
    ]


def encoded_tiles(codec: str, side: int) -> list[bytes]:
    """Return the compressed tiles that a slide repeats."""
    encode: dict[str, Callable[..., Any]] = {
        "jpeg420": lambda p: simplejpeg.encode_jpeg(p, 80, "RGB", "420"),
        "jpeg422": lambda p: simplejpeg.encode_jpeg(p, 95, "RGB", "422"),
        "jpeg_rgb": lambda p: imagecodecs.jpeg8_encode(
            p, level=80, colorspace="RGB", outcolorspace="RGB"
        ),
        "j2k": lambda p: imagecodecs.jpeg2k_encode(
            p, level=38, codecformat="J2K", reversible=False
        ),
        "deflate": lambda p: imagecodecs.zlib_encode(p, level=6),
        "zstd": lambda p: imagecodecs.zstd_encode(p, level=9),
        "lzw": imagecodecs.lzw_encode,
    }
    return [bytes(encode[codec](piece)) for piece in _pieces(side)]


def _write(slide: Slide, path: Path) -> None:
    tiles = encoded_tiles(slide.codec, slide.tile)
    order = np.random.default_rng(7).integers(0, len(tiles), slide.tiles)

    def repeated() -> Iterator[bytes]:
        for number in order:
            yield tiles[number]

    settings: dict[str, dict[str, Any]] = {
        "jpeg420": {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 2)},
        "jpeg_rgb": {"compression": "jpeg", "photometric": "rgb"},
        "j2k": {"compression": 33005, "photometric": "rgb"},
        "deflate": {"compression": "zlib", "photometric": "rgb"},
        "zstd": {"compression": "zstd", "photometric": "rgb"},
        "lzw": {"compression": "lzw", "photometric": "rgb"},
    }
    description = None
    if slide.codec in {"jpeg_rgb", "j2k"}:
        description = f"Aperio Image Library\r\n{slide.side}x{slide.side}|AppMag = 40|MPP = 0.25"
    tifffile.imwrite(
        path,
        repeated(),
        shape=(slide.side, slide.side, 3),
        dtype="uint8",
        tile=(slide.tile, slide.tile),
        bigtiff=True,
        description=description,
        metadata=None,
        **settings[slide.codec],
    )
