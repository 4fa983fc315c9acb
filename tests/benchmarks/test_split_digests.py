"""The committed digests, made again from the files that are here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from benchmarks.digests import digests, published

from harness.data.datasets.fashion_mnist import DEBIAN
from harness.registry import ROOT

SAMPLES = Path(os.environ.get("HARNESS_SAMPLES") or ROOT.parent / "shared" / "data")


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by all specs of a dataset, so that it is prepared once."""
    return tmp_path_factory.mktemp("root")


def test_the_embedded_set(data_root: Path) -> None:
    assert digests("digits", data_root) == published()["digits"]


def test_fashion_mnist_of_debian(data_root: Path) -> None:
    if not DEBIAN.exists():
        pytest.skip(f"needs Debian's package dataset-fashion-mnist in {DEBIAN}")
    assert digests("fashion-mnist", data_root) == published()["fashion-mnist"]


@pytest.mark.slow
@pytest.mark.parametrize("spec", [spec for spec in published() if spec.startswith("caltech101")])
def test_caltech101(spec: str, data_root: Path) -> None:
    if not (SAMPLES / "caltech101").exists():
        pytest.skip(f"needs caltech101/101_ObjectCategories.tar.gz in {SAMPLES}")
    assert digests(spec, data_root, SAMPLES / "caltech101") == published()[spec]
