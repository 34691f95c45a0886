"""QPTIFF stand-ins, laid out as Akoya's scanners do: channels, levels and associated images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray

import regionio
from regionio.testing import ImageConformance

SLIDE = Path(__file__).parent / "data" / "CMU-1-Small-Region.svs"
PIXELS = tifffile.imread(SLIDE)[600:1240, 900:1650]
STAINS = [("DAPI", "DAPI"), ("CD8", "Opal 520"), ("CD3e", "Opal 520"), ("PanCK", "Opal 690")]


def describe(kind: str, **fields: str) -> str:
    told = "".join(f"<{key}>{value}</{key}>" for key, value in fields.items())
    return (
        '<?xml version="1.0" encoding="utf-16"?>\r\n<PerkinElmer-QPI-ImageDescription>\r\n'
        f"<DescriptionVersion>2</DescriptionVersion><ImageType>{kind}</ImageType>{told}"
        "<Objective>20x</Objective><CameraSettings><Gain>1</Gain></CameraSettings>"
        "</PerkinElmer-QPI-ImageDescription>"
    )


def write_page(
    writer: tifffile.TiffWriter, pixels: NDArray[Any], kind: str, **options: Any
) -> None:
    fields = options.pop("fields", {})
    settings: dict[str, Any] = {
        "photometric": "rgb" if pixels.ndim == 3 else "minisblack",
        "compression": "lzw",
        "resolution": (20121.0, 20080.0),
        "resolutionunit": "CENTIMETER",
        "software": "PerkinElmer-QPI",
        "description": describe(kind, **fields),
        "metadata": None,
    }
    writer.write(np.ascontiguousarray(pixels), **{**settings, **options})


def write_associated(writer: tifffile.TiffWriter, *kinds: str) -> None:
    for number, kind in enumerate(kinds):
        write_page(writer, PIXELS[100 * number :: 4, ::5], kind, rowsperstrip=64)


def channel(number: int) -> NDArray[np.uint16]:
    return PIXELS[..., number % 3].astype(np.uint16) * 13 + 1000 * number


def write_fluorescence(
    path: Path, stains: Sequence[tuple[str, str]] = STAINS, *, drop_last_page: bool = False
) -> str:
    with tifffile.TiffWriter(path) as writer:
        for factor in (1, 2, 4):
            for number, (stain, fluor) in enumerate(stains):
                if drop_last_page and (factor, number) == (4, len(stains) - 1):
                    continue
                kind = "FullResolution" if factor == 1 else "ReducedResolution"
                fields = {"Name": fluor, "Color": f"{number},255,0", "ExposureTime": "9"}
                if stain:
                    fields["Biomarker"] = stain
                pixels = channel(number)[: 640 // factor * factor : factor, ::factor]
                pixels = pixels[:, : 750 // factor]
                write_page(writer, pixels, kind, tile=(128, 96), fields=fields)
            if factor == 1:
                write_associated(writer, "Thumbnail")
        write_associated(writer, "Overview", "Label")
    return str(path)


def write_brightfield(path: Path) -> str:
    with tifffile.TiffWriter(path) as writer:
        options: dict[str, Any] = {
            "compression": "jpeg",
            "photometric": "ycbcr",
            "tile": (256, 240),
        }
        write_page(writer, PIXELS, "FullResolution", **options)
        write_associated(writer, "Thumbnail")
        write_page(writer, PIXELS[::2, ::2], "ReducedResolution", **options)
        write_page(writer, PIXELS[::4, ::4], "ReducedResolution", **options)
        write_associated(writer, "Overview", "Label")
    return str(path)


class TestFluorescence(ImageConformance):
    regions = 8

    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        return write_fluorescence(tmp_path / "slide.qptiff")

    @pytest.fixture
    def expected(self, path: str) -> list[NDArray[Any]]:
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            assert series.kind == "qpi"
            return [np.moveaxis(level.asarray(), 0, 2) for level in series.levels]


class TestBrightfield(ImageConformance):
    regions = 8

    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        return write_brightfield(tmp_path / "slide.qptiff")

    @pytest.fixture
    def expected(self, path: str) -> list[NDArray[Any]]:
        with tifffile.TiffFile(path) as tiff:
            return [tiff.pages[number].asarray() for number in (0, 2, 3)]


def test_channels_and_spacing_are_those_of_the_file(tmp_path: Path) -> None:
    with regionio.open(write_fluorescence(tmp_path / "slide.qptiff")) as image:
        assert image.format == "akoya"
        assert image.dims == "YXC"
        assert image.channel_names == ("DAPI", "CD8", "CD3e", "PanCK")
        assert image.spacing("XY") == pytest.approx((1e4 / 20121, 1e4 / 20080), rel=1e-6)
        assert image.spacing_units("XY") == ("micrometer", "micrometer")
        assert [level.downsample for level in image.levels] == [(1, 1), (2, 2), (4, 4)]
        np.testing.assert_array_equal(image.read_region(channels="CD3e"), channel(2))
        told = image.metadata["akoya"]
        assert told["Objective"] == "20x"
        assert [channel["Name"] for channel in told["Channels"]] == [name for _, name in STAINS]


@pytest.mark.parametrize(
    ("stains", "names"),
    [
        ([("", "DAPI"), ("", "Opal 520")], ("DAPI", "Opal 520")),
        ([("CD8", "Cy5"), ("CD8", "Cy3")], ("Cy5", "Cy3")),
        ([("", "Cy5"), ("", "Cy5")], ("0,255,0", "1,255,0")),
    ],
)
def test_channels_are_named_by_what_tells_them_apart(
    tmp_path: Path, stains: list[tuple[str, str]], names: tuple[str, ...]
) -> None:
    with regionio.open(write_fluorescence(tmp_path / "slide.qptiff", stains)) as image:
        assert image.channel_names == names


@pytest.mark.parametrize("write", [write_fluorescence, write_brightfield])
def test_associated_images_are_named_by_their_type(tmp_path: Path, write: Any) -> None:
    path = write(tmp_path / "slide.qptiff")
    with regionio.open(path) as image, tifffile.TiffFile(path) as tiff:
        kinds = {"Thumbnail": "thumbnail", "Overview": "macro", "Label": "label"}
        assert image.associated_images == tuple(kinds.values())
        for page in tiff.pages:
            assert isinstance(page, tifffile.TiffPage)
            for kind, name in kinds.items():
                if f"<ImageType>{kind}<" in page.description:
                    np.testing.assert_array_equal(
                        image.associated_image(name).read_region(), page.asarray()
                    )


def test_brightfield_equals_openslide(tmp_path: Path) -> None:
    """OpenSlide has no reader for QPTIFF: it opens the tiled pages as a plain pyramid."""
    path = write_brightfield(tmp_path / "slide.qptiff")
    with openslide.OpenSlide(path) as slide, regionio.open(path) as image:
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        assert slide.dimensions == image.size("XY")
        assert image.channel_names == ("R", "G", "B")
        for x, y in np.random.default_rng(3).integers(0, [600, 500], (10, 2)).tolist():
            wanted = np.array(slide.read_region((x, y), 0, (150, 140)))[..., :3]
            np.testing.assert_array_equal(image.read_region((x, y), (150, 140)), wanted)


def test_levels_without_descriptions_are_found_by_size(tmp_path: Path) -> None:
    path = tmp_path / "slide.qptiff"
    with tifffile.TiffWriter(path) as writer:
        for factor in (1, 2, 4):
            for number in range(2):
                options = {} if factor == 1 else {"description": None}
                pixels = channel(number)[::factor, ::factor]
                write_page(writer, pixels, "FullResolution", tile=(64, 64), **options)
    with regionio.open(path) as image:
        assert [(level.width, level.height) for level in image.levels] == [
            (750, 640),
            (375, 320),
            (188, 160),
        ]
        np.testing.assert_array_equal(
            image.read_region(None, None, 2, channels=1), channel(1)[::4, ::4]
        )


def test_component_images_of_inform_are_read(tmp_path: Path) -> None:
    path = tmp_path / "component_data.tif"
    values = PIXELS.astype(np.float32) / 255
    with tifffile.TiffWriter(path) as writer:
        for number in range(3):
            fields = {"Name": f"Opal {number}"}
            write_page(
                writer, values[..., number], "FullResolution", rowsperstrip=32, fields=fields
            )
        write_associated(writer, "Thumbnail")
    with regionio.open(path) as image:
        assert image.dtype == np.float32
        assert image.channel_names == ("Opal 0", "Opal 1", "Opal 2")
        assert image.associated_images == ("thumbnail",)
        np.testing.assert_array_equal(image.read_region(), values)
        outside = image.read_region((-10, -10), (5, 5))
        assert not np.asarray(outside).any()


def test_a_level_that_lacks_a_channel_is_damage(tmp_path: Path) -> None:
    path = write_fluorescence(tmp_path / "slide.qptiff", drop_last_page=True)
    with pytest.raises(regionio.CorruptFileError, match="incomplete") as caught:
        regionio.open(path)
    assert path in str(caught.value)


def test_full_resolution_pages_of_two_sizes_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "slide.qptiff"
    with tifffile.TiffWriter(path) as writer:
        write_page(writer, channel(0), "FullResolution")
        write_page(writer, channel(1)[:-5], "FullResolution")
    with pytest.raises(regionio.CorruptFileError, match="differ in size"):
        regionio.open(path)


def test_a_broken_description_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "slide.qptiff"
    with tifffile.TiffWriter(path) as writer:
        broken = describe("FullResolution")[:-20]
        write_page(writer, channel(0), "FullResolution", description=broken)
    with pytest.raises(regionio.CorruptFileError, match=r"slide\.qptiff"):
        regionio.open(path)
