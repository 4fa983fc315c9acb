"""From a dataset to the splits of a run: limits, the tune split, datasets given as objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness import Split, UserError
from harness.data.load import dataset_spec, load_whole
from harness.registry import Registry, open_registry
from harness.spec import parse_spec


@pytest.fixture(scope="module")
def registry() -> Registry:
    return open_registry()


def class_counts(split: Split | None) -> list[int]:
    assert split
    return np.bincount(split.labels).tolist()


def test_tune_is_a_tenth_of_each_class_by_default() -> None:
    splits = harness.load_dataset("digits")
    assert splits.tune
    assert len(splits.train) + len(splits.tune) == 1297
    share = np.bincount(splits.tune.labels) / np.bincount((splits.train + splits.tune).labels)
    assert share == pytest.approx(0.1, abs=0.01)


def test_tune_takes_the_requested_images_per_class() -> None:
    assert class_counts(harness.load_dataset("digits", tune=7).tune) == [7] * 10


def test_limits_are_class_balanced() -> None:
    splits = harness.load_dataset("digits", limit=205, limit_test=50)
    assert splits.tune
    assert class_counts(splits.train + splits.tune) == [20] * 10
    assert len(splits.test) == 50


def test_a_limit_of_training_images_keeps_the_test_split() -> None:
    limited, full = harness.load_dataset("digits", limit=205), harness.load_dataset("digits")
    assert limited.test.digest == full.test.digest


@pytest.mark.parametrize("parameter", ["limit", "limit_test"])
def test_a_limit_needs_one_image_per_class(parameter: str) -> None:
    options: dict[str, Any] = {parameter: 9}
    message = (
        rf"^{parameter}=9 is less than one image for each of the 10 classes; give at least 10$"
    )
    with pytest.raises(UserError, match=message):
        harness.load_dataset("digits", **options)


def test_tune_must_leave_training_images_of_each_class() -> None:
    message = (
        r"takes 10 % \(at least one image\) of each class, .* without training images .*tune=0"
    )
    with pytest.raises(UserError, match=message):
        harness.load_dataset("digits", limit=10)


def test_a_title_with_a_comma_or_a_quote_makes_a_valid_spec(
    registry: Registry, workdir: Path
) -> None:
    _, digits = load_whole("digits", registry, workdir)
    spec, loaded = load_whole(replace(digits, title='ours, 12" wide'), registry, workdir)
    assert loaded.title == 'ours, 12" wide'
    assert parse_spec(spec) == ("object:ours  12  wide", {})


def test_train_and_test_must_have_the_same_classes() -> None:
    def split(*names: str) -> Split:
        images = np.zeros((20, 8, 8, 3), np.uint8)
        return Split.from_arrays(images, np.arange(20) % len(names), class_names=names)

    with pytest.raises(UserError, match="class 0 is 'cat' in train, 'dog' in test"):
        harness.load_dataset((split("cat", "dog"), split("dog", "cat")))
    with pytest.raises(UserError, match="2 and 3 classes"):
        harness.load_dataset((split("cat", "dog"), split("cat", "dog", "emu")))


def test_a_name_is_a_dataset_a_prepared_dataset_or_a_path(
    registry: Registry, workdir: Path, pictures: Callable[..., Path]
) -> None:
    photos = pictures(workdir / "photos", {"cat": 1})
    manifest = workdir / "root/prepared/photos/dataset.json"
    assert dataset_spec("photos", registry, workdir / "root") == f"folder,path={photos}"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    spec = dataset_spec("photos,train_percent=5", registry, workdir / "root")
    assert spec == "prepared,name=photos,train_percent=5"
    assert dataset_spec("digits", registry, workdir / "root") == "digits"
    with pytest.raises(UserError, match=r"there is no folder or archive \./nowhere"):
        dataset_spec("./nowhere", registry, workdir)


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_dataset_is_not_the_default(
    registry: Registry, workdir: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    with pytest.raises(UserError, match="dataset is empty; give a spec, a name or a path"):
        dataset_spec(value, registry, workdir)
    monkeypatch.setenv("HARNESS_DATASET", value)
    with pytest.raises(UserError, match="HARNESS_DATASET is empty"):
        dataset_spec(None, registry, workdir)


def test_classes_that_look_the_same_are_shown_with_their_difference() -> None:
    images, labels = np.zeros((2, 8, 8), np.uint8), [0, 1]
    pair = [
        Split.from_arrays(images, labels, class_names=(name, "dog"))
        for name in ("caf\u00e9", "cafe\u0301")
    ]
    message = r"class 0 is 'caf\\xe9' in train, 'cafe\\u0301' in test"
    with pytest.raises(UserError, match=message):
        harness.load_dataset((pair[0], pair[1]))
