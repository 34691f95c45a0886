"""Every TIFF of the wider set equals tifffile at every level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import regionio

SUFFIXES = {".tif", ".tiff", ".svs", ".ndpi", ".scn"}

# vendors whose levels tifffile and regionio number or convert differently have tests of their own
OWN_TESTS = {"aperio_j2k_33003.svs", "philips.tiff", "leica.scn"}
REFUSED = {"broken.svs": "no TIFF", "gray.depth.u1.tif": "tiles of depth"}


def tiff_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)


def every_plane(image: regionio.Image, level: int) -> np.ndarray:
    """Return ``[t, z, y, x, c]`` of a level."""
    times, depth = image.size("TZ")
    planes = [
        [image.read_region(None, None, level, z=z, t=t, layout="YXC") for z in range(depth)]
        for t in range(times)
    ]
    return np.array(planes)


def as_tzyxc(pixels: np.ndarray, axes: str) -> np.ndarray:
    """Bring tifffile's axes into regionio's order; what tifffile calls I or Q is Z, S joins C."""
    axes = axes.replace("I", "Z").replace("Q", "Z")
    if axes.count("Z") > 1:
        axes = axes.replace("Z", "T", 1)
    for missing in set("TZCS") - set(axes):
        pixels, axes = pixels[None], missing + axes
    ordered = pixels.transpose([axes.index(axis) for axis in "TZYXCS"])
    return ordered.reshape(*ordered.shape[:4], -1)


@pytest.mark.filterwarnings("ignore:.*companion.*:UserWarning")
def test_files_equal_tifffile(wider_data: Path) -> None:
    checked = 0
    for path in tiff_files(wider_data):
        if path.name in REFUSED or path.name in OWN_TESTS:
            continue
        with regionio.open(path) as image, tifffile.TiffFile(path) as tiff:
            series = tiff.series[image.scene]
            assert image.level_count == len(series.levels), path.name
            for number, level in enumerate(series.levels):
                if level.shape[0] * level.shape[1] > 2**28:
                    continue  # one level of 36000×18000: compared by regions below
                axes = level.get_axes(squeeze=False)
                expected = as_tzyxc(level.asarray(squeeze=False), axes)
                actual = every_plane(image, number)
                assert actual.dtype == level.dtype, path.name
                np.testing.assert_array_equal(actual, expected, f"{path.name} level {number}")
        checked += 1
    assert checked > 60


def test_slide_sized_pyramid_equals_tifffile_by_regions(wider_data: Path) -> None:
    path = wider_data / "real/generic/cog/cog_world.tif"
    expected = tifffile.imread(path)
    random = np.random.default_rng(1)
    locations = random.integers(-200, [36000, 18000], (200, 2))
    padded = np.zeros((18000 + 800, 36000 + 800), dtype=expected.dtype)
    padded[200:18200, 200:36200] = expected
    with regionio.open(path) as image:
        for batch in image.read_region(locations, (300, 250), batch_size=16):
            for region in batch:
                x, y = region.locations + 200
                np.testing.assert_array_equal(region, padded[y : y + 250, x : x + 300])


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_named(wider_data: Path, name: str) -> None:
    [path] = wider_data.rglob(name)
    with pytest.raises(regionio.UnsupportedFormatError, match=REFUSED[name]) as caught:
        regionio.open(path)
    assert str(path) in str(caught.value)
