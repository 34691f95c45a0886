"""The command line: what it writes is what tifffile reads, and every failure has its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

import regionio

pytest.importorskip("typer")
pytest.importorskip("rich")
zarr = pytest.importorskip("zarr")

from typer.testing import CliRunner  # noqa: E402

from regionio.cli import bands, writers  # noqa: E402
from regionio.cli.app import app  # noqa: E402
from regionio.cli.contact_sheet import INK, chosen_patches, contact_sheet  # noqa: E402
from regionio.cli.display import DisplayRange  # noqa: E402
from regionio.cli.grid import PatchGrid  # noqa: E402
from regionio.cli.tissue import (  # noqa: E402
    box_fractions,
    otsu_threshold,
    saturation,
    tissue_mask,
)

SLIDE = Path(__file__).parent / "data" / "CMU-1-Small-Region.svs"
ROOT = Path(__file__).parent.parent
PIXELS: np.ndarray[Any, Any] = tifffile.imread(SLIDE)
GLASS = (243, 242, 244)
STAIN = (180, 60, 140)


def run(*arguments: object, code: int = 0) -> Any:
    """Run a command in this process and check its exit code."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def refused(*arguments: object) -> str:
    """Run a command that is wrong usage, and return what it says, without boxes and line ends."""
    result = run(*arguments, code=2)
    assert result.stdout == ""
    return " ".join(result.stderr.replace("│", " ").split())


