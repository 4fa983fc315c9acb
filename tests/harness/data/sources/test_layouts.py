"""The same photographs have the same digests and pixels in every layout."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import UserError
from harness.data import prepare as prepare_module
from harness.data.prepare import check_classes, prepare
from harness.data.prepared_dataset import PreparedDataset
from harness.data.sources import open_source

Layout = Callable[..., Path]
PrepareSource = Callable[..., PreparedDataset]
SIZE = 100  # pixels: some photographs are larger, some smaller


def pixels(prepared: PreparedDataset, part: str) -> dict[str, np.ndarray]:
    split = prepared.split(part)
    images = split.images.read(split.rows)
    return {key: image.numpy() for key, image in zip(split.keys, images, strict=True)}


def are_equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def digests(prepared: PreparedDataset) -> list[str]:
    return [prepared.manifest["parts"][part]["digest"] for part in ("train", "val")]


@pytest.fixture(scope="module")
def references(
    tmp_path_factory: pytest.TempPathFactory, photos: Any, layouts: dict[str, Layout]
) -> dict[str, PreparedDataset]:
    """The photographs prepared from class folders, by codec."""
    root = tmp_path_factory.mktemp("references")
    source = open_source(layouts["class folders"](photos, root / "photos"))
    prepared = {}
    for codec, limit in (("raw", prepare_module.RAW_LIMIT), ("jpeg", 1000)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prepare_module, "RAW_LIMIT", limit)
            prepared[codec] = prepare(
                source, root, size=SIZE, progress=lambda items, **_: iter(items)
            )
    return prepared


@pytest.mark.parametrize("codec", ["raw", "jpeg"])
def test_every_layout_gives_the_same_digests_and_pixels(
    photos: Any,
    layout: Layout,
    references: dict[str, PreparedDataset],
    prepare_source: PrepareSource,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    codec: str,
) -> None:
    if codec == "jpeg":
        monkeypatch.setattr(prepare_module, "RAW_LIMIT", 1000)
    reference = references[codec]
    prepared = prepare_source(layout(photos, workdir / "photos"), size=SIZE)
    assert prepared.manifest["codec"] == codec
    assert digests(prepared) == digests(reference)
    assert are_equal(pixels(prepared, "val"), pixels(reference, "val"))
    assert [prepared.manifest["parts"][part]["n"] for part in ("train", "val")] == [20, 10]


def test_two_swapped_labels_change_the_digest(
    photos: Any,
    layout: Layout,
    references: dict[str, PreparedDataset],
    prepare_source: PrepareSource,
    workdir: Path,
) -> None:
    (a, first), (b, second), *others = photos.val
    assert a != b
    swapped = replace(photos, val=[(b, first), (a, second), *others])
    prepared = prepare_source(layout(swapped, workdir / "photos"), size=SIZE)
    assert digests(prepared)[0] == digests(references["raw"])[0]
    assert digests(prepared)[1] != digests(references["raw"])[1]


def test_full_size_photographs_have_the_same_digests_and_pixels(
    photos: Any,
    samples: Path,
    layouts: dict[str, Layout],
    prepare_source: PrepareSource,
    workdir: Path,
) -> None:
    """The photographs of the first fifty classes are also the validation part."""
    sample = samples / "ilsvrc-sample-100.tar"
    if not sample.exists():
        pytest.skip(f"needs {sample.name} in {samples}")
    with tarfile.open(sample) as archive:
        members = [member for member in archive if member.isfile()]
        images = [(Path(m.name).name[:9], archive.extractfile(m).read()) for m in members]
    photographs = replace(photos, train=images, val=images[:50])
    names = ("class folders", "official", "kaggle", "parquet", "tar shards")
    first, *others = (
        prepare_source(layouts[name](photographs, workdir / name), size=SIZE) for name in names
    )
    assert len(first.manifest["class_names"]) == 100
    for prepared in others:
        assert digests(prepared) == digests(first)
        assert are_equal(pixels(prepared, "val"), pixels(first, "val"))


def test_copies_that_macos_makes_are_ignored(photos: Any, layout: Layout, workdir: Path) -> None:
    """A file `._NAME` beside each file, as on a disk that cannot store macOS's attributes."""
    path = layout(photos, workdir / "photos")
    before = [(image.part, image.name, image.label) for image in open_source(path)]
    for file in list(path.rglob("*")):
        if file.is_file():
            file.with_name(f"._{file.name}").write_bytes(b"Mac OS X")
    assert [(image.part, image.name, image.label) for image in open_source(path)] == before


def write_nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_nothing, "there is no folder or archive"),
        (lambda path: path.mkdir(), "photos is empty"),
        (lambda path: path.write_bytes(b"hello"), "neither a folder nor an archive"),
    ],
    ids=["missing", "empty", "a text file"],
)
def test_a_path_that_is_no_source_says_why(
    workdir: Path, write: Callable[[Path], object], message: str
) -> None:
    write(workdir / "photos")
    with pytest.raises(UserError, match=message):
        open_source(workdir / "photos")


def test_a_source_without_labeled_images_is_refused(workdir: Path) -> None:
    class Empty:
        path, class_names, dataset_notes = workdir, ("cat", "dog"), ()

        def __len__(self) -> int:
            return 0

    with pytest.raises(UserError, match="no labeled images"):
        check_classes(Empty())
