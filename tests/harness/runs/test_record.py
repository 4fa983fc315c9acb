"""The folder of one run: what it holds, what is refused, and when it counts as finished."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.data.identity import split_digest
from harness.errors import MisplacedRecord, UserError
from harness.files import save_arrays
from harness.runs.checksums import write_checksums
from harness.runs.consistency import SHARED_FIELDS
from harness.runs.record import SEALED, Record
from harness.runs.result import Result, Scores
from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec

SCORES = Scores(np.array(["a", "b"]), np.array([0, 1]), np.eye(10, dtype=np.float32)[:2])


@pytest.fixture
def unfinished(make_spec: Callable[..., RunSpec]) -> Record:
    digest = split_digest("", SCORES.keys, SCORES.labels)
    return RunStore(Path("runs")).create("means", make_spec(test_digest=digest))


def result_of(record: Record, make_result: Callable[..., Result], **fields: Any) -> Result:
    """Return a result that agrees with the spec of a record."""
    spec = record.spec
    shared = {name: getattr(spec, name) for name in SHARED_FIELDS}
    return make_result(run_id=record.run_id, identity=spec.identity, **{**shared, **fields})


@pytest.fixture
def finished(unfinished: Record, make_result: Callable[..., Result]) -> Record:
    unfinished.finish(result_of(unfinished, make_result))
    return unfinished


@pytest.fixture
def older(finished: Record) -> Record:
    """A run of a version without checksums, whose edits only contradictions show."""
    (finished.folder / "SHA256SUMS").unlink()
    return Record(finished.folder)


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_run_is_finished_when_its_folder_is_renamed(
    unfinished: Record, make_result: Callable[..., Result]
) -> None:
    before = unfinished.folder
    assert (before.name, unfinished.finished) == (f"{unfinished.run_id}.unfinished", False)
    (before / "checkpoint").mkdir()
    result = result_of(unfinished, make_result)
    unfinished.finish(result)
    assert not before.exists()
    files = sorted(file.name for file in unfinished.folder.iterdir())
    assert files == ["SHA256SUMS", "result.json", "spec.json"]
    assert (unfinished.state, unfinished.status) == ("finished", {})
    assert Record(unfinished.folder).result == result


def test_result_and_spec_are_read_as_they_were_written(
    make_spec: Callable[..., RunSpec], make_result: Callable[..., Result]
) -> None:
    spec = make_spec(
        limit=100,
        image_size=(32, 32),
        plugins=("mine.py",),
        kind="ensemble",
        members=("a-123456", "b-123456"),
        weights=(0.25, 0.75),
    )
    record = RunStore(Path("runs")).create("means", spec)
    result = result_of(
        record,
        make_result,
        curves={"train/loss": [(0, 1.5), (1, 0.5)]},
        augmentation=("flips",),
        top5_error=None,
    )
    record.finish(result)
    again = Record(record.folder)
    assert (again.spec, again.result) == (spec, result)
    assert again.readable


@pytest.mark.parametrize("number", [None, 0, 2, "1"])
@pytest.mark.parametrize("name", ["result.json", "spec.json"])
def test_another_format_number_is_refused(finished: Record, name: str, number: Any) -> None:
    """Records written before there was one need not be readable, nor those of a later version."""
    edit(finished.folder / name, format=number)
    record = Record(finished.folder)
    assert not record.readable
    words = rf"{name} cannot be read \(its format number is {number}, and this version reads 1\); "
    with pytest.raises(
        UserError, match=words + f"remove the run with: harness runs rm {record.run_id}"
    ):
        _ = record.result if name == "result.json" else record.spec


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", "null", '"text"', "3", '{"format": 1}', b"\xff\xfe", None]
)
def test_a_damaged_result_is_a_message_of_one_line(
    finished: Record, damage: str | bytes | None
) -> None:
    file = finished.folder / "result.json"
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    record = Record(finished.folder)
    assert not record.readable
    with pytest.raises(UserError, match=r"result\.json cannot be read .*harness runs rm") as error:
        _ = record.result
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", "three"), ("top1_error", 12.5), ("notes", "recipe"), ("cost", {}), ("run_id", None)],
)
def test_a_field_of_another_type_is_refused(older: Record, name: str, value: Any) -> None:
    edit(older.folder / "result.json", **{name: value})
    with pytest.raises(UserError, match=rf"result\.json cannot be read .*{name}"):
        _ = Record(older.folder).result


def test_a_run_without_a_test_error_is_tuned(
    make_spec: Callable[..., RunSpec], make_result: Callable[..., Result], finished: Record
) -> None:
    record = RunStore(Path("runs")).create("means", make_spec(test=False))
    missing = {"top1_error": None, "top5_error": None, "mean_class_error": None}
    record.finish(result_of(record, make_result, n_test=0, **missing))
    assert (record.state, finished.state) == ("tuned", "finished")


def test_the_reason_of_a_failure_is_dropped_when_the_run_continues(unfinished: Record) -> None:
    unfinished.set_status("failed", why="out of memory")
    assert (unfinished.state, unfinished.status["why"]) == ("failed", "out of memory")
    unfinished.set_status("running", phase="score")
    assert "why" not in unfinished.status
    assert unfinished.status["phase"] == "score"


def test_scores_are_read_as_they_were_written(unfinished: Record) -> None:
    assert not unfinished.has_scores("tune_scores")
    unfinished.save_scores(SCORES, "tune_scores")
    assert unfinished.has_scores("tune_scores")
    scores = unfinished.scores("tune_scores")
    assert scores.keys.tolist() == ["a", "b"]
    assert np.array_equal(scores.scores, SCORES.scores)


@pytest.mark.parametrize("damage", [None, b"", b"PK and no more"])
def test_missing_or_damaged_scores_are_a_message(unfinished: Record, damage: bytes | None) -> None:
    if damage is not None:
        (unfinished.folder / "scores.npz").write_bytes(damage)
    with pytest.raises(UserError, match=r"scores\.npz cannot be read"):
        unfinished.scores()


def test_scores_that_hold_objects_are_not_loaded(unfinished: Record) -> None:
    """Loading them would execute what they hold."""
    keys = np.array([{"a": 1}], dtype=object)
    np.savez(unfinished.folder / "scores.npz", keys=keys, labels=[0], scores=[[1.0]])
    with pytest.raises(UserError, match=r"scores\.npz cannot be read"):
        unfinished.scores()


def test_what_a_run_has_learned_is_for_other_runs_when_it_is_finished(
    unfinished: Record, make_result: Callable[..., Result]
) -> None:
    save_arrays(unfinished.state_file, {"weight": torch.ones(3)})
    resume = f"harness run --resume {unfinished.run_id}"
    with pytest.raises(UserError, match=rf"not finished \(running\); finish it with: {resume}"):
        unfinished.trained_run()
    unfinished.finish(result_of(unfinished, make_result))
    trained = unfinished.trained_run()
    assert (trained.run_id, trained.dataset) == (unfinished.run_id, "digits")
    assert trained.class_names == tuple("0123456789")
    assert trained.state["weight"].tolist() == [1, 1, 1]
    unfinished.state_file.unlink()
    with pytest.raises(UserError, match="has no state to start from"):
        unfinished.trained_run()


def test_log_and_links_are_kept(finished: Record) -> None:
    finished.save_log(["fitted", "scored"])
    finished.append_log("MLflow     http://localhost")
    assert (
        finished.folder / "log.txt"
    ).read_text() == "fitted\nscored\nMLflow     http://localhost\n"
    assert finished.links == {}
    finished.save_links("http://table", "http://run")
    assert finished.links == {"table": "http://table", "run": "http://run"}


def test_a_record_has_an_age(finished: Record) -> None:
    assert 0 <= finished.age_seconds < 100


def test_scores_are_read_as_they_were_written_also_without_marks_of_copies(
    unfinished: Record,
) -> None:
    unfinished.save_scores(SCORES)
    assert unfinished.scores().in_train is None
    unfinished.save_scores(replace(SCORES, in_train=np.array([True, False])))
    assert unfinished.scores().in_train.tolist() == [True, False]
    assert unfinished.scores().labels.tolist() == [0, 1]


def test_a_renamed_and_a_copied_folder_are_named_in_one_line(finished: Record) -> None:
    copy = Path(shutil.copytree(finished.folder, finished.folder.with_name("copy-1")))
    words = f"copy-1 is a copy of the run {finished.run_id}; remove it with: harness runs rm copy-1"
    with pytest.raises(MisplacedRecord, match=words):
        _ = Record(copy).result
    finished.folder.rename("elsewhere")
    words = f"copy-1 holds the run {finished.run_id} under another name; rename it back to "
    with pytest.raises(MisplacedRecord, match=words + finished.run_id):
        _ = Record(copy).result
    assert Record(copy).recorded_result.run_id == finished.run_id


def test_a_file_that_was_edited_or_added_after_the_run_is_refused(unfinished: Record) -> None:
    save_arrays(unfinished.state_file, {"weight": torch.ones(3)})
    unfinished.save_scores(SCORES)
    shutil.copytree(unfinished.folder, "kept")
    for name in ("state.safetensors", "scores.npz", "tune_scores.npz"):
        record = Record(Path(shutil.copytree("kept", f"run-{name}")))
        write_checksums(record.folder, SEALED)
        if name == "tune_scores.npz":
            record.save_scores(SCORES, "tune_scores")
        else:
            data = bytearray((record.folder / name).read_bytes())
            data[-1] ^= 1
            (record.folder / name).write_bytes(data)
        words = "does not list it" if name == "tune_scores.npz" else "was damaged or edited"
        with pytest.raises(UserError, match=rf"{name} cannot be read .*{words}"):
            _ = record.load_state() if name.startswith("state") else record.scores(name[:-4])


def test_checksums_are_those_of_sha256sum(finished: Record) -> None:
    lines = (finished.folder / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["result.json", "spec.json"]
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((finished.folder / name).read_bytes()).hexdigest() == digest
    (finished.folder / "SHA256SUMS").write_text("no checksum\n")
    with pytest.raises(UserError, match="SHA256SUMS cannot be read"):
        _ = Record(finished.folder).result


@pytest.mark.parametrize(
    "value", ["NaN", "-1", "1e999", "true", '"12"', "[1]", "{}", "9" * 40], ids=lambda v: v[:5]
)
@pytest.mark.parametrize("name", ["n_train", "mean_class_error", "seed"])
def test_a_number_is_a_finite_number_in_its_range(older: Record, name: str, value: str) -> None:
    file = older.folder / "result.json"
    file.write_text(re.sub(rf'"{name}": [\d.]+', f'"{name}": {value}', file.read_text()))
    with pytest.raises(UserError, match=r"result\.json cannot be read"):
        _ = Record(older.folder).result


def test_a_curve_may_have_become_infinite(
    unfinished: Record, make_result: Callable[..., Result]
) -> None:
    curves = {"train/loss": [(0, math.nan), (1, math.inf)]}
    unfinished.finish(result_of(unfinished, make_result, curves=curves))
    points = Record(unfinished.folder).result.curves["train/loss"]
    assert [step for step, _ in points] == [0, 1]
    assert math.isinf(points[1][1])


def test_scores_of_other_images_than_those_on_record_are_refused(unfinished: Record) -> None:
    for other in (
        replace(SCORES, keys=np.array(["a", "c"])),
        replace(SCORES, labels=np.array([0, 2])),
        replace(SCORES, keys=SCORES.keys[::-1]),
    ):
        unfinished.save_scores(other)
        with pytest.raises(UserError, match="its images and labels have the digest"):
            Record(unfinished.folder).scores()
    unfinished.save_scores(SCORES)
    assert len(Record(unfinished.folder).scores()) == 2


def test_links_that_are_no_web_pages_are_left_out(finished: Record) -> None:
    for table in ("javascript:alert(1)", "http://a\nb", "", 3):
        finished.save_links(table, "http://run")
        assert finished.links == {}
    (finished.folder / "mlflow.json").write_text('{"run": "http://run"}')
    assert finished.links == {}


@pytest.mark.parametrize(
    "status",
    [
        '{"state": "finished"}',
        '{"state": "running", "pid": "1", "host": "HOST"}',
        '{"state": []}',
        "[" * 99_999,
    ],
    ids=lambda text: text[:20],
)
def test_a_damaged_status_is_that_of_a_dead_run(unfinished: Record, status: str) -> None:
    unfinished.status_file.write_text(status.replace("HOST", socket.gethostname()))
    assert unfinished.state == "dead"


def test_a_path_that_is_not_utf8_is_kept(make_spec: Callable[..., RunSpec]) -> None:
    spec = make_spec(dataset="folder,path=/gr\udcf6\udcdfe")
    record = RunStore(Path("runs")).create("means", spec)
    assert Record(record.folder).spec == spec
