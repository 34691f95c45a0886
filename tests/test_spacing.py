"""Reading at a spacing: which level is read, and what its pixels become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import regionio

SPACING = 0.5


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (600, 840, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def path(pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pyramid of spacings 0.5, 1 and 2 µm, whose levels have nothing in common."""
    path = tmp_path_factory.mktemp("spacing") / "pyramid.tif"
    with tifffile.TiffWriter(path) as tif:
        for level in range(3):
            tif.write(
                pixels[:: 2**level, :: 2**level] ^ level, tile=(64, 64), photometric="rgb",
                resolution=(1e4 / SPACING / 2**level,) * 2, resolutionunit="CENTIMETER",
                subifds=2 if level == 0 else 0, subfiletype=1 if level else 0,
            )  # fmt: skip
    return path


def block_mean(pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    height, width = pixels.shape[0] // rows, pixels.shape[1] // columns
    blocks = pixels[: height * rows, : width * columns].reshape(height, rows, width, columns, -1)
    mean: np.ndarray = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return mean


def test_a_spacing_that_a_level_has_is_read_as_it_is(path: Path, pixels: np.ndarray) -> None:
    with regionio.open(path) as image:
        assert image.spacing("XY") == (SPACING, SPACING)
        for level, spacing in enumerate((0.5, 1.0, 2.0)):
            region = image.read_region((8, 16), (30, 20), spacing=spacing * 1.0005)
            y, x = 16 >> level, 8 >> level
            expected = (pixels[:: 2**level, :: 2**level] ^ level)[y : y + 20, x : x + 30]
            np.testing.assert_array_equal(region, expected)
            assert region.level == level
            assert region.spacing == {"X": spacing, "Y": spacing}


def test_whole_factors_are_means_of_blocks(path: Path, pixels: np.ndarray) -> None:
    with regionio.open(path) as image:
        whole = image.read_region(spacing=(1.5, 0.5))
        np.testing.assert_array_equal(whole, block_mean(pixels, 1, 3))
        assert whole.level == 0
        assert whole.spacing == {"X": 1.5, "Y": 0.5}
        region = image.read_region((20, 40), (50, 60), spacing=6.0)  # three pixels of level 2
        expected = block_mean((pixels[::4, ::4] ^ 2)[10:, 5:], 3, 3)[:60, :50]
        inside = expected.shape[0], expected.shape[1]
        np.testing.assert_array_equal(np.asarray(region)[: inside[0], : inside[1]], expected)
        assert region.level == 2


@pytest.mark.parametrize("location", [(0, 0), (7, 30), (33, 1)])
def test_other_factors_share_pixels_by_area(
    path: Path, pixels: np.ndarray, location: tuple[int, int]
) -> None:
    """Each pixel is cut into 6 × 4, and blocks of 9 × 5 of these averaged."""
    x, y = location
    cut = pixels[y : y + 200, x : x + 200].repeat(4, axis=0).repeat(6, axis=1)
    expected = block_mean(cut, 5, 9)[:60, :60]
    with regionio.open(path) as image:
        region = image.read_region(location, (60, 60), spacing=(SPACING * 9 / 6, SPACING * 5 / 4))
    assert np.abs(np.asarray(region).astype(int) - expected).max() <= 1
    assert (np.asarray(region) != expected).mean() < 0.001  # halves, rounded the other way


def test_locations_inside_a_level_pixel(path: Path, pixels: np.ndarray) -> None:
    """Level 1 has two pixels of level 0: an odd location begins in the middle of one."""
    level = pixels[::2, ::2] ^ 1
    cut = level.repeat(2, axis=0).repeat(2, axis=1)
    expected = block_mean(cut[31:, 17:], 3, 3)[:40, :40]
    with regionio.open(path) as image:
        region = image.read_region((17, 31), (40, 40), spacing=1.5)
        assert region.level == 1
    assert np.abs(np.asarray(region).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_equal_single_regions(path: Path, num_workers: int) -> None:
    random = np.random.default_rng(1)
    locations = random.integers(-200, 900, (37, 2))
    locations[5] = -5000  # needs no tile
    options: dict[str, Any] = {"spacing": 0.83, "layout": "NCHW", "scale": 1 / 255, "fill": 0.5}
    with regionio.open(path) as image:
        batches = list(
            image.read_region(
                locations, (40, 30), batch_size=8, num_workers=num_workers, return_mask=True,
                **options,
            )
        )  # fmt: skip
        assert [len(batch) for batch in batches] == [8, 8, 8, 8, 5]
        for batch in batches:
            for region in batch:
                x, y = region.locations.tolist()
                single = image.read_region((x, y), (40, 30), **options)
                np.testing.assert_array_equal(region, single[0])
                assert region.shape == (3, 30, 40)
                assert region.spacing == {"X": pytest.approx(0.83), "Y": pytest.approx(0.83)}
    outside = batches[0][5]
    assert (np.asarray(outside) == 0.5).all()
    assert not outside.mask.any()


def test_the_mask_says_what_lies_wholly_inside(path: Path) -> None:
    with regionio.open(path) as image:
        region = image.read_region((-2, 590), (20, 20), spacing=1.5, return_mask=True, fill=7)
    # level 1 from pixel (-1, 295) on; its last row is 299
    expected = np.zeros((20, 20), bool)
    expected[:3, 1:] = True
    np.testing.assert_array_equal(region.mask, expected)
    assert (np.asarray(region)[4:] == 7).all()


def test_into_given_memory(path: Path) -> None:
    with regionio.open(path) as image:
        expected = image.read_region((3, 4), (50, 40), spacing=0.7)
        out = np.empty((40, 50, 3), np.uint8)
        region = image.read_region((3, 4), (50, 40), spacing=0.7, out=out)
    assert region.array.base is out or region.array is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spacing": 0.3}, "finer than what .*0.5 × 0.5 micrometers"),
        ({"spacing": (1.0, 0.3)}, "finer"),
        ({"spacing": 0.0}, "positive"),
        ({"spacing": -1.0}, "positive"),
        ({"spacing": float("nan")}, "positive"),
        ({"spacing": 1.0, "level": 1}, "level= and spacing="),
        ({"spacing": 0.7, "dtype": "complex64"}, "complex"),
    ],
)
def test_what_cannot_be_done_is_refused(path: Path, arguments: dict, message: str) -> None:
    with regionio.open(path) as image, pytest.raises(ValueError, match=message):
        image.read_region((0, 0), (10, 10), **arguments)


