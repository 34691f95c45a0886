"""Lets examples in docstrings find the test files, wherever pytest is started."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _run_from_project_folder(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(request.config.rootpath)
