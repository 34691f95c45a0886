"""regionio.compat.openslide gives what openslide-python gives."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import regionio

openslide = pytest.importorskip("openslide")
deepzoom = pytest.importorskip("openslide.deepzoom")
Picture = pytest.importorskip("PIL.Image")
ImageCms = pytest.importorskip("PIL.ImageCms")

from regionio.compat import openslide as facade  # noqa: E402  only where Pillow is there

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LEFT_OUT = {"openslide.quickhash-1"}


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Return blocks of 8×8 pixels of random colours."""
    rng = np.random.default_rng(height * width)
    blocks = rng.integers(0, 256, (-(-height // 8), -(-width // 8), channels), dtype=np.uint8)
    return np.kron(blocks, np.ones((8, 8, 1), np.uint8))[:height, :width]


def write_pyramid(path: Path, pixels: np.ndarray, levels: int = 3, **options: Any) -> Path:
    """Write a tiled pyramid whose downsamples are powers of two."""
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):
            part = pixels[:: 2**level, :: 2**level]
            tiff.write(
                part[..., 0] if part.shape[2] == 1 else part,
                tile=(128, 128),
                subfiletype=int(level > 0),
                metadata=None,
                **{
                    "photometric": "rgb" if part.shape[2] == 3 else "minisblack",
                    "compression": "deflate",
                    **options,
                },
            )
    return path


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return an RGB pyramid of three levels with a profile and a known pixel size."""
    path = tmp_path_factory.mktemp("pyramid") / "pyramid.tif"
    options: dict[str, Any] = {
        "iccprofile": SRGB,
        "resolution": (20_000, 40_000),
        "resolutionunit": "CENTIMETER",
    }
    return str(write_pyramid(path, picture(512, 1024), **options))


def assert_same_picture(actual: Any, expected: Any, what: str = "") -> None:
    assert (actual.mode, actual.size) == (expected.mode, expected.size), what
    np.testing.assert_array_equal(np.asarray(actual), np.asarray(expected), what)


def assert_same_regions(path: str, locations: list[tuple[int, int, int]]) -> None:
    with facade.OpenSlide(path) as actual, openslide.OpenSlide(path) as expected:
        assert actual.level_dimensions == expected.level_dimensions
        for x, y, level in locations:
            where = f"({x}, {y}) at level {level}"
            region = actual.read_region((x, y), level, (150, 130))
            assert_same_picture(region, expected.read_region((x, y), level, (150, 130)), where)
            assert region.info == expected.read_region((x, y), level, (1, 1)).info


def outcome(call: Callable[[Any], object], module: Any) -> object:
    """Return what a call returns, or the name of what it raises."""
    try:
        return call(module)
    except Exception as error:  # noqa: BLE001  kinds of error are compared
        return type(error).__name__


def test_regionio_does_not_import_it() -> None:
    code = (
        "import sys, regionio;"
        "print([n for n in sys.modules if n.startswith('regionio.compat') or n == 'PIL'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_public_names_are_those_of_openslide() -> None:
    names = [name for name in dir(openslide) if name.startswith("PROPERTY_NAME_")]
    assert names
    for name in names:
        assert getattr(facade, name) == getattr(openslide, name)
    for name in ("AbstractSlide", "ImageSlide", "OpenSlide", "OpenSlideCache", "open_slide"):
        public = {n for n in dir(getattr(openslide, name)) if not n.startswith("_")}
        assert public <= set(dir(getattr(facade, name)))
    assert issubclass(facade.OpenSlideUnsupportedFormatError, facade.OpenSlideError)
    assert issubclass(facade.OpenSlideVersionError, facade.OpenSlideError)
    assert isinstance(facade.__version__, str)
    assert facade.__library_version__ == regionio.__version__


def test_regions_of_a_real_slide_are_the_same(slide_path: str) -> None:
    corners = [(-20, -30, 0), (2150, 2900, 0), (-500, 10, 0), (5000, 5000, 0), (-75, 1500, 0)]
    rng = np.random.default_rng(1)
    inside = [(int(x), int(y), 0) for x, y in rng.integers(0, 2000, (12, 2))]
    assert_same_regions(slide_path, corners + inside)


def test_regions_of_all_levels_are_the_same(pyramid: str) -> None:
    rng = np.random.default_rng(2)
    places = rng.integers(-60, 260, (24, 2)).tolist()
    locations = [(4 * x, 4 * y, number % 3) for number, (x, y) in enumerate(places)]
    assert_same_regions(pyramid, locations)


def test_a_location_between_pixels_of_a_level_is_rounded_down(pyramid: str) -> None:
    with facade.OpenSlide(pyramid) as slide:
        at_pixel = slide.read_region((40, -4), 2, (9, 9))
        assert_same_picture(slide.read_region((43, -1), 2, (9, 9)), at_pixel)


def test_missing_tiles_are_transparent(tmp_path: Path) -> None:
    pixels = picture(256, 256)
    tiles = [pixels[:128, :128], None, None, pixels[128:, 128:]]
    path = tmp_path / "sparse.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            iter(tiles),
            shape=(256, 256, 3),
            dtype=np.uint8,
            tile=(128, 128),
            photometric="rgb",
        )
    assert_same_regions(str(path), [(0, 0, 0), (100, 60, 0), (200, 200, 0)])
    with facade.OpenSlide(path) as slide, openslide.OpenSlide(path) as expected:
        assert slide.read_region((200, 20), 0, (1, 1)).getpixel((0, 0)) == (0, 0, 0, 0)
        thumbnail = slide.get_thumbnail((64, 64))
        assert thumbnail.getpixel((60, 4)) == (255, 255, 255)
        assert_same_picture(thumbnail, expected.get_thumbnail((64, 64)))


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_gray_is_shown_as_openslide_shows_it(tmp_path: Path, photometric: str) -> None:
    path = write_pyramid(tmp_path / "gray.tif", picture(256, 384, 1), photometric=photometric)
    assert_same_regions(str(path), [(0, 0, 0), (-40, 200, 0), (16, 64, 1), (300, 40, 2)])


def test_alpha_of_the_file_is_kept(tmp_path: Path) -> None:
    pixels = picture(256, 256, 4)
    options: dict[str, Any] = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    path = write_pyramid(tmp_path / "rgba.tif", pixels, levels=1, **options)
    with facade.OpenSlide(path) as slide, openslide.OpenSlide(path) as expected:
        region = np.asarray(slide.read_region((-1, 0), 0, (257, 256)))
        np.testing.assert_array_equal(region[:, 1:], pixels)
        assert not region[:, 0].any()
        alpha = np.asarray(expected.read_region((-1, 0), 0, (257, 256)))[..., 3]
        np.testing.assert_array_equal(region[..., 3], alpha)


@pytest.mark.parametrize("size", [(100, 100), (300, 80), (50, 2000)])
def test_thumbnails_are_the_same(slide_path: str, pyramid: str, size: tuple[int, int]) -> None:
    for path in (slide_path, pyramid):
        with facade.OpenSlide(path) as actual, openslide.OpenSlide(path) as expected:
            thumbnail = actual.get_thumbnail(size)
            assert_same_picture(thumbnail, expected.get_thumbnail(size))
            assert thumbnail.info == expected.get_thumbnail(size).info


def test_properties_are_the_same(slide_path: str, pyramid: str) -> None:
    for path in (slide_path, pyramid):
        with facade.OpenSlide(path) as actual, openslide.OpenSlide(path) as slide:
            expected = {k: v for k, v in slide.properties.items() if k not in LEFT_OUT}
            assert dict(actual.properties) == expected
            assert list(actual.properties) == sorted(expected)
            assert len(actual.properties) == len(expected)
            assert repr(actual.properties) == f"<_PropertyMap {expected}>"
            with pytest.raises(KeyError):
                actual.properties["openslide.nothing"]


def test_placeholder_resolutions_give_no_mpp(tmp_path: Path) -> None:
    options: dict[str, Any] = {"resolution": (72, 72), "resolutionunit": "INCH"}
    path = write_pyramid(tmp_path / "dpi.tif", picture(256, 256), **options)
    with facade.OpenSlide(path) as slide, openslide.OpenSlide(path) as expected:
        assert facade.PROPERTY_NAME_MPP_X not in slide.properties
        for name in ("tiff.XResolution", "tiff.ResolutionUnit"):
            assert slide.properties[name] == expected.properties[name]


def test_associated_images_are_the_same(slide_path: str) -> None:
    with facade.OpenSlide(slide_path) as actual, openslide.OpenSlide(slide_path) as expected:
        assert list(actual.associated_images) == list(expected.associated_images)
        assert len(actual.associated_images) == 3
        for name, image in expected.associated_images.items():
            assert_same_picture(actual.associated_images[name], image, name)
        with pytest.raises(KeyError, match="nothing"):
            actual.associated_images["nothing"]
        assert repr(actual.associated_images).startswith("<_AssociatedImageMap {'label': <PIL")


def test_color_profile_is_the_files(slide_path: str, pyramid: str) -> None:
    with facade.OpenSlide(pyramid) as slide, openslide.OpenSlide(pyramid) as expected:
        assert slide.color_profile is not None
        assert slide.color_profile.tobytes() == expected.color_profile.tobytes() == SRGB
        assert slide.read_region((0, 0), 0, (1, 1)).info["icc_profile"] == SRGB
    with facade.OpenSlide(slide_path) as slide:
        assert slide.color_profile is None
        assert not slide.read_region((0, 0), 0, (1, 1)).info


def test_levels_and_the_best_of_them_are_the_same(pyramid: str) -> None:
    with facade.OpenSlide(pyramid) as actual, openslide.OpenSlide(pyramid) as expected:
        assert actual.level_count == expected.level_count == 3
        assert actual.dimensions == expected.dimensions
        assert actual.level_downsamples == expected.level_downsamples
        for downsample in (0, 0.5, 1, 1.9, 2, 3.99, 4, 4.01, 1e9):
            best = expected.get_best_level_for_downsample(downsample)
            assert actual.get_best_level_for_downsample(downsample) == best


def test_downsamples_are_the_factors_of_the_levels(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "odd.tif", picture(515, 1026))
    with facade.OpenSlide(path) as slide, openslide.OpenSlide(path) as expected:
        assert slide.level_downsamples == (1.0, 2.0, 4.0)
        assert slide.get_best_level_for_downsample(4) == 2
        for number, (width, height) in enumerate(slide.level_dimensions):
            ratio = expected.level_downsamples[number] / slide.level_downsamples[number]
            assert abs(ratio - 1) <= 1 / width + 1 / height


def test_deep_zoom_tiles_are_the_same(slide_path: str, pyramid: str) -> None:
    for path in (slide_path, pyramid):
        with facade.OpenSlide(path) as actual, openslide.OpenSlide(path) as expected:
            tiles = deepzoom.DeepZoomGenerator(actual, tile_size=254, overlap=1)
            others = deepzoom.DeepZoomGenerator(expected, tile_size=254, overlap=1)
            assert tiles.level_dimensions == others.level_dimensions
            assert tiles.get_dzi("jpeg") == others.get_dzi("jpeg")
            for level, (columns, rows) in enumerate(others.level_tiles):
                for address in {(0, 0), (columns // 2, rows // 2), (columns - 1, rows - 1)}:
                    tile = tiles.get_tile(level, address)
                    assert_same_picture(tile, others.get_tile(level, address), f"{level} {address}")


def test_formats_are_detected_as_openslide_does(slide_path: str, pyramid: str) -> None:
    for path in (slide_path, slide_path.encode(), Path(pyramid), __file__, "missing.svs"):
        detected = facade.OpenSlide.detect_format(path)
        assert detected == openslide.OpenSlide.detect_format(path)


def test_wrong_use_raises_what_openslide_raises(slide_path: str) -> None:
    def closed(module: Any) -> Any:
        slide = module.OpenSlide(slide_path)
        slide.close()
        return slide

    def opened(module: Any) -> Any:
        return module.OpenSlide(slide_path)

    calls: list[Callable[[Any], object]] = [
        lambda m: m.OpenSlide("missing.svs"),
        lambda m: m.OpenSlide(__file__),
        lambda m: m.OpenSlide(3),
        lambda m: m.open_slide("missing.svs"),
        lambda m: closed(m).read_region((0, 0), 0, (1, 1)),
        lambda m: closed(m).dimensions,
        lambda m: closed(m).level_count,
        lambda m: closed(m).close(),
        lambda m: closed(m).properties["openslide.vendor"],
        lambda m: closed(m).associated_images["label"],
        lambda m: repr(closed(m)),
        lambda m: opened(m).read_region((0, 0), 0, (5, -1)),
        lambda m: opened(m).read_region((0.5, 0), 0, (5, 5)),
        lambda m: opened(m).read_region((np.int64(7), 0), 0, (5, 5)).size,
        lambda m: opened(m).read_region((0, 0), 0, (5, 0)).size,
        lambda m: opened(m).read_region((0, 0), 1, (2, 2)).getpixel((0, 0)),
        lambda m: opened(m).read_region((0, 0), -1, (2, 2)).getpixel((0, 0)),
        lambda m: opened(m).set_cache(None),
        lambda m: repr(m.OpenSlideCache(3)),
        lambda m: m.OpenSlideCache(-1),
        lambda m: m.OpenSlideCache(1.5),
    ]
    for number, call in enumerate(calls):
        assert outcome(call, facade) == outcome(call, openslide), f"call {number}"


def test_after_an_error_a_slide_is_not_used_again(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "damaged.tif", picture(256, 256), levels=1)
    with tifffile.TiffFile(path) as tiff:
        offset, size = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    damaged = bytearray(path.read_bytes())
    damaged[offset : offset + size] = b"\xff" * size
    path.write_bytes(damaged)
    for module in (facade, openslide):
        slide = module.OpenSlide(path)
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        with pytest.raises(module.OpenSlideError):
            slide.read_region((0, 0), 0, (16, 16))
        with pytest.raises(module.OpenSlideError):
            slide.properties["openslide.vendor"]
        slide.close()


@pytest.mark.parametrize(
    ("dtype", "options"),
    [(np.uint16, {}), (np.uint8, {"photometric": "palette"}), (np.float32, {})],
)
def test_pixels_that_are_not_gray_or_rgb_of_8_bits_are_refused(
    tmp_path: Path, dtype: Any, options: dict[str, Any]
) -> None:
    if options:
        options["colormap"] = np.zeros((3, 256), np.uint16)
    path = tmp_path / "other.tif"
    tifffile.imwrite(path, np.zeros((64, 64), dtype), tile=(32, 32), metadata=None, **options)
    with pytest.raises(facade.OpenSlideUnsupportedFormatError, match="8 bits"):
        facade.OpenSlide(path)
    assert facade.OpenSlide.detect_format(path) is None


def test_slides_can_be_pickled(slide_path: str) -> None:
    with facade.OpenSlide(slide_path) as slide:
        copy = pickle.loads(pickle.dumps(slide))
        assert_same_picture(
            copy.read_region((9, 9), 0, (9, 9)), slide.read_region((9, 9), 0, (9, 9))
        )
        assert dict(copy.properties) == dict(slide.properties)
        copy.close()


def test_set_cache_sets_the_size_of_the_process_cache(slide_path: str) -> None:
    with facade.OpenSlide(slide_path) as slide:
        slide.set_cache(facade.OpenSlideCache(5_000_000))
        assert regionio.cache.capacity == 5_000_000


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_pictures_are_slides_of_one_level(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "picture.png"
    Picture.fromarray(picture(60, 90)).convert(mode).save(path, icc_profile=SRGB)
    with facade.open_slide(path) as actual, openslide.open_slide(path) as expected:
        assert isinstance(actual, facade.ImageSlide)
        assert actual.level_dimensions == expected.level_dimensions
        assert actual.level_downsamples == expected.level_downsamples
        assert actual.get_best_level_for_downsample(9) == 0
        assert actual.properties == actual.associated_images == {}
        assert actual.color_profile is not None
        assert actual.color_profile.tobytes() == SRGB
        for location in ((0, 0), (-10, 5), (70, 50), (200, 0), (-40, -40)):
            region = actual.read_region(location, 0, (40, 30))
            assert_same_picture(region, expected.read_region(location, 0, (40, 30)))
        assert_same_picture(actual.get_thumbnail((20, 20)), expected.get_thumbnail((20, 20)))
        for call in (((0, 0), 1, (1, 1)), ((0, 0), 0, (1, -1))):
            with pytest.raises(facade.OpenSlideError):
                actual.read_region(*call)
    with pytest.raises(ValueError, match="closed"):
        actual.read_region((0, 0), 0, (1, 1))


def test_a_given_picture_stays_open() -> None:
    image = Picture.new("RGB", (5, 5), "red")
    slide = facade.ImageSlide(image)
    assert repr(slide) == f"ImageSlide({image!r})"
    slide.close()
    assert image.getpixel((0, 0)) == (255, 0, 0)


def comparable(folder: Path) -> list[Path]:
    """Return the files that both name alike, but for those where they differ on purpose."""
    suffixes = {".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif"}
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in suffixes
        and "orientation" not in path.parts  # OpenSlide flips each tile by itself
        and ".ome." not in path.name  # OpenSlide does not look for levels in SubIFDs
        and facade.OpenSlide.detect_format(path) is not None
        and facade.OpenSlide.detect_format(path) == openslide.OpenSlide.detect_format(path)
    ]


def assert_same_properties(actual: Any, expected: Any, what: str) -> None:
    """Compare all that both have, and allow what only one has on purpose."""
    ours, theirs = dict(actual.properties), dict(expected.properties)
    for key in ours.keys() & theirs.keys():
        if not key.endswith((".downsample", "level-count")):
            assert ours[key] == theirs[key], f"{what} {key}"
    for key in theirs.keys() - ours.keys():
        allowed = key in LEFT_OUT or key.startswith(("openslide.bounds-", "hamamatsu.;"))
        placeholder = key.startswith("openslide.mpp-") and float(theirs[key]) > 80
        further = expected.level_count > actual.level_count and key.startswith("openslide.level[")
        assert allowed or placeholder or further, f"{what} {key}"


def test_real_files_give_what_openslide_gives(wider_data: Path) -> None:
    compared = set()
    for path in comparable(wider_data):
        try:
            expected = openslide.OpenSlide(path)
            expected.read_region((0, 0), 0, (1, 1))
        except openslide.OpenSlideError:
            continue  # a codec or a tile that OpenSlide does not take
        with facade.OpenSlide(path) as actual:
            vendor = actual.properties["openslide.vendor"]
            compared.add(vendor)
            levels = expected.level_dimensions
            if vendor == "hamamatsu":  # OpenSlide makes further levels of the smallest
                levels = levels[: actual.level_count]
            assert actual.level_dimensions == levels, path.name
            x, y = (int(expected.properties.get(f"openslide.bounds-{axis}", 0)) for axis in "xy")
            for level, (width, height) in enumerate(levels):
                what = f"{path.name} level {level}"
                ratio = expected.level_downsamples[level] / actual.level_downsamples[level]
                assert abs(ratio - 1) <= 0.002 + 1 / width + 1 / height, what
                size = (min(width, 700) + 20, min(height, 700) + 20)
                origin = (x, y) if level == 0 else (0, 0)
                one, other = (
                    np.asarray(slide.read_region(origin, level, size))
                    for slide in (actual, expected)
                )
                np.testing.assert_array_equal(one[..., 3], other[..., 3], what)
                opaque = other[..., 3] == 255
                np.testing.assert_array_equal(one[opaque], other[opaque], what)
            assert_same_properties(actual, expected, path.name)
            for name, image in expected.associated_images.items():
                assert_same_picture(actual.associated_images[name], image, f"{path.name} {name}")
    assert compared >= {"aperio", "generic-tiff", "hamamatsu", "leica", "philips"}


def test_areas_of_a_leica_scan_lie_on_the_glass(wider_data: Path) -> None:
    path = wider_data / "derived" / "vendor_standins" / "leica.scn"
    with facade.OpenSlide(path) as actual, openslide.OpenSlide(path) as expected:
        for name in ("X", "Y", "WIDTH", "HEIGHT"):
            key = getattr(facade, f"PROPERTY_NAME_BOUNDS_{name}")
            assert actual.properties[key] == expected.properties[key]
        x, y = (int(expected.properties[f"openslide.bounds-{axis}"]) for axis in "xy")
        for place in ((x - 30, y - 20), (x + 2100, y + 2900), (x + 700, y + 800), (0, 0)):
            region = actual.read_region(place, 0, (150, 130))
            assert_same_picture(region, expected.read_region(place, 0, (150, 130)), str(place))
        tiles = deepzoom.DeepZoomGenerator(actual, limit_bounds=True)
        others = deepzoom.DeepZoomGenerator(expected, limit_bounds=True)
        assert tiles.level_dimensions == others.level_dimensions
        top = tiles.level_count - 1
        assert_same_picture(tiles.get_tile(top, (2, 3)), others.get_tile(top, (2, 3)))
