"""One set of photographs, one digest, whatever the layout."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import UserError
from harness.data import prepare as prepare_module
from harness.data.prepare import check_classes
from harness.data.sources import open_source
from harness.data.prepared_dataset import PreparedDataset

Layout = Callable[[Any, Path], Path]
StoreOf = Callable[..., PreparedDataset]


def pixels(store: PreparedDataset, part: str) -> dict[str, np.ndarray]:
    split = store.split(part)
    return {
        key: image.numpy()
        for key, image in zip(split.keys, split.images.read(split.rows), strict=True)
    }


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def digests(store: PreparedDataset) -> list[str]:
    return [store.facts["parts"][part]["digest"] for part in ("train", "val")]


@pytest.mark.parametrize("raw", [True, False], ids=["lossless", "jpeg"])
def test_every_layout_gives_one_digest_and_the_same_pixels(
    generated: Any,
    layout: Layout,
    layouts: dict[str, Layout],
    store_of: StoreOf,
    workdir: Path,
    raw: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not raw:
        monkeypatch.setattr(prepare_module, "RAW_LIMIT", 1000)
    reference = store_of(layouts["class folders"](generated, workdir / "reference"))
    store = store_of(layout(generated, workdir / "other"))
    assert store.facts["codec"] == ("raw" if raw else "jpeg")
    assert digests(store) == digests(reference)
    assert same(pixels(store, "val"), pixels(reference, "val"))
    assert [store.facts["parts"][part]["n"] for part in ("train", "val")] == [20, 10]


def test_one_swapped_label_changes_the_digest(
    generated: Any, layout: Layout, store_of: StoreOf, workdir: Path
) -> None:
    (a, one), (b, other), *rest = generated.val
    assert a != b
    swapped = replace(generated, val=[(b, one), (a, other), *rest])
    right, wrong = (
        store_of(layout(photos, workdir / name))
        for name, photos in (("right", generated), ("wrong", swapped))
    )
    assert digests(right)[0] == digests(wrong)[0]
    assert digests(right)[1] != digests(wrong)[1]


def test_labels_are_ranks_of_wordnet_ids_and_not_the_kits_ids(
    generated: Any, layouts: dict[str, Layout], workdir: Path
) -> None:
    source = open_source(layouts["official"](generated, workdir / "ilsvrc"))
    assert source.class_names == tuple(generated.wnids)
    wnid_of = {data: wnid for wnid, data in generated.train + generated.val}
    assert [source.class_names[image.label] for image in source] == [
        wnid_of[image.read()] for image in source
    ]


def test_ilsvrc_2010_scores_its_public_test_part(
    generated: Any, layouts: dict[str, Callable[..., Path]], store_of: StoreOf, workdir: Path
) -> None:
    """Its labels are those of the kit's own file of them, whose ids are not in the order of the classes."""
    import harness

    root = layouts["official"](generated, workdir / "ilsvrc2010", year=2010)
    store_of(root, name="ilsvrc2010")
    test = harness.load_dataset("ilsvrc2010", data_root=workdir / "root", tune=1)
    assert "val/ is not used: test/ is the test split" in test.dataset_notes
    assert test.test.names is not None
    labeled = {
        name: generated.wnids[label]
        for name, label in zip(test.test.names, test.test.labels, strict=True)
    }
    assert labeled == {
        f"ILSVRC2010_test_{i:08}.JPEG": wnid for i, (wnid, _) in enumerate(generated.val, 1)
    }
    (root / "ILSVRC2010_test_ground_truth.txt").unlink()
    with pytest.raises(
        UserError,
        match=r"ILSVRC2010_test_ground_truth\.txt \(.*is missing; get it from https://image-net\.org/.*2010",
    ):
        open_source(root)


def extracted(photos: Any, layouts: dict[str, Layout], root: Path) -> Path:
    """As `tar -x` leaves them: the validation images flat, the kit beside them."""
    layouts["official"](photos, root)
    for i, (wnid, data) in enumerate(photos.train):
        (root / "train" / wnid).mkdir(parents=True, exist_ok=True)
        (root / "train" / wnid / f"{wnid}_{i}.JPEG").write_bytes(data)
    (root / "val").mkdir()
    for i, (_, data) in enumerate(photos.val):
        (root / "val" / f"{photos.val_name(i)}.JPEG").write_bytes(data)
    for tar in root.glob("*.tar"):
        tar.unlink()
    return root


