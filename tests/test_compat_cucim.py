"""regionio.compat.cucim gives what cuCIM gives, where that is right."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from regionio.compat.cucim import CuImage
from regionio.compat.cucim.clara import DLDataType, DLDataTypeCode

cucim = pytest.importorskip("cucim")
if not cucim.is_available("clara"):
    pytest.skip("cuCIM can't read images here", allow_module_level=True)

REAL = cucim.CuImage
COMPRESSIONS: dict[str, dict[str, Any]] = {
    "jpeg": {"compression": "jpeg", "compressionargs": {"level": 90}},
    "deflate": {"compression": "deflate"},
    "lzw": {"compression": "lzw", "predictor": True},
    "none": {},
}


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Return smooth gradients with noise."""
    rng = np.random.default_rng(height + width)
    y, x = np.mgrid[:height, :width]
    base = np.stack([x / 3, y / 3, (x + y) / 6, (x - y) / 6][:channels], axis=-1)
    return (base + rng.integers(0, 40, base.shape)).astype(np.uint8)


def write_pyramid(path: Path, pixels: np.ndarray, **options: Any) -> str:
    """Write a tiled pyramid of three levels whose downsamples are 1, 2 and 4."""
    with tifffile.TiffWriter(path) as tiff:
        for level in range(3):
            tiff.write(
                pixels[:: 2**level, :: 2**level],
                tile=(128, 128),
                subfiletype=int(level > 0),
                photometric="rgb",
                description="a pyramid" if level == 0 else None,
                metadata=None,
                **{"resolution": (20_000, 40_000), "resolutionunit": "CENTIMETER", **options},
            )
    return str(path)


