"""The statistics of a comparison, against numbers made by hand and against scipy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from harness.comparison.compare import compare_records
from harness.errors import UserError
from harness.metrics.intervals import sign_flip_test
from harness.runs.record import Record
from harness.runs.result import Scores

MakeRecord = Callable[..., Record]


def test_one_seed_each_is_mcnemars_test(make_record: MakeRecord) -> None:
    a, b = make_record("a", 50), make_record("b", 20)
    reference, row = compare_records([[a], [b]]).rows
    assert reference.delta is None
    assert reference.seed_sd is None
    assert row.delta
    assert row.delta.points == -30.0
    assert row.delta.interval.low < -30 < row.delta.interval.high
    assert row.delta.p == row.delta.p_holm == pytest.approx(binomtest(0, 30).pvalue)
    interval = binomtest(20, 100).proportion_ci(method="wilson")
    assert row.top1_error.value == 20.0
    assert (row.top1_error.interval.low, row.top1_error.interval.high) == pytest.approx(
        (100 * interval.low, 100 * interval.high)
    )


def test_scores_are_joined_by_key_not_by_position(make_record: MakeRecord) -> None:
    a, b = make_record("a", 50), make_record("b", 20)
    before = compare_records([[a], [b]]).rows
    scores, order = b.scores(), np.random.default_rng(0).permutation(100)
    b.save_scores(Scores(scores.keys[order], scores.labels[order], scores.scores[order]))
    assert compare_records([[a], [b]]).rows == before


def test_several_seeds_are_means_and_their_spread(make_record: MakeRecord) -> None:
    """Two seeds with 20 and 30 of 100 images wrong against a reference with 50 wrong."""
    seeds = [make_record("b", 20), make_record("b", 30, seed=1)]
    row = compare_records([[make_record("a", 50)], seeds]).rows[1]
    assert row.delta
    assert (row.top1_error.value, row.delta.points) == (25.0, -25.0)
    assert row.seed_sd == pytest.approx(np.std([20, 30], ddof=1))
    # The mean of the seeds is wrong on 20 images, half wrong on 10 and right on 70.
    means = [1.0] * 20 + [0.5] * 10 + [0.0] * 70
    assert row.image_se == pytest.approx(100 * np.std(means, ddof=1) / 10)
    # All 30 images on which the two differ, differ in the same direction.
    assert row.delta.p == pytest.approx(binomtest(0, 30).pvalue)
    least = sign_flip_test(np.array([-1] * 10 + [-2] * 20))[1]
    assert least
    assert row.delta.min_detectable == pytest.approx(100 * least / 200)
    exact = binomtest(25, 100).proportion_ci(method="exact")
    assert (row.exact_interval.low, row.exact_interval.high) == pytest.approx(
        (100 * exact.low, 100 * exact.high)
    )
    assert row.delta.seed_se is None  # the reference has a single seed


def test_the_standard_errors_of_a_delta_come_from_seeds_and_from_images(
    make_record: MakeRecord,
) -> None:
    a = [make_record("a", 50), make_record("a", 54, seed=1)]
    b = [make_record("b", 20), make_record("b", 30, seed=1)]
    delta = compare_records([a, b]).rows[1].delta
    assert delta
    variances = np.var([50, 54], ddof=1) / 2, np.var([20, 30], ddof=1) / 2
    assert delta.seed_se == pytest.approx(np.sqrt(sum(variances)))
    # Per image: 20 agree, 10 differ by a half, 20 by one, 4 by a half, 46 agree.
    differences = [0.0] * 66 + [-0.5] * 14 + [-1.0] * 20
    assert delta.image_se == pytest.approx(100 * np.std(differences, ddof=1) / 10)


def test_p_belongs_to_the_means_whose_delta_is_shown(make_record: MakeRecord) -> None:
    """Seed 0 is worse, and the other two are better by more."""
    a = [make_record("a", 40, seed=seed) for seed in range(3)]
    b = [make_record("b", wrong, seed=seed) for seed, wrong in enumerate((50, 20, 20))]
    comparison = compare_records([a, b])
    delta = comparison.rows[1].delta
    assert delta
    assert delta.points == pytest.approx(-10)
    assert delta.p == pytest.approx(sign_flip_test(np.array([1] * 10 + [-2] * 20))[0])
    assert "exact sign-flip p" in comparison.summary
    assert any(warning.startswith("several seeds") for warning in comparison.warnings)


def test_several_pipelines_are_corrected_by_holm(make_record: MakeRecord) -> None:
    errors = {"a": 50, "b": 44, "c": 20, "d": 43}
    rows = compare_records([[make_record(name, n)] for name, n in errors.items()]).rows[1:]
    deltas = [row.delta for row in rows if row.delta]
    p = [delta.p for delta in deltas]
    assert p == pytest.approx([binomtest(0, n).pvalue for n in (6, 30, 7)])
    assert [delta.p_holm for delta in deltas] == pytest.approx([p[0], 3 * p[1], 2 * p[2]])


def test_the_mean_over_classes_has_intervals_of_its_own(make_record: MakeRecord) -> None:
    """Classes of 10 and 90 images differ in the small one only: 10 points, 50 by class."""
    labels = np.repeat([0, 1], [10, 90])
    groups = [[make_record("a", 10, labels=labels)], [make_record("b", 0, labels=labels)]]
    row = compare_records(groups).rows[1]
    assert row.delta
    assert row.delta.points == pytest.approx(-10)
    assert row.mean_class_delta
    assert row.mean_class_delta.points == pytest.approx(-50)
    images, classes = row.mean_class_delta.over_images, row.mean_class_delta.over_classes
    assert (images.low, images.high) == pytest.approx((-50, -50))  # classes do not vary inside
    assert (classes.low, classes.high) == pytest.approx((-100, 0))


def test_different_training_images_are_refused_or_noted(make_record: MakeRecord) -> None:
    groups = [[make_record("a", 50)], [make_record("b", 20, train_digest="e" * 32)]]
    with pytest.raises(UserError, match="--allow-different-train"):
        compare_records(groups)
    comparison = compare_records(groups, allow_different_train=True)
    assert "fitted on different images" in comparison.warnings[0]


def test_different_test_images_and_classes_are_always_refused(make_record: MakeRecord) -> None:
    a = make_record("a", 50)
    with pytest.raises(UserError, match="different test splits"):
        compare_records([[a], [make_record("b", 20, test_digest="e" * 32)]])
    # A class without test images leaves the test digest as it is.
    more_classes = make_record("b", 20, classes=11, train_digest="e" * 32)
    with pytest.raises(UserError, match=r"has 11 classes and a-.* 10"):
        compare_records([[a], [more_classes]], allow_different_train=True)


def test_rows_say_what_was_averaged_and_fitted_on(make_record: MakeRecord) -> None:
    a = make_record("a", 50)
    pair = make_record(
        "ensemble", 20, spec={"kind": "ensemble", "members": (a.run_id, a.run_id), "models": 2}
    )
    more = make_record("b", 20, refitted=False)
    comparison = compare_records([[a], [pair], [more]])
    assert [(row.views, row.models) for row in comparison.rows] == [(1, 1), (1, 2), (1, 1)]
    assert any("1 x 1 (a, b), 1 x 2 (ensemble)" in text for text in comparison.warnings)
    different = "fitted on different numbers of labeled images: 1,000 (a, ensemble), 900 (b)"
    assert different in comparison.warnings
    assert not any("averaged" in text for text in compare_records([[a], [a]]).warnings)


def test_notes_of_all_seeds_belong_to_a_row_and_limits_are_warnings(
    make_record: MakeRecord,
) -> None:
    seeds = [
        make_record("a", 30, notes=("stalled start",), limit=200),
        make_record("a", 20, seed=1, notes=("fine",), limit=200),
    ]
    limited = {"limit": 200, "limit_test": 100}
    comparison = compare_records([seeds, [make_record("b", 20, limit=200)]])
    assert comparison.rows[0].notes == ("stalled start", "fine")
    assert comparison.warnings[0].startswith("limited to 1,000 labeled images")
    both = compare_records([[make_record("c", 30, **limited)], [make_record("d", 20, **limited)]])
    assert both.warnings[1].startswith("limited to 100 test images")


def test_equal_labels_are_followed_by_run_ids(make_record: MakeRecord) -> None:
    a, b, c = make_record("a", 50), make_record("a", 40), make_record("c", 30, label="c,k=3")
    labels = [row.label for row in compare_records([[a], [b], [c]]).rows]
    assert labels == [f"a ({a.run_id})", f"a ({b.run_id})", "c,k=3"]


def test_the_top5_error_is_the_mean_over_seeds_and_missing_below_six_classes(
    make_record: MakeRecord,
) -> None:
    seeds = [make_record("a", 30, top5_error=4.0), make_record("a", 20, seed=1, top5_error=2.0)]
    rows = compare_records([seeds, [make_record("b", 20, top5_error=1.0)]]).rows
    assert (rows[0].top5_error, rows[1].top5_delta) == (3.0, -2.0)
    few = [[make_record(name, 30, classes=5, top5_error=None)] for name in "ab"]
    rows = compare_records(few).rows
    assert rows[0].top5_error is rows[1].top5_delta is None


def test_damaged_scores_are_reported_with_their_file(make_record: MakeRecord) -> None:
    a, b = make_record("a", 50), make_record("b", 20)
    file = Path("runs") / a.run_id / "scores.npz"
    whole = file.read_bytes()
    for damaged in (b"PK", b"", whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"scores\.npz cannot be read"):
            compare_records([[a], [b]])


def test_dataset_notes_and_machines_are_kept_once(make_record: MakeRecord) -> None:
    a, b = make_record("a", 50), make_record("b", 20)
    comparison = compare_records([[a], [b]])
    assert comparison.warnings == ("no official split",)
    assert comparison.machines == ("x, 2 cores, 24 GB, cpu",)
    b.result = replace(b.result, machine={**b.result.machine, "cores": 4})
    assert len(compare_records([[a], [b]]).machines) == 2
