"""Order, spacing and place of frames that were written for it; what decoding them costs."""

from __future__ import annotations

import warnings
from contextlib import nullcontext as told
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

import regionio
from tests.dicom_files import ROOT, noise, rle
from tests.dicom_volumes import (
    AXIAL,
    CR,
    DEFLATED,
    EXPLICIT,
    Groups,
    item,
    multi_frame,
    numbered,
    picture,
    placed,
    slices,
    whole,
)

FRAMES = 6
PIXELS = noise(FRAMES, 7, 9, dtype="uint16")
SHUFFLED = [3, 0, 5, 1, 4, 2]
"""Place in space of each stored frame."""

SORTED = np.argsort(SHUFFLED).tolist()
STORED = list(range(FRAMES))


def along(*step: float, places: list[int] = SHUFFLED, gap: float = 0) -> list[Groups]:
    """Return positions at some steps from a first one; the last is farther by a gap."""
    far = [place + gap * (place == max(places)) for place in places]
    return [placed(*(10 + place * np.array(step))) for place in far]


def merged(*macros: list[Groups]) -> list[Groups]:
    return [{name: value for part in parts for name, value in part.items()} for parts in zip(*macros, strict=True)]  # fmt: skip


IN_ORDER = [numbered(1, place + 1) for place in SHUFFLED]
REVERSED = [numbered(1, FRAMES - place) for place in SHUFFLED]
AT_RANDOM = [numbered(1, number) for number in (2, 1, 3, 4, 5, 6)]
IN_STACK = [numbered(InStackPositionNumber=FRAMES - place) for place in SHUFFLED]
MOMENTS = [numbered(TemporalPositionIndex=1 + n // 3) for n in STORED]
STACKS = [numbered(StackID=str(n % 2), InStackPositionNumber=1) for n in STORED]
ALONE: list[Groups] = [{} for _ in STORED]
MIXED = [
    merged(along(0, 0, 2.5), MOMENTS),
    merged(along(0, 0, 2.5), STACKS),
    along(0, 0, 2.5, places=[3, 0, 5, 1, 1, 2]),
]


@pytest.mark.parametrize(
    ("frames", "order", "spacing"),
    [
        pytest.param(along(0, 0, 2.5), SORTED, 2.5, id="shuffled"),
        pytest.param(along(0, 0, -2.5, places=STORED), STORED, 2.5, id="falling"),
        pytest.param(merged(along(0, 0, 2.5), IN_ORDER), SORTED, 2.5, id="numbered"),
        pytest.param(merged(along(0, 0, 2.5), REVERSED), SORTED[::-1], 2.5, id="numbered-down"),
        pytest.param(merged(along(0, 0, 2.5), IN_STACK), SORTED[::-1], 2.5, id="in-stack"),
        pytest.param(merged(along(0, 0, 2.5), AT_RANDOM), SORTED, 2.5, id="contradicting-numbers"),
        pytest.param(MIXED[0], STORED, None, id="several-moments"),
        pytest.param(MIXED[1], STORED, None, id="several-stacks"),
        pytest.param(along(0, 1.5, 2), SORTED, 2.5, id="tilted-gantry"),
        pytest.param(along(0, 0, 2.5, gap=0.5), SORTED, None, id="gap"),
        pytest.param(MIXED[2], STORED, None, id="two-at-a-place"),
        pytest.param(merged(ALONE, AT_RANDOM), STORED, None, id="no-positions"),
        pytest.param([*along(0, 0, 2.5)[:5], {}], STORED, None, id="one-without-position"),
        pytest.param([placed(0, 0)] * FRAMES, STORED, None, id="positions-of-two-numbers"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("syntax", [ROOT, EXPLICIT, ROOT + ".2", DEFLATED])
def test_order_and_spacing(
    tmp_path: Path, frames: list[Groups], order: list[int], spacing: float | None, syntax: str
) -> None:
    path = multi_frame(tmp_path / "volume.dcm", PIXELS, frames, syntax=syntax)
    is_mixed = frames in MIXED
    with pytest.warns(UserWarning, match="6 frames .* no single volume") if is_mixed else told():
        image = regionio.open(path)
    assert image.frame_indices is not None
    assert image.frame_indices.tolist() == order
    np.testing.assert_array_equal(image.read_region(), PIXELS[order])
    assert image.dims == "ZYX"
    assert image.spacing("XYZ") == pytest.approx((0.5, 0.7, spacing))
    assert image.spacing_units("XZ") == ("millimeter", None if spacing is None else "millimeter")
    stored = regionio.open(path, frame_order="stored")
    assert stored.frame_indices is not None
    assert stored.frame_indices.tolist() == STORED
    np.testing.assert_array_equal(stored.read_region(), PIXELS)
    if order != STORED:
        assert stored.spacing("Z") == (None,)
        assert stored.affine is None


@pytest.mark.parametrize("step", [(0, 0, 2.5), (0, 1.5, 2), (0, 0, -2.5)])
def test_affine_leads_to_every_frame(tmp_path: Path, step: tuple[float, ...]) -> None:
    orientation = [0.6, 0.8, 0, -0.8, 0.6, 0]
    frames = along(*step)
    path = multi_frame(tmp_path / "volume.dcm", PIXELS, frames, orientation=orientation)
    image = regionio.open(path)
    order, affine = image.frame_indices, image.affine
    assert order is not None
    assert affine is not None
    for z, number in enumerate(order):
        position = frames[number]["PlanePositionSequence"]["ImagePositionPatient"]
        down, across = np.array(orientation[3:]), np.array(orientation[:3])
        np.testing.assert_allclose((affine @ [0, 0, z, 1])[:3], position)
        moved = position + 0.5 * 4 * across + 0.7 * 3 * down
        np.testing.assert_allclose((affine @ [4, 3, z, 1])[:3], moved)
    assert image.direction is not None
    np.testing.assert_allclose(np.linalg.norm(image.direction, axis=0), 1)


def test_frames_that_lie_askew_keep_their_order_and_have_no_direction(tmp_path: Path) -> None:
    turned = [
        placed(0, 0, n) | {"PlaneOrientationSequence": {"ImageOrientationPatient": plane}}
        for n, plane in zip(SHUFFLED, [AXIAL, [0, 1, 0, 0, 0, -1]] * 3, strict=True)
    ]
    path = multi_frame(tmp_path / "a.dcm", PIXELS, turned, orientation=None)
    image = regionio.open(path)
    np.testing.assert_array_equal(image.frame_indices, STORED)
    assert (image.spacing("Z"), image.direction, image.affine) == ((None,), None, None)


def test_pixels_of_several_sizes_have_no_spacing(tmp_path: Path) -> None:
    sizes = [{"PixelMeasuresSequence": {"PixelSpacing": [1 + n, 1]}} for n in STORED]
    path = multi_frame(tmp_path / "a.dcm", PIXELS, merged(along(0, 0, 2.5), sizes))
    assert regionio.open(path).spacing("XYZ") == (None, None, 2.5)


@pytest.mark.parametrize(
    "attributes",
    [{"VolumetricProperties": "SAMPLED"}, {"ImageType": ["ORIGINAL", "PRIMARY", "TOMO_PROJ"]}],
)
def test_projections_are_not_sorted(tmp_path: Path, attributes: dict[str, Any]) -> None:
    path = multi_frame(tmp_path / "a.dcm", PIXELS, along(0, 0, 2.5), **attributes)
    image = regionio.open(path)
    np.testing.assert_array_equal(image.frame_indices, STORED)
    assert image.spacing("Z") == (None,)


def test_surplus_items_warn_and_say_nothing(tmp_path: Path) -> None:
    path = multi_frame(tmp_path / "a.dcm", PIXELS[:4], along(0, 0, 2.5))
    with pytest.warns(UserWarning, match="4 frames, but functional groups of 6"):
        image = regionio.open(path)
    np.testing.assert_array_equal(image.frame_indices, np.argsort(SHUFFLED[:4]))


def test_missing_items_are_an_error(tmp_path: Path) -> None:
    path = multi_frame(tmp_path / "a.dcm", PIXELS, along(0, 0, 2.5)[:5])
    with pytest.raises(regionio.CorruptFileError, match="functional groups of only 5"):
        regionio.open(path)


TIMED: dict[str, Any] = {"FrameIncrementPointer": 0x00181063, "FrameTime": 40}


@pytest.mark.parametrize(
    ("attributes", "dims"),
    [
        (TIMED, "TYX"),
        ({"FrameIncrementPointer": [0x00181065], "FrameTimeVector": [0] * 6}, "TYX"),
        ({"FrameIncrementPointer": [0x00181063, 0x00081416], "FrameTime": 40}, "TYX"),
        ({"FrameTime": 40}, "TYX"),
        ({"FrameIncrementPointer": 0x00540080, "FrameTime": 40}, "ZYX"),
        ({}, "ZYX"),
    ],
)
def test_cine_uses_time(tmp_path: Path, attributes: dict[str, Any], dims: str) -> None:
    image = regionio.open(picture(tmp_path / "a.dcm", PIXELS, **attributes))
    assert (image.dims, image.is_volume) == (dims, dims == "ZYX")
    np.testing.assert_array_equal(image.frame_indices, STORED)
    np.testing.assert_array_equal(whole(image)[..., 0], PIXELS)
    assert image.spacing("ZT") == (None, None)
    if dims == "TYX":
        patch = image.read_region((2, 1), (4, 3), t=4)
        np.testing.assert_array_equal(patch, PIXELS[4, 1:4, 2:6])


def test_frame_times_of_what_has_a_place_are_no_cine(tmp_path: Path) -> None:
    path = multi_frame(tmp_path / "a.dcm", PIXELS, along(0, 0, 2.5), **TIMED)
    assert regionio.open(path).dims == "ZYX"
    without_place = multi_frame(tmp_path / "b.dcm", PIXELS, ALONE, FrameTime=40)
    assert regionio.open(without_place).dims == "ZYX"
    assert regionio.open(multi_frame(tmp_path / "c.dcm", PIXELS, ALONE, **TIMED)).dims == "TYX"


@pytest.mark.parametrize(
    ("offsets", "orientation", "spacing", "direction"),
    [
        ([0, 3, 6, 9, 12, 15], AXIAL, 3, [0, 0, 1]),
        ([0, -3, -6, -9, -12, -15], AXIAL, 3, [0, 0, -1]),
        ([0, 3, 6, 9, 12, 15], [1, 0, 0, 0, -1, 0], 3, [0, 0, -1]),
        ([0, 3, 6, 9, 12, 15], [0, 1, 0, 0, 0, -1], 3, [-1, 0, 0]),
        ([-20, -17, -14, -11, -8, -5], AXIAL, 3, [0, 0, 1]),
        ([0, 3, 6, 9, 12, 25], AXIAL, None, [0, 0, 1]),
        ([-5, -2, 1, 4, 7, 10], AXIAL, None, None),
        ([-20, -17, -14, -11, -8, -5], [1, 0, 0, 0, -1, 0], None, None),
        ([0, 3, 6], AXIAL, None, None),
    ],
)
def test_dose_grids(
    tmp_path: Path,
    offsets: list[float],
    orientation: list[float],
    spacing: float | None,
    direction: list[float] | None,
) -> None:
    """Offsets that begin with 0 are distances, those that begin with the first z are places."""
    path = picture(
        tmp_path / "dose.dcm",
        noise(6, 4, 5, dtype="uint32"),
        GridFrameOffsetVector=offsets,
        ImagePositionPatient=[1, 2, -20],
        ImageOrientationPatient=orientation,
        PixelSpacing=[2, 2.5],
        FrameIncrementPointer=0x3004000C,
    )
    image = regionio.open(path)
    assert image.spacing("XYZ") == (2.5, 2, spacing)
    if direction is None:
        assert image.direction is None
        return
    assert image.direction is not None
    np.testing.assert_array_equal(image.direction[:, 2], direction)
    np.testing.assert_array_equal(image.origin, [1, 2, -20])
    np.testing.assert_array_equal(image.frame_indices, range(6))


# ---- series of single slices


HEIGHTS = [(0.0, 0.0, 2.0 * place) for place in SHUFFLED]


def test_slices_are_sorted_by_their_place(tmp_path: Path) -> None:
    slices(tmp_path / "s", PIXELS, HEIGHTS)
    image = regionio.open(tmp_path / "s")
    np.testing.assert_array_equal(image.read_region(), PIXELS[SORTED])
    np.testing.assert_array_equal(image.frame_indices, SORTED)
    assert [Path(name).name for name in image.files] == [f"slice{n}.dcm" for n in STORED]
    assert image.spacing("XYZ") == (0.5, 0.7, 2)
    stored = regionio.open(tmp_path / "s", frame_order="stored")
    np.testing.assert_array_equal(stored.read_region(), PIXELS)
    one = regionio.open(tmp_path / "s" / "slice2.dcm")
    assert (one.dims, one.spacing("XYZ")) == ("YX", (0.5, 0.7, None))
    np.testing.assert_array_equal(one.origin, HEIGHTS[2])


@pytest.mark.parametrize(
    ("own", "heights", "reason"),
    [
        ({"Rows": 9, "Columns": 7}, HEIGHTS, "9×7 pixels, 'slice2.dcm' of the same series 7×9"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, HEIGHTS, "do not lie parallel"),
        ({"PixelSpacing": [0.7, 0.9]}, HEIGHTS, r"pixels of 0\.7×0\.5 and 0\.7×0\.9 mm"),
        ({"PixelRepresentation": 1}, HEIGHTS, "do not fit together: samples of 1 × int16 and"),
    ],
)
def test_slices_that_do_not_fit_together_say_why(
    tmp_path: Path, own: dict[str, Any], heights: list[Any], reason: str
) -> None:
    slices(tmp_path / "s", PIXELS, heights, own=[{}, {}, own, {}, {}, {}])
    with pytest.raises(regionio.UnsupportedFormatError, match=reason) as caught:
        regionio.open(tmp_path / "s")
    assert "slice" in str(caught.value)
    if set(own) <= {"ImageOrientationPatient", "PixelSpacing"}:
        image = regionio.open(tmp_path / "s", frame_order="stored")
        np.testing.assert_array_equal(image.read_region(), PIXELS)
        assert image.spacing("X") == ((0.5,) if "PixelSpacing" not in own else (None,))


@pytest.mark.parametrize(
    ("heights", "order"),
    [
        ([(0.0, 0.0, 1.0)] * FRAMES, STORED),
        ([None] * FRAMES, STORED),
        ([*HEIGHTS[:5], None], STORED),
        ([(0.0, 0.0, z) for z in (0.0, 1.0, 2.0, 4.0, 5.0, 6.0)], STORED),
        ([(0.0, 0.0, z) for z in (0.0, 2.0, 1.0, 4.0, 5.0, 6.0)], [0, 2, 1, 3, 4, 5]),
    ],
)
def test_slices_without_even_places_have_no_spacing(
    tmp_path: Path, heights: list[Any], order: list[int]
) -> None:
    slices(tmp_path / "s", PIXELS, heights)
    is_one_place = heights[0] == heights[1] is not None
    with pytest.warns(UserWarning, match="lie at 1 places") if is_one_place else told():
        image = regionio.open(tmp_path / "s")
    np.testing.assert_array_equal(image.frame_indices, order)
    np.testing.assert_array_equal(image.read_region(), PIXELS[order])
    assert image.spacing("XYZ") == (0.5, 0.7, None)
    assert image.affine is None


def test_stored_order_of_slices_is_that_of_their_numbers(tmp_path: Path) -> None:
    own = [{"InstanceNumber": 10 * place + 1} for place in SHUFFLED]
    slices(tmp_path / "s", PIXELS, [None] * FRAMES, own=own)
    image = regionio.open(tmp_path / "s")
    np.testing.assert_array_equal(image.read_region(), PIXELS[SORTED])
    assert [Path(name).name for name in image.files] == [f"slice{n}.dcm" for n in SORTED]
    np.testing.assert_array_equal(image.frame_indices, STORED)


def test_slices_of_different_transfer_syntaxes(tmp_path: Path) -> None:
    kinds: list[dict[str, Any]] = [
        {"syntax": ROOT},
        {"syntax": ROOT + ".2"},
        {"syntax": DEFLATED},
        {"syntax": ROOT + ".5", "encode": rle},
        {"syntax": ROOT + ".4.80", "encode": lambda p: imagecodecs.jpegls_encode(p[..., 0].copy())},
        {"syntax": ROOT + ".4.90", "encode": lambda p: imagecodecs.jpeg2k_encode(p[..., 0].copy(), reversible=True, level=0)},
    ]  # fmt: skip
    slices(tmp_path / "s", PIXELS, HEIGHTS, own=kinds)
    image = regionio.open(tmp_path / "s")
    np.testing.assert_array_equal(image.read_region(), PIXELS[SORTED])
    locations = [(2, 1, z) for z in (5, 0, 3, 3, 1, 2, 4)]
    loader = image.read_region(locations, (5, 4), batch_size=7)
    [batch] = loader
    wanted = [PIXELS[SORTED][z, 1:5, 2:7] for _, _, z in locations]
    np.testing.assert_array_equal(batch, wanted)
    assert loader.stats.tiles_decoded == 6


def test_two_series_of_a_folder_are_two_scenes(tmp_path: Path) -> None:
    slices(tmp_path / "s", PIXELS, HEIGHTS)
    for path in (tmp_path / "s").iterdir():
        path.rename(path.with_name("b" + path.name))
    other = noise(3, 5, 4)
    slices(tmp_path / "s", other, HEIGHTS[:3], SeriesInstanceUID="1.2.826.9")
    for path in (tmp_path / "s").glob("slice*"):  # else they are copies of the others
        content = path.read_bytes().replace(b"1.2.826.2.", b"1.2.826.7.")
        path.write_bytes(content)
    image = regionio.open(tmp_path / "s")
    assert [scene.name for scene in image.scenes] == ["1.2.826.3", "1.2.826.9"]
    assert [scene.shape for scene in image.scenes] == [(6, 7, 9), (3, 5, 4)]
    np.testing.assert_array_equal(image.read_region(), PIXELS[SORTED])
    for scene in (1, "1.2.826.9"):
        second = regionio.open(tmp_path / "s", scene=scene)
        assert second.scene == 1
        np.testing.assert_array_equal(second.read_region(), other[np.argsort(SHUFFLED[:3])])
    with pytest.raises(IndexError, match="no scene 2"):
        regionio.open(tmp_path / "s", scene=2)


@pytest.mark.parametrize("modality", ["MG", "CR", "DX"])
def test_mammograms_are_scenes_and_no_volume(tmp_path: Path, modality: str) -> None:
    slices(tmp_path / "s", PIXELS[:4], [None] * 4, Modality=modality, SOPClassUID=CR)
    image = regionio.open(tmp_path / "s")
    assert len(image.scenes) == 4
    for number in range(4):
        picture = regionio.open(tmp_path / "s", scene=number)
        assert (picture.dims, picture.is_volume) == ("YX", False)
        np.testing.assert_array_equal(picture.read_region(), PIXELS[number])


# ---- what reading costs


ENCODED: list[dict[str, Any]] = [
    {"syntax": EXPLICIT},
    {"syntax": ROOT + ".2"},
    {"syntax": DEFLATED},
    {"syntax": ROOT + ".5", "encode": rle},
]


@pytest.mark.parametrize("how", ENCODED, ids=lambda how: how["syntax"][16:] or "implicit")
@pytest.mark.parametrize("workers", [0, 2])
def test_patches_decode_the_frames_they_need_once(
    tmp_path: Path, how: dict[str, Any], workers: int
) -> None:
    pixels = noise(40, 33, 31, dtype="uint16")
    places = np.random.default_rng(3).permutation(40)
    frames = [placed(0, 0, float(place)) for place in places]
    image = regionio.open(multi_frame(tmp_path / "a.dcm", pixels, frames, **how))
    volume = pixels[np.argsort(places)]
    random = np.random.default_rng(5)
    locations = random.integers(0, [20, 20, 12], (60, 3))
    loader = image.read_region(locations, (10, 8, 3), batch_size=60, num_workers=workers)
    [batch] = loader
    wanted = [volume[z : z + 3, y : y + 8, x : x + 10] for x, y, z in locations]
    np.testing.assert_array_equal(batch, wanted)
    needed = {z + k for z in locations[:, 2].tolist() for k in range(3)}
    assert loader.stats.tiles_decoded == len(needed) < 40
    assert loader.stats.regions == 60


def test_bits_of_frames_that_begin_within_bytes(tmp_path: Path) -> None:
    bits = noise(FRAMES, 3, 5) % 2
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    path = multi_frame(tmp_path / "a.dcm", bits, along(0, 0, 2.5), BitsAllocated=1, BitsStored=1, HighBit=0)  # fmt: skip
    content = path.read_bytes()
    start = content.index(bits.tobytes())
    length = len(packed) + len(packed) % 2
    head = content[: start - 4] + length.to_bytes(4, "little")
    path.write_bytes(head + packed.ljust(length, b"\0"))
    image = regionio.open(path)
    np.testing.assert_array_equal(image.read_region(), bits[SORTED])
    [batch] = image.read_region([(1, 1, z) for z in range(6)], (3, 2), batch_size=6)
    np.testing.assert_array_equal(batch, bits[SORTED][:, 1:3, 1:4])
    shown = regionio.open(path, values="display")
    np.testing.assert_array_equal(shown.read_region(), bits[SORTED] * 255)


def test_opening_warns_of_nothing(tmp_path: Path) -> None:
    path = multi_frame(tmp_path / "a.dcm", PIXELS, along(0, 0, 2.5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for values in ("auto", "stored", "modality", "display"):
            regionio.open(path, values=values).read_region()


def test_concatenated_stacks_are_seen_as_several(tmp_path: Path) -> None:
    frames = merged(along(0, 0, 2.5), [numbered(StackID=str(n // 3)) for n in STORED])
    parts = []
    for number in (0, 1):
        here = slice(3 * number, 3 * number + 3)
        parts.append(
            multi_frame(
                tmp_path / f"{number}.dcm",
                PIXELS[here],
                frames[here],
                ConcatenationUID="1.2.9",
                InConcatenationNumber=number + 1,
                InConcatenationTotalNumber=2,
                ConcatenationFrameOffsetNumber=3 * number,
            )
        )
    with pytest.warns(UserWarning, match="of several stacks"):
        image = regionio.open(parts[::-1])
    np.testing.assert_array_equal(image.read_region(), PIXELS)
    np.testing.assert_array_equal(image.frame_indices, STORED)
    assert image.spacing("Z") == (None,)


def test_profiles_of_color_volumes(tmp_path: Path) -> None:
    profile = imagecodecs.cms_profile("adobergb")
    frames = noise(2, 6, 5, 3)
    image = regionio.open(picture(tmp_path / "a.dcm", frames, ICCProfile=profile))
    assert image.icc_profile == profile
    assert image.dims == "ZYXC"
    converted = regionio.open(tmp_path / "a.dcm", icc="srgb").read_region()
    srgb = imagecodecs.cms_profile("srgb")
    wanted = [
        imagecodecs.cms_transform(f, profile, srgb, colorspace="rgb", outcolorspace="rgb")
        for f in frames
    ]
    np.testing.assert_array_equal(converted, wanted)
    gray = picture(tmp_path / "b.dcm", PIXELS, ICCProfile=profile)
    np.testing.assert_array_equal(regionio.open(gray, icc="srgb").read_region(), PIXELS)


def test_groups_may_be_missing_or_empty(tmp_path: Path) -> None:
    path = multi_frame(tmp_path / "a.dcm", PIXELS, ALONE, orientation=None)
    image = regionio.open(path)
    np.testing.assert_array_equal(image.read_region(), PIXELS)
    assert (image.origin, image.direction) == (None, None)
    path = picture(tmp_path / "b.dcm", PIXELS, SharedFunctionalGroupsSequence=[item()])
    np.testing.assert_array_equal(regionio.open(path).read_region(), PIXELS)
