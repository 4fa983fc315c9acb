from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

import harness
from harness import UserError
from harness.comparison.compare import compare, compare_records
from harness.comparison.table import comparison_markdown
from harness.files import write_json
from harness.metrics.intervals import sign_flip_test
from harness.report.run_summary import seeds_line
from harness.report.verdict import outcome, verdicts
from harness.runs.record import Record
from harness.runs.result import Result, Scores
from harness.runs.run_store import RunStore
from harness.runs.select import NoSuchRun


@pytest.fixture
def made(plugin: str) -> dict[str, Result]:
    """Three finished runs: the plugin with two seeds, raw-linear with one."""
    options = {"track": False, "plugins": [plugin]}
    return {
        "means": harness.run("nearest-mean", "digits", **options),
        "means-1": harness.run("nearest-mean", "digits", seed=1, **options),
        "linear": harness.run("raw-linear,c=0.01", "digits", **options),
    }


def test_the_table(made: dict[str, Result], plugin: str) -> None:
    table = compare("nearest-mean", "raw-linear,c=0.01", plugins=[plugin])
    a, b = table.rows
    assert a.seeds == (0, 1)
    assert a.top1_error_sd == 0.0  # the pipeline has nothing random
    assert a.top1_delta is a.p_value is None
    means, linear = made["means"], made["linear"]
    assert b.top1_delta == pytest.approx(linear.top1_error - means.top1_error)  # type: ignore[operator]
    assert b.top1_delta_low < b.top1_delta < b.top1_delta_high  # type: ignore[operator]
    scores = [RunStore(Path("runs")).find(r.run_id).scores() for r in (means, linear)]
    wrong = [dict(zip(s.keys, s.scores.argmax(1) != s.labels, strict=True)) for s in scores]
    only = [sum(wrong[i][k] and not wrong[1 - i][k] for k in wrong[0]) for i in (0, 1)]
    assert b.p_value == pytest.approx(binomtest(only[0], sum(only)).pvalue)
    text = str(table)
    assert all(
        word in text
        for word in (
            "nearest-mean",
            "raw-linear",
            "McNemar p",
            table.test_digest,
            linear.run_id,
            b.source_hashes[0],
        )
    )
    assert "<table>" in table._repr_html_()
    assert list(table.to_frame()["name"]) == ["nearest-mean", "raw-linear"]


def test_run_ids_results_and_specs_name_the_same_rows(made: dict[str, Result], plugin: str) -> None:
    by_id = compare(made["means-1"].run_id, made["linear"].run_id)
    by_result = compare(made["means-1"], made["linear"])
    assert by_id.rows == by_result.rows
    assert by_id.rows[0].seeds == (1,)


def test_scores_are_joined_by_key_not_by_position(made: dict[str, Result]) -> None:
    record = RunStore(Path("runs")).find(made["linear"].run_id)
    before = compare(made["means"], made["linear"]).rows[1]
    scores, order = record.scores(), np.random.default_rng(0).permutation(500)
    record.save_scores(Scores(scores.keys[order], scores.labels[order], scores.scores[order]))
    assert compare(made["means"], made["linear"]).rows[1] == before


def test_other_test_splits_are_refused_and_other_training_said(
    made: dict[str, Result], plugin: str
) -> None:
    options = {"track": False, "plugins": [plugin]}
    fewer = harness.run("nearest-mean", "digits", limit_test=100, **options)
    with pytest.raises(UserError, match="different test splits"):
        compare(made["means"], fewer)
    less = harness.run("nearest-mean", "digits", limit=200, **options)
    with pytest.raises(UserError, match="--allow-different-train"):
        compare(made["means"], less)
    table = compare(made["means"], less, allow_different_train=True)
    assert any("learned from other images" in caveat for caveat in table.warnings)