@pytest.fixture(scope="module")
def pyramids(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return a generic pyramid of 640×896 pixels for each compression."""
    folder = tmp_path_factory.mktemp("pyramids")
    pixels = picture(640, 896)
    return {
        name: write_pyramid(folder / f"{name}.tif", pixels, **options)
        for name, options in COMPRESSIONS.items()
    }


@pytest.fixture(params=[*COMPRESSIONS, "aperio"])
def path(request: pytest.FixtureRequest, pyramids: dict[str, str], slide_path: str) -> str:
    """Return each of the pyramids and the real slide."""
    return {**pyramids, "aperio": slide_path}[request.param]


def pixels_of(image: Any) -> np.ndarray:
    return np.array(image, copy=True)


def kind_of(result: Any) -> str:
    """Return whether it is an iterator, or a region of which shape."""
    return "iterator" if hasattr(result, "__next__") else "x".join(map(str, result.shape))


def test_what_is_known_of_a_file_is_the_same(path: str) -> None:
    actual, expected = CuImage(path), REAL(path)
    for name in (
        "path",
        "is_loaded",
        "ndim",
        "dims",
        "shape",
        "typestr",
        "channel_names",
        "origin",
        "direction",
        "coord_sys",
        "resolutions",
        "associated_images",
        "raw_metadata",
        "is_trace_enabled",
    ):
        value = getattr(actual, name)
        assert value == getattr(expected, name), name
        assert type(value) is type(getattr(expected, name)), name
    for dims in ("", "XY", "YXC", "CXT"):
        assert actual.size(dims) == expected.size(dims)
    assert (repr(actual), str(actual.device)) == (repr(expected), str(expected.device))
    assert repr(actual.dtype) == repr(expected.dtype)
    assert actual


def test_metadata_is_the_same(path: str) -> None:
    actual, expected = CuImage(path).metadata, REAL(path).metadata
    for metadata in (actual, expected):
        metadata["cucim"]["associated_images"].sort()
        metadata.get("aperio", {}).pop("OriginalWidth", None)  # stands there twice
    if "aperio" in expected:  # cuCIM does not know its pixel size
        expected["cucim"]["spacing"] = [0.499, 0.499, 1.0]
        expected["cucim"]["spacing_units"] = ["micrometer", "micrometer", "color"]
    assert actual == expected
    region = CuImage(path).read_region((0, 0), (8, 4))
    assert region.metadata.keys() == {"cucim"}


def test_spacing_is_the_same(pyramids: dict[str, str]) -> None:
    actual, expected = CuImage(pyramids["none"]), REAL(pyramids["none"])
    for dims in ("", "XY", "YXC", "CT"):
        assert actual.spacing(dims) == expected.spacing(dims)
        assert actual.spacing_units(dims) == expected.spacing_units(dims)
    assert actual.spacing("YX") == [0.25, 0.5]


@pytest.mark.parametrize("options", [{"resolutionunit": "NONE"}, {"resolution": (72, 72)}])
def test_unknown_spacing_is_one_without_a_unit(tmp_path: Path, options: dict[str, Any]) -> None:
    unit = {"resolutionunit": "INCH", **options}
    img = CuImage(write_pyramid(tmp_path / "unknown.tif", picture(256, 256), **unit))
    assert img.spacing() == [1.0, 1.0, 1.0]
    assert img.spacing_units() == ["", "", "color"]


def test_spacing_of_a_region_grows_with_the_downsample(pyramids: dict[str, str]) -> None:
    img = CuImage(pyramids["none"])
    for level, factor in enumerate((1, 2, 4)):
        region = img.read_region((0, 0), (20, 10), level)
        assert region.spacing() == [0.25 * factor, 0.5 * factor, 1.0]
        assert region.spacing_units() == ["micrometer", "micrometer", "color"]
        batch = next(img.read_region([(0, 0), (4, 4)], (20, 10), level, batch_size=2))
        assert batch.spacing() == [1.0, 0.25 * factor, 0.5 * factor, 1.0]
        assert batch.spacing_units() == ["batch", "micrometer", "micrometer", "color"]


def test_regions_are_the_same(path: str) -> None:
    actual, expected = CuImage(path), REAL(path)
    width, height = actual.size("XY")
    rng = np.random.default_rng(3)
    for level, downsample in enumerate(actual.resolutions["level_downsamples"]):
        inside = rng.integers(0, (width, height), (4, 2)) // 4 * 4
        edges = [(-40, -20), (width - 40, -20), (-40, height - 40), (width - 60, height - 60)]
        outside = [(width + 400, 0), (-4000, -4000)]
        for x, y in [*inside.tolist(), *edges, *outside]:
            location = tuple(int(value // downsample * downsample) for value in (x, y))
            region = actual.read_region(location, (150, 130), level)
            other = expected.read_region(location, (150, 130), level)
            np.testing.assert_array_equal(
                pixels_of(region), pixels_of(other), f"{location} {level}"
            )


def test_whole_levels_are_the_default(path: str) -> None:
    actual, expected = CuImage(path), REAL(path)
    for level in range(actual.resolutions["level_count"]):
        region = actual.read_region(level=level)
        np.testing.assert_array_equal(
            pixels_of(region), pixels_of(expected.read_region(level=level))
        )
        assert region.resolutions == expected.read_region(level=level).resolutions


def test_locations_of_lower_levels_are_rounded_down(pyramids: dict[str, str]) -> None:
    img = CuImage(pyramids["none"])
    at_pixel = pixels_of(img.read_region((-12, 100), (30, 30), 2))
    for location in ((-9, 103), (-11, 101)):
        np.testing.assert_array_equal(pixels_of(img.read_region(location, (30, 30), 2)), at_pixel)


@pytest.mark.parametrize(("count", "batch_size"), [(5, 2), (6, 3), (4, 1), (2, 5)])
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_are_the_same(path: str, count: int, batch_size: int, drop_last: bool) -> None:
    locations = [(60 * number, 40 * number) for number in range(count)]
    options = {"batch_size": batch_size, "drop_last": drop_last, "num_workers": 2}
    actual = CuImage(path).read_region(locations, (64, 48), **options)
    expected = REAL(path).read_region(locations, (64, 48), **options)
    assert len(actual) == len(expected)
    assert iter(actual) is actual
    batches = list(actual)
    assert len(batches) == len(actual)
    for batch in batches:  # cuCIM overwrites a batch with the next one: compare one by one
        other = next(expected)
        np.testing.assert_array_equal(pixels_of(batch), pixels_of(other))
        assert (batch.dims, batch.shape) == (other.dims, other.shape)
        assert isinstance(batch, CuImage)
    assert list(actual) == []


def test_the_same_calls_give_regions_and_iterators(pyramids: dict[str, str]) -> None:
    calls: list[dict[str, Any]] = [
        {},
        {"location": ()},
        {"location": (5, 5)},
        {"location": [5, 5], "size": [4, 4]},
        {"location": [(5, 5)], "size": (4, 4)},
        {"location": np.array([5, 5], np.longlong), "size": (4, 4)},
        {"location": (0, 0, 5, 5), "size": (4, 4)},
        {"location": [(0, 0), (5, 5)], "size": (4, 4)},
        {"location": [(0, 0), (5, 5)], "level": 2},
        {"location": (0, 0), "size": (4, 4), "batch_size": 2},
        {"location": (0, 0), "size": (4, 4), "shuffle": True, "drop_last": True},
    ]
    actual, expected = CuImage(pyramids["none"]), REAL(pyramids["none"])
    for call in calls:
        kinds = [kind_of(img.read_region(**call, num_workers=1)) for img in (actual, expected)]
        assert kinds[0] == kinds[1], call
    for count in (1, 3):
        kinds = [
            kind_of(img.read_region(((k, k) for k in range(count)), (4, 4), num_workers=1))
            for img in (actual, expected)
        ]
        assert kinds[0] == kinds[1], count


def test_no_locations_give_no_region(pyramids: dict[str, str]) -> None:
    img = CuImage(pyramids["none"])
    nothings: list[Any] = [[], iter([]), np.zeros((0, 2), np.int64)]
    for nothing in nothings:
        regions = img.read_region(nothing, (4, 4))
        assert len(regions) == 0
        assert list(regions) == []


def test_several_locations_need_no_workers(pyramids: dict[str, str]) -> None:
    img = CuImage(pyramids["none"])
    locations = np.array([[0, 0], [16, 8], [-4, 600]])
    regions = list(img.read_region(locations, (32, 32), num_workers=0))
    for region, location in zip(regions, locations.tolist(), strict=True):
        single = img.read_region(tuple(location), (32, 32))
        np.testing.assert_array_equal(pixels_of(region), pixels_of(single))


def test_shuffling_keeps_every_region(pyramids: dict[str, str]) -> None:
    img = CuImage(pyramids["none"])
    locations = [(16 * number, 0) for number in range(20)]

    def read(**options: Any) -> list[bytes]:
        return [pixels_of(r).tobytes() for r in img.read_region(locations, (16, 16), **options)]

    plain, shuffled = read(), read(shuffle=True, seed=7)
    assert shuffled != plain
    assert sorted(shuffled) == sorted(plain)
    assert shuffled == read(shuffle=True, seed=7)
    assert shuffled != read(shuffle=True, seed=8)


def test_batches_keep_their_memory(pyramids: dict[str, str]) -> None:
    img = CuImage(pyramids["none"])
    locations = [(16 * number, 16 * number) for number in range(9)]
    arrays = [np.asarray(batch) for batch in img.read_region(locations, (16, 16), batch_size=3)]
    for place, location in enumerate(locations):
        single = np.asarray(img.read_region(location, (16, 16)))
        np.testing.assert_array_equal(arrays[place // 3][place % 3], single)


def test_regions_share_their_memory_with_numpy(slide_path: str) -> None:
    img = CuImage(slide_path)
    region = img.read_region((0, 0), (20, 10))
    interface = region.__array_interface__
    expected = REAL(slide_path).read_region((0, 0), (20, 10)).__array_interface__
    for key in expected.keys() - {"data"}:
        assert interface[key] == expected[key]
    np.asarray(region)[0, 0] = 77
    assert pixels_of(region)[0, 0].tolist() == [77, 77, 77]
    for image in (img, region):
        assert not hasattr(image, "__cuda_array_interface__")
    assert not hasattr(img, "__array_interface__")


def test_a_batch_is_iterated_over_its_regions(pyramids: dict[str, str]) -> None:
    img = CuImage(pyramids["none"])
    batch = next(img.read_region([(0, 0), (40, 40)], (16, 12), batch_size=2))
    for region, location in zip(batch, [(0, 0), (40, 40)], strict=True):
        assert (region.dims, region.shape) == ("YXC", [12, 16, 3])
        np.testing.assert_array_equal(region, img.read_region(location, (16, 12)))
        assert [region] == list(region)
    with pytest.raises(TypeError):
        iter(img)  # type: ignore[call-overload]


def test_regions_of_regions_are_the_same(pyramids: dict[str, str]) -> None:
    whole, other = (cls(pyramids["none"]).read_region((8, 8), (50, 40)) for cls in (CuImage, REAL))
    part = whole.read_region((10, 20), (30, 20))
    np.testing.assert_array_equal(pixels_of(part), pixels_of(other.read_region((10, 20), (30, 20))))
    assert part.shape == [20, 30, 3]
    assert not np.shares_memory(np.asarray(part), np.asarray(whole))
    for location, size in (((30, 0), (30, 10)), ((-1, 0), (5, 5)), ((0, 39), (5, 2))):
        with pytest.raises(ValueError, match="exceeds the image"):
            whole.read_region(location, size)
    with pytest.raises(ValueError, match="'level' should be less than 1"):
        whole.read_region((0, 0), (5, 5), 1)


def test_associated_images_are_the_same(slide_path: str) -> None:
    img, other = CuImage(slide_path), REAL(slide_path)
    for name in other.associated_images:
        actual, expected = img.associated_image(name), other.associated_image(name)
        np.testing.assert_array_equal(pixels_of(actual), pixels_of(expected))
        assert actual.resolutions == expected.resolutions
        assert actual.path == slide_path
    with pytest.raises(KeyError, match="nothing"):
        img.associated_image("nothing")


def test_saved_regions_are_the_same(tmp_path: Path, pyramids: dict[str, str]) -> None:
    files = []
    for number, cls in enumerate((CuImage, REAL)):
        files.append(tmp_path / f"{number}.ppm")
        cls(pyramids["none"]).read_region((8, 8), (50, 40)).save(str(files[-1]))
    assert files[0].read_bytes() == files[1].read_bytes()
    with pytest.raises(ValueError, match="read_region"):
        CuImage(pyramids["none"]).save(tmp_path / "whole.ppm")
    assert not (tmp_path / "whole.ppm").exists()


def test_wrong_arguments_are_refused(tmp_path: Path, pyramids: dict[str, str]) -> None:
    img = CuImage(pyramids["none"])
    for level in (-1, 3):
        with pytest.raises(ValueError, match="'level' should be less than 3"):
            img.read_region(level=level)
        with pytest.raises(ValueError, match="'level' should be less than 3"):
            img.read_region((0, 0), (10, 10), level)
    for size in ((0, 10), (-1, 10), (10, 10, 10)):
        with pytest.raises(ValueError, match="size"):
            img.read_region((0, 0), size)
    with pytest.raises(TypeError, match="integers"):
        img.read_region((0.5, 1.5), (4, 4))
    with pytest.raises(ValueError, match="single character but 'foo' is used"):
        img.read_region((0, 0), (4, 4), foo=1)
    with pytest.raises(ValueError, match="S=1"):
        img.read_region((0, 0), (4, 4), S=1)
    with pytest.raises(ValueError, match="shared memory"):
        img.read_region((0, 0), (4, 4), shm_name="name")
    with pytest.raises(ValueError, match="device"):
        img.read_region((0, 0), (4, 4), device="gpu")
    with pytest.raises(ValueError, match="Cannot open"):
        CuImage(tmp_path / "missing.tif")
    with pytest.raises(ValueError, match="traced"):
        CuImage.profiler(trace=True)
    assert CuImage.profiler().config == REAL.profiler().config


def test_a_closed_file_is_not_read(pyramids: dict[str, str]) -> None:
    with CuImage(Path(pyramids["none"])) as img:
        region = img.read_region((0, 0), (8, 8))
    with pytest.raises(RuntimeError, match="The image file is closed!"):
        img.read_region((0, 0), (8, 8))
    img.close()
    region.close()
    assert pixels_of(region).shape == (8, 8, 3)
    assert img.shape == [640, 896, 3]


def test_a_region_is_read_into_a_given_array(pyramids: dict[str, str]) -> None:
    img = CuImage(pyramids["none"])
    array = np.zeros((12, 16, 3), np.uint8)
    region = img.read_region((30, 40), (16, 12), buf=array)
    assert np.shares_memory(np.asarray(region), array)
    np.testing.assert_array_equal(array, img.read_region((30, 40), (16, 12)))
    with pytest.raises(ValueError, match="one region"):
        img.read_region([(0, 0), (5, 5)], (16, 12), buf=array)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_gray_keeps_its_type_and_one_channel(tmp_path: Path, dtype: Any) -> None:
    pixels = picture(200, 300, 1)[..., 0].astype(dtype) * dtype(3)
    path = tmp_path / "gray.tif"
    tifffile.imwrite(path, pixels, tile=(128, 128))
    img = CuImage(path)
    assert (img.shape, img.typestr) == ([200, 300, 1], np.dtype(dtype).str)
    bits = np.dtype(dtype).itemsize * 8
    kind = DLDataTypeCode.DLFloat if dtype is np.float32 else DLDataTypeCode.DLUInt
    assert img.dtype == DLDataType(kind, bits, 1)
    region = pixels_of(img.read_region((-10, 20), (100, 60)))
    np.testing.assert_array_equal(region[:, 10:, 0], pixels[20:80, :90])
    assert not region[:, :10].any()


def test_a_channel_and_a_focal_plane_can_be_chosen(tmp_path: Path) -> None:
    planes = np.stack([picture(128, 128), picture(128, 128) // 2])
    path = tmp_path / "planes.tif"
    tifffile.imwrite(path, planes, tile=(64, 64), photometric="rgb")
    img = CuImage(path)
    assert img.shape == [128, 128, 3]
    green = img.read_region((5, 6), (20, 10), C=1)
    np.testing.assert_array_equal(pixels_of(green)[..., 0], planes[0, 6:16, 5:25, 1])
    assert green.channel_names == ["G"]
    second = pixels_of(img.read_region((5, 6), (20, 10), C=-1, Z=1))
    np.testing.assert_array_equal(second, planes[1, 6:16, 5:25])


def test_volumes_and_unknown_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "complex.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.complex64))
    with pytest.raises(ValueError, match="complex64"):
        CuImage(path)


def test_images_and_regions_can_be_pickled(slide_path: str) -> None:
    img = CuImage(slide_path)
    region = img.read_region((100, 100), (20, 10))
    copy, region_copy = pickle.loads(pickle.dumps((img, region)))
    np.testing.assert_array_equal(pixels_of(region_copy), pixels_of(region))
    np.testing.assert_array_equal(copy.read_region((100, 100), (20, 10)), region)
    assert copy.metadata == img.metadata


@pytest.mark.parametrize("compression", ["jpeg", "deflate", "lzw"])
def test_a_second_read_hits_the_cache(pyramids: dict[str, str], compression: str) -> None:
    img = CuImage(pyramids[compression])
    tiles = CuImage.cache("per_process", memory_capacity=16, record_stat=True)
    img.read_region((0, 0), (8, 8))
    assert (tiles.hit_count, tiles.miss_count, tiles.size) == (0, 1, 1)
    width, height = img.resolutions["level_tile_sizes"][0]
    assert tiles.memory_size == width * height * 3
    img.read_region((0, 0), (8, 8))
    assert (tiles.hit_count, tiles.miss_count) == (1, 1)
    assert tiles.free_memory == 16 * 2**20 - width * height * 3
    tiles.record(False)
    img.read_region((0, 0), (8, 8))
    assert (tiles.hit_count, tiles.miss_count) == (0, 0)
    tiles.record(True)
    img.read_region((0, 0), (8, 8))
    assert (tiles.hit_count, tiles.miss_count) == (1, 0)
    assert CuImage.cache() is tiles
    assert CuImage.cache("per_process", memory_capacity=16).size == 0
