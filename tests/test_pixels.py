"""The compiled tables and resizing give what NumPy gives, bit for bit, and refuse what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regionio._native import native_pixels
from regionio._transform import GrayTransform, Rescale, Window
from regionio.preprocess.crop import CropOptions, content_box
from regionio.preprocess.kernels import FILTERS, Filter, resized, taps_of
from regionio.values import transformed

needs_native = pytest.mark.skipif(native_pixels is None, reason="the compiled part is missing")
SMOOTH = [kind for kind in FILTERS if kind not in {"nearest", "max-pool"}]


def views(random: np.random.Generator, shape: tuple[int, int], dtype: str) -> list[np.ndarray]:
    """Return pictures that lie in memory in different ways."""
    rows, columns = shape
    values = random.integers(0, 256, (rows, columns, 2)) * (257 if dtype == "uint16" else 1)
    plain = values[..., 0].astype(dtype)
    wide = np.zeros((2 * rows, columns + 3), dtype)
    wide[::2, 3:] = plain
    samples = values.astype(dtype)
    return [
        plain, plain[::-1, ::-1], np.asfortranarray(plain), wide[::2, 3:], samples[..., 1],
        plain.astype(plain.dtype.newbyteorder(">")),
    ]  # fmt: skip


@needs_native
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("kind", SMOOTH)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    seed=st.integers(0, 99),
)
def test_resizing(
    kind: Filter, dtype: str, shape: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    for picture in views(np.random.default_rng(seed), shape, dtype):
        found = resized(picture, size, kind)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("regionio.preprocess.kernels.native_pixels", None)
            expected = resized(picture, size, kind)
        np.testing.assert_array_equal(found, expected, strict=True)


@needs_native
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 300)),
    dtype=st.sampled_from(["uint8", "uint16"]),
    maximum=st.booleans(),
    share=st.sampled_from([0, 0.001, 0.02, 0.5]),
)
def test_content_is_found_as_numpy_finds_it(
    seed: int, shape: tuple[int, int], dtype: str, share: float, *, maximum: bool
) -> None:
    random = np.random.default_rng(seed)
    for picture in (view for one in views(random, shape, dtype) for view in (one, one[::-1, ::-1])):
        most = np.iinfo(dtype).max
        picture[random.random(shape) >= share] = 0
        picture[random.random(shape) < 0.3] = random.choice([0, most, 1, most - 1])
        options = CropOptions(maximum, components=False)
        found = content_box(picture, options)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("regionio.preprocess.crop.native_pixels", None)
            expected = content_box(picture, options)
        assert found == expected


@needs_native
def test_content_of_other_pictures_is_refused() -> None:
    assert native_pixels is not None
    for wrong in (np.zeros(3, np.uint8), np.zeros((3, 3), np.float32), np.zeros((3, 3), ">u2")):
        with pytest.raises(ValueError, match="uint8 or uint16"):
            native_pixels.content_box(wrong, True)
    for nothing in (np.zeros((0, 5), np.uint8), np.zeros((5, 0), np.uint16)):
        assert native_pixels.content_box(nothing, True) is None


@needs_native
@pytest.mark.parametrize("display", [None, "uint8", "uint16"])
@pytest.mark.parametrize("stored", ["uint8", "int8", "uint16", "int16"])
def test_tables(monkeypatch: pytest.MonkeyPatch, stored: str, display: str | None) -> None:
    limits = np.iinfo(stored)
    values = np.random.default_rng(0).integers(limits.min, limits.max, (200, 150, 1), endpoint=True)
    pixels = values.astype(stored)
    transform = GrayTransform(
        stored, limits.min, limits.max, Rescale(1.5, -20.0), display, Window(30.0, 50.0)
    )
    for view in (pixels, pixels[::-1], pixels[:, ::2], pixels.transpose(1, 0, 2)):
        found = transformed(transform, view)
        with monkeypatch.context() as patch:
            patch.setattr("regionio.values.transform.native_pixels", None)
            expected = transformed(transform, view)
        np.testing.assert_array_equal(found, expected, strict=True)


@needs_native
def test_what_does_not_fit_together() -> None:
    assert native_pixels is not None
    table, places = np.zeros(65536, np.uint8), np.zeros(10, np.uint16)
    out = np.ones(10, np.uint8)
    native_pixels.look_up(table, places, out, 10)
    assert not out.any()
    native_pixels.look_up(table, places[:0], out[:0], 0)
    wrong: list[tuple[Any, ...]] = [
        (table[:-1], places, out, 10), (table, places, out[:-1], 10), (table, places[:-1], out, 10),
        (table, places, out, -1), (table, places.astype(np.uint32), out, 10),
        (table, places, np.ones(30, np.uint8), 10),
    ]  # fmt: skip
    for arguments in wrong:
        with pytest.raises(ValueError, match="do not fit together"):
            native_pixels.look_up(*arguments)
    picture, down = np.zeros((9, 8), np.uint8), taps_of("triangle", 9, 4)
    across, into = taps_of("triangle", 8, 4), np.ones((4, 4), np.uint8)
    right = (picture, down.first, down.weight, across.first, across.weight, into)
    native_pixels.resize(*right)
    assert not into.any()
    for place, other in (
        (0, picture.astype(np.float64)), (0, picture[0]), (0, picture[:3]), (1, down.first + 7),
        (1, down.first - 1), (1, down.first[:-1]), (2, down.weight[:0]), (3, across.first + 8),
        (5, into[:-1]), (5, into.astype(np.uint16)),
    ):  # fmt: skip
        arguments = (*right[:place], other, *right[place + 1 :])
        with pytest.raises(ValueError, match="do not fit together"):
            native_pixels.resize(*arguments)
    with pytest.raises(TypeError):
        native_pixels.resize(None, *right[1:])
