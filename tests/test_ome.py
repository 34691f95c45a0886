"""OME-TIFF: planes in any order, pyramids in SubIFDs, several images, sets of files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

import regionio
from regionio.testing import ImageConformance

SLIDE = Path(__file__).parent / "data" / "CMU-1-Small-Region.svs"
PIXELS = tifffile.imread(SLIDE)[300:871, 500:1103]
NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def stack(times: int, channels: int, depth: int, shape: tuple[int, int] = (70, 90)) -> np.ndarray:
    """Return ``uint16[t, c, z, y, x]``, every plane another one."""
    count = times * channels * depth
    rows, columns = shape
    planes = [PIXELS[7 * n : 7 * n + rows, 11 * n : 11 * n + columns, n % 3] for n in range(count)]
    pixels = np.array(planes, dtype=np.uint16) * 200
    pixels += np.arange(count, dtype=np.uint16)[:, None, None]
    return pixels.reshape(times, channels, depth, rows, columns)


def every_plane(image: regionio.Image, level: int = 0) -> np.ndarray:
    """Return ``[t, c, z, y, x]`` of a level."""
    times, depth = image.size("TZ")
    planes = [
        [image.read_region(level=level, t=t, z=z, layout="CYX") for z in range(depth)]
        for t in range(times)
    ]
    return np.array(planes).swapaxes(1, 2)


def tiff_data(**attributes: Any) -> str:
    name, uuid = attributes.pop("name", None), attributes.pop("uuid", None)
    told = "".join(f' {key}="{value}"' for key, value in attributes.items())
    reference = f'<UUID FileName="{name}">{uuid}</UUID>' if name else ""
    return f"<TiffData{told}>{reference}</TiffData>"


def image_xml(
    shape: tuple[int, int, int, int, int],
    blocks: str,
    *,
    order: str = "XYZCT",
    name: str = "image",
    attributes: str = "",
    channels: str = "",
    kind: str = "uint16",
) -> str:
    times, planes, depth, rows, columns = shape
    sizes = f'SizeX="{columns}" SizeY="{rows}" SizeZ="{depth}" SizeC="{planes}" SizeT="{times}"'
    pixels = f'<Pixels ID="Pixels:0" DimensionOrder="{order}" Type="{kind}" {sizes} {attributes}>'
    return f'<Image ID="Image:0" Name="{name}">{pixels}{channels}{blocks}</Pixels></Image>'


def ome_xml(*parts: str, uuid: str = "") -> str:
    told = f' UUID="{uuid}"' if uuid else ""
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return f'{head}<OME xmlns="{NAMESPACE}"{told} Creator="test">{"".join(parts)}</OME>'


def write_pages(path: Path, description: str, pages: np.ndarray, **options: Any) -> str:
    with tifffile.TiffWriter(path) as writer:
        for number, page in enumerate(pages):
            told = description.encode() if number == 0 else None
            writer.write(page, description=told, metadata=None, **options)
    return str(path)


def as_tczyx(path: str, scene: int = 0, level: int = 0) -> np.ndarray:
    """Return what tifffile reads, samples joined to C."""
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[scene].levels[level]
        pixels, axes = series.asarray(squeeze=False), series.get_axes(squeeze=False)
    ordered = pixels.transpose([axes.index(axis) for axis in "TCSZYX"])
    return ordered.reshape(ordered.shape[0], -1, *ordered.shape[3:])


@pytest.mark.parametrize("order", ["TCZYX", "TZCYX", "CTZYX", "ZCTYX"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (32, 48)}])
def test_planes_are_found_in_any_order(tmp_path: Path, order: str, options: dict[str, Any]) -> None:
    pixels = stack(2, 3, 4)
    stored = pixels.transpose(["TCZYX".index(axis) for axis in order])
    path = tmp_path / "stack.ome.tif"
    tifffile.imwrite(path, stored, metadata={"axes": order}, ome=True, **options)
    with regionio.open(path) as image:
        assert image.format == "ome-tiff"
        assert not image.is_volume
        assert (image.dims, image.shape) == ("TZYXC", (2, 4, 70, 90, 3))
        np.testing.assert_array_equal(every_plane(image), pixels)
        np.testing.assert_array_equal(every_plane(image), as_tczyx(str(path)))
        region = image.read_region((5, 6), (20, 10), t=1, z=3, channels=2)
        np.testing.assert_array_equal(region, pixels[1, 2, 3, 6:16, 5:25])


@pytest.mark.parametrize(
    ("axes", "shape"), [("ZYX", (3, 70, 90)), ("CYX", (3, 70, 90)), ("TYX", (3, 70, 90))]
)
def test_axes_of_size_one_are_left_out(tmp_path: Path, axes: str, shape: tuple[int, ...]) -> None:
    path = tmp_path / "three.ome.tif"
    tifffile.imwrite(path, stack(3, 1, 1).reshape(shape), metadata={"axes": axes}, ome=True)
    image = regionio.open(path)
    assert sorted(image.dims) == sorted(axes)
    np.testing.assert_array_equal(every_plane(image), as_tczyx(str(path)))


def pyramid(pixels: np.ndarray) -> list[np.ndarray]:
    return [pixels, pixels[..., ::2, ::2, :], pixels[..., ::4, ::4, :]]


RGB: dict[str, dict[str, Any]] = {
    "contiguous": {"compression": "zlib"},
    "jpeg": {"compression": "jpeg"},
    "planar": {"compression": "zlib", "planarconfig": "separate"},
}


@pytest.mark.parametrize("kind", RGB)
class TestRgbPyramid(ImageConformance):
    regions = 8

    @pytest.fixture
    def path(self, tmp_path: Path, kind: str) -> str:
        path = tmp_path / "rgb.ome.tif"
        options = {"photometric": "rgb", "tile": (64, 96), **RGB[kind]}
        axes = "YXS"
        levels = pyramid(PIXELS)
        if kind == "planar":
            axes, levels = "SYX", [np.moveaxis(level, 2, 0) for level in levels]
        with tifffile.TiffWriter(path, ome=True) as writer:
            writer.write(levels[0], subifds=2, metadata={"axes": axes}, **options)
            for level in levels[1:]:
                writer.write(np.ascontiguousarray(level), subfiletype=1, **options)
        return str(path)

    @pytest.fixture
    def expected(self, path: str) -> list[np.ndarray]:
        levels = [as_tczyx(path, level=level) for level in range(3)]
        return [np.moveaxis(level[0, :, 0], 0, 2) for level in levels]


def test_every_plane_has_its_levels(tmp_path: Path) -> None:
    path = tmp_path / "levels.ome.tif"
    pixels = stack(1, 2, 3, (128, 160))[0]
    options: dict[str, Any] = {"tile": (64, 64), "compression": "zlib"}
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(pixels, subifds=1, metadata={"axes": "CZYX"}, **options)
        writer.write(pixels[..., ::2, ::2].copy(), subfiletype=1, **options)
    image = regionio.open(path)
    assert [level.downsample for level in image.levels] == [(1.0, 1.0), (2.0, 2.0)]
    for level in range(2):
        expected = as_tczyx(str(path), level=level)
        np.testing.assert_array_equal(every_plane(image, level), expected)


def test_channels_of_several_samples_lie_behind_each_other(tmp_path: Path) -> None:
    path = tmp_path / "rgb-channels.ome.tif"
    pixels = np.stack([PIXELS[:100, :120], PIXELS[200:300, 200:320]])
    tifffile.imwrite(path, pixels, photometric="rgb", metadata={"axes": "CYXS"}, ome=True)
    image = regionio.open(path)
    assert (image.dims, image.shape) == ("YXC", (100, 120, 6))
    np.testing.assert_array_equal(image.read_region(), np.concatenate(pixels, axis=2))
    np.testing.assert_array_equal(every_plane(image), as_tczyx(str(path)))


def test_images_are_scenes(tmp_path: Path) -> None:
    path = tmp_path / "scenes.ome.tif"
    first, second = stack(1, 2, 1)[0, :, 0], PIXELS[:80, :100]
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(first, metadata={"axes": "CYX", "Name": "cells"})
        writer.write(second, photometric="rgb", metadata={"axes": "YXS", "Name": "overview"})
    with regionio.open(path) as image:
        assert [scene.name for scene in image.scenes] == ["cells", "overview"]
        assert [scene.shape for scene in image.scenes] == [(70, 90, 2), (80, 100, 3)]
        np.testing.assert_array_equal(every_plane(image), as_tczyx(str(path), 0))
    with regionio.open(path, scene="overview") as image:
        np.testing.assert_array_equal(image.read_region(), second)
        np.testing.assert_array_equal(every_plane(image), as_tczyx(str(path), 1))


def test_outside_is_zero_even_in_colour(tmp_path: Path) -> None:
    path = tmp_path / "rgb.ome.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb", ome=True)
    assert (np.asarray(regionio.open(path).read_region((-50, 0), (50, 50))) == 0).all()


@pytest.mark.parametrize(
    ("size", "unit", "micrometers"),
    [
        ("0.25", None, 0.25),
        ("0.25", "\u00b5m", 0.25),
        ("250", "nm", 0.25),
        ("0.00025", "mm", 0.25),
        ("2500", "\u00c5", 0.25),
        ("1", "in", 25400.0),
        ("1", "pixel", None),
        ("1", "reference frame", None),
        ("0", "\u00b5m", None),
        ("-1", "\u00b5m", None),
        ("inf", "\u00b5m", None),
    ],
)
def test_spacing_is_in_micrometers(
    tmp_path: Path, size: str, unit: str | None, micrometers: float | None
) -> None:
    told = f' PhysicalSizeXUnit="{unit}"' if unit else ""
    attributes = f'PhysicalSizeX="{size}"{told} PhysicalSizeY="0.5" PhysicalSizeZ="3"'
    xml = ome_xml(image_xml((1, 1, 2, 70, 90), tiff_data(), attributes=attributes))
    path = write_pages(tmp_path / "spacing.ome.tif", xml, stack(1, 1, 2)[0, 0])
    image = regionio.open(path)
    assert image.spacing("X")[0] == pytest.approx(micrometers)
    assert image.spacing("YZ") == (0.5, 3.0)
    assert image.spacing_units("Y") == ("micrometer",)


def test_channels_have_the_names_of_the_xml(tmp_path: Path) -> None:
    channels = '<Channel ID="Channel:0:0" Name="DAPI"/><Channel ID="Channel:0:1"/>'
    xml = ome_xml(image_xml((1, 2, 1, 70, 90), tiff_data(), channels=channels))
    image = regionio.open(write_pages(tmp_path / "names.ome.tif", xml, stack(1, 2, 1)[0, :, 0]))
    assert image.channel_names == ("DAPI", "1")
    np.testing.assert_array_equal(
        image.read_region(channels="DAPI"), tifffile.imread(image.path, key=0)
    )


def test_metadata_is_plain(tmp_path: Path) -> None:
    channels = '<Channel ID="Channel:0:0" Name="DAPI"/><Channel ID="Channel:0:1" Color="-1"/>'
    xml = ome_xml(
        '<Instrument ID="Instrument:0"><Objective ID="Objective:0" LensNA="0.8"/></Instrument>',
        image_xml((1, 2, 1, 70, 90), tiff_data(), channels=channels),
        uuid="urn:uuid:1",
    )
    told = regionio.open(
        write_pages(tmp_path / "told.ome.tif", xml, stack(1, 2, 1)[0, :, 0])
    ).metadata["ome"]
    assert (told["Creator"], told["UUID"]) == ("test", "urn:uuid:1")
    [instrument] = told["instruments"]
    assert instrument["Objective"] == {"ID": "Objective:0", "LensNA": "0.8"}
    [image] = told["images"]
    assert image["Name"] == "image"
    assert image["pixels"]["SizeC"] == "2"
    assert [channel.get("Color") for channel in image["channels"]] == [None, "-1"]


def test_planes_that_the_xml_does_not_name_are_absent(tmp_path: Path) -> None:
    pixels = stack(1, 1, 3)[0, 0]
    blocks = tiff_data(IFD=1, FirstZ=0) + tiff_data(IFD=0, FirstZ=2, PlaneCount=1)
    xml = ome_xml(image_xml((1, 1, 3, 70, 90), blocks))
    path = write_pages(tmp_path / "gap.ome.tif", xml, pixels[:2])
    np.testing.assert_array_equal(every_plane(regionio.open(path)), as_tczyx(path))
    masks = [regionio.open(path).read_region(z=z, return_mask=True).mask for z in range(3)]
    assert [np.mean(mask) for mask in masks if mask is not None] == [1.0, 0.0, 1.0]


def test_axes_of_lifetimes_and_the_like_stay_folded(tmp_path: Path) -> None:
    pixels = stack(6, 1, 1)[:, 0, 0]
    reference = '<AnnotationRef ID="Annotation:1"/>'
    modulo = (
        "<StructuredAnnotations><XMLAnnotation "
        'Namespace="openmicroscopy.org/omero/dimension/modulo" ID="Annotation:1"><Value><Modulo>'
        '<ModuloAlongT Type="lifetime" Start="0" End="2" Step="1"/></Modulo></Value>'
        "</XMLAnnotation></StructuredAnnotations>"
    )
    image = image_xml((6, 1, 1, 70, 90), tiff_data()).replace("</Image>", f"{reference}</Image>")
    path = write_pages(tmp_path / "lifetime.ome.tif", ome_xml(image, modulo), pixels)
    assert regionio.open(path).shape == (6, 70, 90)
    np.testing.assert_array_equal(every_plane(regionio.open(path))[:, 0, 0], pixels)


def write_set(folder: Path, *, uuids: bool = True) -> tuple[list[Path], np.ndarray]:
    """Write a set of three files, each with the two channels of one focal plane."""
    folder.mkdir()
    pixels = stack(1, 2, 3)
    names = [f"set-Z{z}.ome.tif" for z in range(3)]
    blocks = "".join(
        tiff_data(IFD=c, FirstZ=z, FirstC=c, PlaneCount=1, name=name, uuid=f"urn:uuid:{z}")
        for z, name in enumerate(names)
        for c in range(2)
    )
    image = image_xml(pixels.shape, blocks)
    for z, name in enumerate(names):
        xml = ome_xml(image, uuid=f"urn:uuid:{z}" if uuids else "")
        write_pages(folder / name, xml, pixels[0, :, z], tile=(32, 32), compression="zlib")
    return [folder / name for name in names], pixels


@pytest.mark.parametrize("uuids", [True, False])
def test_every_file_of_a_set_opens_the_whole_set(tmp_path: Path, uuids: bool) -> None:
    paths, pixels = write_set(tmp_path / "set", uuids=uuids)
    for path in paths:
        with regionio.open(path) as image:
            assert (image.dims, image.shape) == ("ZYXC", (3, 70, 90, 2))
            np.testing.assert_array_equal(every_plane(image), pixels)
            np.testing.assert_array_equal(every_plane(image), as_tczyx(str(path)))


def test_files_are_sought_beside_the_one_that_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, pixels = write_set(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    image = regionio.open(paths[1].relative_to(tmp_path))
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(every_plane(image), pixels)


def test_a_missing_file_of_a_set_is_named(tmp_path: Path) -> None:
    paths, _ = write_set(tmp_path / "set")
    paths[1].unlink()
    for path in (paths[0], paths[2]):
        with pytest.raises(regionio.CorruptFileError, match=r"set-Z1\.ome\.tif' is missing"):
            regionio.open(path)


def test_a_damaged_file_of_a_set_is_named(tmp_path: Path) -> None:
    paths, _ = write_set(tmp_path / "set")
    paths[2].write_bytes(paths[2].read_bytes()[:100])
    with pytest.raises(regionio.CorruptFileError, match=r"set-Z2\.ome\.tif"):
        regionio.open(paths[0])


def test_a_file_that_goes_later_raises_when_it_is_read(tmp_path: Path) -> None:
    paths, _ = write_set(tmp_path / "set")
    image = regionio.open(paths[0])
    paths[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"set-Z1"):
        image.read_region(z=1)


def test_a_set_may_be_described_in_a_companion_file(tmp_path: Path) -> None:
    paths, pixels = write_set(tmp_path / "set")
    with tifffile.TiffFile(paths[0]) as tiff:
        xml = tiff.pages.first.description
    companion = tmp_path / "set" / "set.companion.ome"
    companion.write_bytes(xml.encode())
    only = '<BinaryOnly MetadataFile="{}" UUID="urn:uuid:9"/>'
    for metadata in (companion.name, paths[0].name):
        for z in (1, 2):
            told = ome_xml(only.format(metadata), uuid=f"urn:uuid:{z}")
            write_pages(paths[z], told, pixels[0, :, z], tile=(32, 32), compression="zlib")
            np.testing.assert_array_equal(every_plane(regionio.open(paths[z])), pixels)


def test_a_missing_description_is_named(tmp_path: Path) -> None:
    only = '<BinaryOnly MetadataFile="other.ome.tif" UUID="urn:uuid:9"/>'
    xml = ome_xml(only, uuid="urn:uuid:1")
    path = write_pages(tmp_path / "one.ome.tif", xml, stack(1, 1, 2)[0, 0])
    with pytest.warns(UserWarning, match=r"'other\.ome\.tif' describes"):
        assert regionio.open(path).format == "tiff"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('SizeZ="2"', 'SizeZ="0"'), "SizeZ 0"),
        (('SizeZ="2"', 'SizeZ="2000000000"'), "SizeZ 2000000000"),
        (('SizeC="1"', 'SizeC="-1"'), "SizeC -1"),
        (('PlaneCount="2"', 'PlaneCount="-2"'), "names -2 pages"),
        (('IFD="0"', 'IFD="1"'), "names 2 pages from page 1 on, but the file has 2"),
        (('IFD="0"', 'IFD="99"'), "from page 99 on"),
        (("XYZCT", "XYZ"), "is damaged"),
        (("</Pixels>", ""), "XML"),
        (("<TiffData", "<Other"), "no image"),
    ],
)
def test_contradictions_are_errors(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    block = tiff_data(IFD=0, PlaneCount=2)
    xml = ome_xml(image_xml((1, 1, 2, 70, 90), block)).replace(*change)
    xml = xml.replace("</TiffData>", "</Other>") if "<Other" in xml else xml
    path = write_pages(tmp_path / "damaged.ome.tif", xml, stack(1, 1, 2)[0, 0])
    with pytest.raises(regionio.CorruptFileError, match=rf"damaged\.ome\.tif.*{complaint}"):
        regionio.open(path)


def test_samples_that_the_xml_does_not_know_are_an_error(tmp_path: Path) -> None:
    xml = ome_xml(image_xml((1, 2, 1, 70, 90), tiff_data(), kind="uint8"))
    path = write_pages(tmp_path / "rgb.ome.tif", xml, PIXELS[None, :70, :90], photometric="rgb")
    with pytest.raises(regionio.CorruptFileError, match=r"SizeC 2.*1 pages of 3 samples"):
        regionio.open(path)


def test_planes_of_other_sizes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sizes.ome.tif"
    xml = ome_xml(image_xml((1, 1, 2, 70, 90), tiff_data()))
    with tifffile.TiffWriter(path) as writer:
        writer.write(stack(1, 1, 1)[0, 0, 0], description=xml, metadata=None)
        writer.write(stack(1, 1, 1)[0, 0, 0, :60], metadata=None)
    with pytest.raises(regionio.UnsupportedFormatError, match="page 1: 90×60 pixels"):
        regionio.open(path)


def without_tables(stream: bytes) -> tuple[bytes, bytes]:
    """Return a JPEG stream's quantization and Huffman tables, and the stream without them."""
    parts: dict[bool, bytes] = {True: b"", False: b""}
    place = 2
    while stream[place + 1] != 0xDA:  # start of scan
        end = place + 2 + int.from_bytes(stream[place + 2 : place + 4], "big")
        parts[stream[place + 1] in {0xDB, 0xC4}] += stream[place:end]
        place = end
    return b"\xff\xd8" + parts[True] + b"\xff\xd9", b"\xff\xd8" + parts[False] + stream[place:]


