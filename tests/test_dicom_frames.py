"""Frames of real DICOM files are pydicom's raw arrays, or typed errors."""

from __future__ import annotations

import os
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_files
from pydicom.encaps import generate_frames

from regionio import CorruptFileError, DecodeError, RegionIOError
from tests.dicom_files import ROOT, assert_near, by_pydicom, frames_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of odd files

LOSSY = {ROOT + ".4.50", ROOT + ".4.51"}
LOSSLESS_JPEG = {ROOT + ".4.57", ROOT + ".4.70"}
TWELVE_BIT_JPEG = {ROOT + ".4.51", ROOT + ".4.53", ROOT + ".4.55"}
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

REFUSED_FILES: dict[str, tuple[type[RegionIOError], str]] = {
    "badVR.dcm": (CorruptFileError, "NumberOfFrames is '1A'"),
    "MR_truncated.dcm": (CorruptFileError, "enough for 0"),
    # the stream states a width of 3722445056; pydicom's decoders refuse it, too
    "JPEG2000-embedded-sequence-delimiter.dcm": (DecodeError, "stream holds"),
    # pixels without the attributes of an image
    "meta_missing_tsyntax.dcm": (CorruptFileError, "lacks the attribute Rows"),
    "nested_priv_SQ.dcm": (CorruptFileError, "lacks the attribute Rows"),
}
PYDICOM_FINDS_NO_PIXELS = {
    # its last item ends a few bytes before the end that it states; pydicom drops all pixels
    "emri_small_jpeg_2k_lossless_too_short.dcm": "emri_small.dcm",
}


def real_files() -> list[Path]:
    folder = os.environ.get("REGIONIO_TEST_DATA")
    wider = sorted(Path(folder).rglob("*.dcm")) if folder else []
    return wider + sorted({Path(p) for p in get_testdata_files() if Path(p).is_file()})


def by_other_libraries(dataset: pydicom.Dataset) -> np.ndarray:
    """Return frames that pydicom finds, and has no decoder for without its GPL plugins.

    Lossless ones are decoded by liblj92, which regionio does not use. No other library decodes
    12-bit lossy ones: for those this shows that bytes, sign and depth are right.
    """
    lossless = dataset.file_meta.TransferSyntaxUID in LOSSLESS_JPEG
    decode = imagecodecs.ljpeg_decode if lossless else imagecodecs.jpeg_decode
    count = int(dataset.get("NumberOfFrames") or 1)
    streams = generate_frames(dataset.PixelData, number_of_frames=count)
    pixels = np.stack([decode(stream) for stream in streams])
    if dataset.PixelRepresentation == 1:
        assert dataset.BitsStored == dataset.BitsAllocated
        pixels = pixels.view(f"i{pixels.itemsize}")
    return pixels.reshape(count, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)


@pytest.mark.parametrize("path", real_files(), ids=lambda path: path.name)
def test_every_file_is_pydicoms_raw_array(path: Path) -> None:
    if path.name in REFUSED_FILES:
        error, reason = REFUSED_FILES[path.name]
        with pytest.raises(error, match=reason):
            frames_of(path)
        return
    if path.name in PYDICOM_FINDS_NO_PIXELS:
        twin = pydicom.dcmread(path.with_name(PYDICOM_FINDS_NO_PIXELS[path.name]))
        np.testing.assert_array_equal(frames_of(path), by_pydicom(twin))
        return
    dataset = pydicom.dcmread(path, force=True)
    if not any(keyword in dataset for keyword in PIXELS):
        with pytest.raises(RegionIOError):
            frames_of(path)
        return
    syntax = dataset.file_meta.get("TransferSyntaxUID", ROOT)
    try:
        expected = by_pydicom(dataset)
    except (RuntimeError, NotImplementedError):
        assert syntax in LOSSLESS_JPEG | TWELVE_BIT_JPEG
        expected = by_other_libraries(dataset)
    assert_near(frames_of(path), expected, syntax in LOSSY)


@pytest.mark.parametrize("path", real_files(), ids=lambda path: path.name)
def test_every_color_file_is_pydicoms_rgb(path: Path) -> None:
    dataset = pydicom.dcmread(path, force=True)
    if path.name in REFUSED_FILES or dataset.get("SamplesPerPixel") != 3:
        return
    syntax = dataset.file_meta.get("TransferSyntaxUID", ROOT)
    try:
        expected = by_pydicom(dataset, raw=False)
    except RuntimeError:
        assert syntax in LOSSLESS_JPEG
        expected = by_other_libraries(dataset)
    assert_near(frames_of(path, to_rgb=True), expected, syntax in LOSSY)


def test_one_slice_is_the_same_in_all_syntaxes(wider_data: Path) -> None:
    folder = wider_data / "real/dicom_codecs/ct_all_syntaxes"
    values: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.dcm")):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        scaled = frames_of(path)[0].astype(np.float64) * float(dataset.RescaleSlope)
        values[str(dataset.file_meta.TransferSyntaxUID)] = scaled + float(dataset.RescaleIntercept)
    original = values.pop(ROOT)
    twelve_bits = [values.pop(syntax) for syntax in sorted(TWELVE_BIT_JPEG)]
    baseline = values.pop(ROOT + ".4.50")
    assert np.abs(values.pop(ROOT + ".4.91") - original).max() <= 5
    assert np.abs(values.pop(ROOT + ".4.81") - original).max() <= 1
    assert len(values) == 8
    for syntax, pixels in values.items():
        np.testing.assert_array_equal(pixels, original, syntax)
    for pixels in twelve_bits:  # sequential, spectral selection, full progression
        np.testing.assert_array_equal(pixels, twelve_bits[0])
        assert np.abs(pixels - original).mean() < 8
    assert np.abs(baseline - original).mean() < 40


def test_12_bit_jpeg_is_near_its_lossless_twin() -> None:
    paths = {Path(path).name: path for path in get_testdata_files()}
    if "JPEG-LL.dcm" not in paths:
        pytest.skip("package pydicom-data is not installed")
    original = by_other_libraries(pydicom.dcmread(paths["JPEG-LL.dcm"])).astype(np.int32)
    lossy = frames_of(paths["JPGExtended.dcm"]).astype(np.int32)
    assert np.abs(lossy - original).max() <= 40
    assert np.abs(lossy - original).mean() < 3
