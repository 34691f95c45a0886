"""DICOM to pictures that models are trained on: crop, resize, pad, and where everything went.

Examples
--------
>>> import numpy as np
>>> from regionio.preprocess import Preprocessor
>>> picture = np.zeros((100, 60), np.uint16)
>>> picture[20:90, 5:40] = 1000
>>> pixels, transform = Preprocessor(size=(64, 64))(picture)
>>> pixels.shape, transform.to_output((5, 20)).tolist()
((64, 64), [32.0, 0.0])
"""

from __future__ import annotations

from regionio.preprocess.chain import Frames, Preprocessed, Preprocessor
from regionio.preprocess.crop import Box
from regionio.preprocess.laplacian import LaplacianMip
from regionio.preprocess.manifest import Manifest
from regionio.preprocess.source import read_frames
from regionio.preprocess.statistics import statistics_of
from regionio.preprocess.tiff import Provenance, provenance_of, write_tiff
from regionio.preprocess.transform import Padding, Transform
from regionio.preprocess.volumes import (
    CentralSlice,
    Interpolate,
    Keep,
    MaxIntensity,
    VolumeHandler,
)

__all__ = [
    "Box",
    "CentralSlice",
    "Frames",
    "Interpolate",
    "Keep",
    "LaplacianMip",
    "Manifest",
    "MaxIntensity",
    "Padding",
    "Preprocessed",
    "Preprocessor",
    "Provenance",
    "Transform",
    "VolumeHandler",
    "provenance_of",
    "read_frames",
    "statistics_of",
    "write_tiff",
]