def test_extracted_folders_with_a_flat_val_get_their_labels_from_the_kit(
    generated: Any, layouts: dict[str, Layout], store_of: StoreOf, workdir: Path
) -> None:
    root = extracted(generated, layouts, workdir / "extracted")
    store = store_of(root)
    assert store.facts["layout"] == "ILSVRC-2012, extracted"
    assert digests(store) == digests(
        store_of(layouts["class folders"](generated, workdir / "sorted"))
    )


@pytest.mark.parametrize(
    ("without", "words"),
    [
        (
            "val/ILSVRC2012_val_00000003.JPEG",
            "val holds 9 images, but ILSVRC2012_validation_ground_truth.txt has 10 lines",
        ),
        (
            "train",
            r"train holds no images in class folders: unpack ILSVRC2012_img_train\.tar there",
        ),
        (
            "ILSVRC2012_devkit_t12",
            r"development kit ILSVRC2012_devkit_t12\.tar\.gz .* is missing; get it from https://image-net\.org",
        ),
    ],
)
def test_what_extracted_folders_lack_is_named(
    generated: Any, layouts: dict[str, Layout], workdir: Path, without: str, words: str
) -> None:
    root = extracted(generated, layouts, workdir / "extracted")
    shutil.rmtree(root / without) if (root / without).is_dir() else (root / without).unlink()
    with pytest.raises(UserError, match=words):
        open_source(root)


def test_one_tar_of_the_official_files_is_sent_to_its_folder(
    generated: Any, layouts: dict[str, Layout], workdir: Path
) -> None:
    root = layouts["official"](generated, workdir / "ilsvrc")
    with pytest.raises(
        UserError,
        match=r"one of several files of ILSVRC-2012; give the folder that they lie in: .*ilsvrc$",
    ):
        open_source(root / "ILSVRC2012_img_val.tar")


@pytest.fixture
def photographs(generated: Any, samples: Path) -> Any:
    """The full-size sample: its first fifty classes also serve as the validation part."""
    if not (samples / "ilsvrc-sample-100.tar").exists():
        pytest.skip(f"needs ilsvrc-sample-100.tar in {samples}")
    with tarfile.open(samples / "ilsvrc-sample-100.tar") as archive:
        images = [
            (Path(m.name).name[:9], archive.extractfile(m).read()) for m in archive if m.isfile()
        ]  # type: ignore[union-attr]
    return replace(generated, train=images, val=images[:50])


def test_full_size_photographs(
    photographs: Any, layouts: dict[str, Layout], store_of: StoreOf, workdir: Path
) -> None:
    def stores() -> Iterator[PreparedDataset]:
        for name in ("class folders", "official", "kaggle", "parquet", "shards"):
            yield store_of(layouts[name](photographs, workdir / name), size=64)

    first, *others = stores()
    assert len(first.facts["class_names"]) == 100
    for store in others:
        assert digests(store) == digests(first)
        assert same(pixels(store, "val"), pixels(first, "val"))


@pytest.mark.parametrize(
    ("layout_name", "without", "words"),
    [
        (
            "official",
            "ILSVRC2012_img_val.tar",
            r"ILSVRC2012_img_val\.tar \(MD5 29b22e.*is missing; get it from https://image-net\.org",
        ),
        (
            "official",
            "ILSVRC2012_devkit_t12/data/meta.mat",
            r"development kit ILSVRC2012_devkit_t12\.tar\.gz .* is missing",
        ),
        (
            "official",
            "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
            "validation_ground_truth.txt .* is missing",
        ),
        (
            "kaggle",
            "LOC_val_solution.csv",
            "LOC_val_solution.csv is missing; get it from https://www.kaggle.com",
        ),
        ("kaggle", "LOC_synset_mapping.txt", "LOC_synset_mapping.txt is missing"),
    ],
)
def test_what_is_missing_is_named(
    generated: Any,
    layouts: dict[str, Layout],
    workdir: Path,
    layout_name: str,
    without: str,
    words: str,
) -> None:
    root = layouts[layout_name](generated, workdir / "source")
    (root / without).unlink()
    with pytest.raises(UserError, match=words):
        open_source(root)


def test_a_ground_truth_of_another_length_is_refused(
    generated: Any, layouts: dict[str, Layout], workdir: Path
) -> None:
    root = layouts["official"](generated, workdir / "source")
    truth = root / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    truth.write_text(truth.read_text() + "1\n")
    with pytest.raises(
        UserError,
        match=r"holds 10 images, but ILSVRC2012_validation_ground_truth\.txt has 11 lines",
    ):
        open_source(root)


