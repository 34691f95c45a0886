"""The program: exit codes, help, info, thumbnail and bench."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

import regionio
from regionio.cli.display import DisplayRange
from tests.cli.support import PIXELS, ROOT, SLIDE, left_behind, refused, run


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
    first, _, rest = run("--version").stdout.partition(" (compiled parts: ")
    assert first == f"regionio {regionio.__version__}"
    assert rest.startswith(("libjpeg-turbo", "not built"))


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
        "files",
        "frame_indices",
        "origin",
        "direction",
        "metadata",
    ]
    assert facts["metadata"] is None  # nobody knows what in it tells who the patient is
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
