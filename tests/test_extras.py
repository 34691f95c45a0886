"""What is said where a package is missing that only a part of regionio needs."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

import regionio
from regionio import DeviceError, MissingPackageError
from regionio._extras import package
from regionio.cli import main
from regionio.preprocess import Preprocessor
from regionio.preprocess.manifest import write_manifest
from regionio.preprocess.run import Task, run


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Have packages missing that extras install."""
    for name in ("scipy", "scipy.ndimage", "pyarrow", "PIL", "cupy"):
        monkeypatch.setitem(sys.modules, name, None)
    return monkeypatch


def test_python_says_what_to_install(without: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frames = np.zeros((1, 40, 40), np.uint16)
    frames[:, 10:20, 10:30] = 40000
    message = r"scipy, which is not installed: pip install 'regionio\[preprocess\]'"
    with pytest.raises(MissingPackageError, match=message):
        Preprocessor(size=(8, 8))(frames)
    with pytest.raises(ImportError, match="pyarrow"):
        list(write_manifest(tmp_path, tmp_path / "m.parquet"))
    without.delitem(sys.modules, "regionio.compat._pillow", raising=False)
    with pytest.raises(MissingPackageError, match=r"regionio\[openslide\]"):
        importlib.import_module("regionio.compat._pillow")


def test_a_package_that_lacks_another_says_so_itself(tmp_path: Path) -> None:
    (tmp_path / "broken_package.py").write_text("import not_there_either")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(ModuleNotFoundError, match="not_there_either") as error:
            package("broken_package", "cli")
    finally:
        sys.path.remove(str(tmp_path))
    assert not isinstance(error.value, regionio.RegionIOError)


def test_nothing_is_preprocessed_without_what_all_files_need(
    without: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from regionio.engines.cuda import device

    device._cupy.cache_clear()
    source = Path(__file__).parent / "data" / "dcmqi_23x38x3"
    tasks = [
        (Task(Preprocessor(crop=False), device="cuda"), DeviceError),
        (Task(Preprocessor()), MissingPackageError),
    ]
    try:
        for task, error in tasks:
            with pytest.raises(error):
                next(run(sorted(source.iterdir()), tmp_path, task))
    finally:
        device._cupy.cache_clear()
    assert not list(tmp_path.iterdir())


def test_the_command_line_says_it_in_a_line(
    without: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without.setattr(sys, "argv", ["regionio", "manifest", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    errors = capsys.readouterr().err
    assert "this needs pyarrow, which is not installed: pip install" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("has_driver", [False, True])
def test_a_missing_driver_is_told_before_a_missing_package(
    without: pytest.MonkeyPatch, has_driver: bool
) -> None:
    from regionio.engines.cuda import device

    device._cupy.cache_clear()
    without.setattr(device, "DRIVER_SIGNS", ("/",) if has_driver else ("/not/there",))
    image = regionio.open(Path(__file__).parent / "data" / "CMU-1-Small-Region.svs")
    try:
        with pytest.raises(DeviceError, match=r"CuPy.*pip install 'regionio\[cuda12\]'") as error:
            image.read_region((0, 0), (8, 8), device="cuda")
    finally:
        device._cupy.cache_clear()
    is_told = "no NVIDIA driver" in str(error.value)
    assert is_told is not has_driver or not sys.platform.startswith("linux")
