"""Philips TIFF: padded levels, spacing in millimetres, pictures inside the XML, absent tiles."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image as Picture

import regionio
from regionio.testing import ImageConformance

SLIDE = Path(__file__).parent / "data" / "CMU-1-Small-Region.svs"
PIXELS = tifffile.imread(SLIDE)
TILE = 256
BASE = PIXELS[:1280, :768]
# What a level shows, and what its file stores: whole tiles
SHOWN = [(1280, 768), (640, 384), (320, 192)]
STORED = [(1280, 768), (768, 512), (512, 256)]
# Real scanners' numbers are not exact multiples
SPACINGS = [(0.000226891, 0.000226907), (0.000453782, 0.000453841), (0.000907491, 0.000907628)]


def attribute(name: str, value: str) -> str:
    text = f'<Attribute Name="{name}" Group="0x301D" Element="0x1004" PMSVR="IString">'
    return f"{text}{value}</Attribute>"


def array(name: str, kind: str, items: Sequence[str]) -> str:
    objects = "".join(f'<DataObject ObjectType="{kind}">{item}</DataObject>' for item in items)
    return attribute(name, f"<Array>{objects}</Array>")


def spacing(row: float, column: float) -> str:
    return attribute("DICOM_PIXEL_SPACING", escape(f'"{row:.9f}" "{column:.9f}"', {'"': "&quot;"}))


def philips_xml(
    spacings: Sequence[tuple[float, float]], pictures: dict[str, str] | None = None
) -> str:
    levels = [
        spacing(*pair) + attribute("PIIM_PIXEL_DATA_REPRESENTATION_NUMBER", str(number))
        for number, pair in enumerate(spacings)
    ]
    slide = (
        attribute("DICOM_DERIVATION_DESCRIPTION", "tiff-useBigTIFF=0-levels=10002,10000,10001")
        + spacing(*spacings[0])
        + attribute("PIM_DP_IMAGE_TYPE", "WSI")
        + array("PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE", "PixelDataRepresentation", levels)
    )
    others = [
        attribute("PIM_DP_IMAGE_DATA", text) + attribute("PIM_DP_IMAGE_TYPE", kind)
        for kind, text in (pictures or {}).items()
    ]
    images = array("PIM_DP_SCANNED_IMAGES", "DPScannedImage", [slide, *others])
    maker = attribute("DICOM_MANUFACTURER", "PHILIPS")
    return (
        '<?xml version="1.0" encoding="UTF-8" ?>'
        f'<DataObject ObjectType="DPUfsImport">{maker}{images}</DataObject>'
    )


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def write_philips(
    path: Path,
    description: str,
    *,
    absent: Sequence[int] = (),
    label: np.ndarray | None = None,
) -> str:
    """Write levels padded to whole tiles; `absent` tiles of level 0 have no bytes."""
    options: dict[str, Any] = {"photometric": "rgb", "compression": "jpeg", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for number, (shown, stored) in enumerate(zip(SHOWN, STORED, strict=True)):
            level = BASE[:: 2**number, :: 2**number]
            level = np.pad(
                level, [(0, s - n) for s, n in zip(stored, shown, strict=True)] + [(0, 0)]
            )
            rows, columns = (size // TILE for size in stored)
            blocks = level.reshape(rows, TILE, columns, TILE, 3).swapaxes(1, 2)
            tiles = [np.ascontiguousarray(t) for t in blocks.reshape(-1, TILE, TILE, 3)]
            writer.write(
                (None if number == 0 and i in absent else tile for i, tile in enumerate(tiles)),
                shape=level.shape,
                dtype=level.dtype,
                tile=(TILE, TILE),
                software="Philips DP v1.0",
                description=description if number == 0 else None,
                subfiletype=int(number > 0),
                **options,
            )
        if label is not None:
            writer.write(label, description="Label", rowsperstrip=64, **options)
    return str(path)


@pytest.fixture
def slide(tmp_path: Path) -> str:
    return write_philips(tmp_path / "slide.tiff", philips_xml(SPACINGS))


class TestPhilips(ImageConformance):
    regions = 8

    @pytest.fixture
    def path(self, slide: str) -> str:
        return slide

    @pytest.fixture
    def expected(self, path: str) -> list[np.ndarray]:
        with tifffile.TiffFile(path) as tiff:
            return [level.asarray() for level in tiff.series[0].levels]


def test_levels_end_where_openslide_lets_them_end(slide: str) -> None:
    with regionio.open(slide) as image, openslide.OpenSlide(slide) as other:
        assert image.format == "philips"
        assert image.resolutions["level_dimensions"] == other.level_dimensions
        assert image.resolutions["level_downsamples"] == other.level_downsamples
        for number, size in enumerate(other.level_dimensions):
            theirs = np.asarray(other.read_region((0, 0), number, size))
            assert (theirs[..., 3] == 255).all()
            np.testing.assert_array_equal(image.read_region(level=number), theirs[..., :3])


def test_rows_come_before_columns_in_the_spacing(slide: str) -> None:
    image = regionio.open(slide)
    assert image.spacing("XY") == pytest.approx((0.226907, 0.226891), rel=1e-12)
    with openslide.OpenSlide(slide) as other:
        theirs = [float(other.properties[f"openslide.mpp-{axis}"]) for axis in "xy"]
    assert image.spacing("XY") == pytest.approx(theirs, rel=1e-12)
    assert image.spacing_units("XY") == ("micrometer", "micrometer")


def test_absent_tiles_are_white_and_masked_out(tmp_path: Path) -> None:
    path = write_philips(tmp_path / "absent.tiff", philips_xml(SPACINGS), absent=[1, 4, 13])
    present = np.ones((5, 3), dtype=bool)
    present.flat[[1, 4, 13]] = False
    mask = np.kron(present, np.ones((TILE, TILE), dtype=bool))
    region = regionio.open(path).read_region(return_mask=True)
    stored = tifffile.imread(path, level=0)
    assert (stored[~mask] == 0).all()
    np.testing.assert_array_equal(region.mask, mask)
    np.testing.assert_array_equal(region, np.where(mask[..., None], stored, 255))


def test_a_level_whose_spacing_is_not_told_is_taken_as_it_is_stored(tmp_path: Path) -> None:
    path = write_philips(tmp_path / "one.tiff", philips_xml(SPACINGS[:2]))
    sizes = [(level.width, level.height) for level in regionio.open(path).levels]
    assert sizes == [(768, 1280), (384, 640), (256, 512)]


def test_a_label_page_and_a_macro_in_the_xml_are_found(tmp_path: Path) -> None:
    macro = jpeg(PIXELS[1000:1431, 200:840])
    pictures = {
        "MACROIMAGE": base64.b64encode(macro).decode(),
        "LABELIMAGE": base64.b64encode(jpeg(PIXELS[:50, :60])).decode(),
    }
    path = write_philips(
        tmp_path / "associated.tiff", philips_xml(SPACINGS, pictures), label=PIXELS[:120, :100]
    )
    with regionio.open(path) as image, openslide.OpenSlide(path) as other:
        assert set(image.associated_images) == {"label", "macro"}
        for name, theirs in other.associated_images.items():
            ours = image.associated_image(name).read_region()
            np.testing.assert_array_equal(ours, np.asarray(theirs)[..., :3], name)
        np.testing.assert_array_equal(
            image.associated_image("macro").read_region(),
            np.asarray(Picture.open(io.BytesIO(macro))),
        )
        assert image.associated_image("label").size("XY") == (100, 120)  # the page, not the XML


@pytest.mark.parametrize("lines", ["\n", "\r\n"])
def test_base64_may_be_broken_into_lines(tmp_path: Path, lines: str) -> None:
    stream = jpeg(PIXELS[:200, :300, 1])
    text = lines.join(base64.encodebytes(stream).decode().splitlines())
    xml = philips_xml(SPACINGS, {"MACROIMAGE": text})
    path = write_philips(tmp_path / "lines.tiff", xml)
    macro = regionio.open(path).associated_image("macro").read_region()
    np.testing.assert_array_equal(macro, np.asarray(Picture.open(io.BytesIO(stream))))


@pytest.mark.parametrize("text", ["no base64", "QUJDRA==", "=" * 40])
def test_what_is_no_picture_is_left_out(tmp_path: Path, text: str) -> None:
    path = write_philips(tmp_path / "text.tiff", philips_xml(SPACINGS, {"MACROIMAGE": text}))
    assert regionio.open(path).associated_images == ()


def test_a_picture_that_is_cut_short_raises(tmp_path: Path) -> None:
    text = base64.b64encode(jpeg(PIXELS[:200, :300])[:-900]).decode()
    path = write_philips(tmp_path / "cut.tiff", philips_xml(SPACINGS, {"MACROIMAGE": text}))
    with pytest.raises(regionio.DecodeError, match=r"cut\.tiff"):
        regionio.open(path).associated_image("macro").read_region()


def test_metadata_has_every_attribute_but_pictures(tmp_path: Path) -> None:
    text = base64.b64encode(jpeg(PIXELS[:20, :30])).decode()
    path = write_philips(tmp_path / "told.tiff", philips_xml(SPACINGS, {"MACROIMAGE": text}))
    told = regionio.open(path).metadata["philips"]
    assert told["DICOM_MANUFACTURER"] == "PHILIPS"
    slide, macro = told["PIM_DP_SCANNED_IMAGES"]
    assert slide["PIM_DP_IMAGE_TYPE"] == "WSI"
    assert len(slide["PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE"]) == len(SPACINGS)
    assert macro == {"PIM_DP_IMAGE_TYPE": "MACROIMAGE"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda xml: xml.replace("</Array>", "", 1),
        lambda xml: xml.replace("?>", '?><!DOCTYPE a [<!ENTITY b "c">]>', 1),
    ],
    ids=["not well-formed", "entities"],
)
def test_damaged_xml_is_an_error_that_names_the_file(
    tmp_path: Path, damage: Callable[[str], str]
) -> None:
    path = write_philips(tmp_path / "damaged.tiff", damage(philips_xml(SPACINGS)))
    with pytest.raises(regionio.CorruptFileError, match=r"damaged\.tiff.*XML"):
        regionio.open(path)


def test_a_file_without_tiled_pages_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "strips.tiff"
    told = philips_xml(SPACINGS)
    options: dict[str, Any] = {"photometric": "rgb", "metadata": None}
    tifffile.imwrite(path, BASE, software="Philips DP v1.0", description=told, **options)
    with pytest.raises(regionio.CorruptFileError, match=r"strips\.tiff.*without tiled pages"):
        regionio.open(path)


def test_the_stand_in_equals_tifffile_and_openslide(wider_data: Path) -> None:
    path = wider_data / "derived/vendor_standins/philips.tiff"
    with (
        regionio.open(path) as image,
        openslide.OpenSlide(path) as other,
        tifffile.TiffFile(path) as tiff,
    ):
        assert image.resolutions["level_dimensions"] == other.level_dimensions
        assert image.resolutions["level_downsamples"] == other.level_downsamples
        assert image.spacing("XY") == (0.499, 0.499)
        for number, level in enumerate(tiff.series[0].levels):
            ours = np.asarray(image.read_region(level=number))
            np.testing.assert_array_equal(ours, level.asarray())
            theirs = other.read_region((0, 0), number, other.level_dimensions[number])
            np.testing.assert_array_equal(ours, np.asarray(theirs)[..., :3])
        assert set(image.associated_images) == set(other.associated_images) == {"label", "macro"}
        for name, theirs in other.associated_images.items():
            ours = np.asarray(image.associated_image(name).read_region())
            np.testing.assert_array_equal(ours, np.asarray(theirs)[..., :3])
