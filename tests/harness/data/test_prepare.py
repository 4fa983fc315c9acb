"""A store: the same bytes whatever happened on the way, checked, and never in half."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.dataset
import pytest
import torch
from click.testing import CliRunner

import harness
from harness import UserError
from harness.cli import cli
from harness.data import prepare as prepare_module
from harness.data import shards as shards_module
from harness.data.identity import split_digest
from harness.data.prepare import prepare
from harness.data.sources import open_source
from harness.data.prepared_dataset import PreparedDataset
from harness.registry import ROOT

Pictures = Callable[..., Path]
StoreOf = Callable[..., PreparedDataset]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture
def photos(workdir: Path, pictures: Pictures) -> Path:
    """With three equal images, so that some keys are numbered at the end."""
    root = pictures(
        workdir / "photos",
        {"train/cat": 20, "train/dog": 21, "test/cat": 9, "test/dog": 8},
        size=(40, 50),
    )
    for copy in ("train/cat/again.png", "train/dog/again.png"):
        shutil.copy(root / "train/cat/3.png", root / copy)
    return root


class Stop(Exception):
    pass


def stopping_after(count: int) -> Callable[..., Iterator[Any]]:
    """A progress that breaks off in the midst of preparing, as a kill would."""

    def progress(items: Any, *, label: str, **_: Any) -> Iterator[Any]:
        for done, item in enumerate(items):
            if label == "preparing" and done == count:
                raise Stop
            yield item

    return progress


@pytest.mark.parametrize("stops", [[0], [5], [30], [17, 3, 25], [59]])
def test_a_store_that_was_broken_off_and_finished_is_byte_equal(
    photos: Path,
    store_of: StoreOf,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    stops: list[int],
) -> None:
    monkeypatch.setattr(prepare_module, "ROWS", 8)
    whole = store_of(photos, root=workdir / "a", name="pets", size=32)
    for stop in stops:
        with pytest.raises(Stop):
            prepare(
                open_source(photos),
                workdir / "b",
                name="pets",
                size=32,
                progress=stopping_after(stop),
            )
        assert not (workdir / "b/stores/pets").exists()
    again = store_of(photos, root=workdir / "b", name="pets", size=32, workers=1)
    assert contents(again.folder) == contents(whole.folder)


def test_a_shard_that_is_done_is_closed(
    photos: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ILSVRC has 1,300 of them, and a process may have 1,024 files open."""
    monkeypatch.setattr(prepare_module, "ROWS", 2)
    open_files = []

    def progress(items: Any, **_: Any) -> Iterator[Any]:
        for item in items:
            open_files.append(psutil.Process().num_fds())
            yield item

    prepare(open_source(photos), workdir / "a", name="pets", size=32, progress=progress)
    assert len(open_files) > 50
    assert max(open_files) - open_files[0] < 8


