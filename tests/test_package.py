"""What the package promises as a package."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import regionio


def modules() -> list[str]:
    names = [m.name for m in pkgutil.walk_packages(regionio.__path__, "regionio.")]
    return [name for name in names if not name.endswith("__main__")]


def test_every_module_states_what_it_exports() -> None:
    for name in modules():
        module = importlib.import_module(name)
        for exported in module.__all__:
            assert hasattr(module, exported), (name, exported)


def test_public_names_are_all_there_and_documented() -> None:
    assert sorted(regionio.__all__) == regionio.__all__
    for name in regionio.__all__:
        thing = getattr(regionio, name)
        assert name == "__version__" or thing.__doc__, name


def test_import_brings_nothing_heavy() -> None:
    code = "import sys, regionio; print(*sorted(m.partition('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    heavy = {"cupy", "torch", "dask", "zarr", "typer", "rich", "PIL", "tifffile", "imagecodecs"}
    assert not loaded & heavy


def test_what_is_returned_of_an_image_may_be_changed(slide_path: str) -> None:
    image = regionio.open(slide_path)
    metadata = image.metadata
    metadata["aperio"].clear()
    image.resolutions.clear()
    assert regionio.open(slide_path).metadata["aperio"]["AppMag"] == "20"
    assert image.resolutions["level_count"] == 1


def test_a_loader_keeps_its_image_open(slide_path: str) -> None:
    loader = regionio.open(slide_path).read_region([(0, 0)] * 6, (30, 30), batch_size=2)
    assert [len(batch) for batch in loader] == [2, 2, 2]
    epoch = iter(regionio.open(slide_path).read_region([(0, 0)] * 6, (30, 30), batch_size=2))
    assert sum(len(batch) for batch in epoch) == 6
