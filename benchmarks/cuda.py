"""The benchmarks of a GPU: runs them, and writes what there is after every row.

They need CuPy; peers are nvImageCodec, cuCIM and KvikIO (nvidia-nvimgcodec-cu13[nvjpeg,nvjpeg2k],
cucim-cu13, kvikio-cu13, or -cu12). A peer that is missing or fails is left out by name.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import cuda_bytes, cuda_decoders, cuda_dicom, cuda_patches, cuda_profile
from benchmarks.cuda_measure import FULL, QUICK, CudaRow, Job, Scale, gpu_machine, page, reason_of
from benchmarks.cuda_nvimgcodec import close_decoders

COMPARED: dict[str, tuple[str, Callable[[Path, int, int, Scale], dict[str, Job]]]] = {
    "cuda-patches": ("GPU benchmarks: slides of JPEG tiles", cuda_patches.jobs),
    "cuda-decoders": ("GPU benchmarks: decoders alone", cuda_decoders.jobs),
    "cuda-dicom": ("GPU benchmarks: DICOM", cuda_dicom.jobs),
    "cuda-bytes": ("GPU benchmarks: uncompressed, deflate, zstd", cuda_bytes.jobs),
}
PROFILE = "cuda-profile"
WORKS = (*COMPARED, PROFILE)
PACKAGES = (
    "regionio", "cupy-cuda12x", "cupy-cuda13x", "nvidia-nvimgcodec-cu12", "nvidia-nvimgcodec-cu13",
    "nvidia-nvjpeg", "nvidia-nvjpeg-cu12", "nvidia-nvjpeg2k-cu12", "nvidia-nvjpeg2k-cu13",
    "nvidia-nvcomp-cu12", "nvidia-nvcomp-cu13", "kvikio-cu12", "kvikio-cu13", "cucim-cu12",
    "cucim-cu13", "tifffile", "imagecodecs", "simplejpeg", "numpy", "pydicom", "pillow",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """How benchmarks are run.

    Parameters
    ----------
    folder
        Where files are generated.
    workers, rounds
        Threads of every contestant, and rounds of every row.
    results
        Where results are written.
    quick
        Read less, to see that all works.
    rows
        Only rows whose name has one of these in it; empty: all.
    """

    folder: Path
    workers: int
    rounds: int
    results: Path
    quick: bool = False
    rows: tuple[str, ...] = ()

    @property
    def scale(self) -> Scale:
        return QUICK if self.quick else FULL


def run(
    work: str,
    settings: Settings,
    versions: dict[str, str],
    plot: Callable[[list[CudaRow], Path], None],
) -> None:
    """Run one work, and write its results.

    Parameters
    ----------
    work
        One of `WORKS`.
    settings
        How.
    versions
        Of packages.
    plot
        Draws rows.

    Raises
    ------
    UnableError
        There is no GPU.
    """
    about = gpu_machine()
    settings.results.mkdir(exist_ok=True, parents=True)
    try:
        if work == PROFILE:
            _profile(settings, about, versions)
        else:
            _compare(work, settings, about, versions, plot)
    finally:
        close_decoders()


def _compare(
    work: str,
    settings: Settings,
    about: dict[str, object],
    versions: dict[str, str],
    plot: Callable[[list[CudaRow], Path], None],
) -> None:
    """Run all rows; one that fails is reported, and the others go on."""
    title, jobs = COMPARED[work]
    workers, rounds = settings.workers, settings.rounds
    rows: list[CudaRow] = []
    failed: dict[str, str] = {}
    for name, job in jobs(settings.folder, workers, rounds, settings.scale).items():
        if settings.rows and not any(part in name for part in settings.rows):
            continue
        try:
            rows.append(job())
        except Exception as error:  # noqa: BLE001  the rows that there are must not be lost
            traceback.print_exc()
            failed[name] = reason_of(error)
        result = {
            "machine": about,
            "versions": versions,
            "rows": [row.as_dict() for row in rows],
            "failed": failed,
        }
        text = page(title, rows, failed, about, workers, rounds)
        _write(settings.results / name_of(work), result, text)
    if rows:
        plot(rows, settings.results / f"{name_of(work)}.png")


def name_of(work: str) -> str:
    """Return the name of the results, which says so where nvCOMP is used."""
    return f"{work}-nvcomp" if os.environ.get("REGIONIO_NVCOMP") == "1" else work


def _profile(settings: Settings, about: dict[str, object], versions: dict[str, str]) -> None:
    found: list[cuda_profile.Profile] = []
    arguments = settings.folder, settings.workers, settings.rounds, settings.scale
    for profile in cuda_profile.profiles(*arguments):
        print("\n".join(profile.table()), flush=True)
        found.append(profile)
        result = {
            "machine": about,
            "versions": versions,
            "profiles": [asdict(each) for each in found],
        }
        text = cuda_profile.page(found, about, settings.workers)
        _write(settings.results / PROFILE, result, text)
    cuda_profile.plot(found, settings.results / f"{PROFILE}.png")


def _write(target: Path, result: dict[str, object], text: str) -> None:
    target.with_suffix(".json").write_text(json.dumps(result, indent=1))
    target.with_suffix(".md").write_text(text)
