"""Every way of writing a TIFF passes the conformance class, with tifffile as the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from regionio.testing import ImageConformance

SLIDE = Path(__file__).parent / "data" / "CMU-1-Small-Region.svs"
PIXELS = tifffile.imread(SLIDE)[300:871, 500:1103]
GRAY16 = (PIXELS[..., 0].astype(np.uint16) << 4) + PIXELS[..., 1]


class TestAperio(ImageConformance):
    @pytest.fixture
    def path(self) -> str:
        return str(SLIDE)

    @pytest.fixture
    def expected(self, path: str) -> list[np.ndarray]:
        return [tifffile.imread(path)]


def pyramid(pixels: np.ndarray) -> list[np.ndarray]:
    return [pixels, pixels[::2, ::2], pixels[::4, ::4]]


TILED: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "rgb-deflate": (PIXELS, {"compression": "zlib", "photometric": "rgb"}),
    "rgb-deflate-predictor": (
        PIXELS,
        {"compression": "zlib", "photometric": "rgb", "predictor": True},
    ),
    "rgb-jpeg420": (
        PIXELS,
        {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 2)},
    ),
    "rgb-jpeg422": (
        PIXELS,
        {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 1)},
    ),
    "rgb-jpeg444": (
        PIXELS,
        {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (1, 1)},
    ),
    "rgb-jpeg-stored-rgb": (PIXELS, {"compression": "jpeg", "photometric": "rgb"}),
    "gray-jpeg": (PIXELS[..., 1], {"compression": "jpeg", "photometric": "minisblack"}),
    "gray16-lzw-big-endian": (GRAY16, {"compression": "lzw", "byteorder": ">"}),
    "gray16-zstd-predictor": (GRAY16, {"compression": "zstd", "predictor": True}),
    "float32-deflate-predictor": (
        GRAY16.astype(np.float32) / 7,
        {"compression": "zlib", "predictor": True},
    ),
    "rgb-none": (PIXELS, {"photometric": "rgb"}),
    "rgb-none-planar": (
        PIXELS,
        {"photometric": "rgb", "planarconfig": "separate"},
    ),
    "rgb-lzw-planar": (
        PIXELS,
        {"photometric": "rgb", "planarconfig": "separate", "compression": "lzw"},
    ),
    "rgb-j2k": (PIXELS, {"compression": "jpeg2000", "photometric": "rgb"}),
    "bigtiff-be-none": (GRAY16, {"bigtiff": True, "byteorder": ">"}),
    "bilevel": (PIXELS[..., 1] > 200, {"compression": "zlib"}),
}


@pytest.mark.parametrize("kind", TILED)
class TestTiledPyramid(ImageConformance):
    regions = 8

    @pytest.fixture
    def path(self, tmp_path: Path, kind: str) -> str:
        pixels, options = TILED[kind]
        path = tmp_path / "pyramid.tif"
        order = options.get("byteorder")
        bigtiff = bool(options.get("bigtiff"))
        settings = {k: v for k, v in options.items() if k not in {"byteorder", "bigtiff"}}
        with tifffile.TiffWriter(path, byteorder=order, bigtiff=bigtiff) as writer:
            for number, level in enumerate(pyramid(pixels)):
                if settings.get("planarconfig") == "separate":
                    level = np.moveaxis(level, 2, 0)  # noqa: PLW2901
                writer.write(
                    np.ascontiguousarray(level),
                    tile=(64, 96),
                    subfiletype=int(number > 0),
                    metadata=None,
                    **settings,
                )
        return str(path)

    @pytest.fixture
    def expected(self, path: str) -> list[np.ndarray]:
        with tifffile.TiffFile(path) as tiff:
            pages = [page.asarray() for page in tiff.pages]
            separate = tiff.pages.first.planarconfig == 2
        return [np.moveaxis(page, 0, 2) for page in pages] if separate else pages


@pytest.mark.parametrize("kind", ["none", "none-short-strips", "deflate", "jpeg"])
class TestStrips(ImageConformance):
    regions = 8

    @pytest.fixture
    def path(self, tmp_path: Path, kind: str) -> str:
        path = tmp_path / "strips.tif"
        options: dict[str, Any] = {
            "none": {"rowsperstrip": PIXELS.shape[0]},
            "none-short-strips": {"rowsperstrip": 1},
            "deflate": {"compression": "zlib", "rowsperstrip": 37},
            "jpeg": {"compression": "jpeg", "photometric": "ycbcr", "rowsperstrip": 64},
        }[kind]
        tifffile.imwrite(path, PIXELS, **{"photometric": "rgb", "metadata": None, **options})
        return str(path)

    @pytest.fixture
    def expected(self, path: str) -> list[np.ndarray]:
        return [tifffile.imread(path)]
