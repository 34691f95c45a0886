"""Which files belong together: slides, volumes, single pictures, each a scene."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

from regionio._errors import UnsupportedFormatError
from regionio._index import SceneInfo
from regionio.formats.dicom.instance import Instance

__all__ = ["Scene", "beginning_with", "scene_infos", "scene_number", "scenes_of"]


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
    """

    kind: str
    instances: list[Instance]
    associated: dict[str, Instance] = field(default_factory=dict)
    name: str = ""

    @property
    def series(self) -> str:
        """SeriesInstanceUID."""
        return self.instances[0].series


def scenes_of(instances: Sequence[Instance]) -> list[Scene]:
    """Sort files into scenes, in the order of each scene's first file."""
    found: dict[tuple[str, ...], Scene] = {}
    pictures: list[Instance] = []
    seen: set[str] = set()
    for instance in instances:
        if instance.uid in seen:
            warnings.warn(f"{instance.path!r} is a copy of another file: left out", stacklevel=2)
            continue
        seen.add(instance.uid)
        if instance.is_slide and instance.associated is not None:
            pictures.append(instance)
            continue
        kind, key = _kind_and_key(instance)
        found.setdefault((kind, *key), Scene(kind, [])).instances.append(instance)
    for picture in pictures:
        slides = [s for s in found.values() if s.kind == "slide" and s.series == picture.series]
        for scene in slides:
            _attach(scene, picture)
        if not slides:
            found["slide", picture.uid] = Scene("slide", [picture])
    place = {instance.path: number for number, instance in enumerate(instances)}
    scenes = sorted(found.values(), key=lambda scene: place[scene.instances[0].path])
    _name(scenes)
    return scenes


def _kind_and_key(instance: Instance) -> tuple[str, tuple[str, ...]]:
    if instance.is_slide:
        return "slide", (instance.series, instance.pyramid)
    if instance.is_slice:
        return "slices", (instance.series,)
    return "frames", (instance.concatenation or instance.uid,)


def _attach(scene: Scene, picture: Instance) -> None:
    """Add an associated image to a slide, under a name of its own."""
    assert picture.associated is not None
    name, number = picture.associated, 2
    while name in scene.associated:
        name, number = f"{picture.associated} {number}", number + 1
    scene.associated[name] = picture


def _name(scenes: Sequence[Scene]) -> None:
    """Name scenes by their series, and by a file or a pyramid where a series has several."""
    series = [scene.series for scene in scenes]
    for scene in scenes:
        scene.name = scene.series
        if not scene.series or series.count(scene.series) > 1:
            first = scene.instances[0]
            scene.name = first.pyramid if scene.kind == "slide" and first.pyramid else first.uid


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
    first = scene.instances[0]
    width, height = first.matrix
    depth = 1
    if scene.kind == "slices":
        depth = len(scene.instances)
    elif scene.kind == "frames":
        depth = sum(instance.frames for instance in scene.instances)
    else:
        width, height = max(instance.matrix for instance in scene.instances)
    sizes = {"Z": depth, "Y": height, "X": width, "C": first.header.number("SamplesPerPixel", 1)}
    dims = "".join(axis for axis, size in sizes.items() if size > 1 or axis in "YX")
    return SceneInfo(scene.name, None, tuple(sizes[axis] for axis in dims), dims)


def beginning_with(scenes: Sequence[Scene], path: str) -> list[Scene]:
    """Return scenes, the one that a file belongs to before the others.

    Raises
    ------
    UnsupportedFormatError
        It belongs to none.
    """
    for number, scene in enumerate(scenes):
        inside = (*scene.instances, *scene.associated.values())
        if any(instance.path == path for instance in inside):
            return [scene, *scenes[:number], *scenes[number + 1 :]]
    msg = f"{path!r} is a copy of another file of its folder; open that one"
    raise UnsupportedFormatError(msg)
