"""BIF stand-ins: real pixels cut into frames that overlap, compared with OpenSlide and painting."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
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
PIXELS = tifffile.imread(SLIDE)
HEIGHT, WIDTH = 96, 128
SCANNER = (
    '<iScan Magnification="20" ScanRes="0.465" UnitNumber="7"><AOI0 Left="1" Top="9"/></iScan>'
)
MODERN = '<Metadata><iScan ScannerModel="VENTANA DP 200" ScanRes="0.25"/></Metadata>'

Overlap = Callable[[int], int]
"""Overlap at the boundary after a column or row."""


@dataclass(frozen=True)
class Area:
    """Frames that are scanned together; rows count from the top."""

    rows: int
    columns: int
    overlap_x: int | Overlap = 16
    overlap_y: int | Overlap = 8
    row: int = 0
    column: int = 0
    left: float = 0
    bottom: float = 0
    scanned: int = 1
    across: str = "RIGHT"
    joints: str | None = field(default=None, repr=False)

    def number(self, row: int, column: int) -> int:
        """Number frames from the lower left, to and fro, upwards."""
        up = self.rows - 1 - row
        return up * self.columns + (column if up % 2 == 0 else self.columns - 1 - column) + 1

    def xml(self, number: int) -> str:
        joints = self.all_joints() if self.joints is None else self.joints
        return (
            f'<ImageInfo AOIScanned="{self.scanned}" AOIIndex="{number}" NumRows="{self.rows}" '
            f'NumCols="{self.columns}" Width="{WIDTH}" Height="{HEIGHT}" Pos-X="{self.left}" '
            f'Pos-Y="{self.bottom}">{joints}</ImageInfo>'
        )

    def all_joints(self) -> str:
        found = []
        for row in range(self.rows):
            for column in range(self.columns):
                here = self.number(row, column)
                if column + 1 < self.columns:
                    overlap = at(self.overlap_x, column)
                    found.append(joint(self.across, here, self.number(row, column + 1), x=overlap))
                if row > 0:
                    overlap = at(self.overlap_y, row - 1)
                    found.append(joint("UP", here, self.number(row - 1, column), y=overlap))
        return "".join(found)


def at(overlap: int | Overlap, boundary: int) -> int:
    return overlap if isinstance(overlap, int) else overlap(boundary)


def joint(
    direction: str, one: int, two: int, *, x: int = 0, y: int = 0, joined: int = 1, sure: int = 98
) -> str:
    return (
        f'<TileJointInfo FlagJoined="{joined}" Confidence="{sure}" Direction="{direction}" '
        f'Tile1="{one}" Tile2="{two}" OverlapX="{x}" OverlapY="{y}"/>'
    )


def encode(*areas: Area) -> str:
    infos = "".join(area.xml(number) for number, area in enumerate(areas))
    origins = "".join(
        f'<AOI{number} OriginX="{area.column * WIDTH}" OriginY="{area.row * HEIGHT}"/>'
        for number, area in enumerate(areas)
    )
    return (
        f'<EncodeInfo Ver="2"><SlideInfo/><SlideStitchInfo>{infos}</SlideStitchInfo>'
        f"<AoiOrigin>{origins}</AoiOrigin></EncodeInfo>"
    )


def frames_of(rows: int, columns: int) -> NDArray[np.uint8]:
    """Return the frames of a scan side by side, as the tiles of level 0 hold them."""
    return np.ascontiguousarray(PIXELS[500 : 500 + rows * HEIGHT, 600 : 600 + columns * WIDTH])


def halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, columns, samples = pixels.shape
    quads = pixels.reshape(rows // 2, 2, columns // 2, 2, samples)
    total: NDArray[np.uint16] = quads.sum(axis=(1, 3), dtype=np.uint16)
    return ((total + 2) // 4).astype(np.uint8)


def xmp(text: str) -> tuple[int, int, int, bytes, bool]:
    data = text.encode()
    return (700, 1, len(data), data, True)


def write_bif(
    path: Path,
    frames: NDArray[np.uint8],
    stitching: str,
    *,
    scanner: str = SCANNER,
    compression: str = "zlib",
    levels: int = 3,
    label: str = "Label_Image",
) -> str:
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        options: dict[str, Any] = {"photometric": "rgb", "metadata": None}
        macro = np.ascontiguousarray(PIXELS[::9, ::9])
        writer.write(macro, description=label, extratags=[xmp(scanner)], **options)
        small = np.ascontiguousarray(PIXELS[::20, ::20])
        writer.write(small, description="Thumbnail", compression="jpeg", **options)
        for number in range(levels):
            writer.write(
                frames,
                tile=(HEIGHT, WIDTH),
                description=f"level={number} mag={20 / 2**number:g} quality=90",
                compression=compression,
                extratags=[xmp(stitching)] if number == 0 and stitching else [],
                **{**options, "photometric": "ycbcr" if compression == "jpeg" else "rgb"},
            )
            frames = halved(frames)
    return str(path)


def openslide_level(slide: openslide.OpenSlide, number: int) -> tuple[Any, NDArray[np.bool_]]:
    """Return a level over white, and where it has pixels."""
    size = slide.level_dimensions[number]
    pixels = np.array(slide.read_region((0, 0), number, size))
    there = pixels[..., 3] > 0
    pixels[~there] = 255
    return pixels[..., :3], there


TWO_AREAS = (
    Area(3, 4, left=0, bottom=300),
    Area(2, 3, row=3, column=4, left=480, bottom=20),
)
OVERLAPPING_AREAS = (
    Area(3, 4, left=0, bottom=200),
    Area(1, 1, row=5, column=0, left=5000, scanned=0, joints=""),
    Area(3, 3, row=3, column=4, left=420, bottom=100),
)
LAYOUTS: dict[str, tuple[Area, ...]] = {
    "abutting": (Area(6, 7, 0, 0),),
    "one area": (Area(6, 7),),
    "across only": (Area(6, 7, 24, 0),),
    "two areas": TWO_AREAS,
    "two areas that overlap": OVERLAPPING_AREAS,
    "some tiles are in no area": (Area(4, 5, row=1, column=2),),
    "beyond the left edge": (Area(6, 7, left=-40),),
}


@pytest.mark.parametrize("layout", LAYOUTS)
class TestStitched(ImageConformance):
    regions = 8

    @pytest.fixture
    def path(self, tmp_path: Path, layout: str) -> str:
        stitching = encode(*LAYOUTS[layout])
        return write_bif(tmp_path / "slide.bif", frames_of(6, 7), stitching, compression="jpeg")

    @pytest.fixture
    def expected(self, path: str) -> list[NDArray[Any]]:
        with openslide.OpenSlide(path) as slide:
            assert slide.properties["openslide.vendor"] == "ventana"
            return [openslide_level(slide, number)[0] for number in range(slide.level_count)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", ["lzw", "jpeg"])
def test_description_and_mask_equal_openslide(
    tmp_path: Path, layout: str, compression: str
) -> None:
    stitching = encode(*LAYOUTS[layout])
    path = write_bif(tmp_path / "slide.bif", frames_of(6, 7), stitching, compression=compression)
    with openslide.OpenSlide(path) as slide, regionio.open(path) as image:
        assert image.format == "ventana"
        assert image.resolutions["level_dimensions"] == slide.level_dimensions
        assert image.resolutions["level_downsamples"] == slide.level_downsamples
        mpp = float(slide.properties["openslide.mpp-x"])
        assert image.spacing("XY") == (mpp, mpp)
        told = image.metadata["ventana"]
        assert told["Magnification"] == slide.properties["openslide.objective-power"] == "20"
        assert told["AOIs"] == [{"Left": "1", "Top": "9"}]
        assert sorted(image.associated_images) == sorted(slide.associated_images)
        for name, picture in slide.associated_images.items():
            actual = image.associated_image(name).read_region()
            np.testing.assert_array_equal(actual, np.array(picture)[..., :3])
        for number in range(image.level_count):
            region = image.read_region(None, None, number, return_mask=True)
            pixels, there = openslide_level(slide, number)
            np.testing.assert_array_equal(region.mask, there)
            np.testing.assert_array_equal(region, pixels)


def test_regions_across_overlaps_equal_openslide(tmp_path: Path) -> None:
    stitching = encode(*OVERLAPPING_AREAS)
    path = write_bif(tmp_path / "slide.bif", frames_of(6, 7), stitching)
    random = np.random.default_rng(2)
    with openslide.OpenSlide(path) as slide, regionio.open(path) as image:
        locations = random.integers(0, slide.dimensions, (40, 2))
        for region in image.read_region(locations, (150, 130), return_mask=True):
            wanted = np.array(slide.read_region(region.locations.tolist(), 0, (150, 130)))
            there = wanted[..., 3] > 0
            np.testing.assert_array_equal(region.mask, there)
            np.testing.assert_array_equal(np.asarray(region)[there], wanted[there][:, :3])


def painted(
    frames: NDArray[np.uint8], ys: list[float], xs: list[float], factor: int
) -> NDArray[np.uint8]:
    """Paint the frames of one area where they start, with whole pixels, over white."""
    height, width = HEIGHT // factor, WIDTH // factor
    size = (math.ceil((ys[-1] + HEIGHT) / factor), math.ceil((xs[-1] + WIDTH) / factor), 3)
    level = np.full(size, 255, np.uint8)
    for row, y in enumerate(ys):
        for column, x in enumerate(xs):
            top, left = math.floor(y / factor + 0.5), math.floor(x / factor + 0.5)
            frame = frames[row * height : (row + 1) * height, column * width : (column + 1) * width]
            place = level[top : top + height, left : left + width]
            place[...] = frame[: place.shape[0], : place.shape[1]]
    return level


def test_fractions_of_pixels_are_rounded(tmp_path: Path) -> None:
    """OpenSlide interpolates there: sizes are the same, pixels half a pixel off at most."""
    area = Area(6, 7, lambda boundary: 16 + 2 * boundary, lambda boundary: 7 + 3 * (boundary == 2))
    frames = frames_of(6, 7)
    path = write_bif(tmp_path / "slide.bif", frames, encode(area))
    step_x, step_y = WIDTH - sum(range(16, 28, 2)) / 6, HEIGHT - (4 * 7 + 10) / 5
    xs, ys = [step_x * n for n in range(7)], [step_y * n for n in range(6)]
    with openslide.OpenSlide(path) as slide, regionio.open(path) as image:
        assert image.resolutions["level_dimensions"] == slide.level_dimensions
        for number in range(3):
            whole = image.read_region(None, None, number)
            np.testing.assert_array_equal(whole, painted(frames, ys, xs, 2**number))
            frames = halved(frames)


@pytest.mark.parametrize("across", ["LEFT", "RIGHT"])
def test_boundaries_of_modern_scanners_have_overlaps_of_their_own(
    tmp_path: Path, across: str
) -> None:
    area = Area(5, 6, lambda boundary: 24 if boundary in {1, 4} else 0, 0, across=across)
    area = Area(**{**area.__dict__, "left": 27102, "bottom": 52691})
    frames = frames_of(5, 7)  # the last column of tiles is in no area
    path = write_bif(tmp_path / "slide.bif", frames, encode(area), scanner=MODERN)
    xs = [0, 128, 256 - 24, 384 - 24, 512 - 24, 640 - 48]
    with regionio.open(path) as image:
        assert image.size("XY") == (6 * WIDTH - 2 * 24, 5 * HEIGHT)
        for number in range(3):
            level = painted(frames, [HEIGHT * n for n in range(5)], list(xs), 2**number)
            np.testing.assert_array_equal(image.read_region(None, None, number), level)
            frames = halved(frames)


def test_boundaries_without_joints_have_the_mean_of_the_others(tmp_path: Path) -> None:
    known = joint("RIGHT", 1, 2, x=20) + joint("RIGHT", 2, 3, x=30)
    placeholders = joint("RIGHT", 3, 4, joined=0, sure=0) + joint("RIGHT", 1, 4, joined=0, sure=99)
    area = Area(1, 4, joints=known + placeholders)
    path = write_bif(tmp_path / "slide.bif", frames_of(1, 4), encode(area), scanner=MODERN)
    with regionio.open(path) as image:
        assert image.size("XY") == (4 * WIDTH - 20 - 30 - 25, HEIGHT)


def test_joints_weigh_as_much_as_they_are_trusted(tmp_path: Path) -> None:
    joints = joint("RIGHT", 1, 2, x=20, sure=99) + joint("RIGHT", 2, 3, x=30, sure=33)
    joints += joint("UP", 1, 6, y=0)
    path = write_bif(tmp_path / "slide.bif", frames_of(2, 3), encode(Area(2, 3, joints=joints)))
    with openslide.OpenSlide(path) as slide, regionio.open(path) as image:
        assert image.size("XY") == slide.dimensions == (3 * WIDTH - 45, 2 * HEIGHT)


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (1, 1)])
def test_single_rows_and_columns_abut_where_nothing_is_known(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    frames = frames_of(*shape)
    path = write_bif(tmp_path / "slide.bif", frames, encode(Area(*shape, 0, 0)), levels=2)
    with regionio.open(path) as image:
        np.testing.assert_array_equal(image.read_region(), frames)


def test_deep_levels_have_no_gaps_and_show_what_level_0_shows(tmp_path: Path) -> None:
    area = Area(8, 16, 17, 7)
    frames = np.ascontiguousarray(PIXELS[400 : 400 + 8 * HEIGHT, 100 : 100 + 16 * WIDTH])
    path = write_bif(tmp_path / "slide.bif", frames, encode(area), levels=6)
    with openslide.OpenSlide(path) as slide, regionio.open(path) as image:
        assert image.resolutions["level_dimensions"] == slide.level_dimensions
        whole = openslide_level(slide, 0)[0]
        for number in range(1, 6):
            frames = halved(frames)
            factor = 2**number
            region = image.read_region(None, None, number, return_mask=True)
            assert region.mask is not None
            # the last row and column may be covered in part only: those are background
            covered = slice(0, region.shape[0] - 1), slice(0, region.shape[1] - 1)
            assert region.mask[covered].all()
            rows, columns = region.shape[0] - 1, region.shape[1] - 1
            blocks = whole[: rows * factor, : columns * factor]
            shrunk = blocks.reshape(rows, factor, columns, factor, 3).mean(axis=(1, 3))
            error = np.abs(np.asarray(region)[covered] - shrunk).mean()
            assert error < np.abs(frames[covered] - shrunk).mean() / 2


def test_frames_that_are_missing_are_background(tmp_path: Path) -> None:
    """OpenSlide fails to read these; the format's description says that they are legal."""
    frames = frames_of(4, 5)
    path = write_bif(tmp_path / "slide.bif", frames, encode(Area(4, 5)), levels=1)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for code in (324, 325):
            page = tiff.pages[2]
            assert isinstance(page, tifffile.TiffPage)
            tag = page.tags[code]
            tag.overwrite([0 if tile == 6 else value for tile, value in enumerate(tag.value)])
    xs, ys = [112.0 * n for n in range(5)], [88.0 * n for n in range(4)]
    covered = painted(frames, ys, xs, 1)
    with regionio.open(path) as image:
        region = image.read_region(return_mask=True)
    assert region.mask is not None
    hole = np.zeros(region.shape[:2], dtype=bool)
    # the frame's own pixels, less what the frame before covers of them
    hole[88 + 8 : 2 * 88, 112 + 16 : 2 * 112] = True
    np.testing.assert_array_equal(region.mask, ~hole)
    # where it lay over earlier frames, those are seen
    edge = np.zeros_like(hole)
    edge[88:176, 112:224] = True
    same = ~edge
    np.testing.assert_array_equal(np.asarray(region)[same], covered[same])
    strip = np.asarray(region)[88 : 88 + 8, 128:224]
    np.testing.assert_array_equal(strip, frames[HEIGHT - 8 : HEIGHT, 128 + 16 : 2 * 128 - 16])


