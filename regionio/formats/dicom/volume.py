"""Volumes, moving pictures and single pictures: frames that are not tiles.

Source: DICOM PS3.3, C.7.6.2 (image plane), C.7.6.5 (cine), C.7.6.6 (multi-frame), C.7.6.16
(functional groups).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regionio._errors import UnsupportedFormatError
from regionio._index import ImageIndex, Level, Placement, TileTable
from regionio._interpretation import Interpretation
from regionio.formats.dicom.collection import Scene
from regionio.formats.dicom.concatenation import whole_concatenation
from regionio.formats.dicom.geometry import (
    FrameGeometry,
    frames_of,
    geometric_order,
    order_in_time,
)
from regionio.formats.dicom.header import Header, reopened
from regionio.formats.dicom.instance import Instance
from regionio.formats.dicom.parts import Columns, Parts, joined

__all__ = ["volume_index"]

CINE_POINTERS = frozenset((0x00181063, 0x00181065))
"""Frame Increment Pointer to Frame Time or Frame Time Vector: frames follow each other in time."""

TIMES = ("FrameTime", "FrameTimeVector")

SPACINGS = ("ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""What tells the size of pixels where PixelSpacing does not."""


def volume_index(scene: Scene, interpretation: Interpretation) -> ImageIndex:
    """Build the index of frames.

    Parameters
    ----------
    scene
        One file, the parts of a concatenation, or single slices.
    interpretation
        What the caller wants to see.

    Raises
    ------
    UnsupportedFormatError
        Slices do not fit together.
    """
    instances = _in_stored_order(scene)
    if len(instances) > 1:
        _check_sizes(instances)
    parts = Parts(interpretation)
    columns: list[Columns] = []
    geometries: list[FrameGeometry] = []
    for instance in instances:
        with reopened(instance.header) as header:
            columns.append(parts.columns(header))
            geometries.append(frames_of(header, len(columns[-1])))
    parts.check_alike()
    first = instances[0]
    frames = joined(columns)
    geometry = FrameGeometry.joined(geometries)
    if len(frames) > 1 and _is_cine(first.header, geometry):
        order, step = np.arange(len(frames))[:, None], None
    else:
        order, step = _arrange(geometry, len(frames), scene, interpretation)
    times, depth = order.shape
    table = TileTable(
        grid=(times, 1, depth, 1, 1),
        tile_shape=(first.size[1], first.size[0]),
        **frames.ordered(order.reshape(-1)).fields(),
    )
    spacing = _plane_spacing(first, geometry)
    if step is not None:
        spacing["Z"] = step
    samples = (parts.transforms or parts.encodings)[0].samples
    return ImageIndex(
        format="dicom",
        sources=parts.sources,
        read_from=parts.identities,
        levels=(Level(*first.size, (1.0, 1.0), table),),
        encodings=tuple(parts.encodings),
        channel_names=("R", "G", "B") if samples == 3 else ("0",),
        spacing=spacing,
        spacing_unit="millimeter",
        is_volume=depth > 1,
        icc_profile=_icc_profile(first.header) if samples == 3 else None,
        transforms=tuple(parts.transforms),
        frame_indices=order.reshape(table.grid[:3]),
        placement=_placement(geometry, order[0]),
        deflated=parts.deflated,
    )


def _in_stored_order(scene: Scene) -> list[Instance]:
    """Return slices by their number, parts of a concatenation by their place in it."""
    if scene.kind == "slices":
        return sorted(scene.instances, key=lambda i: (i.number, i.path))
    return whole_concatenation(scene.instances)


def _check_sizes(instances: Sequence[Instance]) -> None:
    first = instances[0]
    for instance in instances:
        if instance.size != first.size:
            (width, height), (other_width, other_height) = first.size, instance.size
            msg = (
                f"{first.path!r} has {width}×{height} pixels, {instance.name!r} of the same series "
                f"{other_width}×{other_height}: they are no slices of one volume; open the files "
                "one by one"
            )
            raise UnsupportedFormatError(msg)


