"""cuCIM's interface for reading, over regionio.

``from regionio.compat.cucim import CuImage`` in place of ``from cucim import CuImage``;
`regionio.compat.cucim.clara` in place of ``cucim.clara``. Locations, levels, fill values, what
gives a region and what an iterator, names and units are cuCIM's.

Where it differs from cuCIM:

- Every batch has memory of its own; cuCIM's iterator overwrites the last one.
- Pixels keep their type and channels: gray is ``[H, W, 1]`` and uint16 stays uint16, where cuCIM
  gives RGBA of 8 bits. Strips and edges need no other path.
- Locations of lower levels are rounded down, ``location // downsample``; cuCIM rounds towards 0,
  and divides by ratios of rounded sizes.
- ``spacing`` of a region is that of its pixels: it grows with the downsample. It knows the
  vendor's pixel size, and is 1.0 without a unit where the file tells none.
- An image is true, pathlib paths are accepted, ``associated_image`` of an unknown name is a
  KeyError, ``num_workers=0`` reads several locations too, an empty list gives no region.
- Arguments that cuCIM ignores are obeyed (``buf``, ``C``, ``Z``, ``T``) or refused (``shm_name``,
  tracing, unknown devices, a cache in shared memory).
- The cache is regionio's (`regionio.cache`), which is on from the start.
- What an image is is told from its content, whatever its extension.
- DICOM is read: a file of a slide gives its pyramid, label and macro; a single picture its one
  level with the values that are stored, spacing in millimetres, ``origin`` and ``direction`` in the
  patient (LPS). Volumes are refused, since a location has two numbers here: use `regionio.open`,
  or give the path of one slice. ``metadata["dicom"]`` may say who the patient is.

>>> from regionio.compat.cucim import CuImage
>>> img = CuImage("tests/data/CMU-1-Small-Region.svs")
>>> img.shape, img.spacing(), img.resolutions["level_dimensions"]
([2967, 2220, 3], [0.499, 0.499, 1.0], ((2220, 2967),))
>>> img.read_region((100, 200), (64, 32)).shape
[32, 64, 3]
>>> batches = img.read_region([(0, 0), (64, 0), (128, 0)], (64, 64), batch_size=2)
>>> len(batches), [batch.shape for batch in batches]
(2, [[2, 64, 64, 3], [1, 64, 64, 3]])
"""

from __future__ import annotations

from regionio.compat.cucim import clara
from regionio.compat.cucim.clara import CuImage

__all__ = ["CuImage", "__version__", "clara", "is_available"]

__version__ = "26.10.00"
"""Version of cuCIM whose interface this is."""


def is_available(module_name: str = "") -> bool:
    """Return whether a part of cuCIM is here: reading is, image processing is not.

    Parameters
    ----------
    module_name
        ``"clara"``, ``"core"``, ``"skimage"``, or ``""`` for all of them.

    Examples
    --------
    >>> is_available("clara"), is_available("skimage")
    (True, False)
    """
    return module_name == "clara"
