"""DICOM: slides and volumes; headers by pydicom, frames by their own tables."""

from __future__ import annotations

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
from regionio.formats.dicom.header import read_header, read_series
from regionio.formats.dicom.instance import SLIDE_CLASS, Instance
from regionio.formats.dicom.kinds import check_image
from regionio.formats.dicom.metadata import metadata_of
from regionio.formats.dicom.slide import slide_index
from regionio.formats.dicom.volume import volume_index
from regionio.storage import open_storage

__all__ = ["read_index", "series_of_slide"]


def series_of_slide(path: str) -> str | None:
    """Return the SeriesInstanceUID of a file of a slide, None for any other file."""
    storage = open_storage(path)
    try:
        kind, series = read_series(storage)
    finally:
        storage.close()
    return series if kind == SLIDE_CLASS and series else None


def read_index(
    paths: Sequence[str],
    scene: int | str,
    interpretation: Interpretation,
    *,
    folder: str = "",
    asked_for: str = "",
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
        The folder whose files these are, where it was looked through: files in it that are no
        images are left out, and another file in it may change the index.
    asked_for
        The one of the files that the caller gave: its scene comes first.

    Raises
    ------
    UnsupportedFormatError, CorruptFileError
        As `regionio.formats.read_index`.
    IndexError, KeyError
        There is no such scene.
    """
    name = asked_for or folder or paths[0]
    images = _images(paths, skip_others=bool(folder) and not asked_for, asked_for=asked_for)
    scenes = scenes_of(images, asked_for)
    number = scene_number(scenes, scene, name)
    try:
        index = _built(scenes[number], interpretation)
    except RegionIOError as error:
        asked = [file for file in scenes[number].files if file.path == asked_for]
        if not asked or len(images) < 2:
            raise
        scenes[number] = Scene(scenes[number].kind, asked, name=scenes[number].name)
        index = _alone(scenes[number], interpretation, error)
    chosen = scenes[number]
    infos = list(scene_infos(scenes))
    infos[number] = SceneInfo(chosen.name, None, index.shape, index.dims)
    return replace(
        index,
        scenes=tuple(infos),
        scene=number,
        metadata=metadata_of(_described_by(chosen).header),
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


def _images(paths: Sequence[str], *, skip_others: bool, asked_for: str) -> list[Instance]:
    """Read the headers of files, and refuse or leave out those that are no images.

    Beside a file that was asked for, damaged ones are left out too.
    """
    instances: list[Instance] = []
    reasons: list[UnsupportedFormatError] = []
    for path in paths:
        storage = open_storage(path)
        try:
            header = read_header(storage)
            check_image(header)
            instance = Instance(header)
            if asked_for:
                instance.check()
        except RegionIOError as error:
            if asked_for and path != asked_for:
                warnings.warn(f"left out beside {asked_for!r}: {error}", stacklevel=2)
                continue
            if not skip_others or not isinstance(error, UnsupportedFormatError):
                raise
            reasons.append(error)
            continue
        finally:
            storage.close()
        instances.append(instance)
    if not instances:
        raise reasons[0]
    return instances