def test_an_image_without_spacing_refuses(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((64, 64), np.uint8))
    with (
        regionio.open(tmp_path / "plain.tif") as image,
        pytest.raises(ValueError, match="does not tell its spacing"),
    ):
        image.read_region((0, 0), (10, 10), spacing=1.0)


def test_an_error_in_a_worker_is_raised_at_its_batch(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        msg = "no memory for averages"
        raise MemoryError(msg)

    monkeypatch.setattr("regionio._spacing.area_average", fail)
    with regionio.open(path) as image:
        loader = image.read_region([(0, 0), (9, 9)], (40, 40), spacing=0.7, num_workers=2)
        with pytest.raises(MemoryError, match="averages"):
            next(loader)


def test_a_level_within_a_hundredth_is_read_as_it_is(path: Path) -> None:
    slide, spacing = regionio.open(path), SPACING
    near = slide.read_region((40, 50), (60, 70), spacing=spacing * 1.009)
    np.testing.assert_array_equal(near, slide.read_region((40, 50), (60, 70)))
    assert near.spacing["X"] == pytest.approx(spacing)
    coarser = slide.read_region((40, 50), (60, 70), spacing=spacing * 1.011)
    assert coarser.spacing["X"] == pytest.approx(spacing * 1.011)
    assert (np.asarray(coarser) != np.asarray(near)).any()
