"""Preparation gives the same bytes whatever interrupts it, and never a part of a dataset."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from harness import UserError, load_dataset
from harness.data import arrow_shards
from harness.data import prepare as prepare_module
from harness.data.identity import split_digest
from harness.data.prepare import prepare
from harness.data.prepared_dataset import MANIFEST, PreparedDataset
from harness.data.sources import _ilsvrc_val_labels, open_source
from harness.registry import ROOT

Pictures = Callable[..., Path]
PrepareSource = Callable[..., PreparedDataset]
ROWS_PER_SHARD = 8


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def write_pets(root: Path, pictures: Pictures) -> Path:
    """Write 60 images, three of them equal, so that some keys are numbered at the end."""
    counts = {"train/cat": 20, "train/dog": 21, "test/cat": 9, "test/dog": 8}
    pictures(root, counts, size=(40, 50))
    for copy in ("train/cat/again.png", "train/dog/again.png"):
        shutil.copy(root / "train/cat/3.png", root / copy)
    return root


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory, pictures: Pictures) -> Path:
    return write_pets(tmp_path_factory.mktemp("pets") / "photos", pictures)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_module, "ROWS_PER_SHARD", ROWS_PER_SHARD)


@pytest.fixture(scope="module")
def expected(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an undisturbed preparation with small shards."""
    root = tmp_path_factory.mktemp("expected")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare_module, "ROWS_PER_SHARD", ROWS_PER_SHARD)
        prepared = prepare(
            open_source(pets), root, name="pets", progress=lambda items, **_: iter(items)
        )
    return contents(prepared.folder)


class Interrupt(Exception):
    """Ends a preparation, as a kill would."""


def interrupt_after(count: int) -> Callable[..., Iterator[Any]]:
    """Return a progress that ends the preparation after some images."""

    def progress(items: Any, *, label: str, **_: Any) -> Iterator[Any]:
        for done, item in enumerate(items):
            if label == "preparing" and done == count:
                raise Interrupt
            yield item

    return progress


@pytest.mark.parametrize("interruptions", [[0], [5], [30], [17, 3, 25], [59]])
def test_an_interrupted_preparation_ends_with_the_same_bytes(
    pets: Path,
    prepare_source: PrepareSource,
    workdir: Path,
    small_shards: None,
    expected: dict[str, bytes],
    interruptions: list[int],
) -> None:
    for count in interruptions:
        with pytest.raises(Interrupt):
            prepare(
                open_source(pets), workdir / "root", name="pets", progress=interrupt_after(count)
            )
        assert not (workdir / "root/prepared/pets").exists()
    assert contents(prepare_source(pets, name="pets", workers=1).folder) == expected


@pytest.mark.parametrize("calls_before", range(6))
def test_a_kill_while_keys_are_numbered_loses_nothing(
    pets: Path,
    prepare_source: PrepareSource,
    monkeypatch: pytest.MonkeyPatch,
    small_shards: None,
    expected: dict[str, bytes],
    calls_before: int,
) -> None:
    calls = 0

    def replace_keys(shard: Path, keys: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > calls_before:
            # as if killed between the removal of the old shard and the writing of the new one
            arrow_shards.summary_file(shard).unlink()
            raise Interrupt
        return arrow_shards.replace_keys(shard, keys)

    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "replace_keys", replace_keys)
        with pytest.raises(Interrupt):
            prepare_source(pets, name="pets")
    assert contents(prepare_source(pets, name="pets").folder) == expected


@pytest.mark.parametrize("is_cleaned", [False, True])
def test_a_kill_before_the_last_step_repeats_nothing(
    pets: Path,
    prepare_source: PrepareSource,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_cleaned: bool,
) -> None:
    complete = prepare_source(pets, root=workdir / "complete", name="pets")
    unfinished = workdir / "root/prepared/.building-pets"
    unfinished.parent.mkdir(parents=True)
    shutil.copytree(complete.folder, unfinished)
    if not is_cleaned:
        temporary = (".test-00000.arrow.part", ".test-00000.json.k2j_x9ab", f".{MANIFEST}.8h3zq_1c")
        for name in ("build.json", "test-00000.json", *temporary):
            (unfinished / name).write_text("{}")
    monkeypatch.setattr(prepare_module, "_write_shards", None)
    assert contents(prepare_source(pets, name="pets").folder) == contents(complete.folder)