@pytest.mark.parametrize("nth", range(6))
def test_a_kill_while_keys_are_numbered_loses_nothing(
    photos: Path, store_of: StoreOf, workdir: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    monkeypatch.setattr(prepare_module, "ROWS", 8)
    whole = store_of(photos, root=workdir / "a", name="pets")
    calls = 0

    def renamed(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > nth:
            shards_module.facts_file(
                arguments[0]
            ).unlink()  # as between taking the old shard down and putting the new one up
            raise Stop
        return shards_module.renamed(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "renamed", renamed)
        with pytest.raises(Stop):
            store_of(photos, root=workdir / "b", name="pets")
    assert contents(store_of(photos, root=workdir / "b", name="pets").folder) == contents(
        whole.folder
    )


@pytest.mark.parametrize("cleared", [False, True])
def test_a_kill_before_the_last_step_costs_nothing(
    photos: Path, store_of: StoreOf, workdir: Path, monkeypatch: pytest.MonkeyPatch, cleared: bool
) -> None:
    whole = store_of(photos, root=workdir / "a", name="pets")
    building = workdir / "b/stores/.building-pets"
    building.parent.mkdir(parents=True)
    shutil.copytree(whole.folder, building)
    if not cleared:
        (building / "build.json").write_text("{}")
        (building / "test-00000.json").write_text("{}")
        for unnamed in (
            ".test-00000.arrow.part",
            ".test-00000.json.k2j_x9ab",
            ".store.json.8h3zq_1c",
        ):
            (building / unnamed).write_text("{")
    monkeypatch.setattr(prepare_module, "_write_shards", None)
    assert contents(store_of(photos, root=workdir / "b", name="pets").folder) == contents(
        whole.folder
    )


def test_a_killed_process_leaves_what_a_second_one_finishes(
    photos: Path, store_of: StoreOf, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_module, "ROWS", 8)
    whole = store_of(photos, root=workdir / "a", name="pets")
    code = (
        "import sys, time; from pathlib import Path; from harness.data import prepare as p; from harness.data.sources import open_source\n"
        "p.ROWS = 8\n"
        "def slow(items, **_):\n    for item in items: time.sleep(0.02); print('.', flush=True); yield item\n"
        "p.prepare(open_source(Path(sys.argv[1])), Path(sys.argv[2]), name='pets', progress=slow)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, photos, workdir / "b"], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        for _ in range(60 + 40):  # the measuring, then most of the preparing
            process.stdout.readline()
        process.kill()
    assert list((workdir / "b/stores").glob(".building-pets/*.arrow"))
    finished = store_of(photos, root=workdir / "b", name="pets")
    assert contents(finished.folder) == contents(whole.folder)
    assert finished.damaged() == []
    assert not list((workdir / "b/stores").glob(".*"))


@pytest.mark.parametrize("what", ["a worker", "the disk"])
def test_a_failure_in_a_thread_ends_prepare_and_loses_nothing(
    photos: Path, store_of: StoreOf, workdir: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(prepare_module, "ROWS", 8)
    whole = store_of(photos, root=workdir / "a", name="pets")

    def row(self: prepare_module.Preparation, image: Any, data: Any) -> Any:
        if image.name == "train/dog/3.png":
            raise MemoryError("no room for train/dog/3.png")
        return real_row(self, image, data)

    def finish(self: shards_module.ShardWriter) -> Any:
        if self.path.name == "train-00002.arrow":
            raise OSError(28, "No space left on device")
        return real_finish(self)

    real_row, real_finish = prepare_module.Preparation.row, shards_module.ShardWriter.finish
    with monkeypatch.context() as patch:
        if what == "a worker":
            patch.setattr(prepare_module.Preparation, "row", row)
        else:
            patch.setattr(shards_module.ShardWriter, "finish", finish)
        with pytest.raises(
            (MemoryError, OSError),
            match=r"no room|No space left on device \(whole files are kept.*\.building-pets",
        ):
            store_of(photos, root=workdir / "b", name="pets")
    building = workdir / "b/stores/.building-pets"
    assert (building / "train-00000.arrow").exists()
    assert not list(building.glob(".*.part"))
    assert contents(store_of(photos, root=workdir / "b", name="pets").folder) == contents(
        whole.folder
    )


def test_equal_images_keep_their_number_over_shards(
    photos: Path, store_of: StoreOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_module, "ROWS", 8)
    store = store_of(photos, name="pets")
    split = store.split("train")
    numbered = sorted(key for key in split.keys if "-" in key)
    assert [key[16:] for key in numbered] == ["-1", "-2"]
    assert len(set(split.keys)) == 43
    assert (
        store.facts["parts"]["train"]["digest"]
        == split.digest
        == split_digest(split.preparation, split.keys, split.labels)
    )


def test_any_arrow_reader_opens_the_folder(photos: Path, store_of: StoreOf) -> None:
    store = store_of(photos, name="pets", size=32)
    table = pa.dataset.dataset(
        [str(f) for f in sorted(store.folder.glob("*.arrow"))], format="ipc"
    ).to_table()
    assert table.column_names == ["key", "label", "name", "height", "width", "image"]
    assert len(table) == 60
    assert table.schema.metadata[b"preparation"] == store.facts["preparation"].encode()


def test_a_disk_that_is_too_small_is_said_first(
    photos: Path, store_of: StoreOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000))
    with pytest.raises(UserError, match=r"will take about 0\.00 GB more, and .* has 0\.00 GB free"):
        store_of(photos, name="pets")


def test_a_name_belongs_to_one_source(
    photos: Path, pictures: Pictures, store_of: StoreOf, workdir: Path
) -> None:
    first = store_of(photos, name="pets")
    assert store_of(photos, name="pets").folder == first.folder
    with pytest.raises(UserError, match=r"the name 'pets' is taken by a store of .*photos"):
        store_of(
            pictures(workdir / "others", {"train/a": 2, "train/b": 2, "test/a": 2}), name="pets"
        )


def test_torch_keeps_its_threads(photos: Path, store_of: StoreOf) -> None:
    before = torch.get_num_threads()
    store_of(photos, name="pets")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "test-00000.arrow").unlink(), "test-00000.arrow is missing"),
        (lambda folder: (folder / "test-00000.arrow").write_bytes(b"x"), "test-00000.arrow has changed"),
        (lambda folder: (folder / "store.json").write_text((folder / "store.json").read_text().replace('"digest": "', '"digest": "0')),
         "the digest of"),
    ],
)  # fmt: skip
def test_verify_sees_damage(
    photos: Path, store_of: StoreOf, workdir: Path, harm: Callable[[Path], None], words: str
) -> None:
    store = store_of(photos, name="pets")
    run = CliRunner()
    arguments = ["data", "verify", "pets", "--data-root", str(workdir / "root")]
    assert run.invoke(cli, arguments).output == "pets: as it was written\n"
    harm(store.folder)
    done = run.invoke(cli, arguments)
    assert done.exit_code == 1
    assert words in done.output


