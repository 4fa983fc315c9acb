"""Where the data root is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.data.root import find_data_root, make_folder
from harness.errors import UserError


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


def test_a_data_root_that_cannot_be_written_is_named_with_what_to_set(workdir: Path) -> None:
    (workdir / "file").touch()
    with pytest.raises(
        UserError, match=r"cannot write to .*/file/prepared \(Not a directory.*set "
    ):
        make_folder(workdir / "file" / "prepared")
    with pytest.raises(UserError, match=r"cannot write to /proc/1/x \(.*HARNESS_DATA to a folder"):
        make_folder(Path("/proc/1/x"))


def test_without_a_home_nothing_is_written_into_the_working_folder(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HARNESS_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as of a user without an entry
    with pytest.raises(UserError, match="HOME is not set"):
        find_data_root()
