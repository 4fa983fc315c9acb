"""A small study runs, is shown, continues where it was stopped, and refuses wrong arguments."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.learning_curve import main
from benchmarks.study_runs import top1_error
from harness.runs.record import Record
from harness.runs.result import Result
from harness.runs.run_store import RunStore

LINEAR = "raw-linear,size=8,c=1.0,flip=false"
HOG = "hog-svm,c=1.0,flip=false"


def run_study(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["learning_curve", *words])
    return main()


def results_by_id(folder: Path) -> dict[str, Result]:
    return {record.run_id: record.result for record in RunStore(folder / "runs").finished()}


def last_table(text: str) -> list[list[str]]:
    """Return the cells of the last table's rows, without the times of fits."""
    lines = text[text.rindex("images  ") :].partition("\n\n")[0].splitlines()
    return [re.split(r"  +", line)[:6] for line in lines[2:]]


def find_run(results: dict[str, Result], name: str) -> str:
    """Return the id of the run of a pipeline with subset seed 1."""
    return next(run_id for run_id, r in results.items() if (r.name, r.seed) == (name, 1))


def test_a_study_runs_is_shown_and_continues(
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    untracked: None,
) -> None:
    words = (LINEAR, HOG, "--fractions", "20,5", "--seeds", "1,2")
    assert run_study(monkeypatch, *words, "-o", "curve.png") == 0
    complete = capsys.readouterr().out
    results = results_by_id(workdir)
    check_results(results)
    check_output(complete, results)
    assert (workdir / "curve.png").stat().st_size > 10_000

    shutil.rmtree(workdir / "runs" / find_run(results, "hog-svm"))
    other = workdir / "runs" / find_run(results, "raw-linear")
    change_source(other, results[other.name].source_hash)
    run_study(monkeypatch, *words, "--finished")
    assert len(results_by_id(workdir)) == 5
    note = r"spec +raw-linear.* \(its runs are from 2 states of its source: 0123456789abcdef, \w+\)"
    assert re.search(note, capsys.readouterr().out)

    shutil.rmtree(other)
    run_study(monkeypatch, *words)
    assert len(results_by_id(workdir)) == 6  # only the lost ones ran again
    assert last_table(capsys.readouterr().out) == last_table(complete)


def check_results(results: dict[str, Result]) -> None:
    """Check that 5 % ran with two seeds and 20 % with one, for both pipelines."""
    assert len(results) == 6
    assert {(r.name, r.dataset, r.seed, r.n_train + r.n_tune) for r in results.values()} == {
        (name, f"subset,of=digits,percent={percent},seed={seed}", seed, n)
        for name in ("raw-linear", "hog-svm")
        for percent, seed, n in (("5.0", 0, 63), ("5.0", 1, 63), ("20.0", 0, 260))
    }
    assert len({r.test_digest for r in results.values()}) == 1


def check_output(output: str, results: dict[str, Result]) -> None:
    """Check the row of the smaller size and the findings."""
    hog = [r for r in results.values() if r.name == "hog-svm" and r.n_train + r.n_tune == 63]
    errors = [top1_error(result) for result in hog]
    rows = last_table(output)
    assert [row[:3] for row in rows] == [
        ["63", "5 %", "raw-linear"], ["63", "5 %", "hog-svm"],
        ["260", "20 %", "raw-linear"], ["260", "20 %", "hog-svm"],
    ]  # fmt: skip
    assert rows[1][3:] == [f"{np.mean(errors):.2f} %", f"{np.std(errors, ddof=1):.2f}", "2"]
    assert "law        hog-svm: error = 0.00 + " in output  # two sizes cannot fit a constant
    crossing = r"crossing +(below the range: )?hog-svm has a lower error than raw-linear"
    assert re.search(crossing, output)
    assert "nothing is left to check it by" in output
    assert "range      the laws end at 1,040 images" in output
    assert "16.6 %" in output  # published, with a larger training set


def change_source(folder: Path, source_hash: str) -> None:
    """Make a record look as if its pipeline's source had been different."""
    record = Record(folder)
    assert record.spec.source_hash == source_hash
    spec = replace(record.spec, source_hash="0123456789abcdef")
    result = replace(record.result, source_hash=spec.source_hash, identity=spec.identity)
    record.save_spec(spec)
    record.finish(result)


def test_a_study_without_two_sizes_has_no_law(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_study(monkeypatch, LINEAR, HOG, "--fractions", "5", "--seeds", "1", "--finished")
    assert "law        none: fewer than two sizes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((LINEAR, HOG, "--fractions", "0,10"), "--fractions 0,10: give different percentages"),
        ((LINEAR, HOG, "--fractions", "ten"), "--fractions ten: not a list of numbers"),
        (
            (LINEAR, HOG, "--fractions", "10,20", "--seeds", "1,2,3"),
            "one for each of the 2 fractions",
        ),
        ((HOG,), "give at least two pipelines"),
        ((HOG, "alexnet"), "give the length of training of alexnet"),
        ((HOG, "alexnets", "--updates", "5"), "no pipeline is called 'alexnets'"),
        ((HOG, "alexnet", "--updates", "0"), "updates=0 is not allowed"),
        ((HOG, LINEAR, "--dataset", "digit"), "no dataset is called 'digit'"),
    ],
)
def test_wrong_arguments_are_refused(
    words: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_study(monkeypatch, *words)
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
