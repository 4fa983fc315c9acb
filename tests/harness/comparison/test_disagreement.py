"""Where two runs differ, held against counting by hand."""

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
    answers,
    cells,
    class_deltas,
    confident_mistakes,
    confusions,
    examples,
    same_seed,
)
from harness.runs.record import Record
from harness.runs.result import Scores

N, CLASSES = 300, 7
KEYS = np.char.mod("%05d", np.arange(N))
LABELS = np.arange(N) % CLASSES


def record(
    folder: Path, values: np.ndarray, *, order: np.ndarray | None = None, tune: Scores | None = None
) -> Record:
    """A run's folder with these test scores, (N, classes) in order of key, written in the given order."""
    folder.mkdir()
    made = Record(folder)
    order = np.arange(len(values)) if order is None else order
    made.save_scores(
        Scores(
            KEYS[: len(values)][order],
            LABELS[: len(values)][order],
            values[order].astype(np.float32),
        )
    )
    if tune:
        made.save_scores(tune, "tune_scores")
    return made


def margins(seed: int, lead: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(N, CLASSES))
    values[np.arange(N), LABELS] += lead
    return values


def test_answers_are_the_likeliest_classes_in_order_of_key_whatever_the_order_of_the_file(
    tmp_path: Path,
) -> None:
    values = margins(0, 1.0)
    shuffled = np.random.default_rng(1).permutation(N)
    found = answers(record(tmp_path / "a", np.log(softmax(values, axis=1)), order=shuffled))
    assert found.meaning == LOG_PROBABILITIES
    np.testing.assert_array_equal(found.keys, KEYS)
    np.testing.assert_array_equal(found.labels, LABELS)
    best = np.argsort(-values, axis=1)[:, :TOP]
    np.testing.assert_array_equal(found.top, best)
    np.testing.assert_allclose(
        found.probability, np.take_along_axis(softmax(values, axis=1), best, axis=1), rtol=1e-4
    )
    np.testing.assert_array_equal(found.right, values.argmax(1) == LABELS)


def test_margins_become_probabilities_by_the_tune_scores(tmp_path: Path) -> None:
    """Labels drawn from softmax(3 * margins): the probabilities are those of that softmax."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(4000, CLASSES))
    drawn = (
        (rng.uniform(size=(4000, 1)) > softmax(3 * raw, axis=1).cumsum(1))
        .sum(1)
        .clip(max=CLASSES - 1)
    )
    tune = Scores(np.char.mod("%06d", np.arange(4000)), drawn, raw.astype(np.float32))
    values = margins(1, 1.0)
    found = answers(record(tmp_path / "a", values, tune=tune))
    assert found.meaning == FITTED
    expected = np.sort(softmax(3 * values, axis=1), axis=1)[:, ::-1][:, :TOP]
    np.testing.assert_allclose(found.probability, expected, atol=0.03)
    bare = answers(record(tmp_path / "b", values))
    assert bare.meaning == UNFITTED
    np.testing.assert_array_equal(bare.top, found.top)
    never = answers(record(tmp_path / "c", np.hstack([values, np.full((N, 1), -1e6)])))
    np.testing.assert_allclose(never.probability, bare.probability, atol=0.15)


def test_fewer_classes_than_five_and_images_that_cannot_be_decoded(tmp_path: Path) -> None:
    values = np.full((6, 3), -np.inf)
    values[1:] = np.log(softmax(np.random.default_rng(0).normal(size=(5, 3)), axis=1))
    made = Record(tmp_path)
    made.save_scores(Scores(KEYS[:6], np.zeros(6, dtype=np.int64), values.astype(np.float32)))
    found = answers(made)
    assert found.top.shape == (6, 3)
    assert found.readable.tolist() == [False] + 5 * [True]
    assert not found.right[0]
    assert found.probability[0].tolist() == [0, 0, 0]
    assert all(sorted(row) == [0, 1, 2] for row in found.top.tolist())
    assert 0 not in confident_mistakes(found, 10)
    assert sum(each.count for each in confusions(found)) == (~found.right).sum() - 1


def test_the_cells_are_the_paired_table(tmp_path: Path) -> None:
    a, b = (
        answers(record(tmp_path / "a", margins(0, 1.0))),
        answers(record(tmp_path / "b", margins(1, 2.0))),
    )
    found = cells(a, b)
    right = [(bool(x), bool(y)) for x, y in zip(a.right, b.right, strict=True)]
    assert [len(found.both), len(found.only_a), len(found.only_b), len(found.neither)] == [
        right.count(cell) for cell in ((True, True), (True, False), (False, True), (False, False))
    ]
    assert all(a.right[i] and not b.right[i] for i in found.only_a)
    shown = examples(found, 2)
    assert len(shown) == len(set(shown.tolist())) == 8
    assert set(found.only_b[:2]) <= set(shown.tolist())


def test_deltas_by_class_are_sorted_and_add_up(tmp_path: Path) -> None:
    a, b = (
        answers(record(tmp_path / "a", margins(0, 1.0))),
        answers(record(tmp_path / "b", margins(1, 2.0))),
    )
    found = class_deltas(a, b)
    assert [each.delta for each in found] == sorted(each.delta for each in found)
    for each in found:
        of = each.label == LABELS
        assert each.n == of.sum()
        assert each.a_error == pytest.approx(100 * (~a.right[of]).mean())
        assert each.b_error - each.a_error == pytest.approx(each.delta)
        assert each.low <= each.delta <= each.high
    total = sum(each.n * each.delta for each in found) / N
    assert total == pytest.approx(100 * (float((~b.right).mean()) - float((~a.right).mean())))


def test_confusions_are_counted_and_ties_are_none(tmp_path: Path) -> None:
    values = margins(0, 1.0)
    values[0] = values[3] = (
        1.0  # ties of all, the true class the first and the fourth: wrong, and taken for nothing
    )
    found = answers(record(tmp_path / "a", values))
    assert np.flatnonzero(found.tied).tolist() == [0, 3]
    predicted = found.predicted
    listed = confusions(found)
    assert [each.count for each in listed] == sorted((each.count for each in listed), reverse=True)
    for each in listed:
        of = (each.label == LABELS) & (predicted == each.predicted) & ~found.tied
        assert each.count == of.sum()
        assert each.label != each.predicted
        assert each.n == (each.label == LABELS).sum()
    assert not found.right[0]
    assert sum(each.count for each in listed) == (~found.right).sum() - 2


def test_the_most_confident_mistakes_come_first(tmp_path: Path) -> None:
    found = answers(record(tmp_path / "a", margins(0, 1.0)))
    chosen = confident_mistakes(found, 9)
    assert len(chosen) == 9
    assert not found.right[chosen].any()
    confidence = found.probability[:, 0]
    assert (
        confidence[chosen].tolist() == sorted(confidence[~found.right].tolist(), reverse=True)[:9]
    )


def test_rows_are_shown_at_a_seed_that_all_have() -> None:
    def group(*seeds: int) -> list:
        return [SimpleNamespace(result=SimpleNamespace(seed=seed)) for seed in seeds]

    assert [run.result.seed for run in same_seed([group(0, 1, 2), group(1, 2)])] == [1, 1]
    assert [run.result.seed for run in same_seed([group(0), group(1)])] == [0, 1]
