"""The two lock files name the same versions, and one of them the hash of every file."""

from __future__ import annotations

import re

from harness.registry import ROOT

# What builds this package, and what pip leaves out of a list of what is installed.
BUILD = {"hatchling", "editables", "trove-classifiers", "tomlkit", "setuptools"}


def pins(name: str) -> dict[str, str]:
    """Return the version of each package, by normalized name."""
    found = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), re.M)
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in found}


def hashed_lines() -> list[str]:
    """Return each requirement with its marker and hashes as one line."""
    text = (ROOT / "requirements-hashed.lock").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_both_name_the_same_versions() -> None:
    plain, hashed = pins("requirements.lock"), pins("requirements-hashed.lock")
    assert {name: hashed.get(name) for name in plain} == plain
    elsewhere = {line.split("==")[0] for line in hashed_lines() if "platform" in line}
    assert set(hashed) - set(plain) <= elsewhere | BUILD


def test_every_requirement_is_pinned_with_hashes_and_no_host_is_named() -> None:
    lines = hashed_lines()
    assert len(lines) == len(pins("requirements-hashed.lock"))
    for line in lines:
        assert re.fullmatch(r"[\w.-]+==[\w.+]+( ; [^#]*?)?( +--hash=sha256:[0-9a-f]{64})+", line)
    assert "://" not in "".join(lines)


def test_the_readme_installs_with_the_hashes() -> None:
    words = " ".join((ROOT / "README.md").read_text().split())
    assert "pip install --require-hashes -r requirements-hashed.lock" in words