def left_behind(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def write_pyramid(path: Path, pixels: np.ndarray[Any, Any], factors: tuple[int, ...]) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for factor in (1, *factors):
            tiff.write(
                pixels[::factor, ::factor],
                tile=(128, 128),
                compression="zlib",
                photometric="rgb" if pixels.ndim == 3 else "minisblack",
                subfiletype=factor > 1,
                metadata=None,
            )


@pytest.fixture
def gray16_path(tmp_path: Path) -> Path:
    """Return a 16-bit gray pyramid of three levels."""
    pixels = (PIXELS[:700, 300:1111, 0].astype(np.uint16) << 4) + PIXELS[:700, 300:1111, 1]
    path = tmp_path / "gray16.tif"
    write_pyramid(path, pixels, (2, 4))
    return path


@pytest.fixture
def stained_path(tmp_path: Path) -> Path:
    """Return glass of 1024 × 768 with one stained rectangle, in two levels."""
    pixels = np.full((768, 1024, 3), GLASS, dtype=np.uint8)
    pixels[128:384, 256:640] = STAIN
    path = tmp_path / "stained.tif"
    write_pyramid(path, pixels, (2,))
    return path


@pytest.fixture
def damaged_path(tmp_path: Path) -> Path:
    """Return the real slide with one tile in the middle overwritten."""
    data = bytearray(SLIDE.read_bytes())
    with tifffile.TiffFile(SLIDE) as tiff:
        page = tiff.pages.first
        offset, nbytes = page.dataoffsets[64], page.databytecounts[64]
    data[offset : offset + nbytes] = bytes(nbytes)
    path = tmp_path / "damaged.svs"
    path.write_bytes(data)
    return path


# the whole program


def test_importing_regionio_imports_nothing_of_the_command_line() -> None:
    check = (
        "import sys, regionio\n"
        "assert not {'typer', 'click', 'rich', 'zarr', 'regionio.cli'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT)


@pytest.mark.parametrize("package", ["typer", "rich", "zarr"])
def test_without_its_packages_the_program_says_how_to_install_them(
    package: str, tmp_path: Path
) -> None:
    script = f"import sys; sys.modules[{package!r}] = None; import regionio.cli as c; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "extract", str(SLIDE), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert left_behind(tmp_path) == []
    assert done.returncode == 1
    assert done.stderr == f'regionio: {package} is missing: pip install "regionio[cli]"\n'
    assert done.stdout == ""


def test_the_program_runs_as_a_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "regionio.cli", "info", str(SLIDE), "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert json.loads(done.stdout)["format"] == "aperio"
    assert done.stderr == ""


def test_a_failing_process_prints_one_line_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "regionio.cli", "info", str(tmp_path / "none.svs")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"regionio: '{tmp_path / 'none.svs'}': No such file or directory\n"


@pytest.mark.parametrize("command", ["info", "thumbnail", "read", "bench", "extract"])
def test_help_has_an_example_and_the_exit_codes(command: str) -> None:
    text = run(command, "--help").output
    assert f"Example: regionio {command}" in text
    assert "Exit codes: 0 fine; 1" in text


def test_version_is_that_of_the_package() -> None:
    assert run("--version").stdout == f"regionio {regionio.__version__}\n"


COMMANDS = {
    "info": [],
    "thumbnail": ["out.png"],
    "read": ["out.tif"],
    "bench": [],
    "extract": ["out"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_file_is_one_line_and_exit_1(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(command, "none.svs", *COMMANDS[command], code=1)
    assert result.stderr == "regionio: 'none.svs': No such file or directory\n"
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_is_no_tiff_is_one_line_and_exit_1(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.svs").write_text("no slide at all")
    result = run(command, "text.svs", *COMMANDS[command], code=1)
    assert result.stderr.count("\n") == 1
    assert "text.svs" in result.stderr
    assert left_behind(tmp_path) == ["text.svs"]


@pytest.mark.parametrize("command", ["read", "bench", "extract"])
def test_a_level_that_is_not_there_is_wrong_usage(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "there is no 1" in refused(command, SLIDE, *COMMANDS[command], "--level", 1)
    assert left_behind(tmp_path) == []


def test_a_scene_that_is_not_there_is_wrong_usage() -> None:
    assert "no scene 1" in refused("info", SLIDE, "--scene", 1)


# info


def test_info_as_json_says_what_tifffile_sees() -> None:
    facts = json.loads(run("info", SLIDE, "--json").stdout)
    with tifffile.TiffFile(SLIDE) as tiff:
        page = tiff.pages.first
        sizes = {name: tiff.pages[number].shape for name, number in (("label", 2), ("macro", 3))}
        assert facts["levels"] == [
            {
                "width": page.imagewidth,
                "height": page.imagelength,
                "downsample": [1.0, 1.0],
                "tile_size": [page.tilewidth, page.tilelength],
                "tiles": len(page.dataoffsets),
                "compression": "jpeg",
                "nbytes": sum(page.databytecounts),
            }
        ]
        for name, shape in sizes.items():
            found = facts["associated_images"][name]
            assert (found["height"], found["width"]) == shape[:2]
    assert facts["shape"] == list(PIXELS.shape)
    assert facts["dtype"] == "uint8"
    assert facts["spacing"] == {"X": 0.499, "Y": 0.499}
    assert facts["spacing_unit"] == "micrometer"


def test_info_as_json_has_stable_keys(gray16_path: Path) -> None:
    facts = json.loads(run("info", gray16_path, "--json").stdout)
    assert list(facts) == [
        "path",
        "format",
        "dims",
        "shape",
        "dtype",
        "is_volume",
        "spacing",
        "spacing_unit",
        "channel_names",
        "icc_profile",
        "scene",
        "scenes",
        "levels",
        "associated_images",
    ]
    assert facts["spacing"] == {"X": None, "Y": None}
    assert [level["width"] for level in facts["levels"]] == [811, 406, 203]


def test_info_for_people_has_a_row_a_level(gray16_path: Path) -> None:
    text = run("info", gray16_path).stdout
    for size in ("811 × 700", "406 × 350", "203 × 175"):
        assert size in text
    assert "uint16" in text
    assert "deflate" in text


def test_info_lists_scenes_where_there_are_several(tmp_path: Path) -> None:
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(PIXELS[:300, :400], photometric="rgb", metadata=None)
        tiff.write(PIXELS[:333, :222, 0], photometric="minisblack", metadata=None)
    assert "333 × 222" in run("info", path).stdout
    facts = json.loads(run("info", path, "--scene", 1, "--json").stdout)
    assert (facts["scene"], facts["shape"]) == (1, [333, 222])
    assert [scene["shape"] for scene in facts["scenes"]] == [[300, 400, 3], [333, 222]]


# thumbnail


def test_a_thumbnail_is_the_average_of_the_pixels_it_covers(tmp_path: Path) -> None:
    out = tmp_path / "small.png"
    run("thumbnail", SLIDE, out, "--max-size", 989)
    expected = PIXELS.reshape(989, 3, 740, 3, 3).mean(axis=(1, 3))
    assert np.abs(imagecodecs.png_decode(out.read_bytes()) - expected).max() <= 0.5


def test_an_associated_image_is_written_as_it_is(tmp_path: Path) -> None:
    out = tmp_path / "label.png"
    run("thumbnail", SLIDE, out, "--associated", "label")
    with tifffile.TiffFile(SLIDE) as tiff:
        expected = tiff.pages[2].asarray()
    np.testing.assert_array_equal(imagecodecs.png_decode(out.read_bytes()), expected)


def test_an_associated_image_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    assert "barcode" in refused("thumbnail", SLIDE, tmp_path / "a.png", "--associated", "barcode")
    assert left_behind(tmp_path) == []


def test_a_thumbnail_of_16_bits_is_scaled_from_least_to_greatest(tmp_path: Path) -> None:
    pixels = np.array([[1000, 2000], [3000, 6100]], dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata=None)
    result = run("thumbnail", tmp_path / "a.tif", tmp_path / "a.png")
    shown = imagecodecs.png_decode((tmp_path / "a.png").read_bytes())
    np.testing.assert_array_equal(shown, [[0, 50], [100, 255]])
    assert "1000 is black, 6100 is white" in result.stdout


@pytest.mark.parametrize(("channels", "shown"), [(2, 1), (5, 3)])
def test_a_thumbnail_shows_the_first_channel_or_the_first_three(
    channels: int, shown: int, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, channels), dtype=np.uint8)
    options = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)  # type: ignore[arg-type]
    run("thumbnail", tmp_path / "a.tif", tmp_path / "a.png")
    found = imagecodecs.png_decode((tmp_path / "a.png").read_bytes()).reshape(40, 50, shown)
    np.testing.assert_array_equal(found, pixels[..., :shown])


def test_what_is_not_finite_is_shown_as_black() -> None:
    pixels = np.array([[np.nan, 1.0], [3.0, -np.inf]], dtype=np.float32)
    shown = DisplayRange.of(pixels).shown(pixels)
    np.testing.assert_array_equal(shown, [[0, 0], [255, 0]])


# read


@pytest.mark.parametrize("suffix", ["tif", "tiff", "npy", "png"])
def test_a_region_has_the_pixels_that_tifffile_reads(suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"region.{suffix}"
    run("read", SLIDE, out, "--location", 501, 702, "--size", 333, 222)
    np.testing.assert_array_equal(load(out), PIXELS[702:924, 501:834])
    assert left_behind(tmp_path) == [out.name]


def load(path: Path) -> np.ndarray[Any, Any]:
    """Read a file with readers that are not regionio."""
    if path.suffix == ".npy":
        return np.asarray(np.load(path))
    if path.suffix == ".png":
        return np.asarray(imagecodecs.png_decode(path.read_bytes()))
    return np.asarray(tifffile.imread(path))


def test_a_region_may_begin_outside_the_slide(tmp_path: Path) -> None:
    out = tmp_path / "region.png"
    run("read", SLIDE, out, "--location", -20, -10, "--size", 100, 90)
    expected = np.full((90, 100, 3), 255, dtype=np.uint8)
    expected[10:, 20:] = PIXELS[:80, :80]
    np.testing.assert_array_equal(load(out), expected)


@pytest.mark.parametrize("suffix", ["tif", "npy", "png"])
def test_a_level_in_many_bands_is_the_level(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bands, "BAND_BYTES", 1)
    out = tmp_path / f"level.{suffix}"
    run("read", SLIDE, out)
    np.testing.assert_array_equal(load(out), PIXELS)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("suffix", ["tif", "npy", "png"])
def test_every_level_of_16_bits_is_written_exactly(
    level: int, suffix: str, gray16_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"level.{suffix}"
    run("read", gray16_path, out, "--level", level)
    expected = tifffile.imread(gray16_path, key=level)
    found = load(out)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, expected)


def test_bands_of_a_level_with_a_broken_downsample_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bands, "BAND_BYTES", 1)
    small = np.ascontiguousarray(PIXELS[:1187, :888])
    path = tmp_path / "fractions.tif"
    with tifffile.TiffWriter(path) as tiff:
        for pixels in (PIXELS, small):
            tiff.write(pixels, tile=(256, 256), photometric="rgb", metadata=None)
    with regionio.open(str(path)) as image:
        down_x, down_y = image.levels[1].downsample
    assert (down_x, down_y) == (2220 / 888, 2967 / 1187)
    for x, y in ((31, 47), (30, 152), (0, 153)):
        out = tmp_path / "a.npy"
        run("read", path, out, "--level", 1, "--location", x, y, "--size", 800, 1100)
        left, top = int(x / down_x), int(y / down_y)
        np.testing.assert_array_equal(load(out), small[top : top + 1100, left : left + 800])


def test_a_written_tiff_is_tiled_compressed_and_keeps_spacing(tmp_path: Path) -> None:
    run("read", SLIDE, tmp_path / "a.tif", "--location", 0, 0, "--size", 700, 500)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        page = tiff.pages.first
        assert (page.tilewidth, page.tilelength) == (256, 256)
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert page.photometric == tifffile.PHOTOMETRIC.RGB
        assert page.resolutionunit == tifffile.RESUNIT.CENTIMETER
        assert page.resolution == pytest.approx((1e4 / 0.499, 1e4 / 0.499), rel=1e-6)


def test_a_written_tiff_keeps_the_icc_profile_of_its_colours(tmp_path: Path) -> None:
    profile = imagecodecs.cms_profile("srgb")
    tifffile.imwrite(
        tmp_path / "a.tif", PIXELS[:99, :88], photometric="rgb", iccprofile=profile, metadata=None
    )
    run("read", tmp_path / "a.tif", tmp_path / "all.tif")
    run("read", tmp_path / "a.tif", tmp_path / "red.tif", "--channel", "R")
    with tifffile.TiffFile(tmp_path / "all.tif") as tiff:
        assert tiff.pages.first.iccprofile == profile
    with tifffile.TiffFile(tmp_path / "red.tif") as tiff:
        assert tiff.pages.first.iccprofile is None
        np.testing.assert_array_equal(tiff.asarray(), PIXELS[:99, :88, 0])


@pytest.mark.parametrize(
    ("channels", "chosen"),
    [([], [0, 1, 2, 3, 4]), (["3"], [3]), (["4", "1"], [4, 1]), (["0", "1", "2"], [0, 1, 2])],
)
@pytest.mark.parametrize("dtype", ["int16", "float32", "uint8"])
def test_channels_are_written_in_the_order_asked_for(
    channels: list[str], chosen: list[int], dtype: str, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(0, 99, (300, 280, 5)).astype(dtype)
    options = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(64, 64), **options)  # type: ignore[arg-type]
    asked = [word for channel in channels for word in ("--channel", channel)]
    for out in (tmp_path / "b.tif", tmp_path / "b.npy"):
        run("read", tmp_path / "a.tif", out, *asked)
        found = load(out).reshape(300, 280, len(chosen))
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, values[..., chosen])


def test_a_focal_plane_is_chosen_by_its_number(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 256, (3, 90, 80), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="minisblack", metadata=None)
    run("read", tmp_path / "a.tif", tmp_path / "a.npy", "--z", 2)
    np.testing.assert_array_equal(load(tmp_path / "a.npy"), planes[2])
    refused("read", tmp_path / "a.tif", tmp_path / "b.npy", "--z", 3)


def test_bits_are_written_as_black_and_white(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (70, 90)).astype(bool)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata=None)
    for out in (tmp_path / "b.tif", tmp_path / "b.png"):
        run("read", tmp_path / "a.tif", out)
        np.testing.assert_array_equal(load(out), pixels * np.uint8(255))
    run("read", tmp_path / "a.tif", tmp_path / "b.npy")
    np.testing.assert_array_equal(load(tmp_path / "b.npy"), pixels)


@pytest.mark.parametrize(
    "values",
    [np.zeros((20, 30), np.float32), np.zeros((20, 30), np.int16), np.zeros((20, 30, 2), np.uint8)],
    ids=["float", "signed", "two channels"],
)
def test_png_refuses_what_it_can_not_hold(values: np.ndarray[Any, Any], tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig", metadata=None
    )
    assert ".npy" in refused("read", tmp_path / "a.tif", tmp_path / "a.png")
    assert left_behind(tmp_path) == ["a.tif"]


def test_png_refuses_what_is_too_large_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "MOST_PNG_BYTES", 1_000_000)
    assert ".tif" in refused("read", SLIDE, tmp_path / "a.png")
    assert left_behind(tmp_path) == []
    run("read", SLIDE, tmp_path / "a.png", "--size", 500, 500)


@pytest.mark.parametrize("suffix", ["tif", "npy", "png"])
def test_a_damaged_tile_leaves_no_file(suffix: str, damaged_path: Path, tmp_path: Path) -> None:
    result = run("read", damaged_path, tmp_path / f"out.{suffix}", code=1)
    assert "damaged.svs" in result.stderr
    assert result.stderr.count("\n") == 1
    assert left_behind(tmp_path) == ["damaged.svs"]


def test_a_file_that_was_there_is_replaced_only_by_a_whole_one(
    damaged_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.npy"
    out.write_bytes(b"earlier")
    run("read", damaged_path, out, code=1)
    assert out.read_bytes() == b"earlier"
    run("read", SLIDE, out, "--size", 10, 10)
    np.testing.assert_array_equal(load(out), PIXELS[:10, :10])


def test_the_slide_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS[:50, :50], photometric="rgb", metadata=None)
    before = path.read_bytes()
    refused("read", path, path)
    assert path.read_bytes() == before


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "a.npy"
    folder.mkdir()
    (folder / "kept.txt").write_text("kept")
    result = run("read", SLIDE, folder, "--size", 9, 9, code=1)
    assert result.stderr == f"regionio: '{folder}': Is a directory\n"
    assert left_behind(tmp_path) == ["a.npy"]
    assert left_behind(folder) == ["kept.txt"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = run("read", SLIDE, tmp_path / "no" / "a.tif", "--size", 9, 9, code=1)
    assert result.stderr == f"regionio: '{tmp_path / 'no'}': there is no such folder\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.jpg"],
        ["a.tif", "--location", "0", "0"],
        ["a.tif", "--size", "0", "5"],
        ["a.tif", "--channel", "X"],
        ["a.tif", "--channel", "3"],
        ["a.tif", "--t", "1"],
    ],
)
def test_wrong_arguments_of_read_are_exit_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused("read", SLIDE, *arguments)
    assert left_behind(tmp_path) == []


