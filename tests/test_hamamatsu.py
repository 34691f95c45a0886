"""Hamamatsu NDPI: JPEG pictures cut at restart markers, focal planes, the macro."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image as Picture

import regionio
from regionio.testing import ImageConformance

SLIDE = Path(__file__).parent / "data" / "CMU-1-Small-Region.svs"
PIXELS = tifffile.imread(SLIDE)
BASE = PIXELS[400:848, 200:840]
MACRO = PIXELS[:80, :200]
FOCI = (-2000, 0, 2000)
"""Nanometres."""

SHORT, LONG, RATIONAL, FLOAT, SIGNED, ASCII = 3, 4, 5, 11, 9, 2
FORMATS = {SHORT: "H", LONG: "I", RATIONAL: "I", FLOAT: "f", SIGNED: "i"}


@dataclass
class Page:
    """One page: a JPEG picture, with a restart marker every `interval` blocks or without."""

    pixels: np.ndarray
    lens: float
    focus: int = 0
    interval: int = 0
    subsampling: int = 0
    comments: str = ""
    shift: Sequence[int] = field(default_factory=tuple)
    """What is added to the first entries of the table of pieces, to damage it."""

    def jpeg(self) -> bytes:
        file = io.BytesIO()
        options = {"restart_marker_blocks": self.interval} if self.interval else {}
        Picture.fromarray(self.pixels).save(
            file, "JPEG", quality=85, subsampling=self.subsampling, **options
        )
        return file.getvalue()


def pieces(stream: bytes) -> list[int]:
    """Return where entropy-coded data starts: after the header, and after each restart marker."""
    scan = stream.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(stream[scan + 2 : scan + 4], "big")
    restarts = [
        i + 2
        for i in range(start, len(stream) - 1)
        if stream[i] == 255 and 208 <= stream[i + 1] < 216
    ]
    return [start, *restarts]


def write_ndpi(path: Path, pages: Sequence[Page]) -> str:
    """Write classic TIFF whose offsets have 64 bits: the upper halves follow each directory."""
    out = bytearray(struct.pack("<2sHQ", b"II", 42, 0))
    link = 4
    for page in pages:
        stream = page.jpeg()
        place = len(out)
        out += stream
        height, width = page.pixels.shape[:2]
        tags: list[tuple[int, int, Sequence[float] | bytes]] = [
            (256, LONG, [width]),
            (257, LONG, [height]),
            (258, SHORT, [8, 8, 8]),
            (259, SHORT, [7]),
            (262, SHORT, [6]),
            (271, ASCII, b"Hamamatsu\0"),
            (272, ASCII, b"C9600-12\0"),
            (273, LONG, [place]),
            (277, SHORT, [3]),
            (278, LONG, [height]),
            (279, LONG, [len(stream)]),
            (282, RATIONAL, [max(1, int(1000 * page.lens)), 1]),
            (283, RATIONAL, [max(1, int(1000 * page.lens)), 1]),
            (296, SHORT, [3]),
            (305, ASCII, b"NDP.scan\0"),
            (65420, LONG, [1]),
            (65421, FLOAT, [page.lens]),
            (65422, SIGNED, [12538720]),
            (65423, SIGNED, [-96063]),
            (65424, SIGNED, [page.focus]),
        ]
        if page.interval:
            starts = np.array(pieces(stream))
            starts[: len(page.shift)] += np.array(page.shift, dtype=np.int64)
            tags.append((65426, LONG, starts.tolist()))
        tags.append((65427, ASCII, b"label 7\0"))
        if page.comments:
            tags.append((65449, ASCII, page.comments.encode() + b"\0"))
        entries = b""
        for code, kind, values in tags:
            if isinstance(values, bytes):
                data, count = values, len(values)
            else:
                data = struct.pack(f"<{len(values)}{FORMATS[kind]}", *values)
                count = len(values) // (2 if kind == RATIONAL else 1)
            if len(data) > 4:
                where = struct.pack("<I", len(out))
                out += data
            else:
                where = data.ljust(4, b"\0")
            entries += struct.pack("<HHI", code, kind, count) + where
        out[link : link + 8] = struct.pack("<Q", len(out))
        link = len(out) + 2 + len(entries)
        out += struct.pack("<H", len(tags)) + entries + bytes(8 + 4 * len(tags))
    path.write_bytes(out)
    return str(path)


def focal_plane(pixels: np.ndarray, number: int) -> np.ndarray:
    return np.ascontiguousarray(np.roll(pixels, 57 * number, axis=1))


@pytest.fixture
def slide(tmp_path: Path) -> str:
    """Write three levels, of which two are cut at restart markers, and a macro."""
    comments = "Product=C9600-12\r\nNDP.S/N=950291\r\nno value\r\nempty=\r\n"
    return write_ndpi(
        tmp_path / "slide.ndpi",
        [
            Page(BASE, 20.0, interval=20, comments=comments),  # 80 blocks a row: four pieces
            Page(np.ascontiguousarray(BASE[::2, ::2]), 10.0, interval=40),
            Page(np.ascontiguousarray(BASE[::8, ::8]), 2.5),
            Page(MACRO, -1.0),
            Page(MACRO[:40], -2.0),
        ],
    )


class TestHamamatsu(ImageConformance):
    regions = 8

    @pytest.fixture
    def path(self, slide: str) -> str:
        return slide

    @pytest.fixture
    def expected(self, path: str) -> list[np.ndarray]:
        with tifffile.TiffFile(path) as tiff:
            return [tiff.pages[number].asarray() for number in range(3)]


def test_pages_equal_openslide(slide: str) -> None:
    with regionio.open(slide) as image, openslide.OpenSlide(slide) as other:
        assert image.format == "hamamatsu"
        sizes = image.resolutions["level_dimensions"]
        # OpenSlide adds levels that it shrinks while decoding
        assert set(sizes) <= set(other.level_dimensions)
        for number, size in enumerate(sizes):
            same = other.level_dimensions.index(size)
            assert other.level_downsamples[same] == image.resolutions["level_downsamples"][number]
            theirs = np.asarray(other.read_region((0, 0), same, size))
            assert (theirs[..., 3] == 255).all()
            np.testing.assert_array_equal(image.read_region(level=number), theirs[..., :3])
        mpp = [float(other.properties[f"openslide.mpp-{axis}"]) for axis in "xy"]
        assert image.spacing("XY") == pytest.approx(mpp, rel=1e-12)
        assert set(other.associated_images) == set(image.associated_images) == {"macro"}
        macro = np.asarray(image.associated_image("macro").read_region())
        np.testing.assert_array_equal(macro, np.asarray(other.associated_images["macro"])[..., :3])


def test_the_name_of_the_file_does_not_matter(slide: str, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed.bin"
    renamed.write_bytes(Path(slide).read_bytes())
    image = regionio.open(renamed)
    assert image.format == "hamamatsu"
    np.testing.assert_array_equal(image.read_region(), tifffile.imread(slide, key=0))


@pytest.mark.parametrize(
    ("subsampling", "interval"), [(0, 80), (0, 16), (1, 40), (1, 8), (2, 40), (2, 8)]
)
@pytest.mark.parametrize("height", [448, 441])
def test_pieces_decode_each_on_its_own(
    tmp_path: Path, subsampling: int, interval: int, height: int
) -> None:
    page = Page(BASE[:height], 40.0, interval=interval, subsampling=subsampling)
    path = write_ndpi(tmp_path / "pieces.ndpi", [page])
    expected = np.zeros_like(page.pixels)
    with tifffile.TiffFile(path) as tiff:
        for piece, (_, _, y, x, _), (_, rows, columns, _) in tiff.pages.first.segments():
            assert piece is not None
            expected[y : y + rows, x : x + columns] = piece[0, : height - y]
    image = regionio.open(path)
    block = 16 if subsampling else 8
    assert image.levels[0].tile_size == (interval * block, 16 if subsampling == 2 else 8)
    np.testing.assert_array_equal(image.read_region(), expected)
    region = image.read_region((BASE.shape[1] - 30, height - 30), (30, 30))
    np.testing.assert_array_equal(region, expected[-30:, -30:])
    if subsampling == 0:  # else the whole picture has its chroma interpolated between pieces
        whole = np.asarray(Picture.open(io.BytesIO(page.jpeg())))
        np.testing.assert_array_equal(expected, whole)
    if subsampling < 2 and height == 448:  # OpenSlide can't read others
        with openslide.OpenSlide(path) as other:
            theirs = other.read_region((0, 0), 0, BASE.shape[1::-1])
            np.testing.assert_array_equal(expected, np.asarray(theirs)[..., :3])


def test_pieces_that_are_no_tiles_are_refused(tmp_path: Path) -> None:
    page = Page(BASE[:16, :632], 40.0, interval=40)  # 79 blocks a row
    path = write_ndpi(tmp_path / "odd.ndpi", [page])
    with pytest.raises(regionio.UnsupportedFormatError, match="every 40 blocks of rows of 79"):
        regionio.open(path)


@pytest.mark.parametrize("shift", [-9, -2, 5, 40])
def test_a_piece_that_starts_elsewhere_raises(tmp_path: Path, shift: int) -> None:
    page = Page(BASE, 40.0, interval=40, shift=(0, shift))
    path = write_ndpi(tmp_path / "shifted.ndpi", [page])
    with pytest.raises(regionio.DecodeError, match=r"shifted\.ndpi.*tile in row 0"):
        regionio.open(path).read_region()


def test_a_file_that_is_cut_short_raises(tmp_path: Path) -> None:
    page = Page(BASE, 40.0, interval=40)
    path = Path(write_ndpi(tmp_path / "cut.ndpi", [page]))
    data = bytearray(path.read_bytes())
    stream = page.jpeg()
    place = data.index(stream)
    data[place + len(stream) - 60 : place + len(stream)] = bytes(60)
    path.write_bytes(data)
    with pytest.raises(regionio.DecodeError, match=r"cut\.ndpi.*tile in row 55, column 1"):
        regionio.open(path).read_region()


def test_focal_planes_are_z_from_the_lowest_to_the_highest(tmp_path: Path) -> None:
    half = np.ascontiguousarray(BASE[::2, ::2])
    order = [1, 0, 2]
    pages = [
        Page(focal_plane(pixels, z), lens, FOCI[z], interval=interval)
        for pixels, lens, interval in [(BASE, 40.0, 40), (half, 20.0, 20)]
        for z in order
    ]
    path = write_ndpi(tmp_path / "stack.ndpi", [*pages, Page(MACRO, -1.0)])
    image = regionio.open(path)
    assert (image.dims, image.size("Z"), image.level_count) == ("ZYXC", (3,), 2)
    assert image.spacing("XYZ") == pytest.approx((0.25, 0.25, 2.0))
    for level in range(2):
        for number, z in enumerate(order):
            expected = tifffile.imread(path, key=3 * level + number)
            np.testing.assert_array_equal(image.read_region(level=level, z=z), expected)
    with openslide.OpenSlide(path) as other:  # which knows the plane at 0 only
        theirs = np.asarray(other.read_region((0, 0), 0, BASE.shape[1::-1]))
        np.testing.assert_array_equal(image.read_region(z=FOCI.index(0)), theirs[..., :3])


def test_focal_planes_at_uneven_distances_have_no_spacing(tmp_path: Path) -> None:
    pages = [Page(BASE, 40.0, focus, interval=40) for focus in (0, 500, 2000)]
    image = regionio.open(write_ndpi(tmp_path / "uneven.ndpi", pages))
    assert image.size("Z") == (3,)
    assert image.spacing("Z") == (None,)


def test_a_file_without_levels_is_an_error(tmp_path: Path) -> None:
    path = write_ndpi(tmp_path / "macro.ndpi", [Page(MACRO, -1.0)])
    with pytest.raises(regionio.CorruptFileError, match=r"macro\.ndpi.*magnification above 0"):
        regionio.open(path)


def test_metadata_has_comments_and_numbers(slide: str) -> None:
    told = regionio.open(slide).metadata["hamamatsu"]
    assert told["NDP.S/N"] == "950291"
    assert told["empty"] == ""
    assert "no value" not in told
    assert told["Magnification"] == 20.0
    assert told["ZOffsetFromSlideCenter"] == 0
    assert told["YOffsetFromSlideCenter"] == -96063
    assert told["SlideLabel"] == "label 7"
    assert "McuStarts" not in told
    assert {type(value) for value in told.values()} <= {str, int, float, list}


def test_the_real_file_equals_tifffile_and_openslide(wider_data: Path) -> None:
    path = wider_data / "real/hamamatsu/test3-TRITC 2 (560).ndpi"
    with (
        regionio.open(path) as image,
        openslide.OpenSlide(path) as other,
        tifffile.TiffFile(path) as tiff,
    ):
        sizes = image.resolutions["level_dimensions"]
        assert sizes == other.level_dimensions[: image.level_count]
        assert image.resolutions["level_downsamples"] == other.level_downsamples[: len(sizes)]
        mpp = [float(other.properties[f"openslide.mpp-{axis}"]) for axis in "xy"]
        assert image.spacing("XY") == pytest.approx(mpp, rel=1e-12)
        for number, level in enumerate(tiff.series[0].levels):
            ours = np.asarray(image.read_region(level=number))
            np.testing.assert_array_equal(ours, level.asarray())
            theirs = other.read_region((0, 0), number, sizes[number])
            np.testing.assert_array_equal(ours, np.asarray(theirs)[..., :3])
        macro = np.asarray(image.associated_image("macro").read_region())
        np.testing.assert_array_equal(macro, tiff.series[1].asarray())
        assert image.metadata["hamamatsu"]["Fluorescence"] == "TRITC 2 (560)"