def test_limited_and_tuned_runs_do_not_stand_for_a_spec(
    made: dict[str, Result], plugin: str
) -> None:
    later = harness.run("nearest-mean", "digits", limit=200, track=False, plugins=[plugin])
    assert (
        later.run_id
        not in compare("nearest-mean", made["linear"], plugins=[plugin]).rows[0].run_ids
    )
    tuned = harness.run("nearest-mean", "digits", test=False, track=False, plugins=[plugin])
    with pytest.raises(UserError, match="stopped after tune"):
        compare(tuned, made["linear"])


def test_a_run_from_before_a_parameter_was_there_counts_as_its_default(
    made: dict[str, Result], plugin: str
) -> None:
    newer = Path("newer") / Path(plugin).name
    newer.parent.mkdir()
    newer.write_text(
        Path(plugin)
        .read_text()
        .replace("shrink: float = 0.0", "shrink: float = 0.0, later: int = 3")
    )
    table = compare("nearest-mean", "raw-linear,c=0.01", plugins=[str(newer)])
    assert set(table.rows[0].run_ids) == {made["means"].run_id, made["means-1"].run_id}
    with pytest.raises(NoSuchRun):
        compare("nearest-mean,later=4", "raw-linear,c=0.01", plugins=[str(newer)])


def test_a_missing_run_says_what_to_type(made: dict[str, Result], plugin: str) -> None:
    with pytest.raises(
        NoSuchRun, match=f"harness run --pipeline hog-svm,c=3 --data-root x --plugins {plugin} "
    ) as error:
        compare("nearest-mean", "hog-svm,c=3", plugins=[plugin], data_root="x")
    assert error.value.spec == "hog-svm,c=3"
    with pytest.raises(UserError, match="'' is not a spec"):
        compare("", "nearest-mean", plugins=[plugin])
    with pytest.raises(UserError, match="no run is called ''"):
        RunStore(Path("runs")).find("")
    with pytest.raises(UserError, match="two or more"):
        compare("nearest-mean", plugins=[plugin])


def test_an_unfinished_run_says_how_to_finish_it(made: dict[str, Result]) -> None:
    record = RunStore(Path("runs")).create("means", {"pipeline": "x"})
    record.set_status("failed")
    with pytest.raises(
        UserError,
        match=f"not finished \\(failed\\); finish it with: harness run --resume {record.run_id}",
    ):
        compare(record.run_id, made["linear"])


