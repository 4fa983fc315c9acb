"""What every named data set promises, and what each is known to hold."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import harness
from harness import Dataset, UserError
from harness.data.load import dataset_spec
from harness.data.prepare import prepare
from harness.data.sources import open_source
from harness.registry import Registry


def fake_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the official layout with few images, and their checksums in place of the real ones."""
    from torchvision.datasets import CIFAR10

    folder = root / "cifar10" / CIFAR10.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def write(name: str, content: dict[str, object]) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch() -> dict[str, object]:
        return {"data": rng.integers(0, 256, (20, 3072), dtype=np.uint8), "labels": (np.arange(20) % 10).tolist()}

    monkeypatch.setattr(CIFAR10, "train_list", [write(f"data_batch_{i}", batch()) for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [write("test_batch", batch())])
    name, md5 = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})


@pytest.fixture
def specs(workdir: Path, pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A spec for every data set, on data made here where it is not embedded."""
    fake_cifar10(workdir / "root", monkeypatch)
    photos = pictures(workdir / "photos", {"train/cat": 12, "train/dog": 11, "test/cat": 3, "test/dog": 4})
    prepare(open_source(photos), workdir / "root", name="pets", progress=lambda items, **_: iter(items))
    return {"prepared": "pets", "digits": "digits", "cifar10": "cifar10", "folder": f"folder,path={photos}"}


@pytest.mark.parametrize("name", Registry().names("dataset"))
def test_conformance(name: str, specs: dict[str, str], workdir: Path) -> None:
    assert name in specs, f"say in this file how data set {name!r} is to be tested"
    given = dataset_spec(specs[name], Registry(), workdir / "root")
    entry, build, values, spec = Registry().resolve("dataset", given)
    first, second = build(workdir / "root", **values), build(workdir / "root", **values)
    assert isinstance(first, Dataset)
    assert entry.summary
    assert (first.train.digest, first.test.digest) == (second.train.digest, second.test.digest)
    assert first.train.class_names == first.test.class_names
    assert first.train.preparation == first.test.preparation
    assert not set(first.train.keys) & set(first.test.keys)
    assert set(first.train.labels) == set(range(first.train.classes))
    assert len(set(first.train.keys)) == len(first.train)
    assert harness.load_dataset(spec, data_root=workdir / "root").spec == spec


def test_digits_is_the_documented_cut() -> None:
    splits = harness.load_dataset("digits", tune=0)
    assert (len(splits.train), len(splits.test), splits.train.image_size, splits.tune) == (1297, 500, (32, 32), None)
    assert (splits.fit_digest, splits.test.digest) == ("b0b233170b4d857c7231f1fd6f05aada", "bd61dd38ab5449fdce225d85a3b3d569")


def test_cifar10_that_is_nowhere_says_where_to_put_it(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(
        UserError, match=r"not in .*cifar10 and could not be downloaded.*cifar-10-python\.tar\.gz.*c58f30108f718f92721af3b95e74349a"
    ):
        harness.load_dataset("cifar10", data_root=workdir / "nowhere")


def test_tune_comes_out_of_train_by_class() -> None:
    splits = harness.load_dataset("digits")
    assert splits.tune
    assert len(splits.train) + len(splits.tune) == 1297
    share = np.bincount(splits.tune.labels) / np.bincount((splits.train + splits.tune).labels)
    assert share == pytest.approx(0.1, abs=0.01)
    assert np.bincount(harness.load_dataset("digits", tune=7).tune.labels).tolist() == [7] * 10  # type: ignore[union-attr]


def test_limits() -> None:
    splits = harness.load_dataset("digits", limit=205, limit_test=50)
    assert np.bincount((splits.train + splits.tune).labels).tolist() == [20] * 10  # type: ignore[operator]
    assert len(splits.test) == 50
    assert harness.load_dataset("digits", limit=205).test.digest == harness.load_dataset("digits").test.digest
    with pytest.raises(UserError, match="--limit 9 is less than one image for each of the 10 classes"):
        harness.load_dataset("digits", limit=9)
    with pytest.raises(UserError, match="without training images"):
        harness.load_dataset("digits", limit=10)