def _is_cine(header: Header, geometry: FrameGeometry) -> bool:
    """Return whether frames follow each other in time, not in space."""
    if geometry.is_distinct:
        return False
    pointers = header.value("FrameIncrementPointer")
    if pointers is None or pointers == "":
        # what has functional groups may tell a frame rate for scrolling through space
        has_groups = header.value("SharedFunctionalGroupsSequence") is not None
        return not has_groups and any(header.value(keyword) for keyword in TIMES)
    tags = pointers if isinstance(pointers, Sequence) else [pointers]
    return any(isinstance(tag, int) and int(tag) in CINE_POINTERS for tag in tags)


def _arrange(
    geometry: FrameGeometry, count: int, scene: Scene, interpretation: Interpretation
) -> tuple[NDArray[np.int64], float | None]:
    """Return the order of frames, [times, depth], and mm from slice to slice, None if not known."""
    first = scene.instances[0]
    stored = np.arange(count)
    if interpretation.frame_order == "stored" or _is_sampled(first):
        known = geometry.is_one_stack and geometry.rises_or_falls(stored)
        return stored[None], geometry.step(stored) if known else None
    if scene.kind == "slices" and count > 1:
        _check_slices(first, geometry, count)
    by_time = order_in_time(geometry)
    if by_time is not None:
        return by_time, geometry.step(by_time[0])
    order = geometric_order(geometry)
    if order is None:
        _warn_of_mixed(first, geometry, count)
        return stored[None], None
    return order[None], geometry.step(order)


def _warn_of_mixed(first: Instance, geometry: FrameGeometry, count: int) -> None:
    """Warn of frames whose places are known and are not those of one volume."""
    if geometry.distance is None:
        return
    what = f"lie at {geometry.places} places"
    if geometry.is_distinct:
        what = "are said to be of several stacks or points in time"
    msg = (
        f"{first.path!r}: {count} frames {what}: they are no single volume, and stay in stored "
        "order, with a Z spacing of None"
    )
    warnings.warn(msg, stacklevel=2)


def _check_slices(first: Instance, geometry: FrameGeometry, count: int) -> None:
    """Raise where slices are of several volumes."""
    what = ""
    if geometry.has_orientations and geometry.orientation is None:
        what = "do not lie parallel"
    elif not geometry.has_one_spacing:
        sizes = " and ".join(f"{down:g}×{across:g}" for down, across in geometry.pixel_spacings[:3])
        what = f"have pixels of {sizes} mm"
    if what:
        msg = (
            f"{first.path!r} and the other {count - 1} slices of its series {what}: "
            "give the files of one volume, or frame_order='stored' to have them as they are"
        )
        raise UnsupportedFormatError(msg)


def _is_sampled(first: Instance) -> bool:
    """Return whether frames are projections, which have no order in space."""
    properties = first.text("VolumetricProperties")
    return properties == "SAMPLED" or "TOMO_PROJ" in first.texts("ImageType")


def _plane_spacing(instance: Instance, geometry: FrameGeometry) -> dict[str, float]:
    """Return mm a pixel along x and y; none where unknown, or not the same for all frames."""
    if not geometry.has_one_spacing:
        return {}
    found = [*geometry.pixel_spacings[:1], *(instance.header.value(name) for name in SPACINGS)]
    for pair in found:
        try:
            down, across = (float(value) for value in (() if pair is None else pair))
        except (TypeError, ValueError):
            continue
        if 0 < down < np.inf and 0 < across < np.inf:
            return {"X": across, "Y": down}
    return {}


def _icc_profile(header: Header) -> bytes | None:
    profile = header.value("ICCProfile")
    return profile if isinstance(profile, bytes) and profile else None


def _placement(geometry: FrameGeometry, order: NDArray[np.int64]) -> Placement | None:
    """Return where the first frame lies, and the directions of the axes."""
    if geometry.position is None or geometry.orientation is None or geometry.normal is None:
        return None
    first, last = geometry.position[order[0]], geometry.position[order[-1]]
    across: NDArray[np.float64] = geometry.normal
    if len(order) > 1 and geometry.rises_or_falls(order):
        across = (last - first) / np.linalg.norm(last - first)
    direction = np.column_stack([geometry.orientation[:3], geometry.orientation[3:], across])
    return Placement(first, direction)
