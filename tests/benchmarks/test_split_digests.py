"""The committed digests equal those recomputed from the files that are present."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.split_digests import published_digests, split_digests
from harness.data.datasets.fashion_mnist import DEBIAN_FOLDER
from harness.registry import ROOT

SAMPLES = Path(os.environ.get("HARNESS_SAMPLES") or ROOT.parent / "shared" / "data")


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data root for all specs of a dataset, so that it is prepared once."""
    return tmp_path_factory.mktemp("root")


def test_digits(data_root: Path) -> None:
    assert split_digests("digits", data_root) == published_digests()["digits"]


def test_fashion_mnist_from_debian(data_root: Path) -> None:
    if not DEBIAN_FOLDER.exists():
        pytest.skip(f"needs Debian's package dataset-fashion-mnist in {DEBIAN_FOLDER}")
    assert split_digests("fashion-mnist", data_root) == published_digests()["fashion-mnist"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec", [spec for spec in published_digests() if spec.startswith("caltech101")]
)
def test_caltech101(spec: str, data_root: Path) -> None:
    archive = SAMPLES / "caltech101"
    if not archive.exists():
        pytest.skip(f"needs caltech101/101_ObjectCategories.tar.gz in {SAMPLES}")
    assert split_digests(spec, data_root, archive) == published_digests()[spec]
