"""Run the benchmarks and write JSON, a page and a plot of each work to benchmarks/results.

Install first: pip install -e ".[bench]". Slides are generated into --folder (about 3 GB), and
DICOM slides and volumes (about 6 GB more). Works whose name begins with cuda need a GPU, and are
run only where they are named (about 5 GB of files), as is many-cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import cuda, dicom, preprocess, training, works
from benchmarks.measure import Row, UnableError, machine, rate_text
from benchmarks.slides import Slide

RESULTS = Path(__file__).parent / "results"
MIB = 2**20
COLORS = {
    "cucim": "#3b7dd8",
    "tifffile": "#e08a2e",
    "openslide": "#58a55c",
    "wsidicom": "#8e5bb5",
    "pydicom": "#c0473b",
    "pydicom in threads": "#e39a93",
    "pydicom + pillow": "#c0473b",
    "pydicom + pillow in processes": "#e39a93",
    "highdicom": "#8a8a8a",
    "nvimgcodec": "#76b900",
    "nvimgcodec, reading too": "#4c7a00",
    "nvjpeg's engine": "#b8d98a",
    "libjpeg-turbo": "#888888",
    "kvikio": "#7400b8",
    "kvikio, whole tiles": "#c08be0",
    "cucim cuda": "#3b7dd8",
    "cucim cpu + copy": "#9dc0ee",
    "regionio cpu + copy": "#444444",
    "tifffile + copy": "#e08a2e",
    "pydicom + copy": "#c0473b",
    "pydicom by nvimgcodec": "#e39a93",
}
DENSE = [
    Slide("jpeg420", 16384, 256),
    Slide("jpeg420", 16384, 240),
    Slide("jpeg420", 16384, 512),
    Slide("jpeg_rgb", 16384, 240),
]
LARGE = Slide("jpeg420", 65536, 256)


def patch_rows(folder: Path, workers: int, rounds: int) -> list[Row]:
    """Return the rows of batches of patches."""
    rows: list[Row] = []
    for slide in DENSE:
        path = slide.path(folder)
        grid = works.grid_locations(slide.side)
        random = works.random_locations(slide.side, slide.tiles)
        for cache in (0, 128 * MIB):
            rows.append(works.patches("grid", slide, path, grid, workers, rounds, cache))
        for cache in (0, 1024 * MIB):
            rows.append(works.patches("random", slide, path, random, workers, rounds, cache))
    path = LARGE.path(folder)
    sparse = works.random_locations(LARGE.side, 4096)
    for cache in (0, 128 * MIB):
        rows.append(works.patches("random sparse", LARGE, path, sparse, workers, rounds, cache))
    grid = works.grid_locations(LARGE.side, 8192)
    for cache in (0, 128 * MIB):
        rows.append(works.patches("grid", LARGE, path, grid, workers, rounds, cache))
    for batch in (1, 8, 32):
        few = sparse[:1024]
        work = f"random sparse, batch {batch}"
        rows.append(works.patches(work, LARGE, path, few, workers, rounds, 0, batch))
    return rows


def many_core_rows(folder: Path, workers: int, rounds: int) -> list[Row]:
    """Return a few rows of batches of patches, for machines with many cores."""
    dense, large = DENSE[0], LARGE.path(folder)
    sparse = works.random_locations(LARGE.side, 4096)
    grid = works.grid_locations(LARGE.side, 8192)
    random = works.random_locations(dense.side, 2048)
    return [
        works.patches("random sparse", LARGE, large, sparse, workers, rounds, 0),
        works.patches("grid", LARGE, large, grid, workers, rounds, 0),
        *(
            works.patches(
                f"random, batch {batch}",
                dense,
                dense.path(folder),
                random,
                workers,
                rounds,
                0,
                batch,
            )
            for batch in (256, 32, 8, 1)
        ),
    ]


def single_rows(folder: Path, workers: int, rounds: int) -> list[Row]:
    """Return the rows of single regions and of opening."""
    path = DENSE[0].path(folder)
    rows = [works.single_regions(DENSE[0], path, n, rounds) for n in sorted({1, workers})]
    rows.append(works.opening(LARGE, LARGE.path(folder), max(rounds, 9)))
    return rows


def level_rows(folder: Path, workers: int, rounds: int) -> list[Row]:
    """Return the rows of whole levels."""
    lossless = [Slide(codec, 16384, 256) for codec in ("j2k", "deflate", "zstd", "lzw")]
    slides = [DENSE[0], DENSE[3], *lossless]
    return [works.whole_level(slide, slide.path(folder), workers, rounds) for slide in slides]


def training_rows(folder: Path, workers: int, rounds: int) -> list[Row]:
    """Return the rows of what a training job meets."""
    path, dense = LARGE.path(folder), DENSE[0]
    return [
        training.first_batch(LARGE, path, workers, rounds),
        training.cold_pages(LARGE, path, workers, rounds),
        training.second_epoch(LARGE, path, workers, rounds, 0),
        training.second_epoch(LARGE, path, workers, rounds, 1024 * MIB),
        training.busy_consumer(LARGE, path, workers, rounds),
        training.many_slides(dense, dense.path(folder), folder, workers, rounds),
    ]


MANY_CORES = "many-cores"
WORKS = {
    "patches": patch_rows,
    MANY_CORES: many_core_rows,
    "singles": single_rows,
    "levels": level_rows,
    "training": training_rows,
    "dicom-open": dicom.open_rows,
    "dicom-regions": dicom.region_rows,
    "dicom-volumes": dicom.volume_rows,
    "preprocess": preprocess.preprocess_rows,
    "preprocess-frames": preprocess.frame_rows,
}


@dataclass(frozen=True)
class Memory:
    """What contestants hold of memory.

    Parameters
    ----------
    key
        Names it in the JSON.
    caption
        Says on the page what was done.
    measure
        Takes the folder and the number of workers, returns contestant → MB.
    """

    key: str
    caption: str
    measure: Callable[[Path, int], dict[str, float]]


MEMORY = {
    "training": Memory(
        "paused_consumer_megabytes",
        "Held two seconds after the first batch of 64, the consumer pausing",
        lambda folder, workers: training.paused_consumer(LARGE.path(folder), workers),
    ),
    "dicom-volumes": Memory(
        "peak_beside_result_megabytes",
        "Most memory in use while the whole volume is read, without the result",
        dicom.volume_memory,
    ),
    "preprocess": Memory(
        "peak_megabytes",
        "Most memory in use while the volumes of lossless JPEG are preprocessed, and what is expected",
        preprocess.memory_of_volumes,
    ),
}


PACKAGES = (
    "regionio", "cucim-cu12", "tifffile", "imagecodecs", "simplejpeg", "openslide-python",
    "openslide-bin", "numpy", "pydicom", "pyjpegls", "pylibjpeg-openjpeg", "pillow", "wsidicom",
    "highdicom",
)  # fmt: skip


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def markdown(rows: list[Row], about: dict[str, object], workers: int, rounds: int) -> str:
    """Return the results as a page."""
    lines = [
        "# CPU benchmarks",
        "",
        f"{about['processor']}, {about['cores']} cores, Python {about['python']}; "
        f"{workers} workers unless the row says otherwise, median of {rounds} rounds in turn, "
        "warm page cache, caches cleared before every round.",
        "",
        "Ratio: regionio's speed over the peer's, the median over rounds. Floor share: the time "
        "of decoding alone the distinct tiles of each window (cache off) or of the job (cache on) "
        "with the fastest installed decoder, over regionio's time; above 1 where regionio decodes "
        "no further than the pixels it needs.",
        "",
        "| work | slide | workers | cache MiB | regionio | ratio | floor share | tiles decoded | "
        "MB read |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratios = ", ".join(f"{row.ratio(peer):.2f}× {peer}" for peer in row.peers())
        share = row.floor_share()
        lines.append(
            f"| {row.work} | {row.slide} | {row.workers} | {row.cache // MIB} | "
            f"{rate_text(row.rate('regionio'))} {row.unit}/s | {ratios} | "
            f"{'' if share is None else f'{share:.2f}'} | {row.tiles_decoded or ''} | "
            f"{f'{row.bytes_read / 1e6:,.0f}' if row.bytes_read else ''} |"
        )
    return "\n".join([*lines, ""])


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw the ratios to each peer."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.patches
    import matplotlib.pyplot as plt

    bars = [
        (
            f"{row.work}, {row.slide}, cache {row.cache // MIB} MiB, {row.workers} w",
            peer,
            row.ratio(peer),
        )
        for row in rows
        for peer in row.peers()
    ]
    names = {bar[1] for bar in bars}
    colors = {name: color for name, color in COLORS.items() if name in names}
    figure, axes = plt.subplots(figsize=(10, 0.24 * len(bars) + 1.4), layout="constrained")
    places = range(len(bars))
    axes.barh(places, [b[2] for b in bars], color=[colors[b[1]] for b in bars])
    axes.set_yticks(places, [b[0] for b in bars], fontsize=7)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=1)
    if max(bar[2] for bar in bars) > 20:
        axes.set_xscale("log")
    axes.set_xlabel("times as fast as the peer")
    handles = [mpl.patches.Patch(color=color) for color in colors.values()]
    axes.legend(handles, colors, loc="lower right")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where slides are generated")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--works", nargs="+", choices=[*WORKS, *cuda.WORKS])
    parser.add_argument("--results", type=Path, default=RESULTS, help="where a GPU's are written")
    parser.add_argument("--quick", action="store_true", help="have a GPU read less")
    parser.add_argument("--rows", nargs="+", default=(), help="a GPU's rows with this in the name")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for work in options.works or (work for work in WORKS if work != MANY_CORES):
        if work in cuda.WORKS:
            run_on_gpu(work, options)
            continue
        rows = WORKS[work](options.folder, options.workers, options.rounds)
        held = {}
        memory = MEMORY.get(work)
        if memory is not None:
            held = memory.measure(options.folder, options.workers)
            print(memory.caption, held)
        write(work, rows, options.workers, options.rounds, held)


def run_on_gpu(work: str, options: argparse.Namespace) -> None:
    """Run a work on a GPU, or say what is missing."""
    settings = cuda.Settings(
        options.folder,
        options.workers,
        options.rounds,
        options.results,
        options.quick,
        tuple(options.rows),
    )
    try:
        cuda.run(work, settings, versions(cuda.PACKAGES), plot)
    except UnableError as error:
        msg = f"{work}: {error}"
        raise SystemExit(msg) from error


def write(work: str, rows: list[Row], workers: int, rounds: int, held: dict[str, float]) -> None:
    """Write the results of one work; `held` is what its `MEMORY` measured."""
    name, about = f"cpu-{work}", machine()
    RESULTS.mkdir(exist_ok=True)
    result = {"machine": about, "versions": versions(), "rows": [row.as_dict() for row in rows]}
    page = markdown(rows, about, workers, rounds)
    if held:
        result[MEMORY[work].key] = held
        each = ", ".join(f"{who} {megabytes:,.0f} MB" for who, megabytes in held.items())
        page += f"\n{MEMORY[work].caption}: {each}.\n"
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1))
    (RESULTS / f"{name}.md").write_text(page)
    plot(rows, RESULTS / f"{name}.png")


if __name__ == "__main__":
    main()
