"""Where the data root is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.data.root import find_data_root


def test_the_parameter_comes_before_the_environment(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(workdir / "environment"))
    assert find_data_root(workdir / "parameter") == (workdir / "parameter").resolve()
    assert find_data_root() == (workdir / "environment").resolve()


def test_the_default_is_the_cache_folder_of_the_user(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARNESS_DATA")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(workdir))
    caches = "Library/Caches" if sys.platform == "darwin" else ".cache"
    assert find_data_root() == workdir / caches / "before-after-harness"
    monkeypatch.setenv("XDG_CACHE_HOME", str(workdir / "elsewhere"))
    assert find_data_root() == workdir / "elsewhere" / "before-after-harness"
