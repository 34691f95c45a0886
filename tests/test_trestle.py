"""Trestle stand-ins: real pixels in a file as MedScan writes it, compared with OpenSlide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

import regionio
from regionio.testing import ImageConformance

SLIDE = Path(__file__).parent / "data" / "CMU-1-Small-Region.svs"
PIXELS = tifffile.imread(SLIDE)[600:1500, 900:1630]


def write_trestle(
    path: Path, overlaps: str, *, compression: str = "jpeg", mpp: float = 0.47
) -> str:
    description = (
        "Background Color=E6E6E6;White Balance=FF0000;Objective Power=20;JPEG Quality=70;"
        f"OverlapsXY={overlaps}"
    )
    with tifffile.TiffWriter(path) as writer:
        for step in (1, 2, 4):
            writer.write(
                np.ascontiguousarray(PIXELS[::step, ::step]),
                photometric="ycbcr" if compression == "jpeg" else "rgb",
                tile=(96, 128),
                compression=compression,
                resolution=(mpp, mpp + 0.01),
                description=description,
                software="MedScan",
                metadata=None,
            )
    return str(path)


def level_pixels(slide: openslide.OpenSlide, number: int) -> np.ndarray:
    whole = slide.read_region((0, 0), number, slide.level_dimensions[number])
    pixels = np.array(whole)
    assert (pixels[..., 3] == 255).all()
    return pixels[..., :3]


OVERLAPS = [" 32 24 16 12 8 6", " 17 9", " 0 0 4 0", ""]


@pytest.mark.parametrize("overlaps", OVERLAPS)
class TestTrestle(ImageConformance):
    regions = 8

    @pytest.fixture
    def path(self, tmp_path: Path, overlaps: str) -> str:
        return write_trestle(tmp_path / "slide.tif", overlaps)

    @pytest.fixture
    def expected(self, path: str) -> list[np.ndarray]:
        with openslide.OpenSlide(path) as slide:
            return [level_pixels(slide, number) for number in range(slide.level_count)]


@pytest.mark.parametrize("overlaps", OVERLAPS)
@pytest.mark.parametrize("compression", ["lzw", "jpeg"])
def test_description_equals_openslide(tmp_path: Path, overlaps: str, compression: str) -> None:
    path = write_trestle(tmp_path / "slide.tif", overlaps, compression=compression)
    with openslide.OpenSlide(path) as slide, regionio.open(path) as image:
        assert slide.properties["openslide.vendor"] == image.format == "trestle"
        assert image.resolutions["level_dimensions"] == slide.level_dimensions
        # OpenSlide takes quotients of sizes; regionio takes 2 and 4 where they explain the sizes
        downsamples = image.resolutions["level_downsamples"]
        np.testing.assert_allclose(downsamples, slide.level_downsamples, rtol=0.01)
        mpp = tuple(float(slide.properties[f"openslide.mpp-{axis}"]) for axis in "xy")
        assert image.spacing("XY") == pytest.approx(mpp, rel=1e-6)
        told = image.metadata["trestle"]
        named = {f"trestle.{key}": value for key, value in told.items()}
        assert named.items() <= dict(slide.properties).items()
        assert told["Objective Power"] == "20"


def test_regions_across_overlaps_equal_openslide(tmp_path: Path) -> None:
    path = write_trestle(tmp_path / "slide.tif", " 40 30 20 15")
    random = np.random.default_rng(2)
    with openslide.OpenSlide(path) as slide, regionio.open(path) as image:
        width, height = slide.dimensions
        locations = random.integers(0, [width - 150, height - 130], (40, 2))
        for region in image.read_region(locations, (150, 130)):
            x, y = region.locations.tolist()
            wanted = np.array(slide.read_region((x, y), 0, (150, 130)))[..., :3]
            np.testing.assert_array_equal(region, wanted)


def test_a_resolution_that_is_no_pixel_size_is_not_taken_for_one(tmp_path: Path) -> None:
    with regionio.open(write_trestle(tmp_path / "slide.tif", "", mpp=72.0)) as image:
        assert image.spacing("XY") == (None, None)


@pytest.mark.parametrize("overlaps", ["65 0", "0 -1", "1 two"])
def test_absurd_overlaps_are_damage(tmp_path: Path, overlaps: str) -> None:
    path = write_trestle(tmp_path / "slide.tif", overlaps)
    with pytest.raises(regionio.CorruptFileError, match="damaged") as caught:
        regionio.open(path)
    assert path in str(caught.value)


def test_files_with_stripped_pages_are_not_trestle(tmp_path: Path) -> None:
    path = tmp_path / "strips.tif"
    tifffile.imwrite(path, PIXELS, software="MedScan", description="OverlapsXY= 9 9", metadata=None)
    assert openslide.OpenSlide.detect_format(path) is None
    with regionio.open(path) as image:
        assert image.format == "tiff"
        np.testing.assert_array_equal(image.read_region(), PIXELS)