def test_real_16_bit_pyramid_is_written_exactly(wider_data: Path, tmp_path: Path) -> None:
    path = wider_data / "real" / "generic" / "cog" / "cog.tif"
    for level in range(5):
        run("read", path, tmp_path / "a.tif", "--level", level)
        np.testing.assert_array_equal(load(tmp_path / "a.tif"), tifffile.imread(path, key=level))


# bench


def test_bench_counts_what_it_read() -> None:
    facts = json.loads(
        run("bench", SLIDE, "--threads", "0,2", "--seconds", 0.05, "--batch", 8, "--json").stdout
    )
    assert list(facts) == ["path", "level", "patch", "batch", "seconds", "cache_mib", "runs"]
    assert [measured["threads"] for measured in facts["runs"]] == [0, 2]
    for measured in facts["runs"]:
        assert list(measured) == [
            "threads",
            "seconds",
            "patches",
            "patches_per_second",
            "decoded_megabytes_per_second",
            "tiles_decoded",
            "cache_hits",
            "requests",
            "bytes_read",
        ]
        assert measured["patches"] % 8 == 0
        assert measured["seconds"] >= 0.05
        assert measured["patches_per_second"] == measured["patches"] / measured["seconds"]
        megabytes = measured["tiles_decoded"] * 240 * 240 * 3 / 1e6
        assert measured["decoded_megabytes_per_second"] == pytest.approx(
            megabytes / measured["seconds"]
        )


