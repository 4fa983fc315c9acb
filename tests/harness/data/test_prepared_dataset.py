"""A prepared dataset on disk: keys, digests, damage, and what other programs read."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.feather
import pytest

import harness
from harness import UserError
from harness.data import prepare as prepare_module
from harness.data.arrow_shards import read_table
from harness.data.identity import split_digest
from harness.data.prepare import prepare
from harness.data.prepared_dataset import MANIFEST, PreparedDataset, open_prepared
from harness.data.sources import open_source

Pictures = Callable[..., Path]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory, pictures: Pictures) -> Path:
    """A data root with the prepared dataset `pets`, of which three training images are equal."""
    root = tmp_path_factory.mktemp("prepared")
    counts = {"train/cat": 20, "train/dog": 21, "test/cat": 9, "test/dog": 8}
    photos = pictures(root / "photos", counts, size=(40, 50))
    for copy in ("train/cat/again.png", "train/dog/again.png"):
        shutil.copy(photos / "train/cat/3.png", photos / copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare_module, "ROWS_PER_SHARD", 8)
        source = open_source(photos)
        prepare(source, root, name="pets", size=32, progress=lambda items, **_: iter(items))
        source = open_source(pictures(root / "others", counts, size=(40, 50), seed=1))
        prepare(source, root, name="other", size=32, progress=lambda items, **_: iter(items))
    return root


def test_duplicates_are_numbered_across_shards(data_root: Path) -> None:
    prepared = open_prepared(data_root, "pets")
    split = prepared.split("train")
    numbered = sorted(key for key in split.keys if "-" in key)
    assert [key[16:] for key in numbered] == ["-1", "-2"]
    assert len(set(split.keys)) == 43
    digest = split_digest(split.preparation, split.keys, split.labels)
    assert prepared.manifest["parts"]["train"]["digest"] == split.digest == digest


def test_any_arrow_reader_opens_the_files(data_root: Path) -> None:
    prepared = open_prepared(data_root, "pets")
    files = [str(file) for file in sorted(prepared.folder.glob("*.arrow"))]
    table = pa.dataset.dataset(files, format="ipc").to_table()
    assert table.column_names == ["key", "label", "name", "height", "width", "image"]
    assert len(table) == 60
    assert table["height"].to_pylist() == [32] * 60
    assert table.schema.metadata[b"preparation"] == prepared.manifest["preparation"].encode()


def test_subsets_of_the_training_images_are_nested(data_root: Path) -> None:
    keys = []
    for percent in (5, 10, 25, 50, 100):
        spec = f"pets,train_percent={percent}"
        keys.append(set(harness.load_dataset(spec, data_root=data_root, tune=0).train.keys))
    assert [len(subset) for subset in keys] == [2, 4, 11, 21, 43]
    assert all(small < large for small, large in itertools.pairwise(keys))


def change_digests(folder: Path) -> None:
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace('"digest": "', '"digest": "0'))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "test-00000.arrow").unlink(), "test-00000.arrow is missing"),
        (
            lambda folder: (folder / "test-00000.arrow").write_bytes(b"x"),
            "test-00000.arrow has changed since it was written",
        ),
        (change_digests, "the digest of"),
    ],
    ids=["missing file", "changed file", "changed manifest"],
)
def test_damage_is_found(
    data_root: Path, workdir: Path, harm: Callable[[Path], None], message: str
) -> None:
    folder = workdir / "prepared/pets"
    shutil.copytree(data_root / "prepared/pets", folder)
    assert PreparedDataset(folder).find_damage() == []
    harm(folder)
    assert message in "; ".join(PreparedDataset(folder).find_damage())


def edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    edit(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def edit_column(shard: Path, column: str, values: list[Any]) -> None:
    table = read_table(shard)
    position = table.schema.get_field_index(column)
    changed = table.set_column(position, table.schema.field(column), pa.array(values, pa.int32()))
    with shard.with_suffix(".new").open("wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(changed)
    shard.with_suffix(".new").replace(shard)


def swap(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: swap(folder / "train-00000.arrow", folder / "train-00001.arrow"),
        lambda folder: swap(folder / "train-00000.arrow", folder / "test-00000.arrow"),
        lambda folder: shutil.copy(
            folder.parent / "other/train-00000.arrow", folder / "train-00000.arrow"
        ),
        lambda folder: edit_column(folder / "train-00000.arrow", "height", [16] * 8),
        lambda folder: edit_column(folder / "train-00000.arrow", "width", [80] * 8),
        lambda folder: edit_manifest(folder, lambda m: m.update(class_names=["dog", "cat"])),
        lambda folder: edit_manifest(folder, lambda m: m.update(class_names=["cat"])),
        lambda folder: edit_manifest(folder, lambda m: m.update(codec="jpeg")),
        lambda folder: edit_manifest(folder, lambda m: m.update(preparation="size=9")),
        lambda folder: edit_manifest(folder, lambda m: m["parts"].pop("test")),
        lambda folder: edit_manifest(
            folder, lambda m: m["parts"]["train"]["files"].pop("train-00000.arrow")
        ),
        lambda folder: edit_manifest(
            folder, lambda m: m["parts"]["train"]["files"]["train-00000.arrow"].update(rows=7)
        ),
        lambda folder: (folder / "train-00000.arrow").write_bytes(b"ARROW1"),
        lambda folder: pa.feather.write_feather(
            pa.table({"key": ["a"], "label": [0]}), folder / "train-00000.arrow"
        ),
    ],
    ids=[
        "shards swapped", "parts swapped", "shard of another dataset", "heights", "widths",
        "class names", "missing class", "codec", "preparation", "missing part", "missing shard",
        "rows", "truncated", "other columns",
    ],
)  # fmt: skip
def test_no_part_of_a_damaged_dataset_is_believed(
    data_root: Path, workdir: Path, harm: Callable[[Path], None]
) -> None:
    folder = workdir / "prepared/pets"
    shutil.copytree(data_root / "prepared", folder.parent)
    harm(folder)
    with pytest.raises(UserError, match=r"the prepared dataset pets is damaged \(") as caught:
        harness.load_dataset("pets", data_root=workdir)
    assert "\n" not in str(caught.value)
    assert PreparedDataset(folder).find_damage()


def test_a_damaged_dataset_says_how_to_repair_it(data_root: Path, workdir: Path) -> None:
    folder = workdir / "prepared/pets"
    shutil.copytree(data_root / "prepared/pets", folder)
    (folder / "test-00000.arrow").unlink()
    with pytest.raises(UserError, match=r"pets is damaged .*harness data rm pets and prepare it"):
        PreparedDataset(folder).split("test")


@pytest.mark.parametrize("name", ["dogs", "../prepared/pets"])
def test_an_unknown_name_lists_the_known_ones(data_root: Path, name: str) -> None:
    with pytest.raises(
        UserError, match=r"no prepared dataset is called .*; there are: other, pets"
    ):
        open_prepared(data_root, name)
