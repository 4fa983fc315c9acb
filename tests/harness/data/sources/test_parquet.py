"""parquet files: integer labels, rows without labels, and parts by file or folder name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness import UserError
from harness.data.prepare import check_classes
from harness.data.sources import open_source


@pytest.fixture
def parquet(photos: Any, layouts: dict[str, Callable[..., Path]], workdir: Path) -> Path:
    return layouts["parquet"](photos, workdir / "source")


def make_table(labels: Any) -> pa.Table:
    return pa.table({"image": [{"bytes": b"?", "path": ""}] * len(labels), "label": labels})


@pytest.mark.parametrize("labels", [["cat", "dog"], [0.5, 1.5]])
def test_labels_must_be_integers(workdir: Path, labels: list[Any]) -> None:
    pq.write_table(make_table(labels), workdir / "train.parquet")
    with pytest.raises(UserError, match=r"train\.parquet: label is of type \w+; expected integers"):
        open_source(workdir / "train.parquet")


def test_folders_may_be_parts_and_labels_small_integers(workdir: Path) -> None:
    """This is how Hugging Face converts datasets."""
    for part, count in (("train", 4), ("validation", 2)):
        (workdir / "source" / part).mkdir(parents=True)
        labels = pa.array([0, 1] * (count // 2), pa.uint8())
        pq.write_table(make_table(labels), workdir / "source" / part / "0000.parquet")
    assert [image.part for image in open_source(workdir / "source")] == ["train"] * 4 + ["val"] * 2


def test_rows_without_labels_are_ignored_with_a_note(parquet: Path) -> None:
    pq.write_table(make_table([-1] * 3), parquet / "test-00000-of-00001.parquet")
    source = open_source(parquet)
    assert {image.part for image in source} == {"train", "val"}
    assert source.dataset_notes == ("3 images without labels are ignored",)
    assert source.class_names[0] == "words of n01440764"


def test_a_file_without_any_label_is_refused(workdir: Path) -> None:
    features = {"label": {"names": ["cat", "dog"]}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = make_table([-1, -1]).replace_schema_metadata(metadata)
    pq.write_table(table, workdir / "test.parquet")
    with pytest.raises(UserError, match="no labeled images"):
        check_classes(open_source(workdir / "test.parquet"))


def test_a_damaged_file_is_named_in_one_line(parquet: Path) -> None:
    (parquet / "train-00000-of-00001.parquet").write_bytes(b"PAR1 cut off")
    message = r"train-00000-of-00001\.parquet is damaged: [^\n]+; copy"
    with pytest.raises(UserError, match=message):
        open_source(parquet)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (b"{cut", r"its metadata 'huggingface' is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b'{"info": {"features": {"label": {"names": 7}}}}', "should name each class"),
        (
            b'{"info": {"features": {"label": {"names": ["a", "a"]}}}}',
            "should name each class",
        ),
        (b'{"info": {"features": {"label": {"names": ["a", 1]}}}}', "should name each class"),
    ],
)
def test_damaged_metadata_is_named_in_one_line(workdir: Path, metadata: bytes, reason: str) -> None:
    table = make_table([0, 1]).replace_schema_metadata({b"huggingface": metadata})
    pq.write_table(table, workdir / "train.parquet")
    with pytest.raises(UserError, match=rf"train\.parquet: [^\n]*{reason}[^\n]*$"):
        open_source(workdir / "train.parquet")


@pytest.mark.parametrize(
    "metadata",
    [b"null", b"[]", b"7", b'{"info": null}', b'{"info": []}', b'{"info": {"features": {}}}',
     b'{"info": {"features": {"label": null}}}', b'{"info": {"features": {"label": {}}}}'],
)  # fmt: skip
def test_metadata_without_names_leaves_the_numbers(workdir: Path, metadata: bytes) -> None:
    table = make_table([0, 1]).replace_schema_metadata({b"huggingface": metadata})
    pq.write_table(table, workdir / "train.parquet")
    assert open_source(workdir / "train.parquet").class_names == ("0", "1")


def test_files_that_name_the_classes_differently_are_refused(workdir: Path) -> None:
    for part, names in (("train", ["cat", "dog"]), ("test", ["dog", "cat"])):
        features = {"label": {"names": names}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        table = make_table([0, 1]).replace_schema_metadata(metadata)
        pq.write_table(table, workdir / f"{part}.parquet")
    with pytest.raises(UserError, match=r"test\.parquet and train\.parquet name the classes diff"):
        open_source(workdir)


@pytest.mark.parametrize("label", [10**12, 2**64 - 1])
def test_ids_are_no_labels(workdir: Path, label: int) -> None:
    table = make_table(pa.array([0, label], pa.uint64()))
    pq.write_table(table, workdir / "train.parquet")
    with pytest.raises(UserError, match=r"would make|is damaged"):
        open_source(workdir / "train.parquet")


@pytest.mark.parametrize(
    "images", [["text", "more"], [1, 2], [{"path": "a"}, {"path": "b"}], [[b"x"], [b"y"]]]
)
def test_images_must_be_bytes(workdir: Path, images: list[Any]) -> None:
    pq.write_table(pa.table({"image": images, "label": [0, 1]}), workdir / "train.parquet")
    with pytest.raises(UserError, match=r"train\.parquet: image is of type .*expected binary"):
        open_source(workdir / "train.parquet")


def test_a_pipe_called_like_a_table_is_not_opened(workdir: Path, parquet: Path) -> None:
    os.mkfifo(parquet / "test.parquet")
    assert {image.part for image in open_source(parquet)} == {"train", "val"}
