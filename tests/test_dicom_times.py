"""Frames and slices that show the same places several times: times, echoes, acquisitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regionio
from tests.dicom_files import noise
from tests.dicom_volumes import Groups, multi_frame, numbered, placed, slices, whole

TIMES, DEPTH = 3, 4
PIXELS = noise(TIMES * DEPTH, 20, 30, 1, dtype="uint16")[..., 0]
PLACES = [(5.0, 6.0, 2.5 * z) for z in (2, 0, 3, 1)]


def frame(time: int, place: int) -> Groups:
    return {**placed(*PLACES[place]), **numbered(TemporalPositionIndex=time + 1)}


def test_frames_of_several_times_have_an_axis_of_time(tmp_path: Path) -> None:
    stored = [(time, place) for place in range(DEPTH) for time in (1, 0, 2)]
    path = multi_frame(tmp_path / "a.dcm", PIXELS, [frame(*one) for one in stored])
    image = regionio.open(path)
    assert (image.dims, image.shape, image.is_volume) == ("TZYX", (3, 4, 20, 30), True)
    assert image.spacing("TZ") == (None, 2.5)
    order = [stored.index((t, place)) for t in range(TIMES) for place in (1, 3, 0, 2)]
    assert image.frame_indices is not None
    assert image.frame_indices.reshape(-1).tolist() == order
    np.testing.assert_array_equal(whole(image)[..., 0], PIXELS[order])
    assert image.affine is not None
    np.testing.assert_allclose(image.affine[:3, 3], (5, 6, 0))
    patches = next(image.read_region([(2, 1, 1), (4, 3, 2)], (5, 6, 2), batch_size=2, t=2))
    volume = PIXELS[order].reshape(TIMES, DEPTH, 20, 30)[2]
    np.testing.assert_array_equal(patches[0], volume[1:3, 1:7, 2:7])
    np.testing.assert_array_equal(patches[1], volume[2:4, 3:9, 4:9])
    flat = regionio.open(path, frame_order="stored")
    assert flat.dims == "ZYX"
    np.testing.assert_array_equal(flat.read_region(), PIXELS)


def test_times_at_one_place_are_no_volume(tmp_path: Path) -> None:
    path = multi_frame(tmp_path / "a.dcm", PIXELS[:3], [frame(time, 0) for time in (2, 0, 1)])
    image = regionio.open(path)
    assert (image.dims, image.is_volume) == ("TYX", False)
    np.testing.assert_array_equal(image.read_region(t=0), PIXELS[1])


@pytest.mark.parametrize("wanted", ["a time is missing", "places differ"])
def test_times_that_are_not_of_the_same_places_warn(tmp_path: Path, wanted: str) -> None:
    frames = [frame(time, place) for time in range(2) for place in range(DEPTH)]
    if wanted == "a time is missing":
        frames.pop()
    else:
        frames[-1]["PlanePositionSequence"]["ImagePositionPatient"][2] += 0.5
    path = multi_frame(tmp_path / "a.dcm", PIXELS[: len(frames)], frames)
    with pytest.warns(UserWarning, match="no single volume"):
        image = regionio.open(path)
    assert (image.dims, image.spacing("Z")) == ("ZYX", (None,))
    np.testing.assert_array_equal(image.read_region(), PIXELS[: len(frames)])


@pytest.mark.parametrize(
    ("apart", "names"),
    [
        ([{"EchoTime": 2.5}, {"EchoTime": 4.5}, {"EchoTime": 7.5}],
         ["EchoTime=2.5", "EchoTime=4.5", "EchoTime=7.5"]),
        ([{"AcquisitionNumber": n} for n in (1, 2, 3)],
         ["AcquisitionNumber=1", "AcquisitionNumber=2", "AcquisitionNumber=3"]),
        ([{"ImageType": ["ORIGINAL", "PRIMARY", kind]} for kind in "MPR"],
         ["ImageType=ORIGINAL\\PRIMARY\\M", "ImageType=ORIGINAL\\PRIMARY\\P",
          "ImageType=ORIGINAL\\PRIMARY\\R"]),
    ],
    ids=["echoes", "acquisitions", "kinds"],
)  # fmt: skip
@pytest.mark.parametrize("interleaved", [False, True])
def test_slices_of_several_volumes_are_scenes(
    tmp_path: Path, apart: list[dict[str, Any]], names: list[str], interleaved: bool
) -> None:
    stored = [(n, place) for n in range(TIMES) for place in range(DEPTH)]
    if interleaved:
        stored.sort(key=lambda one: one[1])
    own = [{**apart[n], "TriggerTime": 7.0 * k} for k, (n, _) in enumerate(stored)]
    slices(tmp_path / "series", PIXELS, [PLACES[place] for _, place in stored], own)
    for number, name in enumerate(names):
        with pytest.warns(UserWarning, match=r"12 slices of its series are of 3 volumes"):
            image = regionio.open(tmp_path / "series", scene=number)
        assert (image.dims, image.spacing("Z")) == ("ZYX", (2.5,))
        assert [scene.name for scene in image.scenes] == [f"1.2.826.3 {name}" for name in names]
        order = [stored.index((number, place)) for place in (1, 3, 0, 2)]
        np.testing.assert_array_equal(image.read_region(), PIXELS[order])


def test_echoes_at_several_times(tmp_path: Path) -> None:
    stored = [(echo, time, place) for echo in (1, 2) for time in (1, 2) for place in range(3)]
    own = [{"EchoNumbers": echo, "TemporalPositionIdentifier": time} for echo, time, _ in stored]
    slices(tmp_path / "series", PIXELS, [PLACES[place] for *_, place in stored], own)
    with pytest.warns(UserWarning, match="4 volumes"):
        image = regionio.open(
            tmp_path / "series", scene="1.2.826.3 EchoNumbers=2, TemporalPositionIdentifier=1"
        )
    np.testing.assert_array_equal(image.read_region(), PIXELS[[7, 6, 8]])


def test_slices_that_nothing_tells_apart_stay_together_and_warn(tmp_path: Path) -> None:
    places = [PLACES[place] for place in (0, 1, 1, 2, 3)]
    slices(tmp_path / "series", PIXELS[:5], places)
    with pytest.warns(UserWarning, match="5 frames lie at 4 places: they are no single volume"):
        image = regionio.open(tmp_path / "series")
    assert (image.spacing("Z"), image.affine) == ((None,), None)
    np.testing.assert_array_equal(image.read_region(), PIXELS[:5])


def test_an_acquisition_of_each_slice_is_one_volume(tmp_path: Path) -> None:
    own = [{"AcquisitionNumber": number} for number in range(DEPTH)]
    slices(tmp_path / "series", PIXELS[:DEPTH], PLACES, own)
    image = regionio.open(tmp_path / "series")
    assert (len(image.scenes), image.spacing("Z")) == (1, (2.5,))


def test_stored_order_keeps_a_series_together(tmp_path: Path) -> None:
    own = [{"EchoTime": 2.5 + number // DEPTH} for number in range(len(PIXELS))]
    slices(tmp_path / "series", PIXELS, PLACES * TIMES, own)
    image = regionio.open(tmp_path / "series", frame_order="stored")
    assert (len(image.scenes), image.scenes[0].name) == (1, "1.2.826.3")
    np.testing.assert_array_equal(image.read_region(), PIXELS)


def test_a_value_of_zero_comes_first(tmp_path: Path) -> None:
    own = [{"DiffusionBValue": 500.0 * (number // DEPTH)} for number in range(len(PIXELS))]
    slices(tmp_path / "series", PIXELS, PLACES * TIMES, own)
    with pytest.warns(UserWarning, match="DiffusionBValue=0.0; DiffusionBValue=500.0"):
        image = regionio.open(tmp_path / "series")
    np.testing.assert_array_equal(image.read_region(), PIXELS[[1, 3, 0, 2]])


def test_phases_of_one_place_stay_together(tmp_path: Path) -> None:
    own = [{"TriggerTime": 33.0 * number} for number in range(len(PIXELS))]
    slices(tmp_path / "series", PIXELS, [PLACES[0]] * len(PIXELS), own)
    with pytest.warns(UserWarning, match="12 frames lie at 1 places"):
        image = regionio.open(tmp_path / "series")
    np.testing.assert_array_equal(image.read_region(), PIXELS)


def test_a_doubled_slice_tears_no_volume(tmp_path: Path) -> None:
    heights = [(0.0, 0.0, float(z)) for z in (*range(10), 3)]
    for number, own in enumerate(
        (
            [{"ContentTime": "101010" if z < 5 else "101011"} for z in range(11)],
            [{"AcquisitionNumber": 1 + z % 2} for z in (*range(10), 4)],
        )
    ):
        slices(tmp_path / f"{number}", PIXELS[:11], heights, own)
        with pytest.warns(UserWarning, match="11 frames lie at 10 places"):
            image = regionio.open(tmp_path / f"{number}")
        assert (len(image.scenes), image.spacing("Z")) == (1, (None,))
        np.testing.assert_array_equal(image.read_region(), PIXELS[:11])


def test_ranges_that_overlap_by_the_same_slices_are_two_volumes(tmp_path: Path) -> None:
    heights = [(0.0, 0.0, float(z)) for z in (*range(6), *range(4, 10))]
    own = [{"AcquisitionNumber": 1 + number // 6} for number in range(12)]
    slices(tmp_path / "series", PIXELS, heights, own)
    with pytest.warns(UserWarning, match="2 volumes"):
        image = regionio.open(tmp_path / "series", scene=1)
    assert image.spacing("Z") == (1.0,)
    np.testing.assert_array_equal(image.read_region(), PIXELS[6:])