def test_pages_without_stitching_are_a_plain_grid(tmp_path: Path) -> None:
    frames = frames_of(4, 5)[:-10, :-30]
    frames = np.ascontiguousarray(frames)
    path = write_bif(tmp_path / "slide.tif", frames, "", levels=1, label="Label Image")
    with openslide.OpenSlide(path) as slide, regionio.open(path) as image:
        assert image.size("XY") == slide.dimensions
        assert "macro" in image.associated_images
        np.testing.assert_array_equal(image.read_region(), frames)


def moved(old: str, new: str) -> str:
    text = encode(Area(4, 5))
    assert old in text
    return text.replace(old, new, 1)


BAD = {
    "frames are no neighbours": moved('Tile2="2"', 'Tile2="3"'),
    "frame number is too large": moved('Tile2="2"', 'Tile2="200"'),
    "unknown direction": moved('"RIGHT"', '"SIDEWAYS"'),
    "overlap is no number": moved('OverlapX="16"', 'OverlapX="some"'),
    "frames overlap by more than half": encode(Area(4, 5, 65, 0)),
    "area is larger than the page": encode(Area(5, 5)),
    "area starts between tiles": moved('OriginX="0"', 'OriginX="64"'),
    "area starts outside": moved('OriginX="0"', f'OriginX="{-WIDTH}"'),
    "frames are larger than tiles": moved(f'Width="{WIDTH}"', 'Width="136"'),
    "areas share tiles": encode(Area(4, 5), Area(2, 2, row=2, column=2)),
    "an origin is missing": moved("<AOI0", "").replace('OriginX="0" OriginY="0"/>', ""),
    "nothing was scanned": encode(Area(4, 5, scanned=0)),
    "an attribute is missing": moved("NumRows", "Rows"),
    "no XML": moved("</SlideStitchInfo>", ""),
    "area has no rows": moved('NumRows="4"', 'NumRows="0"'),
    "position is beyond all bounds": moved('Pos-X="0"', 'Pos-X="1e12"'),
}


@pytest.mark.parametrize("name", BAD)
def test_stitching_that_makes_no_sense_is_damage(tmp_path: Path, name: str) -> None:
    path = write_bif(tmp_path / "slide.bif", frames_of(4, 5), BAD[name])
    with pytest.raises(regionio.CorruptFileError, match="is damaged") as caught:
        regionio.open(path)
    assert path in str(caught.value)


def test_pages_that_are_no_level_of_the_scan_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "slide.bif"
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for number, pixels in enumerate([frames_of(4, 5), frames_of(2, 2)]):
            stitching = [xmp(SCANNER.replace("</iScan>", encode(Area(4, 5)) + "</iScan>"))]
            writer.write(
                pixels,
                photometric="rgb",
                tile=(HEIGHT, WIDTH),
                description=f"level={number} mag=20 quality=90",
                extratags=stitching,
                metadata=None,
            )
    with pytest.raises(regionio.CorruptFileError, match="no level of a scan"):
        regionio.open(path)


def test_a_scan_without_level_0_is_damage(tmp_path: Path) -> None:
    path = write_bif(tmp_path / "slide.bif", frames_of(2, 2), "", levels=0)
    with pytest.raises(regionio.CorruptFileError, match="level=0"):
        regionio.open(path)
