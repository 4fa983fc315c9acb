"""What every named dataset promises, and what each is known to hold."""

from __future__ import annotations

import gzip
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


def fake_cifar(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the official layout with few images, and their checksums in place of the real ones."""
    from torchvision import datasets

    reader = getattr(datasets, name.upper())
    folder = root / name / reader.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def write(name: str, content: dict[str, object]) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch() -> dict[str, object]:
        labels = "fine_labels" if name == "cifar100" else "labels"
        return {
            "data": rng.integers(0, 256, (20, 3072), dtype=np.uint8),
            labels: (np.arange(20) % 10).tolist(),
        }

    monkeypatch.setattr(
        reader, "train_list", [write(file, batch()) for file, _ in reader.train_list]
    )
    monkeypatch.setattr(reader, "test_list", [write(file, batch()) for file, _ in reader.test_list])
    file, md5 = write(reader.meta["filename"], {reader.meta["key"]: list("abcdefghij")})
    monkeypatch.setattr(reader, "meta", {**reader.meta, "filename": file, "md5": md5})


def fake_fashion_mnist(root: Path) -> None:
    """The four files with few images, two of them packed, as people have them."""
    folder = root / "fashion-mnist"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, n, packed in (("train", 40, True), ("t10k", 20, False)):
        images, labels = (
            rng.integers(0, 256, (n, 28, 28), dtype=np.uint8),
            (np.arange(n) % 10).astype(np.uint8),
        )
        for what, array in (("images-idx3", images), ("labels-idx1", labels)):
            data = (
                bytes([0, 0, 8, array.ndim])
                + np.array(array.shape, ">u4").tobytes()
                + array.tobytes()
            )
            name = f"{part}-{what}-ubyte{'.gz' if packed else ''}"
            (folder / name).write_bytes(gzip.compress(data) if packed else data)


def fake_caltech101(root: Path, pictures: Callable[..., Path]) -> None:
    pictures(
        root / "caltech101" / "101_ObjectCategories",
        {"BACKGROUND_Google": 9, "Faces": 8, "accordion": 12},
    )


@pytest.fixture
def specs(
    workdir: Path, pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """A spec for every dataset, on data made here where it is not embedded."""
    for name in ("cifar10", "cifar100"):
        fake_cifar(name, workdir / "root", monkeypatch)
    fake_fashion_mnist(workdir / "root")
    fake_caltech101(workdir / "root", pictures)
    photos = pictures(
        workdir / "photos", {"train/cat": 12, "train/dog": 11, "test/cat": 3, "test/dog": 4}
    )
    prepare(
        open_source(photos), workdir / "root", name="pets", progress=lambda items, **_: iter(items)
    )
    alone = {name: name for name in ("digits", "cifar10", "cifar100", "fashion-mnist")}
    return alone | {
        "prepared": "pets",
        "caltech101": "caltech101,train_per_class=3",
        "folder": f"folder,path={photos}",
        "subset": "subset,of=digits,percent=10",
    }


@pytest.mark.parametrize("name", Registry().names("dataset"))
def test_conformance(name: str, specs: dict[str, str], workdir: Path) -> None:
    assert name in specs, f"say in this file how dataset {name!r} is to be tested"
    given = dataset_spec(specs[name], Registry(), workdir / "root")
    entry, build, values, spec = Registry().resolve("dataset", given)
    first, second = build(workdir / "root", **values), build(workdir / "root", **values)
    assert isinstance(first, Dataset)
    assert entry.summary
    assert (first.train.digest, first.test.digest) == (second.train.digest, second.test.digest)
    assert first.train.class_names == first.test.class_names
    assert first.train.preparation == first.test.preparation
    assert not set(first.train.keys) & set(first.test.keys)
    assert set(first.train.labels) == set(range(first.train.num_classes))
    assert len(set(first.train.keys)) == len(first.train)
    assert harness.load_dataset(spec, data_root=workdir / "root").spec == spec


def test_digits_is_the_documented_cut() -> None:
    splits = harness.load_dataset("digits", tune=0)
    assert (len(splits.train), len(splits.test), splits.train.image_size, splits.tune) == (
        1297,
        500,
        (32, 32),
        None,
    )
    assert (splits.fit_digest, splits.test.digest) == (
        "b0b233170b4d857c7231f1fd6f05aada",
        "bd61dd38ab5449fdce225d85a3b3d569",
    )


def test_cifar10_that_is_nowhere_says_where_to_put_it(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(
        UserError,
        match=r"not in .*cifar10 and could not be downloaded.*cifar-10-python\.tar\.gz.*c58f30108f718f92721af3b95e74349a",
    ):
        harness.load_dataset("cifar10", data_root=workdir / "nowhere")


def test_tune_comes_out_of_train_by_class() -> None:
    splits = harness.load_dataset("digits")
    assert splits.tune
    assert len(splits.train) + len(splits.tune) == 1297
    share = np.bincount(splits.tune.labels) / np.bincount((splits.train + splits.tune).labels)
    assert share == pytest.approx(0.1, abs=0.01)
    assert np.bincount(harness.load_dataset("digits", tune=7).tune.labels).tolist() == [7] * 10  # type: ignore[union-attr]


def subset(percent: float, seed: int) -> set[str]:
    return set(
        harness.load_dataset(
            f"subset,of=digits,percent={percent},seed={seed}", tune=0
        ).train.keys.tolist()
    )


def test_subsets_of_one_seed_are_nested_and_those_of_two_seeds_differ() -> None:
    assert subset(2, 0) < subset(10, 0) < subset(30, 0) < subset(100, 0) == subset(100, 1)
    shared = len(subset(30, 0) & subset(30, 1)) / len(subset(30, 0))
    assert 0.2 < shared < 0.4  # as by chance


def test_a_subset_leaves_the_test_split_whole_and_tune_lies_within_it() -> None:
    part, whole = (
        harness.load_dataset("subset,of=digits,percent=10,seed=1"),
        harness.load_dataset("digits"),
    )
    assert part.test.digest == whole.test.digest
    assert part.tune
    assert {*part.train.keys, *part.tune.keys} == subset(10, 1)
    assert np.bincount((part.train + part.tune).labels).tolist() == [13] * 10
    assert np.bincount(part.tune.labels).tolist() == [1] * 10
    assert part.title == "digits, 10 % of train (subset seed 1)"
    assert (
        part.dataset_notes[-1]
        == "train: 130 of 1,297 images, 10 % of each class, drawn by subset seed 1"
    )


def test_a_subset_of_what_must_be_quoted(workdir: Path, pictures: Callable[..., Path]) -> None:
    from harness.spec import format_spec

    photos = pictures(
        workdir / "my, photos", {"train/cat": 12, "train/dog": 11, "test/cat": 3, "test/dog": 4}
    )
    of = format_spec("folder", {"path": photos})
    splits = harness.load_dataset(
        format_spec("subset", {"of": of, "percent": 50}), data_root=workdir, tune=0
    )
    assert np.bincount(splits.train.labels).tolist() == [6, 6]
    with pytest.raises(UserError, match="no dataset is called 'digit'"):
        harness.load_dataset("subset,of=digit,percent=50")
    with pytest.raises(UserError, match=r"percent=0 is not allowed.*number > 0 and <= 100"):
        harness.load_dataset("subset,of=digits,percent=0")


def test_limits() -> None:
    splits = harness.load_dataset("digits", limit=205, limit_test=50)
    assert np.bincount((splits.train + splits.tune).labels).tolist() == [20] * 10  # type: ignore[operator]
    assert len(splits.test) == 50
    assert (
        harness.load_dataset("digits", limit=205).test.digest
        == harness.load_dataset("digits").test.digest
    )
    with pytest.raises(
        UserError, match="--limit 9 is less than one image for each of the 10 classes"
    ):
        harness.load_dataset("digits", limit=9)
    with pytest.raises(UserError, match="without training images"):
        harness.load_dataset("digits", limit=10)


def test_fashion_mnist_is_found_where_debian_puts_it(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_fashion_mnist(workdir)
    monkeypatch.setattr("harness.data.datasets.fashion_mnist.DEBIAN", workdir / "fashion-mnist")
    assert len(harness.load_dataset("fashion-mnist", data_root=workdir / "nowhere").test) == 20


def test_fashion_mnist_is_read_as_torchvision_reads_it(workdir: Path) -> None:
    from torchvision.datasets.mnist import read_image_file, read_label_file

    fake_fashion_mnist(workdir)
    test = harness.load_dataset("fashion-mnist", data_root=workdir).test
    folder = workdir / "fashion-mnist"
    images = next(test.batches(20)).images
    assert np.array_equal(images[:, 2], read_image_file(str(folder / "t10k-images-idx3-ubyte")))  # type: ignore[call-overload]
    assert np.array_equal(test.labels, read_label_file(str(folder / "t10k-labels-idx1-ubyte")))
    (folder / "t10k-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03 cut off")
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte is damaged .* download it again"):
        harness.load_dataset("fashion-mnist", data_root=workdir)


def test_caltech101_protocol(workdir: Path, pictures: Callable[..., Path]) -> None:
    fake_caltech101(workdir, pictures)

    def load(parameters: str) -> harness.data.load.Splits:  # type: ignore[name-defined]
        return harness.load_dataset(f"caltech101,{parameters}", data_root=workdir, tune=0)

    splits = load("train_per_class=5,test_per_class=4")
    assert np.bincount(splits.train.labels).tolist() == [5, 5, 5]
    assert np.bincount(splits.test.labels).tolist() == [4, 3, 4]
    assert not set(splits.train.keys) & set(splits.test.keys)
    assert load("train_per_class=5,test_per_class=4").test.digest == splits.test.digest
    assert load("train_per_class=5,test_per_class=4,split_seed=1").test.digest != splits.test.digest
    assert np.bincount(load("train_per_class=5,test_per_class=0").test.labels).tolist() == [4, 3, 7]
    alone = load("train_per_class=5,background=false")
    assert alone.test.class_names == ("Faces", "accordion")
    assert np.bincount(alone.test.labels).tolist() == [3, 7]
    with pytest.raises(
        UserError,
        match=r"train_per_class=8 leaves nothing to test of class 'Faces', which has 8 images.* at most 7",
    ):
        load("train_per_class=8")
    with pytest.raises(
        UserError, match=r"Caltech-101 is not in .*put 101_ObjectCategories\.tar\.gz there"
    ):
        load(f"path={workdir}/nowhere")