def test_bench_without_a_cache_hits_none_and_leaves_the_cache_as_it_was() -> None:
    capacity = regionio.cache.capacity
    facts = json.loads(
        run("bench", SLIDE, "--threads", 0, "--seconds", 0, "--cache", 0, "--json").stdout
    )
    [measured] = facts["runs"]
    assert measured["patches"] == 64
    assert measured["cache_hits"] == 0
    assert measured["tiles_decoded"] >= 64
    assert regionio.cache.capacity == capacity


def test_bench_for_people_has_a_row_a_number_of_threads() -> None:
    text = run("bench", SLIDE, "--threads", "0, 1", "--seconds", 0, "--patch", 64).stdout
    assert "Patches/s" in text
    assert [line.split()[0] for line in text.splitlines()[-3:] if line.split()] == ["0", "1"]


def test_bench_takes_only_numbers_of_threads() -> None:
    assert "two" in refused("bench", SLIDE, "--threads", "1,two")


# extract


def test_patches_are_the_pixels_at_their_locations(tmp_path: Path) -> None:
    result = run("extract", SLIDE, tmp_path / "out", "--batch", 16)
    group = zarr.open_group(tmp_path / "out" / "patches.zarr", mode="r")
    patches, locations = group["patches"][:], group["locations"][:]
    assert f"Kept {len(patches)} of 117" in result.stdout
    assert 40 < len(patches) < 100  # about half of that region is glass
    assert patches.dtype == PIXELS.dtype
    assert locations.dtype == np.int64
    for patch, (x, y) in zip(patches, locations.tolist(), strict=True):
        np.testing.assert_array_equal(patch, PIXELS[y : y + 224, x : x + 224])
    assert left_behind(tmp_path / "out") == ["contact_sheet.png", "patches.zarr"]


