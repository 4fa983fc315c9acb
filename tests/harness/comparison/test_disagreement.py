"""Where two runs differ, against counting by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax

from harness.comparison.disagreement import (
    FITTED,
    LOG_PROBABILITIES,
    TOP,
    UNFITTED,
    class_deltas,
    confident_mistakes,
    confusions,
    contingency,
    examples,
    predictions,
    same_seed,
)
from harness.data.identity import split_digest
from harness.runs.record import Record
from harness.runs.result import Scores
from harness.runs.spec import RunSpec

N, CLASSES = 300, 7
KEYS = np.char.mod("%05d", np.arange(N))
LABELS = np.arange(N) % CLASSES


def record(
    folder: Path,
    values: np.ndarray,
    *,
    labels: np.ndarray = LABELS,
    order: np.ndarray | None = None,
    tune: Scores | None = None,
) -> Record:
    """Write the test scores of a run.

    `values` are (N, classes) in order of key; `order` is the order in which they are written.
    """
    folder.mkdir(exist_ok=True)
    result = Record(folder)
    order = np.arange(len(values)) if order is None else order
    keys, labels = KEYS[: len(values)][order], labels[: len(values)][order]
    spec = RunSpec(
        kind="fit", pipeline="x", dataset="random", title="random", seed=0, source_hash="0",
        class_names=tuple(map(str, range(values.shape[1]))), train_digest="0",
        test_digest=split_digest("", keys, labels),
    )  # fmt: skip
    result.save_spec(spec)
    result.save_scores(Scores(keys, labels, values[order].astype(np.float32)))
    if tune:
        result.save_scores(tune, "tune_scores")
    return result


def margins(seed: int, lead: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(N, CLASSES))
    values[np.arange(N), LABELS] += lead
    return values


def test_predictions_are_in_order_of_key_whatever_the_order_of_the_file(
    tmp_path: Path,
) -> None:
    values = margins(0, 1.0)
    shuffled = np.random.default_rng(1).permutation(N)
    run = predictions(record(tmp_path / "a", np.log(softmax(values, axis=1)), order=shuffled))
    assert run.meaning == LOG_PROBABILITIES
    np.testing.assert_array_equal(run.keys, KEYS)
    np.testing.assert_array_equal(run.labels, LABELS)
    best = np.argsort(-values, axis=1)[:, :TOP]
    np.testing.assert_array_equal(run.top, best)
    np.testing.assert_allclose(
        run.probability, np.take_along_axis(softmax(values, axis=1), best, axis=1), rtol=1e-4
    )
    np.testing.assert_array_equal(run.right, values.argmax(1) == LABELS)


def test_the_tune_scores_turn_margins_into_probabilities(tmp_path: Path) -> None:
    """With labels drawn from softmax(3 * margins), the probabilities are those of it."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(4000, CLASSES))
    drawn = (
        (rng.uniform(size=(4000, 1)) > softmax(3 * raw, axis=1).cumsum(1))
        .sum(1)
        .clip(max=CLASSES - 1)
    )
    tune = Scores(np.char.mod("%06d", np.arange(4000)), drawn, raw.astype(np.float32))
    values = margins(1, 1.0)
    run = predictions(record(tmp_path / "a", values, tune=tune))
    assert run.meaning == FITTED
    expected = np.sort(softmax(3 * values, axis=1), axis=1)[:, ::-1][:, :TOP]
    np.testing.assert_allclose(run.probability, expected, atol=0.03)
    bare = predictions(record(tmp_path / "b", values))
    assert bare.meaning == UNFITTED
    np.testing.assert_array_equal(bare.top, run.top)
    never = predictions(record(tmp_path / "c", np.hstack([values, np.full((N, 1), -1e6)])))
    np.testing.assert_allclose(never.probability, bare.probability, atol=0.15)


