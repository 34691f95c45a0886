"""Steps, one by one and together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import regionio
from regionio.preprocess.chain import Frames, Preprocessed, Preprocessor
from regionio.preprocess.crop import Box, CropOptions, content_box, union
from regionio.preprocess.laplacian import LaplacianMip
from regionio.preprocess.orientation import is_upside_down
from regionio.preprocess.padding import padded, padding_for
from regionio.preprocess.transform import Padding
from regionio.preprocess.volumes import (
    CentralSlice,
    Interpolate,
    Keep,
    MaxIntensity,
    VolumeHandler,
    interpolated,
)
from tests.dicom_files import noise

PLAIN = CropOptions(components=False)


def picture(*bright: tuple[int, int, int, int], value: int = 900) -> np.ndarray:
    """Return 60 × 80 zeros with bright (left, top, width, height)."""
    pixels = np.zeros((60, 80), np.uint16)
    for left, top, width, height in bright:
        pixels[top : top + height, left : left + width] = value
    return pixels


def test_the_box_holds_what_is_not_background() -> None:
    pixels = picture((10, 20, 30, 15))
    assert content_box(pixels, PLAIN) == Box(10, 20, 30, 15)
    pixels[5, 70] = 65535
    assert content_box(pixels, PLAIN) == Box(10, 5, 61, 30)
    assert content_box(pixels, CropOptions(maximum=True, components=False)) == Box(10, 20, 30, 15)
    assert content_box(picture(), PLAIN) is None
    colors = np.zeros((60, 80, 3), np.uint8)
    colors[4:6, 7:9, 2] = 1
    assert content_box(colors, PLAIN) == Box(7, 4, 2, 2)
    colors[0], colors[4:6, 7:9] = 255, (255, 0, 0)  # white is background, and red is none
    assert content_box(colors, CropOptions(maximum=True, components=False)) == Box(7, 4, 2, 2)


def test_only_the_largest_part_counts() -> None:
    pixels = picture((10, 20, 30, 15), (60, 5, 4, 4))
    assert content_box(pixels, CropOptions()) == Box(10, 20, 30, 15)
    # what touches by a corner only is not connected
    corner = picture((10, 20, 30, 15), (40, 35, 4, 4))
    assert content_box(corner, CropOptions()) == Box(10, 20, 30, 15)
    dark = picture((10, 20, 30, 15), value=100)  # too dark for 8 bits: all of it counts
    assert content_box(dark, CropOptions()) == Box(10, 20, 30, 15)


def test_borders_are_not_looked_at() -> None:
    pixels = picture((20, 20, 30, 15), (0, 0, 2, 60))
    assert content_box(pixels, CropOptions(components=False, border_frac=0.1)) == Box(
        12, 14, 46, 27
    )
    edge = picture((8, 6, 72, 54))
    assert content_box(edge, CropOptions(components=False, border_frac=0.1)) == Box(0, 0, 80, 60)


def test_one_crop_holds_all_frames() -> None:
    frames = np.stack([picture((10, 20, 5, 5)), picture(), picture((30, 10, 8, 4))])
    found, transform = Preprocessor(components=False)(frames)
    assert transform.crop == Box(10, 10, 28, 15)
    np.testing.assert_array_equal(found, frames[:, 10:25, 10:38])
    assert union([Box(1, 2, 3, 4)]) == Box(1, 2, 3, 4)


def test_size_keeps_proportions_and_is_padded() -> None:
    pixels = picture((10, 20, 40, 20))
    found, transform = Preprocessor(size=(32, 32), padding="center")(pixels)
    assert found.shape == (32, 32)
    assert (transform.size, transform.padding) == ((32, 16), Padding(0, 8, 0, 8))
    assert (found[8:24] == 900).all()
    assert not found[:8].any()
    assert not found[24:].any()
    bare, transform = Preprocessor(size=(32, 32), use_padding=False)(pixels)
    assert bare.shape == (16, 32)
    assert transform.padding == Padding()


def test_padding_goes_to_the_emptier_side() -> None:
    pixels = np.ones((4, 4), np.uint8)
    pixels[:3, 3] = 0
    pixels[0] = 0
    assert padding_for(pixels, (6, 7)) == Padding(left=0, top=3, right=2, bottom=0)
    assert padding_for(np.ones((4, 4)), (6, 7)) == Padding(left=2, top=3)
    assert padding_for(pixels, (7, 7), "top-left") == Padding(left=3, top=3)
    assert padding_for(pixels, (7, 7), "bottom-right") == Padding(right=3, bottom=3)
    assert padding_for(pixels, (7, 7), "center") == Padding(1, 1, 2, 2)
    frames = np.ones((2, 4, 4, 1), np.uint8)
    assert padded(frames, Padding(1, 2, 3, 4)).shape == (2, 10, 8, 1)


def test_a_spacing_is_reached_without_padding() -> None:
    frames = Frames(picture((0, 0, 80, 60))[None, ..., None], {"X": 0.1, "Y": 0.2})
    result = Preprocessor(spacing=(0.25, 0.25)).process(frames)
    assert result.pixels.shape == (1, 48, 32, 1)
    assert result.spacing == {"X": pytest.approx(0.25), "Y": pytest.approx(0.25)}
    with pytest.raises(ValueError, match="that of the frames is not known"):
        Preprocessor(spacing=(0.25, 0.25)).process(Frames(frames.pixels))
    volume = np.repeat(frames.pixels, 5, axis=0)
    deep = Frames(volume, {"X": 0.1, "Y": 0.1, "Z": 1.0})
    result = Preprocessor(spacing=(0.1, 0.1, 2.0)).process(deep)
    assert result.pixels.shape[0] == 3
    assert result.spacing["Z"] == 2.0


def test_upside_down_is_turned() -> None:
    pixels = picture((10, 20, 40, 20))
    pixels[20, 10] = 7
    result = Preprocessor().process(Frames(pixels[None, ..., None], upside_down=True))
    np.testing.assert_array_equal(result.pixels[0, ..., 0], pixels[20:40, 10:50][::-1, ::-1])
    assert result.transform.crop == Box(30, 20, 40, 20)


@pytest.mark.parametrize(
    ("side", "view", "direction", "expected"),
    [("L", "CC", ["P", "L"], True), ("L", "CC", ["A", "R"], False), ("R", "CC", ["P", "R"], True),
     ("L", "MLO", ["P", "HL"], True), ("R", "MLO", ["A", "FL"], False),
     ("L", "CC", ["P", "R"], False), ("L", "XCCL", ["P", "L"], False), ("L", "CC", None, False)],
)  # fmt: skip
def test_tomosynthesis_the_wrong_way_up(
    side: str, view: str, direction: list[str] | None, expected: bool
) -> None:
    dicom: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3",
        "ImageLaterality": side,
        "ViewPosition": view,
        "PatientOrientation": direction,
    }
    assert is_upside_down(dicom) == expected
    assert not is_upside_down({**dicom, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2"})


def test_volume_handlers() -> None:
    frames = np.arange(6, dtype=np.uint16)[:, None, None] * 10
    assert Keep().wanted(6) == range(6)
    assert (CentralSlice().wanted(6), CentralSlice().wanted(5)) == (range(3, 4), range(2, 3))
    assert MaxIntensity(1, 2).wanted(6) == range(1, 4)
    assert MaxIntensity()(frames).tolist() == [[[50]]]
    with pytest.raises(ValueError, match="none is left"):
        MaxIntensity(3, 3).wanted(6)
    assert interpolated(frames, 3)[:, 0, 0].tolist() == [0, 25, 50]
    assert Interpolate(11)(frames)[:, 0, 0].tolist() == list(range(0, 55, 5))
    assert interpolated(frames[:2] // 4, 4)[:, 0, 0].tolist() == [0, 1, 1, 2]
    assert interpolated(frames[:2] // 4, 4, rounded=False)[:, 0, 0].tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(
    "handler", [CentralSlice(), MaxIntensity(1, 1), Interpolate(32), LaplacianMip()]
)
def test_of_one_frame_nothing_is_made(handler: VolumeHandler) -> None:
    pixels = picture((10, 20, 30, 15))
    for given in (pixels, pixels[None]):
        found, _ = Preprocessor(crop=False, volume_handler=handler)(given)
        np.testing.assert_array_equal(found, given)


def test_depth() -> None:
    frames = np.arange(6, dtype=np.uint16)[:, None, None, None] * np.ones((6, 4, 5, 1), np.uint16)
    known = {"X": 1.0, "Y": 1.0, "Z": 1.0}

    def made(**arguments: Any) -> Preprocessed:
        return Preprocessor(crop=False, **arguments).process(Frames(frames, known))

    by_spacing = made(spacing=(1, 1, 2))
    assert len(by_spacing.pixels) == 4  # 3.5, as Rust rounds it
    assert by_spacing.spacing["Z"] == pytest.approx(5 / 3)
    assert by_spacing.places == pytest.approx((0, 5 / 3, 10 / 3, 5))
    both = made(spacing=(1, 1, 2), volume_handler=Interpolate(32))
    np.testing.assert_array_equal(both.pixels, by_spacing.pixels)
    more = made(volume_handler=Interpolate(11))
    assert more.spacing["Z"] == pytest.approx(0.5)
    assert more.places == pytest.approx(np.arange(11) / 2)
    assert made().places == (0, 1, 2, 3, 4, 5)
    one = made(spacing=(1, 1, 2), volume_handler=MaxIntensity())
    assert (len(one.pixels), one.places, "Z" in one.spacing) == (1, None, False)


def test_regions_know_their_axes(tmp_path: Path) -> None:
    path = tmp_path / "c.tif"
    colors = noise(3, 100, 90, 3)
    tifffile.imwrite(path, colors[0], photometric="rgb", resolution=(1000, 500),
                     resolutionunit="CENTIMETER")  # fmt: skip
    steps = Preprocessor(crop=False, spacing=(0.02, 0.04))
    with regionio.open(path) as image:
        found, transform = steps(image.read_region())
        assert (found.shape, transform.source) == ((50, 45, 3), (90, 100))
        moved, _ = steps(image.read_region(layout="CYX"))
        np.testing.assert_array_equal(moved, found)
        batch = next(image.read_region([(0, 0), (10, 20)], (40, 30), batch_size=2))
        assert steps(batch)[0].shape == (2, 15, 20, 3)
    with pytest.raises(TypeError, match=r"one picture in colour: give pixels\[None\]"):
        steps(colors[0])


WRONG: dict[str, dict[str, Any]] = {
    "say the same thing twice": {"size": (1, 2), "spacing": (1.0, 1.0)},
    "border_frac is at least 0": {"border_frac": 0.5},
    "filter is one of triangle": {"filter": "cubic"},
    "padding is one of zero": {"padding": "left"},
    "size is 2 positive numbers": {"size": (0, 5)},
    "spacing is 2 or 3 positive": {"spacing": (1.0,)},
    "spacing has to be finite": {"spacing": (1.0, float("inf"))},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_arguments_say_what_is_right(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preprocessor(**WRONG[message])


def test_numbers_of_any_kind_count() -> None:
    steps = Preprocessor(size=np.array([5.0, 6.0]))  # type: ignore[arg-type]
    assert steps == Preprocessor(size=(5, 6))
    with pytest.raises(ValueError, match="size is whole numbers"):
        Preprocessor(size=(5.5, 5))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an object such as MaxIntensity"):
        Preprocessor(volume_handler="max-intensity")  # type: ignore[arg-type]


def test_volume_handlers_want_sense() -> None:
    with pytest.raises(ValueError, match="target_frames is 1 or more, not 0"):
        Interpolate(0)
    with pytest.raises(ValueError, match="skip_start and skip_end are 0 or more, not -1 and 0"):
        MaxIntensity(-1)


def test_results_in_other_dtypes() -> None:
    pixels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    steps = Preprocessor(crop=False)
    small, _ = steps(pixels, dtype="uint8")
    np.testing.assert_array_equal(small, np.floor(pixels / 257 + 0.5))
    assert small.dtype == np.uint8
    back, _ = steps(small, dtype=np.uint16)
    np.testing.assert_array_equal(back, small.astype(np.uint16) * 257)
    shares, _ = steps(pixels, dtype="float32")
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, pixels / 65535, rtol=1e-6)
    assert shares.max() == 1
    with pytest.raises(ValueError, match="dtype is one of uint8, uint16, float32"):
        steps(pixels, dtype="int16")


def test_arrays_that_are_none_of_pictures() -> None:
    with pytest.raises(TypeError, match="uint8 or uint16 with 2 to 4 axes"):
        Preprocessor()(np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match="nothing but background"):
        Preprocessor()(np.zeros((3, 3), np.uint8))