def test_pages_with_jpeg_tables_of_their_own_are_decoded_with_them(tmp_path: Path) -> None:
    path = tmp_path / "tables.ome.tif"
    xml = ome_xml(image_xml((1, 1, 3, 64, 64), tiff_data(), kind="uint8"))
    streams = [
        imagecodecs.jpeg_encode(np.ascontiguousarray(PIXELS[:64, :64, n]), level=level)
        for n, level in enumerate([95, 30, 70])
    ]
    with tifffile.TiffWriter(path) as writer:
        for number, stream in enumerate(streams):
            tables, tile = without_tables(bytes(stream))
            writer.write(
                iter([tile]),
                shape=(64, 64),
                dtype=np.uint8,
                tile=(64, 64),
                compression="jpeg",
                jpegtables=tables,
                photometric="minisblack",
                description=xml if number == 0 else None,
                metadata=None,
            )
    expected = [imagecodecs.jpeg_decode(stream) for stream in streams]
    np.testing.assert_array_equal(every_plane(regionio.open(path))[0, 0], expected)


def test_pages_encoded_in_other_ways_are_decoded_each_in_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mixed.ome.tif"
    pixels = stack(1, 1, 3)[0, 0]
    xml = ome_xml(image_xml((1, 1, 3, 70, 90), tiff_data()))
    with tifffile.TiffWriter(path) as writer:
        for number, compression in enumerate([None, "zlib", "lzw"]):
            told = xml if number == 0 else None
            writer.write(
                pixels[number],
                description=told,
                metadata=None,
                compression=compression,
                rowsperstrip=70,
            )
    np.testing.assert_array_equal(every_plane(regionio.open(path))[0, 0], pixels)