def test_fewer_classes_than_five_and_images_that_cannot_be_decoded(tmp_path: Path) -> None:
    values = np.full((6, 3), -np.inf)
    values[1:] = np.log(softmax(np.random.default_rng(0).normal(size=(5, 3)), axis=1))
    run = predictions(record(tmp_path / "a", values, labels=np.zeros(6, dtype=np.int64)))
    assert run.top.shape == (6, 3)
    assert run.readable.tolist() == [False] + 5 * [True]
    assert not run.right[0]
    assert run.probability[0].tolist() == [0, 0, 0]
    assert all(sorted(row) == [0, 1, 2] for row in run.top.tolist())
    assert 0 not in confident_mistakes(run, 10)
    assert sum(each.count for each in confusions(run)) == (~run.right).sum() - 1


def test_the_contingency_table_counts_every_image_once(tmp_path: Path) -> None:
    a, b = (
        predictions(record(tmp_path / "a", margins(0, 1.0))),
        predictions(record(tmp_path / "b", margins(1, 2.0))),
    )
    table = contingency(a, b)
    right = [(bool(x), bool(y)) for x, y in zip(a.right, b.right, strict=True)]
    assert [len(table.both), len(table.only_a), len(table.only_b), len(table.neither)] == [
        right.count(cell) for cell in ((True, True), (True, False), (False, True), (False, False))
    ]
    assert all(a.right[i] and not b.right[i] for i in table.only_a)
    shown = examples(table, 2)
    assert len(shown) == len(set(shown.tolist())) == 8
    assert set(table.only_b[:2]) <= set(shown.tolist())


def test_deltas_by_class_are_sorted_and_add_up_to_the_whole(tmp_path: Path) -> None:
    a, b = (
        predictions(record(tmp_path / "a", margins(0, 1.0))),
        predictions(record(tmp_path / "b", margins(1, 2.0))),
    )
    deltas = class_deltas(a, b)
    assert [delta.delta for delta in deltas] == sorted(delta.delta for delta in deltas)
    for delta in deltas:
        of_class = delta.label == LABELS
        assert delta.n == of_class.sum()
        assert delta.a_error == pytest.approx(100 * (~a.right[of_class]).mean())
        assert delta.b_error - delta.a_error == pytest.approx(delta.delta)
        assert delta.interval.low <= delta.delta <= delta.interval.high
    total = sum(delta.n * delta.delta for delta in deltas) / N
    assert total == pytest.approx(100 * (float((~b.right).mean()) - float((~a.right).mean())))


def test_confusions_are_counted_and_ties_are_no_confusion(tmp_path: Path) -> None:
    values = margins(0, 1.0)
    values[0] = values[3] = 1.0  # all classes tie: wrong, but taken for no other class
    run = predictions(record(tmp_path / "a", values))
    assert np.flatnonzero(run.tied).tolist() == [0, 3]
    predicted = run.predicted
    listed = confusions(run)
    assert [each.count for each in listed] == sorted((each.count for each in listed), reverse=True)
    for each in listed:
        of = (each.label == LABELS) & (predicted == each.predicted) & ~run.tied
        assert each.count == of.sum()
        assert each.label != each.predicted
        assert each.n == (each.label == LABELS).sum()
    assert not run.right[0]
    assert sum(each.count for each in listed) == (~run.right).sum() - 2


def test_the_most_confident_mistakes_come_first(tmp_path: Path) -> None:
    run = predictions(record(tmp_path / "a", margins(0, 1.0)))
    chosen = confident_mistakes(run, 9)
    assert len(chosen) == 9
    assert not run.right[chosen].any()
    confidence = run.probability[:, 0]
    assert confidence[chosen].tolist() == sorted(confidence[~run.right].tolist(), reverse=True)[:9]


def test_every_row_shows_the_lowest_seed_that_all_have() -> None:
    def group(*seeds: int) -> list:
        return [SimpleNamespace(result=SimpleNamespace(seed=seed)) for seed in seeds]

    assert [run.result.seed for run in same_seed([group(0, 1, 2), group(1, 2)])] == [1, 1]
    assert [run.result.seed for run in same_seed([group(0), group(1)])] == [0, 1]
