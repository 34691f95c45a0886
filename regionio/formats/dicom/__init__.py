"""DICOM: slides and volumes; headers by pydicom, frames by their own tables."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace

from regionio._errors import RegionIOError, UnsupportedFormatError
from regionio._index import ImageIndex, SceneInfo
from regionio._interpretation import Interpretation
from regionio.formats.dicom.collection import (
    Scene,
    scene_infos,
    scene_number,
    scenes_of,
)
from regionio.formats.dicom.instance import Instance
from regionio.formats.dicom.metadata import FileMetadata
from regionio.formats.dicom.siblings import read_instance, siblings_of
from regionio.formats.dicom.slide import slide_index
from regionio.formats.dicom.volume import volume_index

__all__ = ["read_index", "read_with_siblings"]

MOST_REASONS = 8
"""Files of a folder of which it is said why they are no images."""


def read_index(
    paths: Sequence[str], scene: int | str, interpretation: Interpretation, *, folder: str = ""
) -> ImageIndex:
    """Read the index of one scene of some files.

    Parameters
    ----------
    paths
        Absolute paths of DICOM files.
    scene
        Number or name.
    interpretation
        What the caller wants to see.
    folder
        The folder whose files these are, where all of it is read: files in it that are no images
        are left out, and another file in it may change the index.

    Raises
    ------
    UnsupportedFormatError, CorruptFileError
        As `regionio.formats.read_index`.
    IndexError, KeyError
        There is no such scene.
    """
    scenes = scenes_of(_images(paths, skip_others=bool(folder)), interpretation)
    number = scene_number(scenes, scene, folder or paths[0])
    index = _built(scenes[number], interpretation)
    return _completed(index, scenes, number, folder)


def read_with_siblings(path: str, scene: int | str, interpretation: Interpretation) -> ImageIndex:
    """Read the index of a file; of a slide, with the files of its series that lie beside it.

    Parameters
    ----------
    path
        Absolute path of the file; its scene comes first.
    scene, interpretation
        As of `read_index`.

    Raises
    ------
    UnsupportedFormatError, CorruptFileError, IndexError, KeyError
        As `read_index`, of the file itself. Where others beside it are damaged or do not fit, a
        warning says so.
    """
    asked = read_instance(path)
    folder, images = "", [asked]
    if asked.is_of_slide and asked.series:
        folder = os.path.dirname(path)
        images = sorted([asked, *siblings_of(asked, folder)], key=lambda file: file.path)
    scenes = scenes_of(images, interpretation, path)
    number = scene_number(scenes, scene, path)
    try:
        index = _built(scenes[number], interpretation)
    except RegionIOError as error:
        own = [file for file in scenes[number].files if file.path == path]
        if not own or len(images) < 2:
            raise
        scenes[number] = Scene(scenes[number].kind, own, name=scenes[number].name)
        index = _alone(scenes[number], interpretation, error)
    return _completed(index, scenes, number, folder)


def _completed(index: ImageIndex, scenes: Sequence[Scene], number: int, folder: str) -> ImageIndex:
    """Add what is known of all scenes."""
    chosen = scenes[number]
    infos = list(scene_infos(scenes))
    infos[number] = SceneInfo(chosen.name, None, index.shape, index.dims)
    return replace(
        index,
        scenes=tuple(infos),
        scene=number,
        metadata=FileMetadata(_described_by(chosen).header),
        searched=(folder,) if folder else (),
    )


def _built(scene: Scene, interpretation: Interpretation) -> ImageIndex:
    build = slide_index if scene.kind == "slide" else volume_index
    return build(scene, interpretation)


def _alone(scene: Scene, interpretation: Interpretation, error: RegionIOError) -> ImageIndex:
    """Read the one file that the caller gave, where others beside it are damaged or do not fit."""
    try:
        index = _built(scene, interpretation)
    except RegionIOError:
        raise error from None
    msg = f"{scene.files[0].path!r} is read without the files of its series beside it: {error}"
    warnings.warn(msg, stacklevel=2)
    return index


def _described_by(scene: Scene) -> Instance:
    """Return the file whose attributes stand for the image: that of the largest level, or first."""
    return max(scene.instances, key=lambda instance: instance.matrix)


def _images(paths: Sequence[str], *, skip_others: bool) -> list[Instance]:
    """Read the headers of files, and refuse or leave out those that are no images."""
    instances: list[Instance] = []
    reasons: list[UnsupportedFormatError] = []
    for path in paths:
        try:
            instances.append(read_instance(path))
        except UnsupportedFormatError as error:
            if not skip_others:
                raise
            reasons.append(error)
    if not instances:
        others = f"; nor are the other {len(reasons) - 1} files" if len(reasons) > 1 else ""
        listed = "; ".join(str(reason) for reason in reasons[:MOST_REASONS])
        msg = f"{listed}{others if len(reasons) > MOST_REASONS else ''}"
        raise UnsupportedFormatError(msg)
    return instances
