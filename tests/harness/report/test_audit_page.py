"""The page of an audit: accessible, with the copies that matter first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.data.audit import Audit, audit
from harness.data.split import Split
from harness.report.audit_page import audit_page


@pytest.fixture
def copies() -> Audit:
    """Return an audit of four images, one of which is in train and, as another class, in test."""
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    names = ["cat", "dog <b>"]
    train = Split.from_arrays(images[:3], [0, 1, 0], class_names=names)
    test = Split.from_arrays(images[2:], [1, 0], class_names=names)
    return audit("pets", train, test)


def test_copies_across_splits_and_classes_are_shown(
    copies: Audit, read_page: Callable[[str], Any]
) -> None:
    page = read_page(audit_page(copies, dataset_notes=["two classes"]))
    assert ("h2", "Equal files: 1") in page.words
    assert ("b", "different classes") in page.words
    assert "Two classes." in page.visible
    assert "1 (50.00 %)" in page.visible
    assert len(page.all("img")) == 2
    assert "dog <b>" in page.visible


def test_lists_are_tables_of_their_own(copies: Audit, read_page: Callable[[str], Any]) -> None:
    lists = [("Undecodable", [["train", "a.png", "torn"]] * 70), ("Unusual", [])]
    page = read_page(audit_page(copies, lists=lists))
    assert ("h2", "Undecodable: 70") in page.words
    assert ("p", "and 10 more") in page.words
    assert ("h2", "Unusual: 0") in page.words


def test_many_classes_are_folded(read_page: Callable[[str], Any]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    names = [f"class {i}" for i in range(40)]
    train = Split.from_arrays(images[:2], [0, 1], class_names=names)
    test = Split.from_arrays(images[2:], [2], class_names=names)
    page = read_page(audit_page(audit("many", train, test)))
    assert ("summary", "All 40 classes") in page.words
    assert "0 to 1 images per class" in page.visible
