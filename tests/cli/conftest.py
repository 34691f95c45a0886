"""Files that several tests of the command line read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.cli.support import GLASS, PIXELS, SLIDE, STAIN, write_pyramid


@pytest.fixture
def gray16_path(tmp_path: Path) -> Path:
    """Return a 16-bit gray pyramid of three levels."""
    pixels = (PIXELS[:700, 300:1111, 0].astype(np.uint16) << 4) + PIXELS[:700, 300:1111, 1]
    path = tmp_path / "gray16.tif"
    write_pyramid(path, pixels, (2, 4))
    return path


@pytest.fixture
def stained_path(tmp_path: Path) -> Path:
    """Return glass of 1024 × 768 with one stained rectangle, in two levels."""
    pixels = np.full((768, 1024, 3), GLASS, dtype=np.uint8)
    pixels[128:384, 256:640] = STAIN
    path = tmp_path / "stained.tif"
    write_pyramid(path, pixels, (2,))
    return path


@pytest.fixture
def damaged_path(tmp_path: Path) -> Path:
    """Return the real slide with one tile in the middle overwritten."""
    data = bytearray(SLIDE.read_bytes())
    with tifffile.TiffFile(SLIDE) as tiff:
        page = tiff.pages.first
        offset, nbytes = page.dataoffsets[64], page.databytecounts[64]
    data[offset : offset + nbytes] = bytes(nbytes)
    path = tmp_path / "damaged.svs"
    path.write_bytes(data)
    return path
