"""Places before and after."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regionio.preprocess.chain import Frames, Preprocessor
from regionio.preprocess.crop import Box
from regionio.preprocess.transform import Padding, Transform

sides = st.integers(1, 500)


@st.composite
def transforms(draw: st.DrawFn) -> Transform:
    width, height = draw(sides), draw(sides)
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    crop = Box(left, top, draw(st.integers(1, width - left)), draw(st.integers(1, height - top)))
    padding = Padding(*(draw(st.integers(0, 50)) for _ in range(4)))
    return Transform(
        (width, height), draw(st.booleans()), crop, (draw(sides), draw(sides)), padding
    )


@given(transforms(), st.tuples(st.floats(-900, 900), st.floats(-900, 900)))
@settings(max_examples=300)
def test_there_and_back(transform: Transform, point: tuple[float, float]) -> None:
    there = transform.to_output(point)
    np.testing.assert_allclose(transform.to_source(there), point, atol=1e-6, rtol=1e-9)
    assert Transform.from_dict(json.loads(json.dumps(transform.to_dict()))) == transform


@given(transforms())
def test_the_crop_fills_the_result_but_for_the_padding(transform: Transform) -> None:
    crop, (width, height) = transform.crop, transform.source
    box = [crop.left, crop.top, crop.right, crop.bottom]
    if transform.upside_down:
        box = [width - crop.right, height - crop.bottom, width - crop.left, height - crop.top]
    padding, (across, down) = transform.padding, transform.size
    expected = [padding.left, padding.top, padding.left + across, padding.top + down]
    np.testing.assert_allclose(transform.boxes_to_output(box), expected, atol=1e-9)
    np.testing.assert_allclose(transform.boxes_to_source(expected), box, atol=1e-9)


@given(
    place=st.tuples(st.integers(0, 299), st.integers(0, 199)),
    upside_down=st.booleans(),
    padding=st.sampled_from(["zero", "top-left", "bottom-right", "center"]),
)
@settings(max_examples=60, deadline=None)
def test_a_bright_pixel_is_found_where_it_is_said_to_be(
    place: tuple[int, int], upside_down: bool, padding: str
) -> None:
    x, y = place
    picture = np.zeros((200, 300), np.uint16)
    picture[20:180, 30:250] = 1
    picture[y, x] = 60_000
    chain = Preprocessor(size=(90, 130), components=False, filter="max-pool", padding=padding)  # type: ignore[arg-type]
    result = chain.process(Frames(picture[None, ..., None], upside_down=upside_down))
    found_y, found_x = np.unravel_index(result.pixels[0, ..., 0].argmax(), result.pixels.shape[1:3])
    expected = result.transform.to_output((x + 0.5, y + 0.5))
    assert abs(found_x + 0.5 - expected[0]) <= 1
    assert abs(found_y + 0.5 - expected[1]) <= 1


def test_points_are_pairs() -> None:
    transform = Transform((100, 80), False, Box(20, 10, 60, 40), (30, 20), Padding())
    for wrong in ([1, 2, 3], 5, [[1], [2]]):
        with pytest.raises(ValueError, match="2 numbers along the last axis"):
            transform.to_output(wrong)
    with pytest.raises(ValueError, match="4 numbers along the last axis"):
        transform.boxes_to_source([1, 2])