@pytest.mark.parametrize("least", [0.0, 0.25, 0.5, 0.6, 1.0])
def test_kept_patches_are_those_with_enough_tissue(
    least: float, stained_path: Path, tmp_path: Path
) -> None:
    run(
        *("extract", stained_path, tmp_path / "out", "--size", 256, "--stride", 128),
        *("--tissue", least),
    )
    found = zarr.open_group(tmp_path / "out" / "patches.zarr", mode="r")["locations"][:]
    stain = (tifffile.imread(stained_path, key=0) == STAIN).all(axis=2)
    expected = [
        [x, y]
        for y in range(0, 768 - 255, 128)
        for x in range(0, 1024 - 255, 128)
        if stain[y : y + 256, x : x + 256].mean() >= least
    ]
    assert found.tolist() == expected


def test_patches_of_a_smaller_level_know_their_place(stained_path: Path, tmp_path: Path) -> None:
    run(
        *("extract", stained_path, tmp_path / "out", "--level", 1, "--size", 100, "--stride", 50),
        *("--tissue", 1, "--batch", 3, "--threads", 0),
    )
    group = zarr.open_group(tmp_path / "out" / "patches.zarr", mode="r")
    small = tifffile.imread(stained_path, key=1)
    expected = [
        (x, y)
        for y in range(0, 384 - 99, 50)
        for x in range(0, 512 - 99, 50)
        if (small[y : y + 100, x : x + 100] == STAIN).all()
    ]
    assert (group["locations"][:] // 2).tolist() == [list(place) for place in expected]
    for patch, (x, y) in zip(group["patches"][:], expected, strict=True):
        np.testing.assert_array_equal(patch, small[y : y + 100, x : x + 100])


def test_the_zarr_group_says_where_it_comes_from(tmp_path: Path) -> None:
    run("extract", SLIDE, tmp_path / "out", "--size", 300, "--stride", 250, "--tissue", 0.3)
    group = zarr.open_group(tmp_path / "out" / "patches.zarr", mode="r")
    assert group.metadata.zarr_format == 3
    assert dict(group.attrs) == {
        "source": "CMU-1-Small-Region.svs",
        "scene": 0,
        "level": 0,
        "downsample": [1.0, 1.0],
        "size": 300,
        "stride": 250,
        "spacing": {"X": 0.499, "Y": 0.499},
        "spacing_unit": "micrometer",
        "channel_names": ["R", "G", "B"],
        "tissue": 0.3,
        "regionio_version": regionio.__version__,
    }
    patches = group["patches"]
    assert patches.chunks == (2**24 // (300 * 300 * 3), 300, 300, 3)
    assert [type(codec).__name__ for codec in patches.compressors] == ["ZstdCodec"]


@pytest.mark.parametrize("batch", [1, 5])
def test_gray_16_bit_patches_keep_type_and_channel(
    batch: int, gray16_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run("extract", gray16_path, out, "--size", 300, "--no-tissue", "--batch", batch)
    group = zarr.open_group(out / "patches.zarr", mode="r")
    pixels = tifffile.imread(gray16_path, key=0)
    assert group["patches"].shape == (4, 300, 300, 1)
    assert group["patches"].chunks[0] == batch
    assert group["patches"].dtype == np.uint16
    assert group.attrs["tissue"] is None
    assert group["locations"][:].tolist() == [[0, 0], [300, 0], [0, 300], [300, 300]]
    for patch, (x, y) in zip(group["patches"][:], group["locations"][:].tolist(), strict=True):
        np.testing.assert_array_equal(patch[..., 0], pixels[y : y + 300, x : x + 300])


def test_gray_needs_to_be_told_that_tissue_is_not_looked_for(
    gray16_path: Path, tmp_path: Path
) -> None:
    assert "--no-tissue" in refused("extract", gray16_path, tmp_path / "out")
    assert left_behind(tmp_path) == ["gray16.tif"]


def test_a_slide_of_glass_gives_an_empty_group(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-3, 4, (600, 700, 3))
    glass = (np.array(GLASS) + noise).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", glass, photometric="rgb", tile=(256, 256), metadata=None)
    result = run("extract", tmp_path / "a.tif", tmp_path / "out", "--size", 100)
    assert "Kept 0 of 42" in result.stdout
    group = zarr.open_group(tmp_path / "out" / "patches.zarr", mode="r")
    assert group["patches"].shape == (0, 100, 100, 3)
    assert group["locations"].shape == (0, 2)


def test_an_existing_result_is_replaced_only_when_asked(stained_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("extract", stained_path, out, "--size", 128, "--no-tissue")
    sheet = (out / "contact_sheet.png").read_bytes()
    result = run("extract", stained_path, out, "--size", 256, "--no-tissue", code=1)
    assert "--overwrite" in result.stderr
    assert (out / "contact_sheet.png").read_bytes() == sheet
    assert zarr.open_group(out / "patches.zarr", mode="r")["patches"].shape[0] == 48
    run("extract", stained_path, out, "--size", 256, "--no-tissue", "--overwrite")
    assert zarr.open_group(out / "patches.zarr", mode="r")["patches"].shape[0] == 12
    assert (out / "contact_sheet.png").read_bytes() != sheet
    assert left_behind(out) == ["contact_sheet.png", "patches.zarr"]


def test_an_extraction_that_fails_leaves_what_was_there(
    stained_path: Path, damaged_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run("extract", stained_path, out, "--size", 128, "--no-tissue")
    before = (out / "contact_sheet.png").read_bytes()
    # the overview meets the damaged tile too: take that of the sound slide
    with regionio.open(str(SLIDE)) as image:
        overview = image.thumbnail(1440)
    monkeypatch.setattr(regionio.Image, "thumbnail", lambda *_: overview)
    result = run("extract", damaged_path, out, "--batch", 8, "--overwrite", code=1)
    assert result.stderr.count("\n") == 1
    assert "damaged.svs" in result.stderr
    assert left_behind(out) == ["contact_sheet.png", "patches.zarr"]
    assert (out / "contact_sheet.png").read_bytes() == before
    assert zarr.open_group(out / "patches.zarr", mode="r").attrs["source"] == "stained.tif"


@pytest.mark.parametrize(
    "arguments",
    [["--tissue", "0.5", "--no-tissue"], ["--tissue", "1.5"], ["--size", "3000"], ["--size", "0"]],
)
def test_wrong_arguments_of_extract_are_exit_2(arguments: list[str], tmp_path: Path) -> None:
    refused("extract", SLIDE, tmp_path / "out", *arguments)
    assert left_behind(tmp_path) == []


def test_the_contact_sheet_is_a_picture_with_outlines(stained_path: Path, tmp_path: Path) -> None:
    run("extract", stained_path, tmp_path / "out", "--size", 128, "--tissue", 0.5)
    sheet = imagecodecs.png_decode((tmp_path / "out" / "contact_sheet.png").read_bytes())
    ink = np.argwhere((sheet == INK).all(axis=2))
    # the slide is drawn 1280 wide behind a margin: its stain from x 256 to 640, y 128 to 384
    scale = 1280 / 1024
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
    assert abs((right - left) - 384 * scale) <= 3
    assert abs((bottom - top) - 256 * scale) <= 3
    assert (sheet == STAIN).all(axis=2).sum() > 100_000


def test_the_contact_sheet_outlines_small_cells_together() -> None:
    overview = np.full((100, 100), 200, dtype=np.uint8)
    grid = PatchGrid(1000, 1000, (1.0, 1.0), size=5, stride=5)
    boxes = grid.boxes(1, 1)
    sheet = contact_sheet(overview, boxes, [])
    ink = (sheet == INK).all(axis=2)
    assert ink.any()
    assert ink.mean() < 0.02  # the edge, and no lines inside


def test_shown_patches_are_spread_over_all() -> None:
    assert chosen_patches(3).tolist() == [0, 1, 2]
    chosen = chosen_patches(100_000)
    assert len(set(chosen.tolist())) == 100
    assert (chosen[0], chosen[-1]) == (0, 99_999)
    assert np.ptp(np.diff(chosen)) <= 1


# where tissue is


def test_otsu_splits_where_classes_differ_most() -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.normal(0.1, 0.03, 4000), generator.normal(0.5, 0.1, 900)])
    values = values.clip(0, 1)
    centred = (np.minimum(np.floor(values * 256), 255) + 0.5) / 256

    def variance_between(threshold: float) -> float:
        above = centred > threshold
        if above.all() or not above.any():
            return 0.0
        weight = above.mean()
        return float(weight * (1 - weight) * (centred[above].mean() - centred[~above].mean()) ** 2)

    best = max(variance_between(number / 256) for number in range(1, 256))
    assert variance_between(otsu_threshold(values)) == pytest.approx(best)


def test_otsu_takes_the_middle_of_an_empty_valley() -> None:
    assert otsu_threshold(np.array([0.2] * 5 + [0.6] * 3)) == pytest.approx(0.4, abs=1 / 256)


def test_stain_is_tissue_and_glass_fill_and_black_are_not() -> None:
    picture = np.full((40, 40, 3), 255, dtype=np.uint8)
    picture[:, 10:20] = GLASS
    picture[:, 20:30] = STAIN
    picture[:, 30:] = (2, 0, 1)
    expected = np.zeros((40, 40), dtype=bool)
    expected[:, 20:30] = True
    np.testing.assert_array_equal(tissue_mask(picture), expected)


def test_a_picture_full_of_tissue_is_all_tissue() -> None:
    shades = np.random.default_rng(0).integers(0, 30, (50, 50, 1))
    picture = (np.array(STAIN) - shades).astype(np.uint8)
    assert tissue_mask(picture).all()


def test_saturation_is_that_of_hsv() -> None:
    import colorsys

    picture = np.random.default_rng(0).integers(32, 256, (9, 9, 3), dtype=np.uint8)
    expected = [colorsys.rgb_to_hsv(*(pixel / 255))[1] for pixel in picture.reshape(-1, 3)]
    np.testing.assert_allclose(saturation(picture).ravel(), expected)


def test_the_fraction_of_a_box_is_the_mean_of_the_pixels_it_touches() -> None:
    generator = np.random.default_rng(0)
    mask = generator.random((37, 53)) < 0.3
    corner = generator.random((200, 2)) * (50, 34)
    boxes = np.concatenate([corner, np.minimum(corner + 0.5 + corner[:, ::-1], (53, 37))], axis=1)
    found = box_fractions(mask, boxes)
    for (left, top, right, bottom), fraction in zip(boxes, found, strict=True):
        touched = mask[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))]
        assert fraction == pytest.approx(touched.mean())


def test_a_grid_has_every_patch_that_fits() -> None:
    for width, height, size, stride in (
        (500, 300, 100, 100),
        (99, 300, 100, 7),
        (231, 117, 50, 31),
    ):
        grid = PatchGrid(width, height, (1.0, 1.0), size, stride)
        expected = [
            [x, y]
            for y in range(0, height, stride)
            for x in range(0, width, stride)
            if x + size <= width and y + size <= height
        ]
        assert grid.corners.tolist() == expected
        assert len(grid) == len(expected)
