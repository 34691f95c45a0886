"""Leica SCN: areas are scenes, the image of the whole slide is the macro, z and channels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile

import regionio
from regionio.testing import ImageConformance

SLIDE = Path(__file__).parent / "data" / "CMU-1-Small-Region.svs"
PIXELS = tifffile.imread(SLIDE)
NANOMETRES = 500
"""A pixel of level 0."""

SLIDE_SIZE = (500_000, 1_500_000)
MACRO = PIXELS[:300, :100]
# name, pixels of level 0, place on the slide in nanometres
AREAS = (
    ("first", PIXELS[:700, :400], (50_000, 100_000)),
    ("second", PIXELS[800:1300, 900:1400], (200_350, 800_350)),
)
FOCAL_PLANES = 2
SCALES = (1, 4)


def element(tag: str, inside: str = "", **attributes: Any) -> str:
    told = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<{tag}{told}>{inside}</{tag}>"


def image_xml(
    name: str,
    size: tuple[int, int],
    view: Sequence[int],
    dimensions: Sequence[dict[str, int]],
    settings: str = "",
) -> str:
    pixels = "".join(element("dimension", "", **dimension) for dimension in dimensions)
    illumination = element("illuminationSource", "brightfield")
    told = (
        element("creationDate", "2012-01-01T00:00:00.00Z")
        + element("device", model="Leica SCN400", version="1.4")
        + element("pixels", pixels, sizeX=size[0], sizeY=size[1])
        + element(
            "view", offsetX=view[0], offsetY=view[1], sizeX=view[2], sizeY=view[3], spacingZ=1500
        )
        + element(
            "scanSettings",
            element("objectiveSettings", element("objective", "20"))
            + element("illuminationSettings", element("numericalAperture", "0.4") + illumination)
            + settings,
        )
    )
    return element("image", told, name=name)


def scn_xml(*images: str) -> str:
    collection = element(
        "collection",
        element("barcode", "QUJD") + "".join(images),
        name="slide",
        sizeX=SLIDE_SIZE[0],
        sizeY=SLIDE_SIZE[1],
    )
    scn = element("scn", collection, xmlns="http://www.leica-microsystems.com/scn/2010/10/01")
    return f'<?xml version="1.0"?>{scn}'


def focal_plane(pixels: np.ndarray, scale: int, z: int) -> np.ndarray:
    """Return other pixels for every plane, none of which is another one shifted."""
    return np.ascontiguousarray(np.roll(pixels, 31 * z, axis=0)[::scale, ::scale])


def write_scn(path: Path, description: str, pages: Sequence[np.ndarray], **options: Any) -> str:
    options = {"compression": "jpeg", "photometric": "rgb", "metadata": None, **options}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for number, page in enumerate(pages):
            told = description if number == 0 else None
            writer.write(page, tile=(128, 128), description=told, **options)
    return str(path)


@pytest.fixture
def slide(tmp_path: Path) -> str:
    """Write the macro and two areas, of two levels and two focal planes each."""
    pages: list[np.ndarray] = [MACRO]
    height, width = MACRO.shape[:2]
    first = {"sizeX": width, "sizeY": height, "r": 0, "ifd": 0}
    images = [image_xml("whole", (width, height), (0, 0, *SLIDE_SIZE), [first])]
    for name, area, place in AREAS:
        dimensions = []
        for z in range(FOCAL_PLANES):
            for r, scale in enumerate(SCALES):
                page = focal_plane(area, scale, z)
                dimension = {"sizeX": page.shape[1], "sizeY": page.shape[0], "r": r}
                dimensions.append({**dimension, "c": 0, "z": z, "ifd": len(pages)})
                pages.append(page)
        height, width = area.shape[:2]
        view = (*place, width * NANOMETRES, height * NANOMETRES)
        images.append(image_xml(name, (width, height), view, dimensions))
    return write_scn(tmp_path / "slide.scn", scn_xml(*images), pages)


class TestLeica(ImageConformance):
    regions = 8

    @pytest.fixture
    def path(self, slide: str) -> str:
        return slide

    @pytest.fixture
    def expected(self, path: str) -> list[np.ndarray]:
        with tifffile.TiffFile(path) as tiff:
            return [level.asarray()[0] for level in tiff.series[1].levels]


@pytest.mark.parametrize("scene", [0, 1])
def test_every_focal_plane_of_every_level_equals_tifffile(slide: str, scene: int) -> None:
    image = regionio.open(slide, scene=scene)
    assert image.dims == "ZYXC"
    assert image.size("Z") == (FOCAL_PLANES,)
    with tifffile.TiffFile(slide) as tiff:
        levels = tiff.series[1 + scene].levels
        assert image.level_count == len(levels) == len(SCALES)
        for number, level in enumerate(levels):
            for z, plane in enumerate(level.asarray()):
                np.testing.assert_array_equal(image.read_region(level=number, z=z), plane)


def test_areas_are_scenes_that_lie_on_a_canvas(slide: str) -> None:
    image = regionio.open(slide)
    assert image.format == "leica"
    assert [scene.name for scene in image.scenes] == ["first", "second"]
    assert [scene.offset for scene in image.scenes] == [(100, 200), (400, 1600)]
    assert [scene.shape for scene in image.scenes] == [(2, 700, 400, 3), (2, 500, 500, 3)]
    assert regionio.open(slide, scene="second").size("YX") == (500, 500)


@pytest.mark.parametrize("scene", [0, 1])
def test_areas_lie_where_openslide_has_them(slide: str, scene: int) -> None:
    with regionio.open(slide, scene=scene) as image, openslide.OpenSlide(slide) as other:
        offset = image.scenes[scene].offset
        assert offset is not None
        width, height = image.size("XY")
        theirs = np.asarray(other.read_region(offset, 0, (width, height)))
        assert (theirs[..., 3] == 255).all()
        np.testing.assert_array_equal(image.read_region(), theirs[..., :3])
        assert len(other.level_dimensions) == image.level_count
        downsamples = image.resolutions["level_downsamples"]
        assert other.level_downsamples == pytest.approx(downsamples, rel=2e-3)


def test_spacing_follows_from_the_view(slide: str) -> None:
    image = regionio.open(slide)
    assert image.spacing("XYZ") == (0.5, 0.5, 1.5)
    assert image.levels[1].downsample == (4.0, 4.0)


def test_the_image_of_the_whole_slide_is_the_macro(slide: str) -> None:
    for scene in (0, 1):
        image = regionio.open(slide, scene=scene)
        assert image.associated_images == ("macro",)
        macro = image.associated_image("macro").read_region()
        np.testing.assert_array_equal(macro, tifffile.imread(slide, key=0))


def test_metadata_is_that_of_the_collection(slide: str) -> None:
    told = regionio.open(slide).metadata["leica"]
    assert told["barcode"] == "QUJD"
    assert [image["name"] for image in told["image"]] == ["whole", "first", "second"]
    assert told["image"][1]["device"]["model"] == "Leica SCN400"
    assert told["image"][1]["scanSettings"]["objectiveSettings"]["objective"] == "20"


def test_channels_are_planes_with_names(tmp_path: Path) -> None:
    planes = [np.ascontiguousarray(PIXELS[:300, :200, c]) for c in range(3)]
    dimensions = [{"sizeX": 200, "sizeY": 300, "r": 0, "c": c, "ifd": c} for c in (2, 1, 0)]
    channels = "".join(
        element("channel", index=c, name=name) for c, name in [(1, "Cy3"), (0, "DAPI"), (2, "FITC")]
    )
    view = (0, 0, 200 * NANOMETRES, 300 * NANOMETRES)
    xml = scn_xml(
        image_xml("cells", (200, 300), view, dimensions, element("channelSettings", channels))
    )
    path = write_scn(tmp_path / "cells.scn", xml, planes, photometric="minisblack")
    image = regionio.open(path)
    assert image.dims == "YXC"
    assert image.channel_names == ("DAPI", "Cy3", "FITC")
    expected = [tifffile.imread(path, key=c) for c in range(3)]
    np.testing.assert_array_equal(image.read_region(), np.stack(expected, axis=2))
    np.testing.assert_array_equal(image.read_region(channels="Cy3"), expected[1])
    outside = np.asarray(image.read_region((-20, 0), (10, 10)))
    assert (outside == 0).all()  # white is for colour


def test_a_lone_image_of_the_whole_slide_is_a_scene(tmp_path: Path) -> None:
    dimension = {"sizeX": 100, "sizeY": 300, "r": 0, "ifd": 0}
    xml = scn_xml(image_xml("whole", (100, 300), (0, 0, *SLIDE_SIZE), [dimension]))
    image = regionio.open(write_scn(tmp_path / "whole.scn", xml, [MACRO]))
    assert image.size("XY") == (100, 300)
    assert image.associated_images == ()


@pytest.mark.parametrize("last", [2, 10**9, -1])
def test_planes_that_are_numbered_with_gaps_are_an_error(tmp_path: Path, last: int) -> None:
    size = {"sizeX": 100, "sizeY": 300, "r": 0}
    dimensions = [{**size, "z": 0, "ifd": 0}, {**size, "z": last, "ifd": 1}]
    xml = scn_xml(image_xml("gap", (100, 300), (0, 0, 50_000, 150_000), dimensions))
    path = write_scn(tmp_path / "gap.scn", xml, [MACRO, MACRO[::-1]])
    with pytest.raises(regionio.CorruptFileError, match="lists 2 planes of image 'gap'"):
        regionio.open(path)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('ifd="0"', 'ifd="7"', "page 7, but the file has 1"),
        ("<dimension", "<other", "no pages"),
        ("<view", "<other", "view"),
        ("<image", "<other", "no images"),
    ],
)
def test_contradictions_are_errors(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    dimension = {"sizeX": 100, "sizeY": 300, "r": 0, "ifd": 0}
    xml = scn_xml(image_xml("whole", (100, 300), (0, 0, *SLIDE_SIZE), [dimension]))
    xml = xml.replace(old, new).replace(old.replace("<", "</"), new.replace("<", "</"))
    path = write_scn(tmp_path / "damaged.scn", xml, [MACRO])
    with pytest.raises(regionio.CorruptFileError, match=rf"damaged\.scn.*{complaint}"):
        regionio.open(path)


def test_planes_of_a_level_that_differ_in_size_are_refused(tmp_path: Path) -> None:
    dimensions = [{"sizeX": 100, "sizeY": 300, "r": 0, "z": z, "ifd": z} for z in (0, 1)]
    xml = scn_xml(image_xml("odd", (100, 300), (0, 0, 50_000, 150_000), dimensions))
    path = write_scn(tmp_path / "odd.scn", xml, [MACRO, MACRO[:200]])
    with pytest.raises(regionio.UnsupportedFormatError, match="page 1: 100×200 pixels"):
        regionio.open(path)


def test_the_stand_in_equals_tifffile_and_openslide(wider_data: Path) -> None:
    path = wider_data / "derived/vendor_standins/leica.scn"
    with (
        regionio.open(path) as image,
        openslide.OpenSlide(path) as other,
        tifffile.TiffFile(path) as tiff,
    ):
        offset = image.scenes[0].offset
        assert offset == (4008, 6012)
        assert image.spacing("XY") == pytest.approx((0.499, 0.499))
        for number, level in enumerate(tiff.series[1].levels):
            ours = np.asarray(image.read_region(level=number))
            np.testing.assert_array_equal(ours, level.asarray())
            theirs = np.asarray(other.read_region(offset, number, ours.shape[1::-1]))
            np.testing.assert_array_equal(ours, theirs[..., :3])
        macro = np.asarray(image.associated_image("macro").read_region())
        np.testing.assert_array_equal(macro, np.asarray(other.associated_images["macro"])[..., :3])
