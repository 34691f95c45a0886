"""Which files belong together: slides, volumes, single pictures, each a scene."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

from regionio._errors import RegionIOError
from regionio._index import SceneInfo
from regionio._interpretation import Interpretation
from regionio.formats.dicom.acquisitions import volumes_of
from regionio.formats.dicom.instance import Instance
from regionio.formats.dicom.scale import shows_the_same
from regionio.formats.dicom.tiles import path_names

__all__ = ["Scene", "scene_infos", "scene_number", "scenes_of"]


MOST_NAMES = 4
"""Of scenes that a warning lists."""


@dataclass
class Scene:
    """Files of one image.

    Parameters
    ----------
    kind
        ``"slide"``; ``"frames"``, one file or the parts of a concatenation; ``"slices"``, files of
        one frame each.
    instances
        The files; of a slide those of its levels.
    associated
        Of a slide: label, macro and thumbnail.
    name
        SeriesInstanceUID, or what tells the scenes of one series apart.
    volume
        What tells slices of one series from others that lie where they do, by attributes.
    """

    kind: str
    instances: list[Instance]
    associated: dict[str, Instance] = field(default_factory=dict)
    name: str = ""
    volume: str = ""

    @property
    def series(self) -> str:
        """SeriesInstanceUID."""
        return self.instances[0].series

    @property
    def files(self) -> tuple[Instance, ...]:
        """All of its files."""
        return (*self.instances, *self.associated.values())


def scenes_of(
    instances: Sequence[Instance], interpretation: Interpretation, asked_for: str = ""
) -> list[Scene]:
    """Sort files into scenes, in the order of each scene's first file.

    Parameters
    ----------
    instances
        The files.
    interpretation
        What the caller wants to see: in stored order, slices of a series stay together.
    asked_for
        Path of the one whose scene comes first; where it has copies, they are left out.
    """
    found: dict[tuple[str, ...], Scene] = {}
    pictures: list[Instance] = []
    for instance in _without_copies(instances, asked_for):
        if instance.is_slide and instance.associated is not None:
            pictures.append(instance)
            continue
        kind, key = _kind_and_key(instance)
        found.setdefault((kind, *key), Scene(kind, [])).instances.append(instance)
    scenes = [part for scene in found.values() for part in _views(scene)]
    for picture in pictures:
        slides = [s for s in scenes if s.kind == "slide" and s.series == picture.series]
        slides = [slide for slide in slides if slide.instances[0].associated is None]
        for slide in slides:
            _attach(slide, picture)
        if not slides:
            scenes.append(Scene("slide", [picture]))
    place = {instance.path: number for number, instance in enumerate(instances)}
    scenes.sort(key=lambda scene: min(place[file.path] for file in scene.instances))
    if interpretation.frame_order != "stored":
        scenes = [part for scene in scenes for part in _volumes(scene)]
    scenes.sort(key=lambda scene: all(file.path != asked_for for file in scene.files))
    _name(scenes)
    return scenes


def _without_copies(instances: Sequence[Instance], asked_for: str) -> list[Instance]:
    """Leave out files that have the SOPInstanceUID of another one, and warn of each."""
    kept: dict[str, Instance] = {}
    for instance in sorted(instances, key=lambda instance: instance.path != asked_for):
        other = kept.setdefault(instance.uid, instance)
        if other is not instance:
            msg = f"{instance.path!r} is a copy of {other.path!r}: left out"
            warnings.warn(msg, stacklevel=2)
    return [instance for instance in instances if kept[instance.uid] is instance]


def _kind_and_key(instance: Instance) -> tuple[str, tuple[str, ...]]:
    if instance.is_slide:
        return "slide", (instance.series, instance.pyramid)
    if instance.is_slice:
        return "slices", (instance.series,)
    return "frames", (instance.concatenation or instance.uid,)


def _views(scene: Scene) -> list[Scene]:
    """Part the files of a slide that show different parts of it, where no pyramid is stated."""
    if scene.kind != "slide" or scene.instances[0].text("PyramidUID"):
        return [scene]
    views: list[Scene] = []
    by_area = sorted(scene.instances, key=lambda i: i.matrix[0] * i.matrix[1], reverse=True)
    for instance in by_area:
        for view in views:
            if shows_the_same(view.instances[0], instance):
                view.instances.append(instance)
                break
        else:
            views.append(Scene("slide", [instance]))
    return views


def _volumes(scene: Scene) -> list[Scene]:
    """Part slices that lie where others of their series do, and warn of it."""
    if scene.kind != "slices":
        return [scene]
    parts = volumes_of(scene.instances)
    if len(parts) > 1:
        names = "; ".join(name for name, _ in parts[:MOST_NAMES])
        more = " …" if len(parts) > MOST_NAMES else ""
        msg = (
            f"{scene.instances[0].path!r}: the {len(scene.instances)} slices of its series are of "
            f"{len(parts)} volumes, each a scene: {names}{more}; frame_order='stored' keeps them "
            "together"
        )
        warnings.warn(msg, stacklevel=2)
    return [Scene("slices", part, volume=name) for name, part in parts]


def _attach(scene: Scene, picture: Instance) -> None:
    """Add an associated image to a slide, under a name of its own."""
    assert picture.associated is not None
    name, number = picture.associated, 2
    while name in scene.associated:
        name, number = f"{picture.associated} {number}", number + 1
    scene.associated[name] = picture


def _name(scenes: Sequence[Scene]) -> None:
    """Name scenes by their series, and by a pyramid or a file where a series has several."""
    series = [scene.series for scene in scenes]
    pyramids = [scene.instances[0].pyramid for scene in scenes]
    for scene, pyramid in zip(scenes, pyramids, strict=True):
        if scene.series and series.count(scene.series) == 1:
            scene.name = scene.series
        elif scene.volume:
            scene.name = f"{scene.series} {scene.volume}"
        elif scene.kind == "slide" and pyramid and pyramids.count(pyramid) == 1:
            scene.name = pyramid
        else:
            scene.name = scene.instances[0].uid


def scene_number(scenes: Sequence[Scene], scene: int | str, name: str) -> int:
    """Return the number of a scene given by number, name or SeriesInstanceUID.

    Raises
    ------
    IndexError, KeyError
        There is none, or the name is that of several; the message lists them.
    """
    names = [known.name for known in scenes]
    if isinstance(scene, int):
        if 0 <= scene < len(names):
            return scene
        msg = f"{name!r} has no scene {scene}; it has {len(names)}: {names}"
        raise IndexError(msg)
    matches = [n for n, known in enumerate(scenes) if scene in {known.name, known.series}]
    if len(matches) != 1:
        what = f"{len(matches)} scenes" if matches else "no scene"
        msg = f"{name!r} has {what} {scene!r}; it has {names}"
        raise KeyError(msg)
    return matches[0]


def scene_infos(scenes: Sequence[Scene]) -> tuple[SceneInfo, ...]:
    """Describe scenes as far as headers tell; one that can't be read is described all the same."""
    return tuple(_info(scene) for scene in scenes)


def _info(scene: Scene) -> SceneInfo:
    try:
        sizes = _sizes(scene)
    except RegionIOError:  # of a scene that nobody asked for
        return SceneInfo(scene.name, None, (), "")
    dims = "".join(axis for axis, size in sizes.items() if size > 1 or axis in "YX")
    return SceneInfo(scene.name, None, tuple(sizes[axis] for axis in dims), dims)


def _sizes(scene: Scene) -> dict[str, int]:
    """Return the size of a scene along each axis."""
    first = scene.instances[0]
    depth, channels = 1, first.header.number("SamplesPerPixel", 1)
    if scene.kind == "slices":
        depth = len(scene.instances)
    elif scene.kind == "frames":
        depth = sum(instance.frames for instance in scene.instances)
    else:
        first = max(scene.instances, key=lambda instance: instance.matrix)
        depth = first.header.number("TotalPixelMatrixFocalPlanes", 1)
        channels *= len(path_names(first))
    width, height = first.matrix
    return {"Z": depth, "Y": height, "X": width, "C": channels}