KILLED_PROCESS = f"""
import sys, time
from pathlib import Path
from harness.data import prepare as module
from harness.data.sources import open_source

module.ROWS_PER_SHARD = {ROWS_PER_SHARD}

def progress(items, *, label, **_):
    for done, item in enumerate(items):
        if label == "preparing" and done == 40:
            print("ready", flush=True)
            time.sleep(600)
        yield item

module.prepare(open_source(Path(sys.argv[1])), Path(sys.argv[2]), name="pets", progress=progress)
"""


def test_a_second_process_finishes_what_a_killed_one_left(
    pets: Path,
    prepare_source: PrepareSource,
    workdir: Path,
    small_shards: None,
    expected: dict[str, bytes],
) -> None:
    command = [sys.executable, "-c", KILLED_PROCESS, pets, workdir / "root"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.kill()
    assert list((workdir / "root/prepared").glob(".building-pets/*.arrow"))
    prepared = prepare_source(pets, name="pets")
    assert contents(prepared.folder) == expected
    assert prepared.find_damage() == []
    assert not list((workdir / "root/prepared").glob(".*"))


def fail_at(image_name: str) -> Callable[..., Any]:
    """Return a `Preparation.apply` that fails at one image."""
    apply = prepare_module.Preparation.apply

    def failing(self: prepare_module.Preparation, image: Any, data: Any) -> Any:
        if image.name == image_name:
            raise MemoryError(f"no memory for {image_name}")
        return apply(self, image, data)

    return failing


def fill_disk_at(shard_name: str) -> Callable[..., Any]:
    """Return a `ShardWriter.finish` for which the disk is full at one shard."""
    finish = arrow_shards.ShardWriter.finish

    def failing(self: arrow_shards.ShardWriter) -> Any:
        if self.path.name == shard_name:
            raise OSError(28, "No space left on device")
        return finish(self)

    return failing


@pytest.mark.parametrize("failing", ["a worker", "the disk"])
def test_an_error_in_a_thread_ends_the_preparation_and_loses_nothing(
    pets: Path,
    prepare_source: PrepareSource,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_shards: None,
    expected: dict[str, bytes],
    failing: str,
) -> None:
    with monkeypatch.context() as patch:
        if failing == "a worker":
            patch.setattr(prepare_module.Preparation, "apply", fail_at("train/dog/3.png"))
        else:
            patch.setattr(arrow_shards.ShardWriter, "finish", fill_disk_at("train-00002.arrow"))
        message = r"no memory|No space left on device \(complete files are kept.*\.building-pets"
        with pytest.raises((MemoryError, OSError), match=message):
            prepare_source(pets, name="pets")
    unfinished = workdir / "root/prepared/.building-pets"
    assert (unfinished / "train-00000.arrow").exists()
    assert not list(unfinished.glob(".*.part"))
    assert contents(prepare_source(pets, name="pets").folder) == expected


def test_a_complete_shard_is_closed(
    pets: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ILSVRC has 1,300 shards, and a process may have 1,024 files open."""
    monkeypatch.setattr(prepare_module, "ROWS_PER_SHARD", 2)
    open_files = []

    def progress(items: Any, **_: Any) -> Iterator[Any]:
        for item in items:
            open_files.append(psutil.Process().num_fds())
            yield item

    prepare(open_source(pets), workdir / "root", name="pets", progress=progress)
    assert len(open_files) > 50
    assert max(open_files) - open_files[0] < 8


def test_a_disk_that_is_too_small_is_reported_before_the_work(
    pets: Path, prepare_source: PrepareSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000))
    message = r"will take about 0\.00 GB more, and .* has 0\.00 GB free.*another data_root"
    with pytest.raises(UserError, match=message):
        prepare_source(pets, name="pets")


def test_a_name_belongs_to_one_source(
    pets: Path, pictures: Pictures, prepare_source: PrepareSource, workdir: Path
) -> None:
    first = prepare_source(pets, name="pets")
    assert prepare_source(pets, name="pets").folder == first.folder
    others = pictures(workdir / "others", {"train/a": 2, "train/b": 2, "test/a": 2})
    with pytest.raises(UserError, match=r"the name 'pets' is used .*photos.*harness data rm pets"):
        prepare_source(others, name="pets")


def test_torch_has_its_threads_back_afterward(pets: Path, prepare_source: PrepareSource) -> None:
    before = torch.get_num_threads()
    prepare_source(pets, name="pets")
    assert torch.get_num_threads() == before


def test_validation_labels_are_compared_with_the_kit_before_anything_is_decoded(
    workdir: Path,
    pictures: Pictures,
    prepare_source: PrepareSource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wnids = ["n01440764", "n02119789"]
    for name in ("right", "wrong"):
        root = pictures(workdir / name, {f"train/{wnid}": 3 for wnid in wnids})
        for i in range(1, 7):
            folder = root / "val" / wnids[(i + (name == "wrong")) % 2]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / "train" / wnids[0] / "0.png", folder / f"ILSVRC2012_val_{i:08}.png")
    pairs = ((f"ILSVRC2012_val_{i:08}", wnids[i % 2]) for i in range(1, 7))
    digest = _ilsvrc_val_labels.labels_digest(pairs)
    monkeypatch.setattr(_ilsvrc_val_labels, "VAL_IMAGES", 6)
    monkeypatch.setattr(_ilsvrc_val_labels, "VAL_LABELS_DIGEST", digest)
    assert prepare_source(workdir / "right").manifest["parts"]["val"]["n"] == 6
    monkeypatch.setattr(prepare_module, "_write_shards", None)
    with pytest.raises(UserError, match=r"wrong are not those of the ILSVRC-2012 development kit"):
        prepare_source(workdir / "wrong")


def write_deep(root: Path, top: int) -> Path:
    """Write gray images of 16 bits whose pixels are multiples of `top`."""
    rng = np.random.default_rng(1)
    for class_name in ("cells", "empty"):
        for part in ("train", "test"):
            folder = root / part / class_name
            folder.mkdir(parents=True)
            for i in range(3):
                values = rng.integers(128, 256, (8, 8)).astype(np.uint16) * np.uint16(top)
                Image.fromarray(values).save(folder / f"{i}.png")
    return root


def make_old(prepared: PreparedDataset) -> None:
    """Change a manifest into one of the version that took the upper 8 bits of all images."""
    manifest = prepared.manifest
    del manifest["conversion"]
    manifest["preparation"] = manifest["preparation"].partition(" convert=")[0]
    for part in manifest["parts"].values():
        part["unusual"] = [[name, "16 bits per channel"] for name, _ in part["unusual"]]
    (prepared.folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(("top", "is_converted"), [(16, True), (257, False)])
def test_only_pixels_that_the_rule_changed_change_the_digest(
    prepare_source: PrepareSource, workdir: Path, top: int, is_converted: bool
) -> None:
    prepared = prepare_source(write_deep(workdir / "deep", top))
    line = "size=256 resize=shorter-side-bilinear-antialias codec=raw quality=lossless"
    line += " convert=significant-bits,on-white" if is_converted else ""
    assert prepared.manifest["preparation"] == line
    train = prepared.split("train")
    assert prepared.manifest["parts"]["train"]["digest"] == train.digest
    assert train.digest == split_digest(line, train.keys, train.labels)


def test_images_that_an_earlier_version_converted_are_prepared_again(
    prepare_source: PrepareSource, workdir: Path
) -> None:
    source = write_deep(workdir / "deep", 16)
    new = prepare_source(source)
    expected = contents(new.folder)
    make_old(new)
    assert prepare_source(source).manifest["preparation"].endswith("on-white")
    assert contents(new.folder) == expected

    named = prepare_source(source, name="pets")
    make_old(named)
    message = r"pets has 12 images of 16 bits or with transparency, .*harness prepare .*deep --name"
    with pytest.raises(UserError, match=message):
        load_dataset("pets", data_root=workdir / "root")
    prepare_source(source, name="pets")
    assert len(load_dataset("pets", data_root=workdir / "root", tune=0).train) == 6


def test_a_file_that_can_be_read_by_now_is_prepared(
    pets: Path, prepare_source: PrepareSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare_source(pets)
    expected = contents(prepared.folder)

    def list_as_unread(name: str) -> None:
        manifest = json.loads(expected[MANIFEST])
        manifest["parts"]["train"]["undecodable"] = [[name, "it cannot be read: Permission denied"]]
        (prepared.folder / MANIFEST).write_text(json.dumps(manifest))

    list_as_unread("train/cat/3.png")
    prepare_source(pets)
    assert contents(prepared.folder) == expected
    list_as_unread("train/cat/still-unreadable.png")
    monkeypatch.setattr(prepare_module, "_build", None)
    prepare_source(pets)


def test_ordinary_images_of_an_earlier_version_stay(
    pets: Path, prepare_source: PrepareSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare_source(pets)
    make_old(prepared)
    monkeypatch.setattr(prepare_module, "_build", None)
    assert prepare_source(pets).manifest == prepared.manifest
