"""Caltech-101's protocol: images per class, drawn by a seed, with or without the background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import harness
from harness import UserError
from harness.data.load import Splits


@pytest.fixture(scope="module")
def load(
    tmp_path_factory: pytest.TempPathFactory, pictures: Callable[..., Path]
) -> Callable[[str], Splits]:
    """Load a small Caltech-101 with these parameters."""
    root = tmp_path_factory.mktemp("caltech101")
    counts = {"BACKGROUND_Google": 9, "Faces": 8, "accordion": 12}
    pictures(root / "caltech101" / "101_ObjectCategories", counts)
    return lambda parameters: harness.load_dataset(
        f"caltech101,{parameters}", data_root=root, tune=0
    )


def test_train_and_test_have_the_requested_images_per_class(load: Callable[[str], Splits]) -> None:
    splits = load("train_per_class=5,test_per_class=4")
    assert np.bincount(splits.train.labels).tolist() == [5, 5, 5]
    assert np.bincount(splits.test.labels).tolist() == [4, 3, 4]
    assert not set(splits.train.keys) & set(splits.test.keys)
    everything = load("train_per_class=5,test_per_class=0")
    assert np.bincount(everything.test.labels).tolist() == [4, 3, 7]


def test_the_draw_depends_on_the_seed(load: Callable[[str], Splits]) -> None:
    spec = "train_per_class=5,test_per_class=4"
    assert load(spec).test.digest == load(spec).test.digest
    assert load(spec).test.digest != load(f"{spec},split_seed=1").test.digest


def test_the_background_can_be_left_out(load: Callable[[str], Splits]) -> None:
    splits = load("train_per_class=5,background=false")
    assert splits.test.class_names == ("Faces", "accordion")
    assert np.bincount(splits.test.labels).tolist() == [3, 7]


def test_every_class_needs_test_images(load: Callable[[str], Splits]) -> None:
    message = (
        "train_per_class=8 leaves no test images of class 'Faces', which has 8 images; "
        "this class allows at most 7"
    )
    with pytest.raises(UserError, match=message):
        load("train_per_class=8")


def test_missing_images_say_where_to_put_them(load: Callable[[str], Splits], workdir: Path) -> None:
    message = r"Caltech-101 is not in .*put 101_ObjectCategories\.tar\.gz there"
    with pytest.raises(UserError, match=message):
        load(f"path={workdir}/nowhere")
