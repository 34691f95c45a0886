"""Mammograms out of tomosyntheses, compared with the definition, pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from regionio.preprocess import LaplacianMip, Preprocessor
from regionio.preprocess.compat import OriginalLaplacianMip
from regionio.preprocess.laplacian import bilateral
from tests.dicom_files import scene


def volume(dtype: str, *, rows: int = 45, columns: int = 38, count: int = 5) -> NDArray[Any]:
    bits = 8 * np.dtype(dtype).itemsize
    return np.stack(
        [np.roll(scene(rows, columns, 1, dtype, bits), 3 * shift, 1) for shift in range(count)]
    )


def smoothed(picture: NDArray[Any], steps: int | None) -> NDArray[Any]:
    """Return the bilateral filter by its definition."""
    rows, columns = picture.shape
    down, across = np.mgrid[-6:7, -6:7]
    result = np.empty_like(picture, dtype=np.float64)
    for row in range(rows):
        for column in range(columns):
            y = (row + down).clip(0, rows - 1)
            x = (column + across).clip(0, columns - 1)
            near = picture[y, x].astype(np.float64)
            squared = (near - picture[row, column]) ** 2
            if steps is not None:
                squared = np.floor(squared * (steps - 1) + 0.5) / (steps - 1)
            weight = np.exp(-(down**2 + across**2) / 18 - squared / (2 * 0.015**2))
            result[row, column] = (weight * near).sum() / weight.sum()
    return result


def lower(picture: NDArray[Any]) -> NDArray[Any]:
    """Return the next level of the pyramid, expanded again."""
    taps = np.array([1, 4, 6, 4, 1]) / 16
    blurred = ndimage.correlate1d(picture, taps, 1, mode="nearest")
    half = ndimage.correlate1d(blurred, taps, 0, mode="nearest")[::2, ::2]
    places = [
        np.linspace(0, small - 1, large)
        for small, large in zip(half.shape, picture.shape, strict=True)
    ]
    expanded: NDArray[Any] = ndimage.map_coordinates(
        half, np.meshgrid(*places, indexing="ij"), order=1
    )
    return expanded


def fused(
    frames: NDArray[Any], weight: float, mode: str, steps: int | None = None
) -> NDArray[Any]:  # 0 to 1
    values = frames[..., 0] / np.iinfo(frames.dtype).max
    base = (
        values.sum(0) / values.sum(0).max() if mode == "parallel-beam" else values[len(values) // 2]
    )
    base, most = smoothed(base, steps), smoothed(values.max(0), steps)
    low = lower(base)
    result: NDArray[Any] = (low + 2 * low * (base - low + weight * (most - lower(most)))).clip(0, 1)
    return result


@pytest.mark.parametrize("mode", ["parallel-beam", "central-slice"])
@pytest.mark.parametrize(("dtype", "weight"), [("uint8", 1.5), ("uint16", 1.5), ("uint16", 0.3)])
def test_the_definition(dtype: str, mode: str, weight: float) -> None:
    frames = volume(dtype)
    most = np.iinfo(dtype).max
    made = LaplacianMip(weight, 0, mode)(frames)  # type: ignore[arg-type]
    assert (made.dtype, made.shape) == (frames.dtype, (1, *frames.shape[1:]))
    exact = fused(frames, weight, mode) * most
    assert np.abs(made[0, ..., 0] - exact).max() < 0.5 + most * 1e-5
    original = OriginalLaplacianMip(weight, 0, mode)(frames)  # type: ignore[arg-type]
    exact = fused(frames, weight, mode, 2048) * most
    short = exact - original[0, ..., 0]
    assert -most * 1e-5 < np.percentile(short, 1)
    assert np.percentile(short, 99) < 1 + most * 1e-5


def test_rows_are_smoothed_alike_in_parts() -> None:
    tall: NDArray[Any] = scene(200, 20, 1, "uint16", 16)[..., 0].astype(np.float32) / 65535
    np.testing.assert_allclose(bilateral(tall), smoothed(tall, None), atol=1e-5)


def test_frames_at_the_ends_do_not_count() -> None:
    frames = volume("uint16", count=12)
    noisy = frames.copy()
    noisy[:5] = 65535
    noisy[-5:] = 65535
    steps = Preprocessor(volume_handler=LaplacianMip(), crop=False)
    made, _ = steps(noisy)
    expected = LaplacianMip()(frames[5:7])
    np.testing.assert_array_equal(made, expected)
    with pytest.raises(ValueError, match="of 10 frames, none is left"):
        steps(frames[:10])


def test_one_frame_stays_as_it_is() -> None:
    frames = volume("uint8", count=1)
    made, _ = Preprocessor(volume_handler=LaplacianMip(), crop=False)(frames)
    np.testing.assert_array_equal(made, frames)


def test_a_picture_too_small_to_be_halved() -> None:
    frames = volume("uint8", rows=2, columns=30)
    assert LaplacianMip(skip_frames=0)(frames).shape == (1, 2, 30, 1)


def test_black_frames_stay_black() -> None:
    frames = np.zeros((4, 20, 20, 1), np.uint16)
    assert not LaplacianMip(skip_frames=0)(frames).any()


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="projection_mode is one of parallel-beam"):
        LaplacianMip(projection_mode="fan")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 or more"):
        LaplacianMip(float("nan"))
    with pytest.raises(ValueError, match="gray"):
        LaplacianMip(skip_frames=0)(np.zeros((3, 8, 8, 3), np.uint8))