@pytest.mark.parametrize(
    ("layout_name", "file", "content", "words"),
    [
        (
            "official",
            "ILSVRC2012_devkit_t12/data/meta.mat",
            b"MATLAB 5.0 MAT-file" + b" " * 200,
            r"meta\.mat of .* is damaged",
        ),
        (
            "official",
            "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
            b"<html>",
            "ground_truth.txt is damaged",
        ),
        (
            "official",
            "ILSVRC2012_img_train.tar",
            b"x" * 5000,
            r"ILSVRC2012_img_train\.tar is damaged: [^\n]+; copy or download it again$",
        ),
        (
            "kaggle",
            "LOC_val_solution.csv",
            b"ImageId,PredictionString\nILSVRC2012_val_00000001",
            "LOC_val_solution.csv is damaged",
        ),
        (
            "kaggle",
            "LOC_val_solution.csv",
            b"",
            "LOC_val_solution.csv has no line for ILSVRC2012_val_0",
        ),
        (
            "parquet",
            "train-00000-of-00001.parquet",
            b"PAR1 cut off",
            r"train-00000-of-00001\.parquet is damaged: [^\n]+; copy",
        ),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    generated: Any,
    layouts: dict[str, Layout],
    workdir: Path,
    layout_name: str,
    file: str,
    content: bytes,
    words: str,
) -> None:
    root = layouts[layout_name](generated, workdir / "source")
    assert (root / file).exists()
    (root / file).write_bytes(content)
    with pytest.raises(UserError, match=words):
        open_source(root)


@pytest.mark.parametrize("labels", [["cat", "dog"], [0.5, 1.5]])
def test_parquet_labels_are_integers(workdir: Path, labels: list[Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"image": [{"bytes": b"?"}] * 2, "label": labels}), workdir / "train.parquet"
    )
    with pytest.raises(UserError, match=r"train\.parquet: label is of type \w+; expected integers"):
        open_source(workdir / "train.parquet")


def test_a_validation_image_in_the_wrong_folder_is_refused(
    generated: Any, layouts: dict[str, Layout], workdir: Path
) -> None:
    val = layouts["kaggle"](generated, workdir / "source") / "ILSVRC/Data/CLS-LOC/val"
    for image in list(val.iterdir()):
        (val / "n01440764").mkdir(exist_ok=True)
        image.rename(val / "n01440764" / image.name)
    with pytest.raises(
        UserError, match=r"lies in folder n01440764, but LOC_val_solution.csv says n0"
    ):
        open_source(workdir / "source")


def test_a_shard_image_without_a_label_is_named(
    generated: Any, layouts: dict[str, Layout], workdir: Path
) -> None:
    root = layouts["shards"](generated, workdir / "source")
    with tarfile.open(root / "imagenet-val-000002.tar", "w") as archive:
        for name in ("7.cls", "7.jpg", "8.jpg"):
            (workdir / name).write_bytes(b"1")
            archive.add(workdir / name, arcname=name)
    with pytest.raises(UserError, match=r"image 8 has neither 8\.cls nor a 8\.json"):
        open_source(root)
    with tarfile.open(root / "imagenet-val-000002.tar", "a") as archive:
        (workdir / "8.json").write_bytes(b"{cut")
        archive.add(workdir / "8.json", arcname="8.json")
    with pytest.raises(UserError, match=r"imagenet-val-000002\.tar: 8\.json cannot be read"):
        open_source(root)