@pytest.mark.parametrize("raw_limit", [0, prepare_module.RAW_LIMIT])
def test_opening_a_split_maps_no_image(
    photos: Path, store_of: StoreOf, monkeypatch: pytest.MonkeyPatch, raw_limit: int
) -> None:
    """What is mapped or loaded counts as this process's memory; here there is nothing left to map, which the first image says."""
    monkeypatch.setattr(prepare_module, "RAW_LIMIT", raw_limit)
    store = store_of(photos, name="pets")
    split = store.split("train")
    for shard in store.folder.glob("train-*.arrow"):
        shard.unlink()
    with pytest.raises(
        UserError, match=r"store pets is damaged at row 0 .*harness data verify pets"
    ):
        next(split.batches(4))


def test_the_commands(photos: Path, workdir: Path) -> None:
    def call(*arguments: str) -> str:
        done = CliRunner().invoke(
            cli, [*arguments, "--data-root", str(workdir / "root")], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        return done.output

    assert "nothing is prepared in" in call("data", "list")
    assert "nothing is prepared in" in call("data", "verify")
    plan = json.loads(call("prepare", str(photos), "--plan", "--json").splitlines()[-1])
    assert plan["source"]["images"] == 60
    assert plan["source"]["bytes"] == pytest.approx(
        1.1 * 60 * 3 * 40 * 50, rel=0.01
    )  # lossless, as so small a set is kept
    assert plan["ilsvrc2012"]["images"] == 1_281_167 + 50_000
    assert plan["ilsvrc2012"]["seconds"] / plan["source"]["seconds"] == pytest.approx(
        1_331_167 / 60
    )
    assert not (workdir / "root/stores").exists()

    last = json.loads(call("prepare", str(photos), "--name", "pets", "--json").splitlines()[-1])
    splits = harness.load_dataset("pets", data_root=workdir / "root")
    assert last == {
        "name": "pets",
        "splits": {part: {"n": len(split), "digest": split.digest} for part, split in
                   (("train", splits.train), ("tune", splits.tune), ("test", splits.test))},
    }  # fmt: skip
    listed = json.loads(call("data", "list", "--json").splitlines()[-1])
    assert [(store["name"], store["splits"]["test"]["n"]) for store in listed] == [("pets", 17)]
    info = json.loads(call("data", "info", "pets", "--json").splitlines()[-1])
    assert info["subsets"]["100"] == {"n": 43, "digest": info["splits"]["train"]["digest"]}
    assert info["subsets"]["50"]["n"] == 21
    assert "removed" in call("data", "rm", "pets", "--yes")
    assert call("data", "list").count("pets") == 0
    assert photos.exists()


def test_what_a_stopped_preparation_left_is_listed_and_can_be_removed(workdir: Path) -> None:
    def call(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli, ["data", *arguments, "--data-root", str(workdir / "root")])
        assert done.exit_code == code, done.output
        return f"{done.output}{done.exception}"

    left = workdir / "root/stores/.building-pets"
    left.mkdir(parents=True)
    (left / "train-00000.arrow").write_bytes(b"0" * 3_000_000)
    assert "unfinished .building-pets (3.0 MB)" in call("list")
    with prepare_module.locked(left.with_name("pets")):
        assert "is being prepared by another process" in call(
            "rm", ".building-pets", "--yes", code=1
        )
    assert "removed" in call("rm", ".building-pets", "--yes")
    assert not left.exists()


def test_a_plan_foresees_what_a_large_set_takes(
    photos: Path, store_of: StoreOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.data.prepare_estimate import plan

    assert plan(open_source(photos), size=32, workers=1).raw
    monkeypatch.setattr(prepare_module, "RAW_LIMIT", 1000)
    made = plan(open_source(photos), size=32, workers=1)
    assert not made.raw
    split = store_of(photos, name="pets", size=32).split("train")
    stored = [len(split.images.stored(row)) for row in split.rows]  # type: ignore[attr-defined]
    assert made.bytes == pytest.approx(1.1 * 60 * np.mean(stored), rel=0.05)
    assert made.ilsvrc_2012_bytes == pytest.approx(1.1 * 1_331_167 * np.mean(stored), rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prepare", "fashion-mnist"], "fashion-mnist needs no preparing: give it to --dataset"),
        (["prepare", "nowhere"], "there is no folder or archive nowhere"),
        (["data", "info", "dogs"], r"no prepared dataset is called 'dogs' in .*; there are: pets"),
        (
            ["data", "rm", "--yes", "../stores/pets"],
            r"no prepared dataset is called '\.\./stores/pets'",
        ),
        (
            ["data", "audit", "pets", "--out", "nowhere/page.html"],
            r"--out nowhere/page\.html must be a file in a folder that is there",
        ),
    ],
)
def test_mistakes_are_said_and_nothing_is_touched(
    photos: Path, store_of: StoreOf, workdir: Path, arguments: list[str], words: str
) -> None:
    before = contents(store_of(photos, name="pets").folder)
    done = CliRunner().invoke(cli, [*arguments, "--data-root", str(workdir / "root")])
    assert isinstance(
        done.exception, UserError
    )  # which `main` prints as one line, with exit code 2
    assert re.search(words, str(done.exception))
    assert contents(workdir / "root/stores/pets") == before


def test_the_folder_one_stands_in_is_prepared_under_its_name(
    photos: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    done = CliRunner().invoke(
        cli, ["prepare", ".", "--data-root", str(workdir / "root")], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert (workdir / "root/stores/photos/store.json").exists()


@pytest.mark.parametrize("name", ["digits", "a/b", "a,b", ".a", "-a", "a b"])
def test_a_name_that_dataset_would_misread_is_refused(
    photos: Path, workdir: Path, name: str
) -> None:
    done = CliRunner().invoke(
        cli, ["prepare", str(photos), "--data-root", str(workdir), f"--name={name}"]
    )
    assert isinstance(done.exception, UserError)
    assert "cannot be called" in str(done.exception)


def test_subsets_of_a_prepared_set_are_nested(
    photos: Path, store_of: StoreOf, workdir: Path
) -> None:
    store_of(photos, name="pets")
    keys = [
        set(
            harness.load_dataset(
                f"pets,train_percent={percent}", data_root=workdir / "root", tune=0
            ).train.keys
        )
        for percent in (5, 10, 25, 50, 100)
    ]
    assert [len(k) for k in keys] == [2, 4, 11, 21, 43]
    assert all(small < large for small, large in itertools.pairwise(keys))


def test_validation_labels_are_held_against_the_kit_before_anything_is_decoded(
    workdir: Path, pictures: Pictures, store_of: StoreOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.data.sources import _ilsvrc_val_labels as val_table

    wnids = ["n01440764", "n02119789"]
    for name in ("right", "wrong"):
        root = pictures(workdir / name, {f"train/{wnid}": 3 for wnid in wnids})
        for i in range(1, 7):
            folder = root / "val" / wnids[(i + (name == "wrong")) % 2]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / "train" / wnids[0] / "0.png", folder / f"ILSVRC2012_val_{i:08}.png")
    official = val_table.table_digest((f"ILSVRC2012_val_{i:08}", wnids[i % 2]) for i in range(1, 7))
    monkeypatch.setattr(val_table, "VAL_IMAGES", 6)
    monkeypatch.setattr(val_table, "VAL_TABLE", official)
    assert store_of(workdir / "right").facts["parts"]["val"]["n"] == 6
    monkeypatch.setattr(prepare_module, "_write_shards", None)
    with pytest.raises(UserError, match=r"wrong are not those of the ILSVRC-2012 development kit"):
        store_of(workdir / "wrong")


def test_the_committed_val_table_is_that_of_the_kit(samples: Path) -> None:
    from harness.data.sources._ilsvrc import read_kit
    from harness.data.sources._ilsvrc_val_labels import VAL_TABLE, table_digest
    from harness.data.sources.ilsvrc2012 import YEAR

    if not (samples / "ilsvrc2012-devkit").exists():
        pytest.skip(f"needs ilsvrc2012-devkit in {samples}")
    kit = read_kit(samples / "ilsvrc2012-devkit", YEAR)
    pairs = [
        (f"ILSVRC2012_val_{i:08}", kit.class_names[label])
        for i, label in enumerate(kit.labels("val"), 1)
    ]
    assert len(kit.class_names) == 1000
    assert pairs[0] == ("ILSVRC2012_val_00000001", "n01751748")
    assert np.bincount(kit.labels("val")).tolist() == [50] * 1000
    assert table_digest(pairs) == VAL_TABLE


@pytest.mark.parametrize(
    ("arguments", "shown", "heavy"),
    [
        (["prepare", "--help"], "SOURCE", ["torch", "torchvision", "pyarrow", "scipy", "PIL"]),
        (["data", "list"], "pets", ["torch", "torchvision", "pyarrow", "scipy", "PIL"]),
        (["data", "--help"], "verify", ["torch", "torchvision", "pyarrow", "scipy", "PIL"]),
        (
            ["prepare", "photos", "--name", "again"],
            "digest",
            ["torchvision", "scipy", "mlflow"],
        ),  # 100 MB and more each
    ],
)
def test_commands_import_nothing_heavier_than_they_need(
    arguments: list[str],
    shown: str,
    heavy: list[str],
    photos: Path,
    store_of: StoreOf,
    workdir: Path,
) -> None:
    store_of(photos, name="pets")
    code = (
        "import sys; sys.argv = ['harness', *sys.argv[1:]]\nfrom harness.__main__ import main\ntry: main()\n"
        f"finally: print('HEAVY', [name for name in {heavy} if name in sys.modules])"
    )
    environment = {**os.environ, "HARNESS_DATA": str(workdir / "root"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=photos.parent,
    )
    assert done.stdout.endswith("HEAVY []\n")
    assert shown in done.stdout
