"""What every dataset that the registry finds must do."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness import Dataset, UserError
from harness.data.load import dataset_spec
from harness.data.prepare import prepare
from harness.data.sources import open_source
from harness.registry import open_registry

REGISTRY = open_registry()
COUNTS = {"train/cat": 12, "train/dog": 11, "test/cat": 3, "test/dog": 4}


def write_cifar(name: str, root: Path, patch: pytest.MonkeyPatch) -> None:
    """Write files of the official layout with few images, and patch the checksums to match."""
    from torchvision import datasets

    reader = getattr(datasets, name.upper())
    folder = root / name / reader.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def write(file: str, content: dict[str, Any]) -> list[str]:
        (folder / file).write_bytes(pickle.dumps(content))
        return [file, hashlib.md5((folder / file).read_bytes()).hexdigest()]

    def batch() -> dict[str, Any]:
        data = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
        labels = "fine_labels" if name == "cifar100" else "labels"
        return {"data": data, labels: (np.arange(20) % 10).tolist()}

    for attribute in ("train_list", "test_list"):
        files = [write(file, batch()) for file, _ in getattr(reader, attribute)]
        patch.setattr(reader, attribute, files)
    file, md5 = write(reader.meta["filename"], {reader.meta["key"]: list("abcdefghij")})
    patch.setattr(reader, "meta", {**reader.meta, "filename": file, "md5": md5})


def write_fashion_mnist(root: Path) -> None:
    """Write the four files with few images, the two of train compressed."""
    folder = root / "fashion-mnist"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, n in (("train", 40), ("t10k", 20)):
        arrays = {
            "images-idx3": rng.integers(0, 256, (n, 28, 28), dtype=np.uint8),
            "labels-idx1": (np.arange(n) % 10).astype(np.uint8),
        }
        for content, array in arrays.items():
            shape = np.array(array.shape, ">u4").tobytes()
            data = bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()
            file = folder / f"{part}-{content}-ubyte"
            if part == "train":
                file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(data))
            else:
                file.write_bytes(data)


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory, pictures: Callable[..., Path]) -> Any:
    """A data root with small files of every dataset that is not included in a library."""
    root = tmp_path_factory.mktemp("datasets")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("cifar10", "cifar100"):
            write_cifar(name, root, patch)
        write_fashion_mnist(root)
        caltech = {"BACKGROUND_Google": 9, "Faces": 8, "accordion": 12}
        pictures(root / "caltech101" / "101_ObjectCategories", caltech)
        source = open_source(pictures(root / "photos", COUNTS))
        prepare(source, root, name="pets", progress=lambda items, **_: iter(items))
        yield root


@pytest.fixture(scope="module")
def specs(data_root: Path) -> dict[str, str]:
    """Specs of the datasets that need parameters or files; the others are named alone."""
    without_parameters = ("digits", "cifar10", "cifar100", "fashion-mnist")
    return {name: name for name in without_parameters} | {
        "prepared": "pets",
        "caltech101": "caltech101,train_per_class=3",
        "folder": f"folder,path={data_root / 'photos'}",
        "subset": "subset,of=digits,percent=10",
    }


@pytest.mark.parametrize("name", REGISTRY.names("dataset"))
def test_conformance(name: str, specs: dict[str, str], data_root: Path) -> None:
    spec = dataset_spec(specs.get(name, name), REGISTRY, data_root)
    resolved = REGISTRY.resolve("dataset", spec)
    assert resolved.entry.summary
    first, second = resolved.make(data_root), resolved.make(data_root)
    assert isinstance(first, Dataset)
    assert (first.train.digest, first.test.digest) == (second.train.digest, second.test.digest)
    assert first.train.class_names == first.test.class_names
    assert first.train.preparation == first.test.preparation
    assert not set(first.train.keys) & set(first.test.keys)
    assert set(first.train.labels) == set(range(first.train.num_classes))
    assert len(set(first.train.keys)) == len(first.train)
    assert harness.load_dataset(resolved.spec, data_root=data_root).spec == resolved.spec


def test_digits_has_the_documented_splits() -> None:
    splits = harness.load_dataset("digits", tune=0)
    assert (len(splits.train), len(splits.test), splits.tune) == (1297, 500, None)
    assert splits.train.image_size == (32, 32)
    assert splits.fit_digest == "b0b233170b4d857c7231f1fd6f05aada"
    assert splits.test.digest == "bd61dd38ab5449fdce225d85a3b3d569"


def test_a_missing_cifar10_says_where_to_put_it(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    message = (
        r"not in .*cifar10 and could not be downloaded.*"
        r"cifar-10-python\.tar\.gz.*c58f30108f718f92721af3b95e74349a"
    )
    with pytest.raises(UserError, match=message):
        harness.load_dataset("cifar10", data_root=workdir / "nowhere")


def test_fashion_mnist_is_found_in_debians_folder(
    workdir: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "harness.data.datasets.fashion_mnist"
    monkeypatch.setattr(f"{module}.DEBIAN_FOLDER", data_root / "fashion-mnist")
    assert len(harness.load_dataset("fashion-mnist", data_root=workdir / "nowhere").test) == 20


def test_fashion_mnist_is_read_as_by_torchvision(workdir: Path) -> None:
    from torchvision.datasets.mnist import read_image_file, read_label_file

    write_fashion_mnist(workdir)
    test = harness.load_dataset("fashion-mnist", data_root=workdir).test
    image_file = workdir / "fashion-mnist" / "t10k-images-idx3-ubyte"
    label_file = workdir / "fashion-mnist" / "t10k-labels-idx1-ubyte"
    images = next(test.batches(20)).images
    assert np.array_equal(images[:, 2], read_image_file(str(image_file)))
    assert np.array_equal(test.labels, read_label_file(str(label_file)))
    shutil.copy(image_file, label_file)
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte is damaged .* with 1 axes"):
        harness.load_dataset("fashion-mnist", data_root=workdir)
    label_file.write_bytes(b"\0\0\x08\x01\0\0\0\x14" + bytes(19) + b"\x0a")
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte has not one label below 10 for"):
        harness.load_dataset("fashion-mnist", data_root=workdir)
    image_file.write_bytes(b"\0\0\x08\x03 cut off")
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte is damaged .* download it again"):
        harness.load_dataset("fashion-mnist", data_root=workdir)
