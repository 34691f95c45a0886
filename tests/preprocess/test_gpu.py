"""Pictures made on a GPU are the CPU's, but for rounding; steps of its own need a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from regionio.cli.app import app
from regionio.preprocess import (
    CentralSlice,
    Interpolate,
    Keep,
    LaplacianMip,
    MaxIntensity,
    Preprocessor,
    VolumeHandler,
)
from regionio.preprocess.arrays import on_host
from regionio.preprocess.kernels import FILTERS, Filter, resized
from regionio.preprocess.run import Task, run
from regionio.preprocess.source import read_frames
from tests.dicom_files import noise, scene
from tests.preprocess.test_tiff import DBT, volume

HANDLERS: list[VolumeHandler] = [
    Keep(), CentralSlice(), MaxIntensity(), Interpolate(7), LaplacianMip(skip_frames=0),
]  # fmt: skip


def close(found: Any, expected: np.ndarray) -> None:
    """Check that values differ by rounding alone: of integers one, of few of them."""
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(on_host(found), expected, rtol=1e-4, atol=1e-4)
        return
    difference = np.abs(on_host(found).astype(np.float64) - expected)
    assert difference.max(initial=0) <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.filterwarnings("ignore:.*functional groups of 45")
@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.name)
def test_files(cupy: Any, tmp_path: Path, handler: VolumeHandler) -> None:
    windowed = volume(tmp_path / "w.dcm", WindowCenter=500.0, WindowWidth=900.0)
    for path in (volume(tmp_path / "v.dcm"), windowed, DBT):
        steps = Preprocessor(size=(64, 50), volume_handler=handler)
        expected = steps.process(read_frames(path, handler).frames)
        source = read_frames(path, handler, device="cuda")
        assert hasattr(source.frames.pixels, "get")  # it stays on the GPU
        made = steps.process(source.frames)
        assert made.transform == expected.transform
        close(made.pixels, expected.pixels)
        target = tmp_path / f"{path.stem}.tiff"
        [outcome] = run([path], target, Task(steps, device="cuda"))
        assert outcome.error is None
        close(tifffile.imread(target).reshape(expected.pixels.shape), expected.pixels)


def test_the_command(cupy: Any, tmp_path: Path) -> None:
    path = volume(tmp_path / "v.dcm")
    runner, target = CliRunner(), tmp_path / "v.tiff"
    arguments = ["preprocess", str(path), str(target), "--size", "40,32", "--device", "cuda"]
    assert runner.invoke(app, arguments).exit_code == 0
    expected, _ = Preprocessor(size=(40, 32), crop=False)(read_frames(path, Keep()).frames.pixels)
    close(tifffile.imread(target), expected[..., 0])
    failed = runner.invoke(app, [*arguments, "--compat", "--overwrite"])
    assert failed.exit_code == 1
    assert "are the CPU's" in failed.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_resizing(cupy: Any, kind: Filter, dtype: str) -> None:
    pictures = np.moveaxis(scene(150, 170, 3), 2, 0).astype(dtype)
    for size in ((40, 61), (150, 170), (220, 330), (1, 1)):
        found = resized(cupy.asarray(pictures), size, kind)
        assert isinstance(found, cupy.ndarray)
        close(found, resized(pictures, size, kind))


@pytest.mark.gpu
@pytest.mark.parametrize("samples", [1, 3])
def test_arrays(cupy: Any, samples: int) -> None:
    frames = noise(5, 90, 70, samples, dtype="uint16").copy()
    frames[:, :20] = 0
    for dtype in ("uint8", "uint16", "float32"):
        steps = Preprocessor(size=(40, 50), border_frac=0.1)
        expected, transform = steps(frames, dtype=dtype)
        found, same = steps(cupy.asarray(frames), dtype=dtype)
        assert isinstance(found, cupy.ndarray)
        assert same == transform
        close(found, expected)