def test_parquet_in_folders_of_parts_with_small_integers(
    generated: Any, layouts: dict[str, Layout], workdir: Path
) -> None:
    """As Hugging Face converts datasets."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for part, count in (("train", 4), ("validation", 2)):
        (workdir / "source" / part).mkdir(parents=True)
        rows = pa.table(
            {
                "image": [{"bytes": b"?"}] * count,
                "label": pa.array([0, 1] * (count // 2), pa.uint8()),
            }
        )
        pq.write_table(rows, workdir / "source" / part / "0000.parquet")
    assert [image.part for image in open_source(workdir / "source")] == ["train"] * 4 + ["val"] * 2


def test_labels_of_shards_may_have_leading_zeros(workdir: Path) -> None:
    with tarfile.open(workdir / "train-0.tar", "w") as archive:
        for name, data in {"1.cls": b"00", "1.jpg": b"?", "2.cls": b"01", "2.jpg": b"?"}.items():
            (workdir / name).write_bytes(data)
            archive.add(workdir / name, arcname=name)
    assert [image.label for image in open_source(workdir / "train-0.tar")] == [0, 1]


def test_labels_without_images_and_names_without_labels(workdir: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
    rows = pa.table({"image": [{"bytes": b"?"}] * 2, "label": [-1, -1]})
    pq.write_table(
        rows.replace_schema_metadata({"huggingface": json.dumps(features)}),
        workdir / "test.parquet",
    )
    with pytest.raises(UserError, match="no labeled images"):
        check_classes(open_source(workdir / "test.parquet"))


def test_parquet_rows_without_labels_are_passed_over_and_said(
    generated: Any, layouts: dict[str, Layout], workdir: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    root = layouts["parquet"](generated, workdir / "source")
    pq.write_table(
        pa.table({"image": [{"bytes": b"?", "path": ""}] * 3, "label": [-1] * 3}),
        root / "test-00000-of-00001.parquet",
    )
    source = open_source(root)
    assert {image.part for image in source} == {"train", "val"}
    assert source.dataset_notes == ("3 images without labels are passed over",)
    assert source.class_names[0] == "words of n01440764"


def test_tiny_imagenet(generated: Any, store_of: StoreOf, workdir: Path) -> None:
    root = workdir / "tiny-imagenet-200"
    for i, (wnid, data) in enumerate(generated.train):
        (root / "train" / wnid / "images").mkdir(parents=True, exist_ok=True)
        (root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG").write_bytes(data)
    for part in ("val", "test"):
        (root / part / "images").mkdir(parents=True)
        for i, (_, data) in enumerate(generated.val):
            (root / part / "images" / f"{part}_{i}.JPEG").write_bytes(data)
    (root / "wnids.txt").write_text("\n".join(reversed(generated.wnids)))
    (root / "val" / "val_annotations.txt").write_text(
        "".join(
            f"val_{i}.JPEG\t{wnid}\t0\t0\t62\t62\n" for i, (wnid, _) in enumerate(generated.val)
        )
    )
    copies = root / "val" / generated.val[0][0] / "images"  # as many sort them, beside the original
    copies.mkdir(parents=True)
    (copies / "val_0.JPEG").write_bytes(generated.val[0][1])
    store = store_of(root)
    assert len(store.split("train")) == len(generated.train)
    assert store.facts["layout"] == "Tiny-ImageNet-200"
    assert store.facts["dataset_notes"] == ["10 test images without labels are passed over"]
    assert [generated.wnids[label] for label in store.split("val").labels] == [
        wnid for wnid, _ in generated.val
    ]
    (root / "val" / "images" / "val_3.JPEG").unlink()
    with pytest.raises(
        UserError,
        match=r"val holds 9 images, fewer than the 10 there must be; get it again from http",
    ):
        open_source(root)
    (root / "wnids.txt").unlink()
    with pytest.raises(UserError, match=r"wnids\.txt is missing; get it from http"):
        open_source(root)


def test_imagenette_in_its_tar(
    generated: Any, layouts: dict[str, Layout], store_of: StoreOf, workdir: Path
) -> None:
    folder = layouts["class folders"](generated, workdir / "imagenette2-320")
    with tarfile.open(workdir / "imagenette2-320.tgz", "w:gz") as archive:
        archive.add(folder, arcname="imagenette2-320")
    assert digests(store_of(workdir / "imagenette2-320.tgz")) == digests(store_of(folder))


def test_what_macos_leaves_beside_files_is_in_no_layouts_way(
    generated: Any, layouts: dict[str, Layout], workdir: Path
) -> None:
    """A copy `._NAME` of each file of the first two levels, as on a disk without macOS's attributes."""
    for name, layout in layouts.items():
        path = layout(generated, workdir / name)
        if path.is_file():
            continue
        before = [(image.part, image.name, image.label) for image in open_source(path)]
        for file in [
            *path.glob("*"),
            *path.glob("*/*"),
            *path.glob("*/*/*"),
            *path.glob("*/*/*/*"),
        ]:
            if file.is_file():
                file.with_name(f"._{file.name}").write_bytes(b"Mac OS X")
        assert [(image.part, image.name, image.label) for image in open_source(path)] == before, (
            name
        )


def test_a_stray_json_in_a_tar_of_class_folders_makes_no_shard(
    workdir: Path, pictures: Callable[..., Path]
) -> None:
    root = pictures(workdir / "fl", {"train/cat": 2, "train/dog": 2, "test/cat": 1, "test/dog": 1})
    (root / "classes.json").write_text("{}")
    with tarfile.open(workdir / "fl.tar", "w") as archive:
        archive.add(root, arcname="fl")
    assert open_source(workdir / "fl.tar").layout == "class folders"
