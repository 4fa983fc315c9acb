"""A study in small, killed and gone on with; what it asks of its runs; and what it says of a crossing."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import learning_curve
from benchmarks.learning_curve import (
    Family,
    Study,
    counts_updates,
    crossing_text,
    main,
    names,
    updates_within,
    with_updates,
)
from benchmarks.power_laws import Crossing, Curves
from harness.runs.result import Result
from harness.runs.run_store import RunStore


def run_study(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["learning_curve", *arguments])
    return main()


@pytest.fixture
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are kept but not logged to MLflow, which takes longer than they do."""
    from harness.engine.runner import execute

    monkeypatch.setattr(
        "benchmarks.runs.execute",
        lambda request, **options: execute(request, track=False, **options),
    )


def results(folder: Path) -> dict[str, Result]:
    return {record.run_id: record.result for record in RunStore(folder / "runs").finished()}


@pytest.mark.usefixtures("untracked")
def test_a_study_is_made_shown_and_gone_on_with(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("raw-linear", "hog-svm", "--fractions", "20,5", "--seeds", "1,2")
    assert run_study(monkeypatch, *asked, "-o", "curve.png") == 0
    whole = capsys.readouterr().out
    made = results(workdir)
    assert len(made) == 6  # 5 % with two seeds, 20 % with one, of two pipelines
    assert {(r.name, r.dataset, r.seed, r.n_train + r.n_tune) for r in made.values()} == {
        (name, f"subset,of=digits,percent={percent},seed={seed}", seed, n)
        for name in ("raw-linear", "hog-svm")
        for percent, seed, n in (("5.0", 0, 63), ("5.0", 1, 63), ("20.0", 0, 260))
    }
    assert len({r.test_digest for r in made.values()}) == 1
    errors = [
        r.top1_error or 0.0
        for r in made.values()
        if (r.name, r.n_train + r.n_tune) == ("hog-svm", 63)
    ]
    row = next(line for line in whole.splitlines() if line.startswith("63 "))
    assert f"{np.mean(errors):.2f} %" in row
    assert f"{np.std(errors, ddof=1):.2f}" in row
    assert (
        "law        hog-svm: error = 0.00 + " in whole
    )  # two sizes hold no level that the error falls to
    assert re.search(r"crossing +(below the range: )?hog-svm errs less than raw-linear", whole)
    assert "nothing is left to check these by" in whole
    assert "reach      at 1,040 images" in whole
    assert "16.6 %" in whole
    assert (workdir / "curve.png").stat().st_size > 10_000

    lost = next(run_id for run_id, r in made.items() if r.name == "hog-svm" and r.seed == 1)
    shutil.rmtree(workdir / "runs" / lost)
    other = (
        workdir
        / "runs"
        / next(run_id for run_id, r in made.items() if r.name == "raw-linear" and r.seed == 1)
    )
    for name in ("spec.json", "result.json"):  # as if its pipeline had been written otherwise then
        (other / name).write_text(
            (other / name).read_text().replace(made[other.name].source_hash, "0123456789abcdef")
        )
    capsys.readouterr()
    run_study(monkeypatch, *asked, "--finished")
    assert len(results(workdir)) == 5
    shown = capsys.readouterr().out
    assert re.search(
        r"spec +raw-linear \(its points are of 2 states of its source: 0123456789abcdef, \w+\)",
        shown,
    )
    shutil.rmtree(other)
    run_study(monkeypatch, *asked)
    assert len(results(workdir)) == 6  # the lost ones alone were made again
    assert table_of(capsys.readouterr().out) == table_of(whole)


def table_of(text: str) -> list[list[str]]:
    """The last table's cells without the times of fits."""
    lines = text[text.rindex("images  ") :].splitlines()
    return [re.split(r"  +", line)[:5] for line in lines[2:4]]


def test_all_of_train_is_the_data_set_itself() -> None:
    study = Study(("raw-linear", "hog-svm"), (10, 100), (2, 1), "digits")
    points = list(study.points())
    assert [(p.pipeline, p.fraction, p.seed) for p in points] == [
        ("raw-linear", 10, 0), ("hog-svm", 10, 0), ("raw-linear", 100, 0), ("hog-svm", 100, 0), ("raw-linear", 10, 1), ("hog-svm", 10, 1),
    ]  # fmt: skip
    assert study.request(points[2]).splits.spec == "digits"
    assert study.request(points[0]).splits.spec == "subset,of=digits,percent=10.0,seed=0"


def test_networks_that_count_updates_get_their_number() -> None:
    assert with_updates("alexnet,views=1", 500) == "alexnet,views=1,updates=500"
    assert with_updates("hog-svm", 500) == "hog-svm"
    assert with_updates("alexnet,updates=7", 500) == "alexnet,updates=7"
    assert counts_updates("alexnet")
    assert not counts_updates("cuda-convnet")


def test_minutes_become_updates_at_the_largest_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.learned.trainer.PROBE_SECONDS", 0.5)
    study = Study(("hog-svm", "alexnet,views=1"), (10, 100), (1, 1), "digits")
    one, ten = updates_within(1, study), updates_within(10, study)
    assert 100 < one < 100_000
    assert 3 < ten / one < 30


def test_a_point_that_cannot_be_run_is_told_and_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], untracked: None
) -> None:
    run_study(monkeypatch, "raw-linear", "hog-svm", "--fractions", "0.5,5", "--seeds", "1")
    out = capsys.readouterr().out
    assert "not run    raw-linear, 0.5 %, seed 0: the tune split takes 10 %" in out
    assert "law        none: fewer than two sizes" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("raw-linear", "hog-svm", "--fractions", "0,10"),
            "--fractions 0,10: give different percentages above 0",
        ),
        (("raw-linear", "hog-svm", "--fractions", "ten"), "--fractions ten: not a list of numbers"),
        (
            ("raw-linear", "hog-svm", "--fractions", "10,20", "--seeds", "1,2,3"),
            "one for each of the 2 fractions",
        ),
        (("hog-svm",), "two or more different pipelines"),
        (("hog-svm", "alexnet"), "say how long to train alexnet"),
        (("hog-svm", "alexnets", "--updates", "5"), "no pipeline is called 'alexnets'"),
        (("hog-svm", "alexnet", "--updates", "0"), "updates=0 is not allowed"),
        (("hog-svm", "raw-linear", "--dataset", "digit"), "no dataset is called 'digit'"),
    ],
)
def test_bad_arguments_are_told(
    arguments: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_study(monkeypatch, *arguments)
    assert stopped.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_what_is_said_of_a_crossing() -> None:
    empty = np.zeros((2, 2))
    curves = Curves(np.array([1_000.0, 50_000.0]), empty, (), (), empty)

    def said(*numbers: float) -> str:
        return crossing_text("alexnet", "baseline", Crossing(*numbers), curves)

    assert (
        said(3_456, 2_345, 4_567, 0)
        == "alexnet errs less than baseline from 3,500 images on; 95 % interval [2,300, 4,600]"
    )
    assert said(math.inf, 90_000, math.inf, 0.8) == (
        "none in range: alexnet does not come below baseline for good from 1,000 to 200,000 images; "
        "95 % interval [90,000, none in range], 80% of the resamples without a crossing in range"
    )
    assert said(0, 0, 1_500, 0).startswith(
        "below the range: alexnet errs less than baseline all the way from 1,000"
    )


def test_a_stopped_study_shows_what_is_finished(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(request: object) -> None:
        raise KeyboardInterrupt

    found = learning_curve.families(Study(("raw-linear", "hog-svm"), (10,), (1,), "digits"), stop)
    assert [family.records for family in found] == [{}, {}]
    assert "stopped" in capsys.readouterr().out


def test_two_variants_of_one_pipeline_are_told_apart() -> None:
    found = [
        Family(pipeline, {}, {})
        for pipeline in ("baseline", "alexnet,updates=9", "alexnet,lrn=false,updates=9")
    ]
    assert names(found) == ["baseline", "alexnet,updates=9", "alexnet,lrn=false,updates=9"]
    assert names(found[:2]) == ["baseline", "alexnet"]
