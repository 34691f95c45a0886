"""Which DICOM files make up a slide: levels, parts, labels, pyramids, copies, and other files."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pydicom
import pytest

import regionio
from tests.dicom_slide_files import (
    RESAMPLED,
    picture,
    tiles_of,
    uid,
    write_full,
    write_report,
    write_slide,
)

SIZE, TILE = (130, 170), (32, 48)
LABEL, OVERVIEW, THUMBNAIL, LOCALIZER = (
    ["ORIGINAL", "PRIMARY", name, "NONE"]
    for name in ("LABEL", "OVERVIEW", "THUMBNAIL", "LOCALIZER")
)


def write_level(path: Path, factor: int = 1, *, seed: int = 0, **options: Any) -> np.ndarray:
    """Write a level of its own picture, and return that."""
    pixels = picture(-(-SIZE[0] // factor), -(-SIZE[1] // factor), seed=seed + factor)
    kind = {"ImageType": RESAMPLED} if factor > 1 else {}
    tile = options.pop("tile", TILE)
    write_full(path, pixels, tile, **(kind | {"micron": 0.5 * factor} | options))
    return pixels


def assert_levels(image: regionio.Image, levels: list[np.ndarray]) -> None:
    assert image.level_count == len(levels)
    for number, level in enumerate(levels):
        np.testing.assert_array_equal(image.read_region(None, None, number), level)


@pytest.mark.parametrize("way", ["folder", "level 0", "level 2", "label", "list"])
def test_levels_and_pictures_of_a_series(tmp_path: Path, way: str) -> None:
    folder = tmp_path / "series"
    levels = [write_level(folder / f"{9 - f}.dcm", f) for f in (1, 2, 4)]
    pictures = {
        name: write_level(folder / f"{name}.dcm", seed=n + 20, ImageType=kind, tile=SIZE)
        for n, (name, kind) in enumerate(
            {"label": LABEL, "macro": OVERVIEW, "thumbnail": THUMBNAIL}.items()
        )
    }
    (folder / "notes.txt").write_text("of the scanner")
    (folder / "empty").touch()
    write_report(folder / "report.dcm")
    files = sorted(folder.glob("*[0-9l].dcm"))
    given: dict[str, Any] = {
        "folder": folder, "level 0": folder / "8.dcm", "level 2": folder / "5.dcm",
        "label": folder / "label.dcm", "list": [*files, folder / "macro.dcm"],
    }  # fmt: skip
    image = regionio.open(given[way])
    assert_levels(image, levels)
    assert [level.downsample for level in image.levels] == [(1, 1), (2, 2), (4, 4)]
    assert set(image.associated_images) == set(pictures)
    for name, pixels in pictures.items():
        np.testing.assert_array_equal(image.associated_image(name).read_region(), pixels)
    with openslide.OpenSlide(folder / "8.dcm") as slide:
        assert slide.level_count == 3
        for number, size in enumerate(slide.level_dimensions):
            seen = np.asarray(slide.read_region((0, 0), number, size))[..., :3]
            np.testing.assert_array_equal(image.read_region(None, None, number), seen)


def test_a_list_of_one_file_is_that_file(tmp_path: Path) -> None:
    write_level(tmp_path / "a.dcm")
    small = write_level(tmp_path / "b.dcm", 2)
    label = write_level(tmp_path / "c.dcm", seed=40, ImageType=LABEL)
    assert_levels(regionio.open([tmp_path / "b.dcm"]), [small])
    assert_levels(regionio.open([tmp_path / "c.dcm"]), [label])
    assert regionio.open([tmp_path / "b.dcm"]).spacing("X") == (1.0,)


def test_retired_localizers_and_several_labels(tmp_path: Path) -> None:
    write_level(tmp_path / "a.dcm")
    kinds = [LABEL, LABEL, LOCALIZER]
    pixels = [
        write_level(tmp_path / f"b{n}.dcm", seed=n + 30, ImageType=kind)
        for n, kind in enumerate(kinds)
    ]
    image = regionio.open(tmp_path)
    assert image.associated_images == ("label", "label 2", "macro")
    for name, expected in zip(image.associated_images, pixels, strict=True):
        np.testing.assert_array_equal(image.associated_image(name).read_region(), expected)


def test_levels_of_different_syntaxes_and_tiles(tmp_path: Path) -> None:
    levels = [
        write_level(tmp_path / "0.dcm", 1, codec="jpeg"),
        write_level(tmp_path / "1.dcm", 2, codec="j2k", tile=(64, 64)),
        write_level(tmp_path / "2.dcm", 4, codec="planar", tile=(20, 30)),
        write_level(tmp_path / "3.dcm", 8, tile=(17, 22)),
    ]
    alone = tmp_path / "alone" / "0.dcm"  # OpenSlide refuses the planar level
    alone.parent.mkdir()
    shutil.copy(tmp_path / "0.dcm", alone)
    image = regionio.open(tmp_path)
    assert [level.tile_size for level in image.levels] == [(48, 32), (64, 64), (30, 20), (22, 17)]
    with openslide.OpenSlide(alone) as slide:
        levels[0] = np.asarray(slide.read_region((0, 0), 0, SIZE[::-1]))[..., :3]
    assert_levels(image, levels)


@pytest.mark.parametrize("microns", [None, 0.5])
@pytest.mark.parametrize("factor", [2, 3, 5])
def test_without_spacings_sizes_tell_the_downsample(
    tmp_path: Path, factor: int, microns: float | None
) -> None:
    levels = [write_level(tmp_path / f"{f}.dcm", f, micron=microns) for f in (1, factor)]
    image = regionio.open(tmp_path)
    assert_levels(image, levels)
    assert image.levels[1].downsample == (factor, factor)


def test_levels_that_are_padded_to_whole_tiles(tmp_path: Path) -> None:
    write_level(tmp_path / "0.dcm")
    padded = picture(64, 48, seed=3)  # of 33 × 43 pixels
    write_full(tmp_path / "1.dcm", padded, TILE, micron=2.0)
    image = regionio.open(tmp_path)
    assert image.levels[1].downsample == (4.0, 4.0)
    np.testing.assert_array_equal(image.read_region((44, 84), (9, 8), 1), padded[21:29, 11:20])


def test_locations_are_of_level_0(tmp_path: Path) -> None:
    levels = [write_level(tmp_path / f"{f}.dcm", f) for f in (1, 3)]
    image = regionio.open(tmp_path)
    for x, y in [(0, 0), (29, 32), (30, 31), (31, 59), (7, 5)]:
        found = image.read_region((x, y), (20, 20), level=1)
        wanted = levels[1][y // 3 : y // 3 + 20, x // 3 : x // 3 + 20]
        np.testing.assert_array_equal(found, wanted)


def write_parts(folder: Path, *, sparse: bool, **attributes: Any) -> np.ndarray:
    """Write 20 tiles in three parts whose names are not in their order."""
    pixels = picture(*SIZE)
    frames = tiles_of(pixels, TILE)
    places = [(x * TILE[1] + 1, y * TILE[0] + 1, 0.0, "0") for y in range(5) for x in range(4)]
    bounds = [0, 7, 9, 20]
    for number, name in enumerate("zxy"):
        part = slice(bounds[number], bounds[number + 1])
        write_slide(
            folder / f"{name}.dcm", frames[part], SIZE, places=places[part] if sparse else None,
            **{
                "ConcatenationUID": uid("parts"), "InConcatenationNumber": number + 1,
                "ConcatenationFrameOffsetNumber": bounds[number], "InConcatenationTotalNumber": 3,
                **attributes,
            },
        )  # fmt: skip
    return pixels


@pytest.mark.parametrize("sparse", [False, True])
def test_concatenations(tmp_path: Path, *, sparse: bool) -> None:
    pixels = write_parts(tmp_path, sparse=sparse)
    half = write_level(tmp_path / "half.dcm", 2)
    for given in (tmp_path, tmp_path / "x.dcm", sorted(tmp_path.iterdir())):
        assert_levels(regionio.open(given), [pixels, half])


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("missing", ["x", "y", "z"])
def test_missing_parts_are_told(tmp_path: Path, missing: str, *, sparse: bool) -> None:
    write_parts(tmp_path, sparse=sparse)
    (tmp_path / f"{missing}.dcm").unlink()
    [left, _] = sorted(tmp_path.iterdir())
    for given in (tmp_path, left, [left]):
        with pytest.raises(regionio.CorruptFileError, match=r"part|concatenation") as caught:
            regionio.open(given)
        assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("missing", ["x", "z"])
def test_missing_parts_are_told_by_their_first_frames(tmp_path: Path, missing: str) -> None:
    write_parts(tmp_path, sparse=True, InConcatenationTotalNumber=None)
    (tmp_path / f"{missing}.dcm").unlink()
    with pytest.raises(regionio.CorruptFileError, match="a part is missing"):
        regionio.open(tmp_path)


def test_a_missing_last_part_is_told_by_the_number_of_tiles(tmp_path: Path) -> None:
    write_parts(tmp_path, sparse=False, InConcatenationTotalNumber=None)
    (tmp_path / "y.dcm").unlink()
    with pytest.raises(regionio.CorruptFileError, match="make 20 frames, but there are 9"):
        regionio.open(tmp_path)


def test_two_series_are_two_scenes(tmp_path: Path) -> None:
    series = [uid("first"), uid("second")]
    levels = [
        [
            write_level(tmp_path / f"{number}{f}.dcm", f, seed=30 * number, SeriesInstanceUID=name)
            for f in (1, 2)
        ]
        for number, name in enumerate(series)
    ]
    image = regionio.open(tmp_path)
    assert [scene.name for scene in image.scenes] == series
    assert [scene.shape for scene in image.scenes] == [(*SIZE, 3)] * 2
    for number, name in enumerate(series):
        for scene in (number, name):
            image = regionio.open(tmp_path, scene=scene)
            assert image.scene == number
            assert_levels(image, levels[number])
        assert_levels(regionio.open(tmp_path / f"{number}1.dcm"), levels[number])
    with pytest.raises(KeyError, match=series[0]):
        regionio.open(tmp_path, scene="third")
    with pytest.raises(IndexError, match="has no scene 2; it has 2"):
        regionio.open(tmp_path, scene=2)


@pytest.mark.parametrize("keyword", ["PyramidUID", "FrameOfReferenceUID"])
def test_two_pyramids_of_a_series_are_two_scenes(tmp_path: Path, keyword: str) -> None:
    names = [uid("one"), uid("two")]
    levels = [
        [
            write_level(tmp_path / f"{n}{f}.dcm", f, seed=30 * n, **{keyword: name})
            for f in (1, 2, 4)
        ]
        for n, name in enumerate(names)
    ]
    label = write_level(tmp_path / "label.dcm", seed=77, ImageType=LABEL)
    for number, name in enumerate(names):
        for image in (
            regionio.open(tmp_path, scene=name),
            regionio.open(tmp_path, scene=number),
            regionio.open(tmp_path / f"{number}2.dcm"),
        ):
            assert_levels(image, levels[number])
            np.testing.assert_array_equal(image.associated_image("label").read_region(), label)
    with pytest.raises(KeyError, match="2 scenes"):
        regionio.open(tmp_path, scene=uid(str(tmp_path)))


def test_regions_of_a_slide_that_were_scanned_apart_are_scenes(tmp_path: Path) -> None:
    first, other = picture(*SIZE), picture(100, 120, seed=9)
    write_full(tmp_path / "a.dcm", first, TILE)
    half = write_level(tmp_path / "b.dcm", 2)
    write_full(tmp_path / "c.dcm", other, TILE)
    elsewhere = pydicom.dcmread(tmp_path / "a.dcm")
    elsewhere.SOPInstanceUID = uid("elsewhere")
    elsewhere.TotalPixelMatrixOriginSequence[0].XOffsetInSlideCoordinateSystem = 9.0
    elsewhere.save_as(tmp_path / "d.dcm")
    images = [regionio.open(tmp_path, scene=scene) for scene in range(3)]
    for image, levels in zip(images, [[first, half], [other], [first]], strict=True):
        assert_levels(image, levels)
    assert len({scene.name for scene in images[0].scenes}) == 3


@pytest.mark.parametrize("attribute", ["path", "focus"])
def test_files_of_one_level_hold_its_paths_or_planes(tmp_path: Path, attribute: str) -> None:
    pixels = [picture(*SIZE, gray16=True, seed=n) for n in range(3)]
    half = [picture(65, 85, gray16=True, seed=n + 9) for n in range(3)]
    for n in range(3):
        for name, planes, micron in ((f"{n}.dcm", pixels, 0.5), (f"half{2 - n}.dcm", half, 1.0)):
            options: dict[str, Any] = {"paths": [(f"p{n}", f"stain {n}")]}
            if attribute == "focus":
                origin = pydicom.Dataset()
                origin.ZOffsetInSlideCoordinateSystem = 2.5 * n
                options = {"TotalPixelMatrixOriginSequence": [origin], "focal_step": 2.5}
            write_full(tmp_path / name, planes[n], TILE, micron=micron, **options)
    for given in (tmp_path, tmp_path / "2.dcm"):
        image = regionio.open(given)
        for level, planes in enumerate((pixels, half)):
            for n in range(3):
                which = {"channels": n} if attribute == "path" else {"z": n}
                found = image.read_region(None, None, level, **which)  # type: ignore[call-overload]
                np.testing.assert_array_equal(found, planes[n])
        if attribute == "path":
            assert image.channel_names == ("stain 0", "stain 1", "stain 2")
        else:
            assert image.spacing("Z") == (2.5,)


@pytest.mark.parametrize("axis", ["path", "focus"])
def test_levels_that_lack_planes_are_left_out(tmp_path: Path, axis: str) -> None:
    options: dict[str, Any] = {"paths": [("a", ""), ("b", "")]}
    if axis == "focus":
        options = {"TotalPixelMatrixFocalPlanes": 2, "focal_step": 1.0}
    pixels = [picture(*SIZE, seed=n) for n in range(2)]
    frames = [tile for plane in pixels for tile in tiles_of(plane, TILE)]
    write_slide(tmp_path / "a.dcm", frames, SIZE, **options)
    write_level(tmp_path / "b.dcm", 2, paths=[("a", "")])
    with pytest.warns(UserWarning, match=r"b\.dcm.*left out"):
        image = regionio.open(tmp_path)
    assert image.level_count == 1
    assert image.files == (str(tmp_path / "a.dcm"),)
    if axis == "focus":
        np.testing.assert_array_equal(image.read_region(z=1), pixels[1])
    else:
        np.testing.assert_array_equal(image.read_region(channels=[3, 4, 5]), pixels[1])


def test_copies_are_left_out_but_read_if_asked_for(tmp_path: Path) -> None:
    pixels = write_level(tmp_path / "b.dcm")
    shutil.copy(tmp_path / "b.dcm", tmp_path / "c.dcm")
    shutil.copy(tmp_path / "b.dcm", tmp_path / "a.dcm")
    for given, kept in ((tmp_path, "a"), (tmp_path / "b.dcm", "b"), (tmp_path / "c.dcm", "c")):
        with pytest.warns(UserWarning, match=rf"is a copy of .*{kept}\.dcm"):
            image = regionio.open(given)
        assert image.files == (str(tmp_path / f"{kept}.dcm"),)
        assert_levels(image, [pixels])


def test_files_that_exclude_each_other(tmp_path: Path) -> None:
    first = write_level(tmp_path / "a.dcm")
    second = write_level(tmp_path / "b.dcm", seed=5)
    with pytest.raises(regionio.UnsupportedFormatError, match="one by one") as caught:
        regionio.open(tmp_path)
    assert str(tmp_path / "a.dcm") in str(caught.value)
    for name, pixels in (("a.dcm", first), ("b.dcm", second)):
        assert_levels(regionio.open([tmp_path / name]), [pixels])
        with pytest.warns(UserWarning, match="read without the files of its series beside it"):
            image = regionio.open(tmp_path / name)
        assert_levels(image, [pixels])


@pytest.mark.parametrize(
    "damage", ["cut meta", "cut header", "cut pixels", "no rows", "no matrix", "dangling"]
)
def test_damaged_neighbours_do_not_matter(tmp_path: Path, damage: str) -> None:
    pixels = write_level(tmp_path / "a.dcm")
    other = tmp_path / "b.dcm"
    options: dict[str, dict[str, Any]]
    options = {"no rows": {"Rows": None}, "no matrix": {"TotalPixelMatrixRows": None}}
    write_level(other, 2, **options.get(damage, {}))
    if damage.startswith("cut"):
        keep = {"cut meta": 150, "cut header": 700, "cut pixels": 9000}[damage]
        other.write_bytes(other.read_bytes()[:keep])
    if damage == "dangling":
        other.unlink()
        other.symlink_to(tmp_path / "b.dcm.missing")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_levels(regionio.open(tmp_path / "a.dcm"), [pixels])
    if damage in {"cut meta", "dangling"}:  # nothing tells what it was
        assert_levels(regionio.open(tmp_path), [pixels])
    else:
        with pytest.raises(regionio.CorruptFileError, match=r"b\.dcm"):
            regionio.open(tmp_path)


def test_a_folder_without_images_lists_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("of the scanner")
    with pytest.raises(regionio.UnsupportedFormatError, match=r"notes\.txt"):
        regionio.open(tmp_path)
    write_report(tmp_path / "report.dcm")
    with pytest.raises(regionio.UnsupportedFormatError, match=r"report\.dcm.* holds a report"):
        regionio.open(tmp_path)


def test_another_file_in_the_folder_is_noticed(tmp_path: Path) -> None:
    levels = [write_level(tmp_path / "a.dcm")]
    assert_levels(regionio.open(tmp_path / "a.dcm"), levels)
    levels.append(write_level(tmp_path / "b.dcm", 2))
    assert_levels(regionio.open(tmp_path / "a.dcm"), levels)
