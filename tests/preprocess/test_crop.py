"""Boxes of content, compared with their definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from regionio.preprocess.crop import Box, CropOptions, common_box, content_box, union


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray:
    """Return frames that are mostly background, some larger than what is looked at together."""
    rows, columns = draw(st.sampled_from([(1, 1), (7, 5), (40, 30), (70, 600)]))
    samples = draw(st.sampled_from([1, 3]))
    dtype, most = draw(st.sampled_from([("uint8", 255), ("uint16", 65535)]))
    frames = np.full((4, rows, columns, samples), draw(st.sampled_from([0, most])), dtype)
    for frame in frames:
        for _ in range(draw(st.integers(0, 4))):
            row, column = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
            height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
            value = draw(st.sampled_from([0, 1, 2, most - 1, most]))
            frame[row : row + height, column : column + width] = value
    turned: np.ndarray = frames[:, ::-1, ::-1] if draw(st.booleans()) else frames
    return turned


@settings(deadline=None, max_examples=300)
@given(pictures(), st.booleans())
def test_the_box_by_its_definition(frames: np.ndarray, maximum: bool) -> None:
    for frame in frames:
        content = frame != 0
        if maximum:
            content &= frame != np.iinfo(frame.dtype).max
        rows, columns = np.nonzero(content.any(axis=2))
        expected = None
        if len(rows):
            sides = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            expected = Box.between(*map(int, sides))
        assert content_box(frame, CropOptions(maximum, components=False)) == expected


@settings(deadline=None, max_examples=300)
@given(pictures(), st.booleans(), st.booleans(), st.sampled_from([None, 0.0, 0.2]))
def test_the_common_box_is_that_of_all_boxes(
    frames: np.ndarray, maximum: bool, components: bool, border: float | None
) -> None:
    options = CropOptions(maximum, components, border)
    boxes = [box for frame in frames if (box := content_box(frame, options)) is not None]
    assert common_box(frames, options) == (union(boxes) if boxes else None)
