"""What any image must do, whatever its format.

Subclass `ImageConformance` in a test module, give it a `path` fixture and an `expected` fixture
(pixels from an independent reader), and pytest runs all of it.
"""

from __future__ import annotations

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import regionio
from regionio.testing.forked import result_in_fork

__all__ = ["ImageConformance"]


def padded_slice(
    level: NDArray[Any], x: int, y: int, width: int, height: int, fill: Any
) -> NDArray[Any]:
    """Return a region of a level that is padded with `fill` on all sides.

    Parameters
    ----------
    level
        ``[rows, columns, …]``.
    x, y
        First column and row; may lie outside.
    width, height
        Size of the result.
    fill
        Value outside the level.
    """
    region = np.full((height, width, *level.shape[2:]), fill, dtype=level.dtype)
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + height, level.shape[0]), min(x + width, level.shape[1])
    if top < bottom and left < right:
        region[top - y : bottom - y, left - x : right - x] = level[top:bottom, left:right]
    return region


class ImageConformance:
    """Contract of `regionio.Image` over a 2-D image: time 0, focal plane 0.

    Subclasses define two fixtures: ``path``, a file; and ``expected``, for each level its pixels
    ``[rows, columns]`` or ``[rows, columns, channels]``, read by somebody else.
    """

    regions = 24
    """Random regions a level."""

    @pytest.fixture
    def path(self) -> str:
        """Return the file to read."""
        raise NotImplementedError  # a subclass must say which

    @pytest.fixture
    def expected(self, path: str) -> list[NDArray[Any]]:
        """Return each level's pixels, from an independent reader."""
        raise NotImplementedError  # a subclass must say what is right

    @pytest.fixture
    def image(self, path: str) -> regionio.Image:
        """Return the image under test."""
        return regionio.open(path)

    def fill(self, image: regionio.Image) -> int:
        """Return the value that is documented to stand outside the image."""
        slide = image.format not in {"tiff", "ome-tiff", "imagej", "written"}
        color = image.size("C")[0] == 3 and image.dtype.kind == "u"
        return int(np.iinfo(image.dtype).max) if slide and color else 0

    def boxes(self, level: NDArray[Any]) -> list[tuple[int, int, int, int]]:
        """Return (x, y, width, height) inside, across the edges of and far from a level."""
        random = np.random.default_rng(20)
        rows, columns = level.shape[:2]
        boxes = []
        for _ in range(self.regions):
            width, height = (int(n) for n in random.integers(1, [columns + 9, rows + 9]))
            x = int(random.integers(-width - 2, columns + 2))
            y = int(random.integers(-height - 2, rows + 2))
            boxes.append((x, y, width, height))
        return [*boxes, (columns * 3, rows * 3, 5, 7), (0, 0, columns, rows)]

    def test_describes_itself(self, image: regionio.Image, expected: list[NDArray[Any]]) -> None:
        sizes = [(level.width, level.height) for level in image.levels]
        assert sizes == [level.shape[1::-1] for level in expected]
        assert image.size("XY") == sizes[0]
        assert image.dtype == expected[0].dtype
        assert image.size("C")[0] == (expected[0].shape[2] if expected[0].ndim == 3 else 1)
        assert image.levels[0].downsample == (1.0, 1.0)
        assert image.shape == image.size(image.dims)
        assert len(image.channel_names) == image.size("C")[0]
        assert image.resolutions["level_count"] == len(expected)

    def test_whole_levels_are_exact(
        self, image: regionio.Image, expected: list[NDArray[Any]]
    ) -> None:
        for number, level in enumerate(expected):
            np.testing.assert_array_equal(image.read_region(None, None, number), level)

    def test_regions_are_slices_of_the_padded_level(
        self, image: regionio.Image, expected: list[NDArray[Any]]
    ) -> None:
        fill = self.fill(image)
        for number, level in enumerate(expected):
            down_x, down_y = image.levels[number].downsample
            for x, y, width, height in self.boxes(level):
                location = (int(np.ceil(x * down_x)), int(np.ceil(y * down_y)))
                region = image.read_region(location, (width, height), number)
                wanted = padded_slice(level, x, y, width, height, fill)
                np.testing.assert_array_equal(region, wanted, str((number, x, y)))

    def test_fill_and_mask(self, image: regionio.Image, expected: list[NDArray[Any]]) -> None:
        rows, columns = expected[0].shape[:2]
        region = image.read_region((-3, -2), (columns + 6, rows + 4), fill=1, return_mask=True)
        inside = np.zeros((rows + 4, columns + 6), dtype=bool)
        inside[2 : 2 + rows, 3 : 3 + columns] = True
        assert region.mask is not None
        assert not region.mask[~inside].any()
        assert (np.asarray(region)[~region.mask] == 1).all()

    def test_batches_equal_single_regions(self, image: regionio.Image) -> None:
        locations = self.locations(image)
        singles = [np.asarray(image.read_region(tuple(p), (37, 29))) for p in locations.tolist()]
        loader = image.read_region(locations, (37, 29), batch_size=4)
        batches = list(loader)
        assert [len(batch) for batch in batches] == [4, 4, 3]
        assert len(loader) == 3
        np.testing.assert_array_equal(np.concatenate(batches), singles)
        np.testing.assert_array_equal(np.concatenate([b.locations for b in batches]), locations)

    def test_workers_do_not_change_pixels(self, image: regionio.Image) -> None:
        locations = self.locations(image)
        results = [
            np.concatenate(
                list(image.read_region(locations, (40, 40), batch_size=3, num_workers=workers))
            )
            for workers in (0, 1, 2, 5)
        ]
        for result in results[1:]:
            np.testing.assert_array_equal(result, results[0])

    def test_kept_batches_stay_as_they_were(self, image: regionio.Image) -> None:
        loader = image.read_region(self.locations(image), (33, 21), batch_size=2)
        kept, copies = [], []
        for batch in loader:
            kept.append(batch)
            copies.append(np.array(batch))
        for batch, copy in zip(kept, copies, strict=True):
            np.testing.assert_array_equal(batch, copy)
        kept[0].array[:] = 0
        np.testing.assert_array_equal(kept[1], copies[1])

    def test_epochs_shuffle_anew_and_repeatably(self, image: regionio.Image) -> None:
        locations = self.locations(image)
        orders = []
        for _ in range(2):
            loader = image.read_region(locations, (8, 8), batch_size=4, shuffle=True, seed=5)
            orders.append([np.concatenate([b.indices for b in loader]) for _ in range(2)])
        np.testing.assert_array_equal(orders[0], orders[1])
        assert not np.array_equal(orders[0][0], orders[0][1])
        for order in orders[0]:
            np.testing.assert_array_equal(np.sort(order), np.arange(len(locations)))

    def test_layouts_and_values(self, image: regionio.Image) -> None:
        location, size = (1, 2), (31, 17)
        plain = np.asarray(image.read_region(location, size))
        if plain.dtype.kind not in "ui":
            plain = plain.astype(plain.dtype)
        last = plain if plain.ndim == 3 else plain[..., None]
        first = np.moveaxis(last, 2, 0)
        np.testing.assert_array_equal(image.read_region(location, size, layout="CYX"), first)
        np.testing.assert_array_equal(image.read_region(location, size, layout="HWC"), last)
        if plain.dtype.kind == "c":
            return
        scaled = image.read_region(location, size, layout="NCHW", scale=0.5, offset=-1)
        assert scaled.dtype == np.float32
        wanted = first.astype(np.float32) * np.float32(0.5) + np.float32(-1)
        np.testing.assert_array_equal(scaled, wanted[None])
        channel = image.read_region(location, size, channels=[image.size("C")[0] - 1], layout="CYX")
        np.testing.assert_array_equal(channel, first[-1:])

    def test_reads_into_given_memory(self, image: regionio.Image) -> None:
        wanted = np.asarray(image.read_region((2, 3), (20, 10)))
        out = np.empty_like(wanted)
        region = image.read_region((2, 3), (20, 10), out=out)
        assert np.shares_memory(region.array, out)
        np.testing.assert_array_equal(out, wanted)
        with pytest.raises(ValueError, match="shape"):
            image.read_region((2, 3), (21, 10), out=out)

    def test_many_threads_read_at_once(self, image: regionio.Image) -> None:
        locations = [tuple(p) for p in self.locations(image).tolist()] * 4

        def read(location: tuple[int, int]) -> NDArray[Any]:
            return np.asarray(image.read_region(location, (50, 40)))

        alone = [read(location) for location in locations]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(read, locations))
        np.testing.assert_array_equal(together, alone)

    def test_is_picklable(self, image: regionio.Image) -> None:
        wanted = np.asarray(image.read_region((0, 0), (16, 16)))
        copy = pickle.loads(pickle.dumps(image))
        assert copy.shape == image.shape
        np.testing.assert_array_equal(copy.read_region((0, 0), (16, 16)), wanted)

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_reads_after_a_fork(self, image: regionio.Image) -> None:
        locations = self.locations(image)
        wanted = np.concatenate(list(image.read_region(locations, (16, 16), batch_size=4)))
        found = result_in_fork(
            lambda: np.concatenate(
                list(image.read_region(locations, (16, 16), batch_size=4, num_workers=2))
            )
        )
        np.testing.assert_array_equal(found, wanted)

    def test_refuses_reads_once_closed(self, image: regionio.Image) -> None:
        image.close()
        with pytest.raises(regionio.ClosedError):
            image.read_region((0, 0), (4, 4))
        image.close()

    def locations(self, image: regionio.Image) -> NDArray[np.int64]:
        """Return eleven locations, some across the edges."""
        width, height = image.size("XY")
        return np.random.default_rng(3).integers(-20, [width, height], (11, 2))
