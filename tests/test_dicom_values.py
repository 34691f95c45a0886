"""Values of DICOM images: stored, modality and display, against pydicom's on merged groups."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.pixels.processing import apply_color_lut, convert_color_space

import regionio
from regionio.testing import ImageConformance, VolumeConformance
from tests.dicom_files import ROOT, by_pydicom, noise, scene
from tests.dicom_volumes import (
    EXPLICIT,
    Groups,
    assert_levels,
    display,
    item,
    modality,
    multi_frame,
    picture,
    placed,
    slices,
    whole,
)
from tests.test_dicom_frames import REFUSED_FILES, real_files

GRAY = ("MONOCHROME1", "MONOCHROME2")
SIGNED = noise(2, 40, 64, dtype="int16") >> 4
UNSIGNED = noise(2, 40, 64, dtype="uint16") >> 4
BYTES = noise(2, 40, 64)
TINY = noise(2, 3, 5, dtype="uint16") >> 4
"""Of a size at which values are computed without a table."""


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's and regionio's, of odd files
@pytest.mark.parametrize(
    "path", [p for p in real_files() if "dicom_wsi" not in p.parts], ids=lambda path: path.name
)
def test_real_gray_values_are_pydicoms(path: Path) -> None:
    dataset = pydicom.dcmread(path, force=True)
    if path.name in REFUSED_FILES or dataset.get("PhotometricInterpretation") not in GRAY:
        return
    try:
        by_pydicom(dataset)
    except (RuntimeError, NotImplementedError, AttributeError):
        return  # there is a plugin that it lacks: raw arrays are compared elsewhere
    image = regionio.open([path], values="modality")
    order = image.frame_indices
    assert order is not None
    assert image.dtype == np.float32
    np.testing.assert_array_equal(whole(image), modality(path)[order])
    for bits in (8, 16):
        shown = regionio.open([path], values="display", display_bits=bits)
        assert_levels(whole(shown), display(path, bits)[order], bits)


TABLE = np.random.default_rng(2).integers(0, 4096, 200)


def lut(
    first: int, values: Any, bits: int, text: str = "", *, as_bytes: bool = False
) -> pydicom.Dataset:
    """Return an item of a LUT sequence; `first` is signed where it is negative."""
    made = item()
    vr = "SS" if first < 0 else "US"
    made.add_new("LUTDescriptor", vr, [len(values), first, bits])
    words = np.asarray(values, "<u2")
    made.add_new(
        "LUTData", "OW" if as_bytes else "US", words.tobytes() if as_bytes else words.tolist()
    )
    if text:
        made.LUTExplanation = text
    return made


HOUNSFIELD = {"RescaleSlope": 1, "RescaleIntercept": -1024}
WINDOWS = {
    "WindowCenter": [40, 300, -600],
    "WindowWidth": [400, 1500, 1],
    "WindowCenterWidthExplanation": ["soft", "bone", "lung"],
}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "bare": {},
    "rescale": HOUNSFIELD,
    "windows": HOUNSFIELD | WINDOWS,
    "fractions": {"RescaleSlope": "0.1", "RescaleIntercept": "7.25", "WindowCenter": 20, "WindowWidth": 99},
    "falling": {"RescaleSlope": -2, "RescaleIntercept": 5},
    "falling-window": {"RescaleSlope": -2, "RescaleIntercept": 5, "WindowCenter": 3, "WindowWidth": 700},
    "slope-alone": {"RescaleSlope": 3, "WindowCenter": 3, "WindowWidth": 700},
    "exact": HOUNSFIELD | WINDOWS | {"VOILUTFunction": "LINEAR_EXACT"},
    "sigmoid": HOUNSFIELD | WINDOWS | {"VOILUTFunction": "SIGMOID"},
    "steep": {"WindowCenter": 100, "WindowWidth": 1},
    "padded": HOUNSFIELD | WINDOWS | {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 9},
    "modality-lut": {"ModalityLUTSequence": [lut(30, TABLE, 16)]},
    "modality-lut-window": {"ModalityLUTSequence": [lut(30, TABLE, 16)], "WindowCenter": 2000, "WindowWidth": 999},
    "voi-lut": HOUNSFIELD | {"VOILUTSequence": [lut(-300, TABLE, 12), lut(0, TABLE[::-1], 12, "other")]},
    "voi-lut-window": WINDOWS | {"VOILUTSequence": [lut(30, TABLE, 12)]},
    "luts-of-bytes": {"ModalityLUTSequence": [lut(30, TABLE, 16, as_bytes=True)], "VOILUTSequence": [lut(9, TABLE, 12, as_bytes=True)]},
    "both-luts": {"ModalityLUTSequence": [lut(30, TABLE, 16)], "VOILUTSequence": [lut(99, TABLE, 14)]},
}  # fmt: skip


@pytest.mark.parametrize("pixels", [SIGNED, UNSIGNED, BYTES, TINY], ids=["i2", "u2", "u1", "tiny"])
@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize("photometric", GRAY)
@pytest.mark.parametrize("syntax", [ROOT, EXPLICIT, ROOT + ".2"])
def test_gray_values(
    tmp_path: Path, pixels: np.ndarray, name: str, photometric: str, syntax: str
) -> None:
    attributes = ATTRIBUTES[name]
    if name == "luts-of-bytes" and syntax == ROOT + ".2":
        return  # they would have to be written in the other order
    bits = min(12, 8 * pixels.itemsize)
    path = picture(
        tmp_path / "a.dcm",
        pixels,
        syntax=syntax,
        stored=bits,
        PhotometricInterpretation=photometric,
        **attributes,
    )
    np.testing.assert_array_equal(whole(regionio.open(path))[..., 0], pixels)
    np.testing.assert_array_equal(whole(regionio.open(path, values="modality")), modality(path))
    for depth in (8, 16):
        image = regionio.open(path, values="display", display_bits=depth)
        assert_levels(whole(image), display(path, depth), depth)
    image = regionio.open(path, values="display", window=(100, 321))
    assert_levels(whole(image), display(path, window=(100, 321)))


def test_windows_are_chosen_by_number_name_or_values(tmp_path: Path) -> None:
    attributes = ATTRIBUTES["windows"] | {"VOILUTSequence": [lut(-300, TABLE, 12, "table")]}
    path = picture(tmp_path / "a.dcm", SIGNED, stored=12, **attributes)

    def shown(window: Any) -> np.ndarray:
        return whole(regionio.open(path, values="display", window=window))

    assert_levels(shown(None), display(path))
    assert_levels(shown("table"), display(path))
    for number, name in enumerate(("soft", "bone", "lung")):
        expected = display(path, index=number, prefer_table=False)
        assert_levels(shown(number), expected)
        assert_levels(shown(name), expected)
    assert_levels(shown((-5.5, 70)), display(path, window=(-5.5, 70)))
    for wrong, reason in (
        (3, "has 3 windows"),
        (-1, "has 3 windows"),
        ("brain", r"it has \['soft', 'bone', 'lung', 'table'\]"),
        ((1, 0), "above 0"),
        ((1, float("nan")), "finite"),
    ):
        with pytest.raises(ValueError, match=reason):
            shown(wrong)
    with pytest.raises(ValueError, match="window= and display_bits= are for"):
        regionio.open(path, window=0)


OWN: dict[str, list[Groups]] = {
    "rescale": [{"PixelValueTransformationSequence": {"RescaleSlope": 1 + n, "RescaleIntercept": -n}} for n in range(3)],
    "windows": [{"FrameVOILUTSequence": {"WindowCenter": [500 + n, 3], "WindowWidth": [99 + n, 4]}} for n in range(3)],
    "function": [{"FrameVOILUTSequence": {"WindowCenter": 900, "WindowWidth": 700, "VOILUTFunction": f}} for f in ("LINEAR", "SIGMOID", "LINEAR_EXACT")],
    "tables": [{"FrameVOILUTSequence": {"VOILUTSequence": [lut(-20 * n, TABLE[n:], 12, as_bytes=n == 1)]}} for n in range(3)],
    "some": [{}, {"FrameVOILUTSequence": {"WindowCenter": 900, "WindowWidth": 700}}, {"FrameVOILUTSequence": {"VOILUTSequence": [lut(9, TABLE, 12)]}}],
}  # fmt: skip
SHARED: list[Groups] = [
    {},
    {
        "PixelValueTransformationSequence": {"RescaleSlope": 2, "RescaleIntercept": -100},
        "FrameVOILUTSequence": {"WindowCenter": 800, "WindowWidth": 900},
    },
    {"FrameVOILUTSequence": {"VOILUTSequence": [lut(5, TABLE[::-1], 12)]}},
]


@pytest.mark.parametrize(
    ("name", "shared", "syntax"), list(itertools.product(OWN, range(3), [ROOT, EXPLICIT]))
)
def test_functional_groups(tmp_path: Path, name: str, shared: int, syntax: str) -> None:
    """Frames have values of their own, those of all, or those of the whole file, in this order."""
    pixels = noise(3, 9, 8, dtype="int16") >> 4
    frames = [placed(0, 0, -n) | OWN[name][n] for n in range(3)]
    path = multi_frame(
        tmp_path / "a.dcm",
        pixels,
        frames,
        shared=SHARED[shared],
        syntax=syntax,
        stored=12,
        WindowCenter=11,
        WindowWidth=222,
    )
    np.testing.assert_array_equal(whole(regionio.open(path, values="modality")), modality(path))
    assert_levels(whole(regionio.open(path, values="display")), display(path))


def test_slices_have_slopes_of_their_own(tmp_path: Path) -> None:
    pixels = noise(70, 4, 6, dtype="uint16")
    own = [{"RescaleSlope": f"{1 + n / 8}", "RescaleIntercept": -n} for n in range(70)]
    heights = [(0.0, 0.0, float(n)) for n in np.random.default_rng(1).permutation(70)]
    paths = slices(tmp_path / "s", pixels, heights, own=own, Modality="PT")
    image = regionio.open(tmp_path / "s", values="modality")
    order = image.frame_indices
    assert order is not None
    expected = np.concatenate([modality(path) for path in paths])[order, ..., 0]
    np.testing.assert_array_equal(image.read_region(), expected)
    # outside lies the lowest value that any slice can have
    [outside] = np.unique(image.read_region((100, 0, 0), (1, 1)))
    assert outside == -69
    shown = regionio.open(tmp_path / "s", values="display", window=(5000, 9000))
    levels = np.concatenate([display(path, window=(5000, 9000)) for path in paths])[order]
    assert_levels(whole(shown), levels)


@pytest.mark.parametrize(
    ("values", "attributes", "outside"),
    [
        ("auto", HOUNSFIELD, 0),
        ("stored", HOUNSFIELD, 0),
        ("modality", HOUNSFIELD, -2048 - 1024),
        ("modality", {"RescaleSlope": -1, "RescaleIntercept": 7}, 7 - 2047),
        ("modality", {}, -2048),
        ("modality", {"ModalityLUTSequence": [lut(30, TABLE, 16)]}, TABLE.min()),
        ("display", HOUNSFIELD | {"PhotometricInterpretation": "MONOCHROME1"}, 0),
        ("display", HOUNSFIELD, 0),
    ],
)
def test_outside_lies_the_lowest_value(
    tmp_path: Path, values: Any, attributes: dict[str, Any], outside: float
) -> None:
    path = picture(tmp_path / "a.dcm", SIGNED, stored=12, **attributes)
    image = regionio.open(path, values=values)
    inside = whole(image)[0, :3, :3, 0]
    region = np.asarray(image.read_region((-2, -1, 0), (5, 4)))
    np.testing.assert_array_equal(region[1:, 2:], inside)
    assert (region[0] == outside).all()
    assert (region[:, :2] == outside).all()
    filled = np.asarray(image.read_region((-2, -1, 0), (5, 4), fill=3))
    assert (filled[0] == 3).all()
    if values == "modality":
        scaled = image.read_region((-2, -1, 0), (5, 4), scale=0.5, offset=1)
        np.testing.assert_array_equal(scaled, region * np.float32(0.5) + 1)


def test_outside_lies_what_becomes_of_black(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.dcm", SIGNED, stored=12, **ATTRIBUTES["windows"])
    image = regionio.open(path, values="display")
    outside = image.read_region((-2, -2, 0), (2, 2), scale=1 / 127.5, offset=-1)
    assert (np.asarray(outside) == -1).all()


def test_scale_and_dtype_come_after_values(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.dcm", SIGNED, stored=12, **ATTRIBUTES["windows"])
    expected = modality(path)[..., 0].astype(np.float64)
    image = regionio.open(path, values="modality")
    scaled = image.read_region(scale=1 / 1000, offset=0.5, dtype="float64")
    np.testing.assert_array_equal(scaled, expected * (1 / 1000) + 0.5)
    half = image.read_region((0, 0, 1), (9, 8), dtype="float16")
    np.testing.assert_array_equal(half, expected[1, :8, :9].astype(np.float16))
    shown = regionio.open(path, values="display")
    levels = np.asarray(shown.read_region())
    unit = shown.read_region(scale=1 / 255, layout="CZYX")
    np.testing.assert_array_equal(unit[0], levels * np.float32(1 / 255))
    with pytest.raises(ValueError, match="can't hold"):
        image.read_region(dtype="uint8")


@pytest.mark.parametrize(("dtype", "keyword"), [("f4", "FloatPixelData"), ("f8", "DoubleFloatPixelData")])  # fmt: skip
def test_floats(tmp_path: Path, dtype: str, keyword: str) -> None:
    pixels = np.random.default_rng(4).normal(0, 50, (2, 6, 7)).astype(dtype)
    pixels[0, 0, :3] = np.nan, np.inf, -np.inf
    bare: dict[str, Any] = {
        "BitsStored": None,
        "HighBit": None,
        "PixelRepresentation": None,
        "keyword": keyword,
    }
    path = picture(tmp_path / "a.dcm", pixels, RescaleSlope=2, RescaleIntercept=1, **bare)
    np.testing.assert_array_equal(regionio.open(path).read_region(), pixels)
    image = regionio.open(path, values="modality")
    expected = (pixels.astype(np.float64) * 2 + 1).astype(np.float32)
    np.testing.assert_array_equal(image.read_region(), expected)
    assert (np.asarray(image.read_region((9, 9, 9), (2, 2))) == 0).all()
    with pytest.raises(ValueError, match="give window="):
        regionio.open(path, values="display")
    shown = regionio.open(path, values="display", window=(0.5, 101))
    share = np.clip((expected - 0.0) / 100 + 0.5, 0, 1)
    np.testing.assert_allclose(
        np.asarray(shown.read_region()), np.rint(np.nan_to_num(share) * 255), atol=1
    )


# ---- colours


def palette(bits: int, first: int, *, segmented: bool = False) -> dict[str, Any]:
    """Return the attributes of a palette of 200 entries."""
    random = np.random.default_rng(bits)
    attributes: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for color in ("Red", "Green", "Blue"):
        attributes[f"{color}PaletteColorLookupTableDescriptor"] = [200, first, bits]
        entries = random.integers(0, 2**bits, 200)
        if segmented:  # 100 entries as they are, 99 on a line, one that is repeated
            words = [0, 100, *entries[:100], 1, 99, int(entries[100]), 0, 1, 5]
            name = f"Segmented{color}PaletteColorLookupTableData"
            attributes[name] = np.array(words, f"<u{bits // 8}").tobytes()
        else:
            attributes[f"{color}PaletteColorLookupTableData"] = entries.astype(f"<u{bits // 8}").tobytes()  # fmt: skip
    return attributes


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("first", [0, 20])
@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize("pixels", [BYTES, UNSIGNED], ids=["u1", "u2"])
def test_palettes(
    tmp_path: Path, pixels: np.ndarray, bits: int, first: int, segmented: bool
) -> None:
    path = picture(tmp_path / "a.dcm", pixels, **palette(bits, first, segmented=segmented))
    np.testing.assert_array_equal(regionio.open(path).read_region(), pixels)
    # pydicom cuts indices to the bits of entries; what is beyond the last one is the last one
    colors = apply_color_lut(np.minimum(pixels, first + 199), pydicom.dcmread(path))
    depth = 8 * colors.itemsize
    for wanted in (8, 16):
        image = regionio.open(path, values="display", display_bits=wanted)
        expected = np.rint(colors / (2**depth - 1) * (2**wanted - 1))
        assert image.dims == "ZYXC"
        assert image.channel_names == ("R", "G", "B")
        assert image.dtype == f"uint{wanted}"
        np.testing.assert_array_equal(image.read_region(), expected)
        outside = image.read_region((-3, 0, 0), (2, 2))
        assert not np.asarray(outside).any()


@pytest.mark.parametrize(
    ("syntax", "entry", "bits", "count"),
    [
        (ROOT + ".2", ">u2", 16, 300),
        (EXPLICIT, "u1", 8, 300),  # pydicom cuts indices to 8 bits
        (EXPLICIT, "<u2", 8, 300),  # entries of 8 bits in words of 16
        (EXPLICIT, "u1", 8, 255),  # padded to an even number of bytes
    ],
)
def test_palettes_that_pydicom_does_not_apply(
    tmp_path: Path, syntax: str, entry: str, bits: int, count: int
) -> None:
    colors = np.random.default_rng(1).integers(0, 2**bits, (count, 3))
    attributes: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for number, color in enumerate(("Red", "Green", "Blue")):
        data = colors[:, number].astype(entry).tobytes()
        attributes[f"{color}PaletteColorLookupTableDescriptor"] = [count, 0, bits]
        attributes[f"{color}PaletteColorLookupTableData"] = data + bytes(len(data) % 2)
    path = picture(tmp_path / "a.dcm", UNSIGNED, syntax=syntax, **attributes)
    expected = np.rint(colors[np.minimum(UNSIGNED, count - 1)] / (2**bits - 1) * 255)
    image = regionio.open(path, values="display")
    np.testing.assert_array_equal(image.read_region(), expected)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("planar", [0, 1])
def test_colors(tmp_path: Path, photometric: str, planar: int) -> None:
    pixels = noise(3, 6, 8, 3)
    stored = np.moveaxis(pixels, 3, 1) if planar else pixels
    path = picture(
        tmp_path / "a.dcm",
        stored.reshape(pixels.shape).copy(),
        PhotometricInterpretation=photometric,
        PlanarConfiguration=planar,
        WindowCenter=5,  # says nothing of colours
        WindowWidth=6,
    )
    rgb = pixels
    if photometric != "RGB":
        rgb = np.stack([convert_color_space(frame, photometric, "RGB") for frame in pixels])
    np.testing.assert_array_equal(regionio.open(path, values="stored").read_region(), pixels)
    for values in ("auto", "display"):
        np.testing.assert_array_equal(regionio.open(path, values=values).read_region(), rgb)
    wide = regionio.open(path, values="display", display_bits=16)
    np.testing.assert_array_equal(wide.read_region(), rgb * np.uint16(257))
    floats = regionio.open(path, values="modality")
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats.read_region(), rgb)


@pytest.mark.parametrize("stored", [12, 16])
def test_colors_of_16_bits(tmp_path: Path, stored: int) -> None:
    pixels = noise(1, 6, 8, 3, dtype="uint16") >> (16 - stored)
    path = picture(tmp_path / "a.dcm", pixels, stored=stored)
    np.testing.assert_array_equal(regionio.open(path).read_region(), pixels[0])
    for depth in (8, 16):
        image = regionio.open(path, values="display", display_bits=depth)
        expected = np.rint(pixels[0] / (2**stored - 1) * (2**depth - 1))
        np.testing.assert_array_equal(image.read_region(), expected)


# ---- what is damaged


@pytest.mark.parametrize(
    ("attributes", "values", "reason"),
    [
        ({"RescaleSlope": "nan", "RescaleIntercept": 0}, "modality", "RescaleSlope is"),
        ({"WindowCenter": ["1", "inf"], "WindowWidth": [1, 2]}, "display", "WindowCenter is"),
        ({"ModalityLUTSequence": [item(LUTExplanation="x")]}, "modality", "do not parse"),
        ({"VOILUTSequence": [lut(0, TABLE, 17)]}, "display", "of 17 bits"),
        (
            palette(8, 0) | {"GreenPaletteColorLookupTableData": bytes(20)},
            "display",
            "200 entries has 20",
        ),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "display", "do not parse"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_attributes_are_named(
    tmp_path: Path, attributes: dict[str, Any], values: Any, reason: str
) -> None:
    path = picture(tmp_path / "a.dcm", BYTES, **attributes)
    np.testing.assert_array_equal(regionio.open(path).read_region(), BYTES)
    with pytest.raises(regionio.CorruptFileError, match=reason) as caught:
        regionio.open(path, values=values)
    assert str(path) in str(caught.value)


def test_tables_that_are_cut_short_are_named(tmp_path: Path) -> None:
    table = lut(0, TABLE, 12)
    table.LUTDescriptor = [450, 0, 12]
    path = picture(tmp_path / "a.dcm", BYTES, VOILUTSequence=[table])
    with pytest.raises(regionio.CorruptFileError, match="450 entries has 200"):
        regionio.open(path, values="display")


class TestDisplayOfOnePicture(ImageConformance):
    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        pixels = scene(61, 83, 1, "int16", 11)[None, ..., 0] - np.int16(900)
        return str(picture(tmp_path / "a.dcm", pixels, stored=12, **ATTRIBUTES["windows"]))

    @pytest.fixture
    def expected(self, path: str) -> list[np.ndarray]:
        return [np.rint(display(Path(path))[0, ..., 0]).astype(np.uint8)]

    @pytest.fixture
    def image(self, path: str) -> regionio.Image:
        return regionio.open(path, values="display")


class TestModalityOfMultiFrame(VolumeConformance):
    @pytest.fixture
    def path(self, tmp_path: Path) -> Any:
        frames = [placed(0, 0, n) | OWN["rescale"][n] for n in range(3)]
        return multi_frame(tmp_path / "a.dcm", noise(3, 40, 30, dtype="int16"), frames, stored=16)

    @pytest.fixture
    def expected(self, path: Any) -> np.ndarray:
        return modality(path)[..., 0]

    @pytest.fixture
    def image(self, path: Any) -> regionio.Image:
        return regionio.open(path, values="modality")

    def fill(self, image: regionio.Image) -> float:
        return -32768 * 3 - 2
