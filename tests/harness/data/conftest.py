"""The same photographs in every layout in which ILSVRC is distributed, and how to prepare them."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import savemat

from harness.data.prepare import prepare
from harness.data.prepared_dataset import PreparedDataset
from harness.data.sources import open_source
from harness.registry import ROOT


@pytest.fixture
def samples() -> Path:
    """The folder of full-size photographs and official data; tests that need them skip without.

    HARNESS_SAMPLES, else shared/data beside the checkout.
    """
    return Path(os.environ.get("HARNESS_SAMPLES") or ROOT.parent / "shared" / "data")


@dataclass(frozen=True)
class Photos:
    """(wnid, JPEG bytes) of the images of each part."""

    train: list[tuple[str, bytes]]
    val: list[tuple[str, bytes]]

    @property
    def wnids(self) -> list[str]:
        return sorted({wnid for wnid, _ in self.train + self.val})

    def val_name(self, i: int) -> str:
        return f"ILSVRC2012_val_{i + 1:08}"


def jpeg(rng: np.random.Generator, height: int, width: int) -> bytes:
    """Make a JPEG of smooth noise, with chroma subsampling like most photographs."""
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def photos() -> Photos:
    """Five classes in an order other than that of their wnids; sizes above and below 256."""
    rng = np.random.default_rng(3)
    wnids = ["n01440764", "n02119789", "n02105855", "n03000684", "n07753592"]
    sizes = [(300, 400), (320, 280), (120, 90), (256, 300)]

    def part(per_class: int) -> list[tuple[str, bytes]]:
        return [
            (wnid, jpeg(rng, *sizes[i % len(sizes)])) for i, wnid in enumerate(wnids * per_class)
        ]

    return Photos(part(4), part(2))


def add_member(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def write_class_folders(photos: Photos, root: Path) -> Path:
    for part, images in (("train", photos.train), ("val", photos.val)):
        for i, (wnid, data) in enumerate(images):
            path = root / part / wnid / f"{part}_{i}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return root


def write_official(photos: Photos, root: Path, year: int = 2012) -> Path:
    """Write the tars and the kit of a year.

    The kit's ids number the classes from the last to the first, with an inner synset after them.
    For 2010, the labels of the test images are included as a file beside the kit.
    """
    root.mkdir()
    prefix = f"ILSVRC{year}_img" if year == 2012 else f"ILSVRC{year}_images"
    ids = {wnid: number for number, wnid in enumerate(reversed(photos.wnids), 1)}
    _write_train_tar(photos, root / f"{prefix}_train.tar")
    kit_name = "ILSVRC2012_devkit_t12" if year == 2012 else f"ILSVRC{year}_devkit-1.0"
    kit = root / kit_name / "data"
    kit.mkdir(parents=True)
    parts = {"val": "validation"} if year == 2012 else {"val": "validation", "test": "test"}
    for part, word in parts.items():
        with tarfile.open(root / f"{prefix}_{part}.tar", "w") as archive:
            for i, (_, data) in reversed(list(enumerate(photos.val))):
                add_member(archive, f"{part}/ILSVRC{year}_{part}_{i + 1:08}.JPEG", data)
        truth = "".join(f"{ids[wnid]}\n" for wnid, _ in photos.val)
        folder = kit if part == "val" else root
        (folder / f"ILSVRC{year}_{word}_ground_truth.txt").write_text(truth)
    _write_meta(ids, kit / "meta.mat", year)
    return root


def _write_train_tar(photos: Photos, path: Path) -> None:
    with tarfile.open(path, "w") as outer:
        for wnid in photos.wnids:
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as inner:
                for i, (other, data) in enumerate(photos.train):
                    if other == wnid:
                        add_member(inner, f"{wnid}_{i}.JPEG", data)
            add_member(outer, f"{wnid}.tar", buffer.getvalue())


def _write_meta(ids: dict[str, int], path: Path, year: int) -> None:
    fields: list[tuple[str, Any]] = [
        (f"ILSVRC{year}_ID", "f8"),
        ("WNID", object),
        ("words", object),
        ("num_children", "f8"),
    ]
    rows = [(number, wnid, f"words of {wnid}", 0.0) for wnid, number in ids.items()]
    rows.append((len(ids) + 1, "n00001740", "entity", 5.0))
    savemat(path, {"synsets": np.array(rows, dtype=fields)})


def write_kaggle(photos: Photos, root: Path) -> Path:
    images = root / "ILSVRC" / "Data" / "CLS-LOC"
    for i, (wnid, data) in enumerate(photos.train):
        (images / "train" / wnid).mkdir(parents=True, exist_ok=True)
        (images / "train" / wnid / f"{wnid}_{i}.JPEG").write_bytes(data)
    for folder in ("val", "test"):
        (images / folder).mkdir()
    (images / "test" / "ILSVRC2012_test_00000001.JPEG").write_bytes(photos.val[0][1])
    for i, (_, data) in enumerate(photos.val):
        (images / "val" / f"{photos.val_name(i)}.JPEG").write_bytes(data)
    with (root / "LOC_val_solution.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", "PredictionString"])
        for i, (wnid, _) in enumerate(photos.val):
            writer.writerow([photos.val_name(i), f"{wnid} 1 2 30 40 {wnid} 5 6 70 80"])
    lines = [f"{wnid} words, of {wnid}\n" for wnid in photos.wnids]
    (root / "LOC_synset_mapping.txt").write_text("".join(lines))
    return root


def write_parquet(photos: Photos, root: Path) -> Path:
    root.mkdir()
    names = [f"words of {wnid}" for wnid in photos.wnids]
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for part, images in (("train", photos.train), ("validation", photos.val)):
        cells = [{"bytes": data, "path": f"{i}.JPEG"} for i, (_, data) in enumerate(images)]
        labels = [photos.wnids.index(wnid) for wnid, _ in images]
        table = pa.table({"image": cells, "label": labels}).replace_schema_metadata(metadata)
        pq.write_table(table, root / f"{part}-00000-of-00001.parquet", row_group_size=7)
    return root


def write_tar_shards(photos: Photos, root: Path, *, as_json: bool = False) -> Path:
    root.mkdir()
    for part, images in (("train", photos.train), ("val", photos.val)):
        for shard in range(2):
            with tarfile.open(root / f"imagenet-{part}-{shard:06}.tar", "w") as archive:
                for i, (wnid, data) in list(enumerate(images))[shard::2]:
                    label = photos.wnids.index(wnid)
                    annotation = json.dumps({"label": label} if as_json else label).encode()
                    add_member(archive, f"{i:04}.jpg", data)
                    add_member(archive, f"{i:04}.{'json' if as_json else 'cls'}", annotation)
    return root


LAYOUTS: dict[str, Callable[..., Path]] = {
    "class folders": write_class_folders,
    "official": write_official,
    "kaggle": write_kaggle,
    "parquet": write_parquet,
    "tar shards": write_tar_shards,
    "tar shards with JSON": lambda photos, root: write_tar_shards(photos, root, as_json=True),
}


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> Callable[..., Path]:
    """Write photographs below a folder in one layout; the test runs once per layout."""
    return LAYOUTS[request.param]


@pytest.fixture(scope="session")
def layouts() -> dict[str, Callable[..., Path]]:
    """The functions that write photographs below a folder, by layout."""
    return dict(LAYOUTS)


@pytest.fixture
def prepare_source(workdir: Path) -> Callable[..., PreparedDataset]:
    """Prepare a source without showing progress: `prepare_source(path, size=64)`."""

    def run(path: Path, **options: Any) -> PreparedDataset:
        root = options.pop("root", workdir / "root")
        return prepare(open_source(path), root, progress=lambda items, **_: iter(items), **options)

    return run
