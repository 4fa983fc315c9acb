"""What a run prints and keeps as log.txt: its request, its result, seeds, progress."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import Workspace
from harness.engine.observer import Observers
from harness.engine.request import Request, RunOptions, resolve_request
from harness.report import run_summary
from harness.report.run_summary import (
    LogFile,
    ProgressDisplay,
    Terminal,
    request_lines,
    result_lines,
    seeds_line,
)
from harness.runs.record import Record
from harness.runs.result import Copies, Estimate, Interval, Result
from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec

MakeResult = Callable[..., Result]


def look_up(plugin: str, **options: Any) -> Request:
    workspace = Workspace.open(plugins=[plugin])
    return resolve_request(workspace, "nearest-mean", "digits", RunOptions(**options))


def test_a_request_is_one_fact_per_line(plugin: str) -> None:
    request = look_up(plugin, seed=3)
    lines = request_lines(request, "a minute")
    assert lines[0] == "pipeline   nearest-mean"
    counts = "1,167 train, 130 tune, 500 test images, 10 classes; seed 3"
    assert lines[1] == f"dataset    digits: {counts}"
    assert lines[2].startswith("note       digits: ")
    assert lines[-1] == "expected   a minute"


def test_a_verbose_request_adds_specs_and_digests(plugin: str) -> None:
    request = look_up(plugin)
    added = set(request_lines(request, "", verbose=True)) - set(request_lines(request, ""))
    assert added == {
        f"specs      nearest-mean,shrink=0.0; {request.spec.dataset}",
        f"digests    train + tune {request.spec.train_digest}, test {request.spec.test_digest}",
    }


def test_a_limited_request_says_what_the_limit_means(plugin: str) -> None:
    lines = request_lines(look_up(plugin, limit_test=50), "")
    assert "limited    compare takes this run by its id only" in lines


def test_a_result_has_errors_cost_and_notes(make_result: MakeResult) -> None:
    lines = result_lines(make_result())
    assert lines[:4] == [
        "top-1      12.35 % error, 95 % interval [10.20, 14.80], n = 797",
        "top-5      1.23 % error, 95 % interval [0.60, 2.20]",
        "per class  12.50 % mean error; pipeline evaluated 2 times on this test split",
        "tune       11.00 % top-1 error, n = 100",
    ]
    assert lines[4].startswith("fit        2 min 3 s; 1,000 labeled images (train + tune, ")
    assert "score      1.5 s, 531 images/s" in lines
    assert "memory     812 MB at most" in lines
    assert lines[-2:] == ["note       recipe: short", "run        baseline-digits-1"]


def test_a_result_says_why_there_is_no_top_5_error(make_result: MakeResult) -> None:
    reason = {"top5_error": "2 classes are too few for a meaningful top-5 error"}
    lines = result_lines(make_result(top5_error=None, missing_reasons=reason, test_evaluations=1))
    assert f"top-5      {reason['top5_error']}" in lines
    assert "evaluated 1 time on" in lines[2]


def test_a_run_without_test_has_no_test_errors(make_result: MakeResult) -> None:
    lines = result_lines(make_result(top1_error=None, score_seconds=None, refitted=False))
    assert lines[0].startswith("tune       11.00 %")
    assert not [line for line in lines if line.startswith(("top-", "per class", "score"))]
    assert "settings chosen on tune" not in "\n".join(lines)


def test_the_cost_names_what_the_cache_saved(make_result: MakeResult) -> None:
    measured = {"fit_cpu_seconds": 90.0, "score_cpu_seconds": 2.0, "model_bytes": 4_000_000}
    lines = result_lines(make_result(cached_seconds=60.0, **measured))
    assert "fit        2 min 3 s, of which the cache saved 1 min 0 s" in "\n".join(lines)
    assert "CPU        1 min 30 s in fit, 2.0 s in score" in lines
    assert "memory     812 MB at most; model 4.0 MB" in lines


def test_seeds_have_a_mean_and_a_standard_deviation(make_result: MakeResult) -> None:
    results = [make_result(top1_error=error) for error in (10.0, 12.0)]
    line = "2 seeds    top-1 error 10.00, 12.00 %: mean 11.00, standard deviation 1.41"
    assert seeds_line(results) == line
    tuned = [make_result(top1_error=None, tune_top1_error=error) for error in (10.0, 12.0)]
    assert seeds_line(tuned) == line.replace("top-1", "tune top-1")
    unknown = [make_result(top1_error=None, tune_top1_error=None) for _ in range(2)]
    assert seeds_line(unknown) == "2 seeds    no error is known: neither test nor tune was scored"


def test_the_log_file_holds_what_the_terminal_shows_with_all_details(plugin: str) -> None:
    shown: list[str] = []
    terminal = Terminal(shown.append, verbose=True)
    workspace = Workspace.open(plugins=[plugin])
    result = harness.run(
        "nearest-mean", "digits", workspace=workspace, track=False, observer=terminal
    )
    folder = RunStore(Path("runs")).find(result.run_id).folder
    assert (folder / "log.txt").read_text().splitlines() == shown
    assert any(line.startswith("digests") for line in shown)


def test_lines_after_the_end_are_added_to_the_log_file(
    make_run: Callable[..., tuple[Result, Path]], workdir: Path
) -> None:
    _, folder = make_run(workdir)
    log = LogFile()
    log.line("before")
    log.finished(Record(folder), None)
    log.line("MLflow     http://localhost")
    lines = (folder / "log.txt").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "MLflow     http://localhost")


@pytest.mark.parametrize(
    ("stopped", "last"), [(True, "stopped    Ctrl-C"), (False, "failed     Ctrl-C")]
)
def test_the_log_of_an_unfinished_run_ends_with_the_reason(
    make_spec: Callable[..., RunSpec], stopped: bool, last: str
) -> None:
    record = RunStore(Path("runs")).create("means", make_spec())
    log = LogFile()
    log.line("fitting")
    log.failed(record, "Ctrl-C", stopped=stopped)
    assert (record.folder / "log.txt").read_text() == f"fitting\n{last}\n"


def test_a_full_disk_costs_the_log_file_and_nothing_else(
    make_run: Callable[..., tuple[Result, Path]],
    make_spec: Callable[..., RunSpec],
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The record is complete without it, and the other observers must still be told."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    _, folder = make_run(workdir)
    unfinished = RunStore(Path("runs")).create("means", make_spec())
    monkeypatch.setattr(Record, "save_log", full)
    monkeypatch.setattr(Record, "append_log", full)
    shown: list[str] = []
    observers = Observers([LogFile(), Terminal(shown.append)])
    observers.finished(Record(folder), None)
    observers.line("MLflow     http://localhost")
    observers.failed(unfinished, "out of memory", stopped=False)
    assert shown[-2:] == [
        "MLflow     http://localhost",
        f"resume     harness run --resume {unfinished.run_id}",
    ]
    assert any(line.startswith("top-1") for line in shown)


def test_the_display_passes_the_total_on(monkeypatch: pytest.MonkeyPatch) -> None:
    details: list[Any] = []

    def progress(items: Any, **given: Any) -> Any:
        details.append(given)
        return iter(items)

    monkeypatch.setattr(run_summary, "progress", progress)
    observers = Observers([LogFile(), ProgressDisplay()])
    assert list(observers.progress([1, 2, 3], label="scoring", unit="batch")) == [1, 2, 3]
    assert details == [{"label": "scoring", "total": 3, "unit": "batch"}]


def test_a_resumed_run_and_a_rescored_one_say_where_they_come_from(
    plugin: str, make_spec: Callable[..., RunSpec]
) -> None:
    request, shown = look_up(plugin), []
    terminal = Terminal(shown.append)
    record = RunStore(Path("runs")).create("means", make_spec())
    terminal.started(request, record, expected="", resumed=False)
    assert not [line for line in shown if line.startswith(("resuming", "weights"))]
    terminal.started(request, record, expected="", resumed=True)
    assert shown[-1] == f"resuming   {record.run_id}"
    spec = make_spec(kind="rescore", weights_of="alexnet-123456")
    rescored = RunStore(Path("runs")).create("alexnet", spec)
    terminal.started(request, rescored, expected="", resumed=True)
    assert shown[-1] == "weights    of alexnet-123456"


def test_copies_among_the_test_images_have_a_line_with_the_error_without(
    make_result: MakeResult,
) -> None:
    without = Estimate(14.0, Interval(11.5, 16.9))
    result = make_result(copies=Copies(1, 20, 776, without, None))
    assert (
        "copies     1 test image is also in train or tune, 20 repeat another test image; without "
        "them, n = 776: top-1 14.00 % error, 95 % interval [11.50, 16.90]"
    ) in result_lines(result)
    for copies in (None, Copies(0, 0, 797, None, None)):
        assert not any(
            line.startswith("copies") for line in result_lines(make_result(copies=copies))
        )
    lines = result_lines(make_result(copies=Copies(797, 0, 0, None, None)))
    assert any(line.endswith("without them nothing is left") for line in lines)
