"""Several times of one place: cine loops and other series in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.data import get_testdata_file

import regionio
from tests.dicom_files import by_pydicom, noise
from tests.fake_cuda import fake_gpu
from tests.kernels import COMPILER


@pytest.fixture
def cine() -> Path:
    found = get_testdata_file("examples_ybr_color.dcm")
    assert found is not None
    return Path(str(found))


def test_a_clip_is_its_frames(cine: Path) -> None:
    frames = by_pydicom(pydicom.dcmread(cine), raw=False)
    image = regionio.open(cine)
    clip = image.read_region(t=slice(None))
    assert (clip.dims, clip.shape) == ("TYXC", (30, 240, 320, 3))
    np.testing.assert_array_equal(clip, frames)
    part = image.read_region((-4, 10), (30, 20), t=slice(5, 9), layout="CTYX", return_mask=True)
    assert part.dims == "CTYX"
    np.testing.assert_array_equal(part[..., 4:], np.moveaxis(frames[5:9, 10:30, :26], 3, 0))
    assert part.mask is not None
    assert not part.mask[..., :4].any()
    assert part.mask[..., 4:].all()
    batches = list(
        image.read_region([(0, 0), (9, 8), (40, 7)], (16, 16), t=slice(-3, None), batch_size=2)
    )
    assert [batch.dims for batch in batches] == ["NTYXC", "NTYXC"]
    np.testing.assert_array_equal(batches[0][1], frames[-3:, 8:24, 9:25])


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
def test_a_clip_on_a_gpu(cine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = regionio.open(cine)
    with fake_gpu(monkeypatch):
        found = image.read_region(t=slice(2, 20), device="cuda")
        np.testing.assert_array_equal(np.array(found.array), image.read_region(t=slice(2, 20)))


def test_planes_are_pages(tmp_path: Path) -> None:
    pages = noise(5, 40, 50, 3)
    path = tmp_path / "pages.tif"
    tifffile.imwrite(path, pages, photometric="rgb", tile=(16, 16), compression="zlib")
    image = regionio.open(path)
    every = image.read_region(z=slice(None))
    assert every.dims == "ZYXC"
    np.testing.assert_array_equal(every, pages)
    loader = image.read_region(
        [(3, 4), (9, 8)], (10, 12), z=slice(1, 4), batch_size=2, layout="NCDHW"
    )
    [batch] = loader
    assert (batch.dims, batch.shape) == ("NCZYX", (2, 3, 3, 12, 10))
    np.testing.assert_array_equal(batch[1], np.moveaxis(pages[1:4, 8:20, 9:19], 3, 0))
    for planes in (slice(5, 9), slice(0, 5, 2)):
        with pytest.raises(ValueError, match="planes that follow each other, of 5"):
            image.read_region(z=planes)


def test_what_makes_no_clip_is_refused(cine: Path, tmp_path: Path) -> None:
    image = regionio.open(cine)
    wrong: list[Any] = [slice(0, 10, 2), slice(30, 40), slice(5, 5), slice(None, None, -1)]
    for times in wrong:
        with pytest.raises(ValueError, match="times that follow each other, of 30"):
            image.read_region(t=times)
    path = tmp_path / "tz.ome.tif"
    tifffile.imwrite(path, noise(3, 4, 32, 32), metadata={"axes": "TZYX"}, ome=True)
    with pytest.raises(ValueError, match="several planes a time"):
        regionio.open(path).read_region(t=slice(None))
