"""What any volume must do, whatever its format.

Subclass `VolumeConformance` in a test module, give it a `path` fixture and an `expected` fixture
(voxels from an independent reader), and pytest runs all of it.
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

__all__ = ["VolumeConformance"]

Triple = tuple[int, int, int]


def triple(values: NDArray[np.int64]) -> Triple:
    """Return three numbers as `Image.read_region` takes them."""
    x, y, z = values.tolist()
    return x, y, z


def padded_box(volume: NDArray[Any], location: Triple, size: Triple, fill: Any) -> NDArray[Any]:
    """Return a box of a volume that is padded with `fill` on all sides.

    Parameters
    ----------
    volume
        ``[planes, rows, columns, …]``.
    location, size
        (x, y, z) and (width, height, depth); may lie outside.
    fill
        Value outside the volume.
    """
    box = np.full((*size[::-1], *volume.shape[3:]), fill, dtype=volume.dtype)
    source, target = [], []
    for begin, length, whole in zip(location[::-1], size[::-1], volume.shape[:3], strict=True):
        first, last = max(begin, 0), min(begin + length, whole)
        if first >= last:
            return box
        source.append(slice(first, last))
        target.append(slice(first - begin, last - begin))
    box[tuple(target)] = volume[tuple(source)]
    return box


class VolumeConformance:
    """Contract of `regionio.Image` over a volume, which is addressed by three numbers.

    Subclasses define two fixtures: ``path``, what `regionio.open` takes; and ``expected``, the
    voxels ``[planes, rows, columns]`` or ``[planes, rows, columns, channels]``, read by somebody
    else and brought into the order of the image's planes.
    """

    regions = 40
    """Random regions."""

    size = (19, 13, 2)
    """(width, height, depth) of the regions of batches."""

    @pytest.fixture
    def path(self) -> Any:
        """Return what to open."""
        raise NotImplementedError  # a subclass must say which

    @pytest.fixture
    def expected(self, path: Any) -> NDArray[Any]:
        """Return the voxels, from an independent reader."""
        raise NotImplementedError  # a subclass must say what is right

    @pytest.fixture
    def image(self, path: Any) -> regionio.Image:
        """Return the image under test."""
        return regionio.open(path)

    def fill(self, image: regionio.Image) -> float:
        """Return the value that is documented to stand outside the volume."""
        return 0

    def locations(self, image: regionio.Image) -> NDArray[np.int64]:
        """Return eleven locations, some across the edges."""
        return np.random.default_rng(3).integers(-5, image.size("XYZ"), (11, 3))

    def test_describes_itself(self, image: regionio.Image, expected: NDArray[Any]) -> None:
        assert image.is_volume
        assert image.size("ZYX") == expected.shape[:3]
        assert image.size("C")[0] == (expected.shape[3] if expected.ndim == 4 else 1)
        assert image.shape == image.size(image.dims)
        assert image.dtype == expected.dtype

    def test_whole_volume_is_exact(self, image: regionio.Image, expected: NDArray[Any]) -> None:
        np.testing.assert_array_equal(image.read_region(), expected)

    def test_regions_are_boxes_of_the_padded_volume(
        self, image: regionio.Image, expected: NDArray[Any]
    ) -> None:
        random = np.random.default_rng(20)
        whole = np.array(expected.shape[2::-1])
        boxes = [(triple(whole * 3), (5, 7, 3)), ((-2, -2, -2), triple(whole + 4))]
        for _ in range(self.regions):
            extent = random.integers(1, whole + 3)
            begin = random.integers(-extent - 1, whole + 1)
            boxes.append((triple(begin), triple(extent)))
        for location, size in boxes:
            wanted = padded_box(expected, location, size, self.fill(image))
            region = image.read_region(location, size)
            np.testing.assert_array_equal(region, wanted, str((location, size)))

    def test_a_size_of_two_numbers_is_one_plane(
        self, image: regionio.Image, expected: NDArray[Any]
    ) -> None:
        for z in range(-1, len(expected) + 1):
            wanted = padded_box(expected, (1, 2, z), (9, 8, 1), self.fill(image))[0]
            np.testing.assert_array_equal(image.read_region((1, 2, z), (9, 8)), wanted)

    def test_fill_and_mask(self, image: regionio.Image, expected: NDArray[Any]) -> None:
        whole = triple(np.array(expected.shape[2::-1]) + 2)
        region = image.read_region((-1, -1, -1), whole, fill=1, return_mask=True)
        inside = padded_box(np.ones(expected.shape[:3], bool), (-1, -1, -1), whole, False)
        assert region.mask is not None
        np.testing.assert_array_equal(region.mask, inside)
        assert (np.asarray(region)[~inside] == 1).all()

    def test_refuses_locations_and_sizes_of_other_lengths(self, image: regionio.Image) -> None:
        with pytest.raises(ValueError, match="location"):
            image.read_region((1, 2), (4, 4), batch_size=2)
        with pytest.raises(ValueError, match="size"):
            image.read_region((1, 2, 0), (4,))
        with pytest.raises(ValueError, match="z="):
            image.read_region((1, 2, 0), (4, 4), z=1)

    def test_batches_equal_single_regions(
        self, image: regionio.Image, expected: NDArray[Any]
    ) -> None:
        locations = self.locations(image)
        wanted = [
            padded_box(expected, triple(place), self.size, self.fill(image)) for place in locations
        ]
        for workers in (0, 3):
            loader = image.read_region(locations, self.size, batch_size=4, num_workers=workers)
            batches = list(loader)
            assert [len(batch) for batch in batches] == [4, 4, 3]
            np.testing.assert_array_equal(np.concatenate(batches), wanted)
            np.testing.assert_array_equal(np.concatenate([b.locations for b in batches]), locations)

    def test_planes_are_decoded_once_and_only_if_needed(self, image: regionio.Image) -> None:
        locations = np.abs(self.locations(image))
        locations[:, 2] %= max(1, image.size("Z")[0] // 2)
        needed = {z + k for z in locations[:, 2].tolist() for k in range(self.size[2])}
        needed &= set(range(image.size("Z")[0]))
        for workers in (0, 3):
            regionio.cache.clear()
            loader = image.read_region(
                locations, self.size, batch_size=len(locations), num_workers=workers
            )
            list(loader)
            assert loader.stats.tiles_decoded == len(needed)

    def test_epochs_shuffle_anew_and_repeatably(self, image: regionio.Image) -> None:
        locations = self.locations(image)
        orders = []
        for _ in range(2):
            loader = image.read_region(locations, (8, 8, 1), batch_size=4, shuffle=True, seed=5)
            epochs = [list(loader) for _ in range(2)]
            for batch in (batch for epoch in epochs for batch in epoch):
                np.testing.assert_array_equal(batch.locations, locations[batch.indices])
            orders.append([np.concatenate([b.indices for b in epoch]) for epoch in epochs])
        np.testing.assert_array_equal(orders[0], orders[1])
        assert not np.array_equal(orders[0][0], orders[0][1])

    def test_layouts_and_values(self, image: regionio.Image) -> None:
        location, size = (1, 2, 0), (11, 7, 2)
        plain = np.asarray(image.read_region(location, size))
        last = plain if plain.ndim == 4 else plain[..., None]
        first = np.moveaxis(last, 3, 0)
        np.testing.assert_array_equal(image.read_region(location, size, layout="CZYX"), first)
        np.testing.assert_array_equal(image.read_region(location, size, layout="NDHWC"), last[None])
        scaled = image.read_region(location, size, layout="CDHW", scale=0.5, offset=-1)
        np.testing.assert_array_equal(scaled, first.astype(np.float32) * np.float32(0.5) - 1)
        out = np.empty_like(plain)
        image.read_region(location, size, out=out)
        np.testing.assert_array_equal(out, plain)

    def test_many_threads_read_at_once(self, image: regionio.Image) -> None:
        locations = [triple(place) for place in self.locations(image)] * 3

        def read(location: Triple) -> NDArray[Any]:
            return np.asarray(image.read_region(location, self.size))

        alone = [read(location) for location in locations]
        with ThreadPoolExecutor(8) as pool:
            np.testing.assert_array_equal(list(pool.map(read, locations)), alone)

    def test_is_picklable(self, image: regionio.Image, expected: NDArray[Any]) -> None:
        copy = pickle.loads(pickle.dumps(image))
        assert copy.shape == image.shape
        np.testing.assert_array_equal(copy.read_region(), expected)

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_reads_after_a_fork(self, image: regionio.Image) -> None:
        locations = self.locations(image)
        wanted = np.concatenate(list(image.read_region(locations, self.size, batch_size=4)))
        found = result_in_fork(
            lambda: np.concatenate(
                list(image.read_region(locations, self.size, batch_size=4, num_workers=2))
            )
        )
        np.testing.assert_array_equal(found, wanted)

    def test_refuses_reads_once_closed(self, image: regionio.Image) -> None:
        image.close()
        with pytest.raises(regionio.ClosedError):
            image.read_region((0, 0, 0), (4, 4))
