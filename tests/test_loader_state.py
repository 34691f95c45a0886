"""Where a loader stands, and going on there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest

import regionio
from regionio._reader import Work
from tests.test_loader import grid


@pytest.fixture
def slide(slide_path: str) -> Iterator[regionio.Image]:
    with regionio.open(slide_path) as image:
        yield image


def test_a_loader_resumes_after_what_was_delivered(slide: regionio.Image) -> None:
    def loader() -> regionio.Loader:
        return slide.read_region(grid(250), (16, 16), batch_size=5, shuffle=True, seed=11)

    whole = loader()
    list(whole)
    epoch = iter(whole)
    kept = [next(epoch).indices.tolist() for _ in range(4)]
    state = whole.state_dict()
    count = len(grid(250))
    assert state == {"epoch": 1, "delivered": 4, "seed": 11, "batch_size": 5, "locations": count}
    rest = [batch.indices.tolist() for batch in epoch]
    resumed = loader()
    resumed.load_state_dict(state)
    assert [batch.indices.tolist() for batch in resumed] == rest
    assert sorted(chain.from_iterable(kept + rest)) == list(range(len(grid(250))))
    at_the_end = loader()
    at_the_end.load_state_dict(whole.state_dict())
    assert [batch.indices.tolist() for batch in at_the_end] == [
        batch.indices.tolist() for batch in whole
    ]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("end", ["close", "interrupt", "damage", "last"])
def test_where_a_loader_stands_when_it_ends_early(
    slide: regionio.Image, monkeypatch: pytest.MonkeyPatch, end: str, num_workers: int
) -> None:
    places = grid(250)[:40]
    options: dict[str, Any] = {"batch_size": 5, "shuffle": True, "num_workers": num_workers}
    expected = [batch.indices.tolist() for batch in slide.read_region(places, (16, 16), **options)]
    loader = slide.read_region(places, (16, 16), **options)
    read = [next(loader).indices.tolist() for _ in range(8 if end == "last" else 3)]
    if end in {"interrupt", "damage"}:
        kind = KeyboardInterrupt if end == "interrupt" else regionio.DecodeError

        def fails(*_: Any, **__: Any) -> None:
            raise kind

        with monkeypatch.context() as patch:
            patch.setattr(Work, "finish", fails)
            with pytest.raises(kind):
                next(loader)
    if end == "last":
        assert loader.state_dict()["epoch"] == 1
        assert loader.state_dict()["delivered"] == 0
        return
    before = loader.state_dict()
    loader.close()
    assert loader.state_dict() == before
    resumed = slide.read_region(places, (16, 16), **options)
    resumed.load_state_dict(before)
    assert read + [batch.indices.tolist() for batch in resumed] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 7}, "batches of 7"),
        ({"delivered": -1}, "delivered"),
        ({"epoch": -3}, "epoch"),
        ({"locations": 7}, "other locations"),
        ({"delivered": 1000}, "other locations"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(
    slide: regionio.Image, change: dict[str, int], message: str
) -> None:
    loader = slide.read_region(grid(250), (16, 16), batch_size=5)
    with pytest.raises(ValueError, match=message):
        loader.load_state_dict({**loader.state_dict(), **change})
    with pytest.raises(ValueError, match="epoch"):
        loader.load_state_dict({})


def test_locations_that_fail_before_where_a_loader_resumes(slide: regionio.Image) -> None:
    class Places:
        def __iter__(self) -> Iterator[tuple[int, int]]:
            for number in range(20):
                if number == 9:
                    msg = "no more"
                    raise OSError(msg)
                yield number, 0

    loader = slide.read_region(Places(), (8, 8), batch_size=4)
    with pytest.raises(OSError, match="no more"):
        list(loader)
    state = loader.state_dict()
    assert state["delivered"] == 2
    loader.load_state_dict({**state, "delivered": 3})
    with pytest.raises(OSError, match="no more"):
        list(loader)
