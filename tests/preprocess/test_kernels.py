"""Resizing against Pillow, which defines the same filters independently."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from regionio.preprocess.kernels import FILTERS, Filter, resized, taps_of
from tests.dicom_files import scene

PILLOW = {
    "triangle": Image.Resampling.BILINEAR,
    "catmull-rom": Image.Resampling.BICUBIC,
    "lanczos3": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
SIZES = [(300, 200), (900, 1000), (64, 64), (701, 90), (1, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", PILLOW)
def test_pixels_are_those_of_pillow(kind: Filter, size: tuple[int, int]) -> None:
    picture = scene(701, 503, 1, "uint16", 14)[..., 0]
    exact = Image.fromarray(picture.astype(np.float32), mode="F")
    expected = np.array(exact.resize(size[::-1], PILLOW[kind]))
    found = resized(picture, size, kind)
    assert found.dtype == np.uint16
    whole = np.floor(expected.clip(0, 65535) + 0.5)
    assert np.abs(found - whole).max() <= 1
    assert (found != whole).mean() < 0.01
    np.testing.assert_allclose(
        resized(picture.astype(np.float32), size, kind), expected, rtol=2e-5, atol=2e-2
    )


def test_the_gaussian_is_its_definition() -> None:
    picture = scene(40, 50, 1, "uint8", 8)[..., 0]
    expected = np.zeros((11, 9))
    for y, x in np.ndindex(11, 9):
        weights = []
        for place, size, new in ((y, 40, 11), (x, 50, 9)):
            ratio = size / new
            center = (place + 0.5) * ratio
            left = max(0, int(np.floor(center - 3 * ratio)))
            right = min(size, int(np.ceil(center + 3 * ratio)))
            distance = (np.arange(left, right) - (center - 0.5)) / ratio
            values = np.zeros(size)
            values[left:right] = np.exp(-(distance**2) / (2 * 0.5**2))
            weights.append(values / values.sum())
        expected[y, x] = weights[0] @ picture @ weights[1]
    found = resized(picture.astype(np.float32), (11, 9), "gaussian")
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_max_pool_keeps_what_is_brightest() -> None:
    picture = scene(61, 47, 1, "uint16", 12)[..., 0]
    found = resized(picture, (20, 9), "max-pool")
    for y, x in np.ndindex(20, 9):
        part = picture[y * 61 // 20 : (y + 1) * 61 // 20, x * 47 // 9 : (x + 1) * 47 // 9]
        assert found[y, x] == part.max()
    larger = resized(picture, (100, 90), "max-pool")
    assert larger.max() == picture.max()


@given(
    kind=st.sampled_from([name for name in FILTERS if name != "max-pool"]),
    size=st.integers(1, 400),
    new_size=st.integers(1, 400),
)
@settings(max_examples=200, deadline=None)
def test_weights_add_up_to_one(kind: Filter, size: int, new_size: int) -> None:
    taps = taps_of(kind, size, new_size)
    assert taps.weight.shape[0] == len(taps.first) == new_size
    np.testing.assert_allclose(taps.weight.sum(axis=1), 1, rtol=1e-5)
    last = np.where(taps.weight != 0, taps.first[:, None] + np.arange(taps.weight.shape[1]), 0)
    assert (taps.first >= 0).all()
    assert last.max() < size


@pytest.mark.parametrize("kind", FILTERS)
def test_a_plain_picture_stays_plain(kind: Filter) -> None:
    plain = np.full((3, 50, 60), 65535, np.uint16)
    assert (resized(plain, (20, 90), kind) == 65535).all()
    same = resized(plain, (50, 60), kind)
    assert same.shape == plain.shape
    assert not np.shares_memory(same, plain)
