"""All records below one folder: making, finding, ordering them, and those that are damaged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RecordWarning, UserError
from harness.runs.consistency import SHARED_FIELDS
from harness.runs.record import Record
from harness.runs.result import Result
from harness.runs.run_store import RunStore, new_run_id
from harness.runs.spec import RunSpec

Finished = Callable[..., Record]


@pytest.fixture
def store(workdir: Path) -> RunStore:
    return RunStore(workdir / "runs")


@pytest.fixture
def finished(workdir: Path, make_run: Callable[..., Any]) -> Finished:
    def make(**fields: Any) -> Record:
        _, folder = make_run(workdir, run_id=new_run_id("baseline"), n_test=40, **fields)
        return Record(folder)

    return make


def test_a_folder_that_does_not_exist_holds_no_runs(store: RunStore) -> None:
    assert store.all() == store.finished() == []
    with pytest.raises(UserError, match=r"no run is called 'abc' in .*/runs; the latest are: none"):
        store.find("abc")


def test_a_new_run_is_running_and_holds_its_spec(
    store: RunStore, make_spec: Callable[..., RunSpec]
) -> None:
    record = store.create("means", make_spec(seed=7))
    assert record.run_id.startswith("means-")
    assert record.state == "running"
    assert record.status["phase"] == "fit"
    assert record.status["started"]
    assert Record(record.folder).spec == make_spec(seed=7)


def test_a_run_interrupted_before_its_spec_is_written_is_not_on_record(
    store: RunStore, make_spec: Callable[..., RunSpec]
) -> None:
    with pytest.raises(TypeError):  # json gives up where the process may be killed
        store.create("mean-brightness", make_spec(pipeline=object()))
    assert store.all() == []
    store.create("mean-brightness", make_spec())
    assert len(store.all()) == 1


def test_a_folder_that_cannot_be_written_is_reported(
    store: RunStore, make_spec: Callable[..., RunSpec]
) -> None:
    store.folder.write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write a run to .*runs .*give --config"):
        store.create("means", make_spec())


def test_runs_are_found_by_id_or_by_an_unambiguous_beginning(
    store: RunStore, finished: Finished
) -> None:
    first, second = finished(), finished()
    assert store.find(first.run_id).run_id == first.run_id
    assert store.find(second.run_id[:-1]).run_id == second.run_id
    with pytest.raises(UserError, match=r"'baseline-' could be any of: baseline-.*, baseline-"):
        store.find("baseline-")
    with pytest.raises(UserError, match=f"the latest are: .*{first.run_id}.*harness runs"):
        store.find("alexnet")
    with pytest.raises(UserError, match="no run is called ''"):
        store.find("")


def test_runs_are_in_the_order_in_which_they_finished(store: RunStore, finished: Finished) -> None:
    """Whatever is written to their folders later."""
    late = finished(finished="2999-01-01T00:00:00+00:00")
    early = finished(finished="2026-01-01T00:00:00+00:00")
    late.save_links("table", "run")
    early.save_links("table", "run")
    assert [record.run_id for record in store.finished()] == [early.run_id, late.run_id]


def test_evaluations_of_a_test_split_are_those_of_finished_runs_of_the_pipeline(
    store: RunStore, finished: Finished, make_spec: Callable[..., RunSpec]
) -> None:
    one, _ = finished(), finished(seed=4)
    finished(name="alexnet")
    finished(test_digest="e" * 32)
    finished(top1_error=None)
    store.create("baseline", make_spec())
    assert store.test_evaluations("baseline", one.result.test_digest) == 2


def test_a_damaged_record_does_not_hide_the_others(
    store: RunStore, finished: Finished, make_spec: Callable[..., RunSpec]
) -> None:
    intact = finished()
    (store.folder / "half-copied").mkdir()
    (store.folder / "no-status.unfinished").mkdir()
    (store.folder / "a-file").touch()
    list_file = finished().folder / "spec.json"
    list_file.write_text("[]")
    assert len(store.all()) == 4
    with pytest.warns(RecordWarning, match="left out: ") as warned:
        assert [record.run_id for record in store.readable()] == [intact.run_id]
    assert len(warned) == 3
    assert all("\n" not in str(warning.message) for warning in warned)
    assert [record.run_id for record in store.finished()] == [intact.run_id]
    assert store.test_evaluations("baseline", intact.result.test_digest) == 2  # one has a result
    assert store.find("no-status").state == "dead"


def test_a_renamed_folder_counts_as_an_evaluation_and_a_copied_one_does_not_again(
    store: RunStore, finished: Finished
) -> None:
    one, other = finished(), finished(seed=4)
    digest = one.result.test_digest
    for name in ("copy-1", f"{one.run_id} (copy)"):
        shutil.copytree(one.folder, store.folder / name)
    other.folder.rename(store.folder / "renamed")
    assert store.test_evaluations("baseline", digest) == 2
    with pytest.warns(RecordWarning) as warned:
        assert [record.run_id for record in store.finished()] == [one.run_id]
    assert len(warned) == 3
    assert store.find(one.run_id[:-1]).run_id == one.run_id


def test_runs_that_end_at_the_same_time_are_counted_one_after_the_other(
    store: RunStore, make_spec: Callable[..., RunSpec], make_result: Callable[..., Result]
) -> None:
    records = [store.create("baseline", make_spec()) for _ in range(8)]
    shared = {name: getattr(records[0].spec, name) for name in SHARED_FIELDS}
    drafts = [make_result(run_id=r.run_id, identity=r.spec.identity, **shared) for r in records]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(RunStore(store.folder).finish, records, drafts))
    assert sorted(result.test_evaluations for result in results) == list(range(1, 9))
    assert sorted(r.result.test_evaluations for r in store.finished()) == list(range(1, 9))
    assert not list(store.folder.glob(".*"))


def test_what_is_no_folder_of_a_run_is_passed_over(store: RunStore, finished: Finished) -> None:
    run = finished()
    (store.folder / "loop").symlink_to("loop")
    (store.folder / "gone").symlink_to("nowhere")
    os.mkfifo(store.folder / "pipe")
    assert [record.run_id for record in store.all()] == [run.run_id]
    (store.folder / "itself").symlink_to(".")
    with pytest.warns(RecordWarning, match="itself"):
        assert [record.run_id for record in store.readable()] == [run.run_id]


def test_a_runs_folder_that_cannot_be_listed_is_reported(store: RunStore) -> None:
    store.folder.write_text("a file")
    with pytest.raises(UserError, match=r"the runs in .*runs cannot be read \(Not a directory\)"):
        store.all()


def test_a_folder_is_had_by_its_name_alone(store: RunStore, finished: Finished) -> None:
    run = finished()
    found = store.get(run.run_id)
    assert found
    assert found.folder == run.folder
    for name in ("", "..", f"../runs/{run.run_id}", run.run_id[:-1]):
        assert store.get(name) is None