@pytest.mark.parametrize("name", ["multi-channel.ome.tif", "ome_subifd_2ch_bigtiff.ome.tiff"])
def test_real_files_equal_tifffile(wider_data: Path, name: str) -> None:
    path = str(wider_data / "real/ome" / name)
    with regionio.open(path) as image, tifffile.TiffFile(path) as tiff:
        assert image.format == "ome-tiff"
        assert image.level_count == len(tiff.series[0].levels)
        for level in range(image.level_count):
            expected = as_tczyx(path, level=level)
            assert expected.dtype == image.dtype
            np.testing.assert_array_equal(every_plane(image, level), expected)


def test_files_of_a_real_set_without_its_companion_are_read_each_for_itself(
    wider_data: Path,
) -> None:
    for path in sorted((wider_data / "real/ome/multifile").iterdir()):
        with pytest.warns(UserWarning, match=r"'multifile\.companion\.ome' describes"):
            image = regionio.open(path)
        assert image.format == "tiff"
        np.testing.assert_array_equal(image.read_region(), tifffile.imread(path))


def test_real_set_with_a_companion_is_read(wider_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(wider_data / "real/ome/multifile", folder)
    paths = sorted(folder.iterdir())
    blocks = "".join(
        tiff_data(IFD=0, FirstZ=z, name=path.name, uuid=f"urn:uuid:{z}")
        for z, path in enumerate(paths)
    )
    xml = ome_xml(image_xml((1, 1, 5, 24, 18), blocks, kind="uint8"))
    (folder / "multifile.companion.ome").write_text(xml)
    expected = np.array([tifffile.imread(path) for path in paths])
    for path in paths:
        np.testing.assert_array_equal(every_plane(regionio.open(path))[0, 0], expected)