def test_a_damaged_record_names_the_file(made: dict[str, Result]) -> None:
    file = Path("runs") / made["means"].run_id / "scores.npz"
    whole = file.read_bytes()
    for part in (b"PK", b"", whole[: len(whole) // 2]):
        file.write_bytes(part)
        with pytest.raises(UserError, match=r"scores\.npz cannot be read"):
            compare(made["means"], made["linear"])


@pytest.fixture
def fake(made: dict[str, Result]) -> Callable[..., Record]:
    """A record of six classes in which the first `wrong` of the images are wrong."""

    def make(
        name: str, seed: int, wrong: int, labels: np.ndarray | None = None, pipeline: str = "means"
    ) -> Record:
        labels = np.zeros(100, dtype=np.int64) if labels is None else labels
        n = len(labels)
        keys = np.array([f"{i:016x}" for i in range(n)])
        record = RunStore(Path("made")).create(name, {})
        values = np.zeros((n, 6), dtype=np.float32)
        values[np.arange(n), np.where(np.arange(n) < wrong, (labels + 1) % 6, labels)] = 1
        record.save_scores(Scores(keys, labels, values))
        result = dataclasses.replace(
            made["means"],
            run_id=record.run_id,
            seed=seed,
            name=name,
            pipeline=pipeline,
            top5_error=0.0,
            n_test=n,
        )
        record.finish(result)
        return record

    return make


def test_several_seeds_are_means_and_their_spread(fake: Callable[..., Record]) -> None:
    """Against numbers made by hand: two seeds of 20 and 30 wrong of 100, a reference of 50."""
    table = compare_records([[fake("a", 0, 50)], [fake("b", 0, 20), fake("b", 1, 30)]])
    row = table.rows[1]
    assert (row.top1_error, row.top1_delta) == (25.0, -25.0)
    assert row.top1_error_sd == pytest.approx(np.std([20, 30], ddof=1))
    # Over images: the mean of the seeds is wrong on 20, half wrong on 10, right on 70.
    assert row.top1_error_se == pytest.approx(
        100 * np.std([1.0] * 20 + [0.5] * 10 + [0.0] * 70, ddof=1) / 10
    )
    assert row.p_value == pytest.approx(
        binomtest(0, 30).pvalue
    )  # the 30 that differ all differ to one side
    assert row.smallest_detectable == pytest.approx(
        100 * sign_flip_test(np.array([-1] * 10 + [-2] * 20))[1] / 200
    )  # type: ignore[operator]
    exact = binomtest(25, 100).proportion_ci(method="exact")
    assert (row.top1_error_exact_low, row.top1_error_exact_high) == pytest.approx(
        (100 * exact.low, 100 * exact.high)
    )
    text = " ".join(str(table).split())
    assert (
        "b, 2 seeds: standard deviation 7.07 over trainings on these images, standard error 4.05 over test images"
        in text
    )
    assert "Holm" not in text  # one test needs no correction
    assert row.top1_delta_seed_se is None  # the reference has a single seed
    both = compare_records(
        [[fake("a", 0, 50), fake("a", 1, 54)], [fake("b", 0, 20), fake("b", 1, 30)]]
    ).rows[1]
    assert both.top1_delta_seed_se == pytest.approx(
        np.sqrt(np.var([50, 54], ddof=1) / 2 + np.var([20, 30], ddof=1) / 2)
    )
    # Mean difference of each image: 20 agree, 10 differ by half, 20 by one, 4 by half, 46 agree.
    differences = [0.0] * 66 + [-0.5] * 14 + [-1.0] * 20
    assert both.top1_delta_image_se == pytest.approx(100 * np.std(differences, ddof=1) / 10)


def test_p_is_of_the_means_that_the_delta_is_of(fake: Callable[..., Record]) -> None:
    """Seed 0 is worse and the other two are better by more."""
    table = compare_records(
        [
            [fake("a", seed, 40) for seed in range(3)],
            [fake("b", 0, 50), fake("b", 1, 20), fake("b", 2, 20)],
        ]
    )
    row = table.rows[1]
    assert row.top1_delta == pytest.approx(-10)
    assert row.p_value == pytest.approx(sign_flip_test(np.array([1] * 10 + [-2] * 20))[0])
    assert outcome(row) == "better"
    assert "exact sign-flip p" in verdicts(table)[0]


def test_runs_of_other_code_or_tune_are_not_averaged_with_the_latest(
    made: dict[str, Result], plugin: str
) -> None:
    later = harness.run("nearest-mean", "digits", tune=0, track=False, plugins=[plugin])
    assert compare(
        "nearest-mean", made["linear"], plugins=[plugin], allow_different_train=True
    ).rows[0].run_ids == (later.run_id,)
    Path(plugin).write_text(Path(plugin).read_text() + "\n# changed\n")
    changed = harness.run("nearest-mean", "digits", seed=1, track=False, plugins=[plugin])
    assert compare("nearest-mean", made["linear"], plugins=[plugin]).rows[0].run_ids == (
        changed.run_id,
    )


def test_seeds_of_data_that_have_changed_since_are_not_averaged_with_the_latest(
    made: dict[str, Result], plugin: str
) -> None:
    """As of a folder that got more images: its spec is the same."""
    record = RunStore(Path("runs")).find(made["means"].run_id)
    before = dataclasses.replace(
        record.result, test_digest="e" * 32, finished="2020-01-01T00:00:00+00:00"
    )
    write_json(record.folder / "result.json", dataclasses.asdict(before))
    assert compare("nearest-mean", made["linear"], plugins=[plugin]).rows[0].run_ids == (
        made["means-1"].run_id,
    )


def test_other_classes_are_refused_whatever_is_allowed(fake: Callable[..., Record]) -> None:
    """A class without test images leaves the test digest as it was."""
    a, b = fake("a", 0, 50), fake("b", 0, 20)
    b.result = dataclasses.replace(b.result, classes=a.result.classes + 1, train_digest="e" * 32)
    with pytest.raises(UserError, match=r"tells 11 classes apart and a-.* 10"):
        compare_records([[a], [b]], allow_different_train=True)


def test_several_pipelines_are_corrected_by_holm(fake: Callable[..., Record]) -> None:
    table = compare_records(
        [[fake("a", 0, 50)], [fake("b", 0, 44)], [fake("c", 0, 20)], [fake("d", 0, 43)]]
    )
    p = [row.p_value for row in table.rows[1:]]
    assert p == pytest.approx([binomtest(0, n).pvalue for n in (6, 30, 7)])
    assert [row.p_holm for row in table.rows] == [
        None,
        p[0],
        pytest.approx(3 * p[1]),
        pytest.approx(2 * p[2]),
    ]  # type: ignore[operator]
    text = str(table)
    assert "Holm p" in text.splitlines()[0]
    assert "adjusted for 3 pipelines tested against a" in " ".join(text.split())
    assert "Holm p" in comparison_markdown(table)


def test_rows_of_one_pipeline_are_told_apart_wherever_they_stand(
    fake: Callable[..., Record],
) -> None:
    """Of three, two are of one pipeline, with other parameters."""
    specs = ("a,k=1", "b,k=1,n=2", "b,k=3,n=2")
    table = compare_records(
        [[fake(spec.partition(",")[0], 0, 20, pipeline=spec)] for spec in specs]
    )
    assert [row.label for row in table.rows] == ["a", "b,k=1", "b,k=3"]
    text = str(table)
    for part in ("b,k=3  ", "a [", "b,k=1 [", "b,k=3 ["):  # the table and the exact intervals
        assert part in text


def test_the_mean_over_classes_has_intervals_of_its_own(fake: Callable[..., Record]) -> None:
    """A class of 10 images and one of 90, in which only the small one differs: 10 points over images, 50 over classes."""
    labels = np.repeat([0, 1], [10, 90])
    row = compare_records([[fake("a", 0, 10, labels)], [fake("b", 0, 0, labels)]]).rows[1]
    assert row.top1_delta == pytest.approx(-10)
    assert row.mean_class_delta == pytest.approx(-50)
    assert (row.mean_class_delta_low, row.mean_class_delta_high) == pytest.approx(
        (-50, -50)
    )  # each class is of one mind
    assert (
        row.mean_class_delta_over_classes_low,
        row.mean_class_delta_over_classes_high,
    ) == pytest.approx((-100, 0))


def test_what_was_averaged_at_test_time_stands_in_the_table(
    made: dict[str, Result], plugin: str
) -> None:
    two = harness.run("raw-linear,c=0.1", "digits", track=False)
    pair = harness.ensemble(made["linear"], two, track=False)
    table = compare(made["means"], made["linear"], pair)
    assert [(row.views, row.models) for row in table.rows] == [(1, 1), (1, 1), (1, 2)]
    assert [row.augmentation for row in table.rows] == [None, (), ()]  # digits may not be mirrored
    assert (
        "views x models averaged at test time differ: nearest-mean 1 x 1, raw-linear 1 x 1, ensemble 1 x 2"
        in table.warnings[-2]
    )
    assert {"views x models", "augmentation"} <= set(re.split("  +", str(table).splitlines()[0]))
    assert not any(
        "views x models" in caveat for caveat in compare(made["means"], made["linear"]).warnings
    )


def test_errors_that_were_not_measured_are_not_nought(made: dict[str, Result]) -> None:
    bare = [
        dataclasses.replace(made[name], top1_error=None, tune_top1_error=None)
        for name in ("means", "means-1")
    ]
    assert (
        seeds_line(bare)
        == "2 seeds    no error is known of them: neither the test nor a tune split was scored"
    )
    assert "mean " in seeds_line([made["means"], made["means-1"]])
