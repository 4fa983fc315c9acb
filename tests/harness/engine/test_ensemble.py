"""Ensembles from saved scores: the average against numpy, weights against a search, the record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import harness
from harness.engine.ensemble import mixture_weights
from harness.errors import UserError
from harness.runs.record import Record
from harness.runs.result import Result, Scores
from harness.runs.run_store import RunStore, new_run_id

N, CLASSES = 40, 6
KEYS = np.array([f"{i:016x}" for i in range(N)])
LABELS = np.arange(N) % CLASSES


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def logits(seed: int, strength: float = 1.5) -> np.ndarray:
    """Return margins that are right more often than not."""
    return (
        np.random.default_rng(seed).normal(size=(N, CLASSES)) + strength * np.eye(CLASSES)[LABELS]
    )


@pytest.fixture
def member(
    make_result: Callable[..., Result], write_record: Callable[..., Record]
) -> Callable[..., Record]:
    """Return a function that records a finished run with these scores, in an order of its own.

    The tune scores are those of a split with the same keys and labels. `in_train` are the keys of
    the test images that are also in train.
    """

    def make(
        name: str,
        scores: np.ndarray,
        tune: np.ndarray | None,
        *,
        in_train: np.ndarray | None = None,
        **fields: Any,
    ) -> Record:
        order = np.random.default_rng(len(name)).permutation(N)

        def shuffled(values: np.ndarray) -> Scores:
            return Scores(KEYS[order], LABELS[order], values[order].astype(np.float32))

        test = shuffled(scores)
        if in_train is not None:
            test = replace(test, in_train=np.isin(test.keys, in_train))
        usual = {
            "run_id": new_run_id(name),
            "pipeline": name,
            "name": name,
            "label": name,
            "dataset": "digits",
            "seed": 0,
            "classes": CLASSES,
            "n_tune": 0 if tune is None else N,
            "machine": {"cpu": "x", "cores": 2, "memory_gb": 24, "device": "cpu"},
            "notes": (f"recipe of {name}",),
        }
        draft = make_result(**{**usual, **fields})
        names = {"class_names": tuple("abcdef")}
        tuned = None if tune is None else shuffled(tune)
        return write_record(Path("runs"), draft, test, tuned, spec=names)

    return make


def average(*records: Record, **options: Any) -> tuple[Result, Record]:
    """Put an ensemble together and return its result and record."""
    result = harness.ensemble(*(record.run_id for record in records), track=False, **options)
    return result, RunStore(Path("runs")).find(result.run_id)


def test_log_probabilities_are_averaged_as_probabilities(member: Callable[..., Record]) -> None:
    one, other = log_softmax(logits(0)), log_softmax(logits(1))
    result, record = average(member("one", one, one), member("another", other, other))
    scores = record.scores()
    expected = np.log((np.exp(one) + np.exp(other)) / 2)
    assert list(scores.keys) == list(KEYS)
    np.testing.assert_allclose(scores.scores, expected, rtol=1e-5, atol=1e-6)
    wrong = 100 * (expected.argmax(1) != LABELS).mean()
    assert result.top1_error.value == pytest.approx(wrong)
    assert result.tune_top1_error == result.top1_error.value
    assert (result.cost.fit_seconds, result.cost.score_seconds, result.cost.peak_memory_mb) == (
        pytest.approx(2 * 123.456),
        3.0,
        812.3,
    )
    assert result.cost.images_per_second == N / 3
    assert result.cost.params_millions is None
    assert result.missing_reasons["params_millions"]


def test_an_image_that_cannot_be_decoded_stays_wrong(member: Callable[..., Record]) -> None:
    broken = log_softmax(logits(0))
    broken[3] = -np.inf
    margins = 20 * logits(1)
    margins[3] = -np.inf
    _, record = average(member("one", broken, broken), member("another", margins, margins))
    scores = record.scores().scores
    assert np.isneginf(scores[3]).all()
    assert not np.isnan(scores).any()


def test_the_size_of_margins_does_not_matter(member: Callable[..., Record]) -> None:
    """Margins a thousand times larger change nothing; log-probabilities stay as they are."""
    network, margins = log_softmax(logits(0)), logits(1)
    small, first = average(member("one", network, network), member("another", margins, margins))
    _, second = average(
        member("one", network, network), member("another", 1000 * margins, 1000 * margins)
    )
    np.testing.assert_allclose(first.scores().scores, second.scores().scores, rtol=1e-3, atol=1e-4)
    temperatures = "margins turned into probabilities at temperatures from tune: another-"
    assert small.notes[1].startswith(temperatures)
    assert " one-" not in small.notes[1]


def test_mixture_weights_have_the_highest_likelihood() -> None:
    logs = np.stack(
        [
            log_softmax(logits(seed, strength))[np.arange(N), LABELS]
            for seed, strength in enumerate((2.0, 1.5, 0.0))
        ]
    )

    def loss(free: np.ndarray) -> float:
        weights = np.exp(free) / np.exp(free).sum()
        return -float(np.log(weights @ np.exp(logs)).sum())

    best = minimize(
        loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}
    ).x
    np.testing.assert_allclose(mixture_weights(logs), np.exp(best) / np.exp(best).sum(), atol=2e-3)


def test_weights_from_tune(member: Callable[..., Record]) -> None:
    """A member that guesses gets next to nothing, and the test scores do not matter."""
    good, guess = log_softmax(logits(0, 4.0)), log_softmax(logits(1, 0.0))
    result, record = average(
        member("good", guess, good), member("guess", good, guess), weights="tune"
    )
    shares = record.spec.weights
    assert shares[0] > 0.9
    assert sum(shares) == pytest.approx(1)
    assert result.notes[0].startswith(f"2 models, weights from tune: {shares[0]:.3f} good-")
    assert "weights=tune" in result.pipeline
    assert result.command.endswith("--weights tune")


def test_a_member_that_is_always_wrong_gets_no_weight() -> None:
    with np.errstate(divide="ignore"):
        logs = np.log(np.array([[0.9, 0.9, 0.9], [0.0, 0.0, 0.0], [0.1, 0.2, 0.1]]))
    np.testing.assert_allclose(mixture_weights(logs), [1, 0, 0], atol=1e-4)


def test_runs_that_cannot_be_averaged_say_why(member: Callable[..., Record]) -> None:
    one, margins = member("one", log_softmax(logits(0)), None), member("margins", logits(1), None)
    with pytest.raises(UserError, match="two or more"):
        harness.ensemble(one.run_id)
    with pytest.raises(UserError, match="twice"):
        harness.ensemble(one.run_id, one.run_id)
    with pytest.raises(UserError, match=r"margins.*--tune 0"):
        harness.ensemble(one.run_id, margins.run_id)
    # As of a run that was fitted on its tune images.
    rescored = member("rescored", logits(1), None, n_tune=N)
    with pytest.raises(UserError, match=r"margins.*refitted"):
        harness.ensemble(one.run_id, rescored.run_id)
    also = member("also", log_softmax(logits(2)), None)
    with pytest.raises(UserError, match="--weights tune needs"):
        harness.ensemble(one.run_id, also.run_id, weights="tune")
    other = member("other", log_softmax(logits(2)), None, test_digest="e" * 32)
    with pytest.raises(UserError, match="different test splits"):
        harness.ensemble(one.run_id, other.run_id)
    elsewhere = member("elsewhere", log_softmax(logits(2)), None, train_digest="e" * 32)
    with pytest.raises(UserError, match="--allow-different-train"):
        harness.ensemble(one.run_id, elsewhere.run_id)
    result, _ = average(one, elsewhere, allow_different_train=True)
    assert result.train_digest not in (one.result.train_digest, "e" * 32)
    assert any("was fitted on different images from" in note for note in result.notes)
    assert result.tune_top1_error is None
    assert not [record for record in RunStore(Path("runs")).all() if not record.finished]


def test_ensembles_of_ensembles_count_models(member: Callable[..., Record]) -> None:
    tuned = log_softmax(logits(3))
    runs = [
        member("a", log_softmax(logits(0)), tuned),
        member("b", log_softmax(logits(1)), None),
        member("c", log_softmax(logits(2)), tuned),
    ]
    _, pair = average(*runs[:2])
    result, _ = average(pair, runs[2])
    assert result.notes[0].startswith("3 models, equal weights")
    assert result.test_evaluations == 2
    assert {"recipe of a", "recipe of b", "recipe of c"} <= set(result.notes)


def test_an_ensemble_of_real_runs_can_be_compared(plugin: str) -> None:
    options: dict[str, Any] = {"plugins": [plugin], "track": False}
    runs = [
        harness.run("nearest-mean", "digits", **options),
        harness.run("raw-linear,c=0.01", "digits", **options),
    ]
    result = harness.ensemble("nearest-mean", runs[1], dataset="digits", weights="tune", **options)
    table = harness.compare(runs[0], result)
    assert table.rows[1].name == "ensemble"
    assert table.rows[1].top1_error.value == pytest.approx(result.top1_error.value)
    assert result.test_digest == runs[0].test_digest
    assert result.identity not in {run.identity for run in runs}
    record = RunStore(Path("runs")).find(result.run_id)
    assert "2 models" in (record.folder / "log.txt").read_text()
    with pytest.raises(UserError, match="has no state to start from"):
        record.trained_run()
    saved = json.loads((record.folder / "spec.json").read_text())
    assert saved["members"] == [run.run_id for run in runs]
    assert record.spec.kind == "ensemble"


def test_an_image_in_train_of_one_member_is_in_train_of_the_ensemble(
    member: Callable[..., Record],
) -> None:
    members = [
        member(name, log_softmax(logits(seed)), None, in_train=keys)
        for seed, (name, keys) in enumerate([("a", KEYS[:2]), ("bb", KEYS[1:4])])
    ]
    result, record = average(*members)
    assert result.copies
    assert (result.copies.in_train, result.copies.n) == (4, N - 4)
    assert record.scores().keys[record.scores().in_train].tolist() == KEYS[:4].tolist()
