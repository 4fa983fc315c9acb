"""Ensembles from saved scores: the average against numpy, weights and temperatures against a search, and the record they leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import harness
from harness.comparison.compare import compare
from harness.engine.ensemble import (
    declarations,
    declared,
    ensemble,
    mixture_weights,
)
from harness.errors import UserError
from harness.registry import Registry
from harness.runs.record import Record
from harness.runs.result import Result, Scores
from harness.runs.run_store import RunStore

N, CLASSES = 40, 6
KEYS = np.array([f"{i:016x}" for i in range(N)])
LABELS = np.arange(N) % CLASSES


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def logits(seed: int, strength: float = 1.5) -> np.ndarray:
    """Right more often than not."""
    return (
        np.random.default_rng(seed).normal(size=(N, CLASSES)) + strength * np.eye(CLASSES)[LABELS]
    )


@pytest.fixture
def member(make_result: Callable[..., Result]) -> Callable[..., Record]:
    """A finished run with these scores, kept in an order of its own; the tune scores are of a split like it."""

    def make(name: str, scores: np.ndarray, tune: np.ndarray | None, **fields: Any) -> Record:
        record = RunStore(Path("runs")).create(
            name, {"dataset": "digits", "title": "digits", "seed": 0, "class_names": list("abcdef")}
        )
        order = np.random.default_rng(len(name)).permutation(N)
        record.save_scores(Scores(KEYS[order], LABELS[order], scores[order].astype(np.float32)))
        if tune is not None:
            record.save_scores(
                Scores(KEYS[order], LABELS[order], tune[order].astype(np.float32)), "tune_scores"
            )
        machine = {"cpu": "x", "cores": 2, "memory_gb": 24, "device": "cpu"}
        given = {"run_id": record.run_id, "name": name, "n_test": N, "n_tune": 0 if tune is None else N, "machine": machine, "notes": (f"recipe of {name}",)}  # fmt: skip
        record.finish(make_result(**{**given, **fields}))
        return record

    return make


def made(*records: Record, **options: Any) -> tuple[Result, Record]:
    result = ensemble(*(record.run_id for record in records), track=False, **options)
    return result, RunStore(Path("runs")).find(result.run_id)


def test_log_probabilities_are_averaged_as_probabilities(member: Callable[..., Record]) -> None:
    one, other = log_softmax(logits(0)), log_softmax(logits(1))
    result, record = made(member("one", one, one), member("another", other, other))
    scores = record.scores()
    expected = np.log((np.exp(one) + np.exp(other)) / 2)
    assert list(scores.keys) == list(KEYS)
    np.testing.assert_allclose(scores.scores, expected, rtol=1e-5, atol=1e-6)
    assert result.top1_error == pytest.approx(100 * (expected.argmax(1) != LABELS).mean())
    assert result.tune_top1_error == result.top1_error
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
    _, record = made(member("one", broken, broken), member("another", margins, margins))
    scores = record.scores().scores
    assert np.isneginf(scores[3]).all()
    assert not np.isnan(scores).any()


def test_margins_count_by_what_they_are_worth_not_by_their_size(
    member: Callable[..., Record],
) -> None:
    """A thousand times larger margins of the same run change nothing; so do log-probabilities beside them stay as they are."""
    network, margins = log_softmax(logits(0)), logits(1)
    small, first = made(member("one", network, network), member("another", margins, margins))
    _, second = made(
        member("one", network, network), member("another", 1000 * margins, 1000 * margins)
    )
    np.testing.assert_allclose(first.scores().scores, second.scores().scores, rtol=1e-3, atol=1e-4)
    assert small.notes[1].startswith(
        "margins made probabilities at temperatures from tune: another"
    )
    assert "one" not in small.notes[1].removeprefix("margins made probabilities").replace(
        "another", ""
    )


def test_mixture_weights_are_the_likeliest() -> None:
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
    """A member that guesses gets next to nothing, and the test scores have no say."""
    good, guess = log_softmax(logits(0, 4.0)), log_softmax(logits(1, 0.0))
    result, record = made(member("good", guess, good), member("guess", good, guess), weights="tune")
    shares = record.spec.weights
    assert shares[0] > 0.9
    assert sum(shares) == pytest.approx(1)
    assert result.notes[0].startswith(f"2 models, weights from tune: {shares[0]:.3f} good-")
    assert "weights=tune" in result.pipeline
    assert result.command.endswith("--weights tune")


def test_a_member_of_weight_nought_has_no_say() -> None:
    with np.errstate(divide="ignore"):
        logs = np.log(np.array([[0.9, 0.9, 0.9], [0.0, 0.0, 0.0], [0.1, 0.2, 0.1]]))
    np.testing.assert_allclose(mixture_weights(logs), [1, 0, 0], atol=1e-4)


def test_what_cannot_be_averaged(member: Callable[..., Record]) -> None:
    one, margins = member("one", log_softmax(logits(0)), None), member("margins", logits(1), None)
    with pytest.raises(UserError, match="two or more"):
        ensemble(one.run_id)
    with pytest.raises(UserError, match="twice"):
        ensemble(one.run_id, one.run_id)
    with pytest.raises(UserError, match=r"margins.*--tune 0"):
        ensemble(one.run_id, margins.run_id)
    rescored = member(
        "rescored", logits(1), None, n_tune=N
    )  # of a run that was fitted on its tune images
    with pytest.raises(UserError, match=r"margins.*refitted"):
        ensemble(one.run_id, rescored.run_id)
    also = member("also", log_softmax(logits(2)), None)
    with pytest.raises(UserError, match="--weights tune needs"):
        ensemble(one.run_id, also.run_id, weights="tune")
    other = member("other", log_softmax(logits(2)), None, test_digest="e" * 32)
    with pytest.raises(UserError, match="different test splits"):
        ensemble(one.run_id, other.run_id)
    elsewhere = member("elsewhere", log_softmax(logits(2)), None, train_digest="e" * 32)
    with pytest.raises(UserError, match="--allow-different-train"):
        ensemble(one.run_id, elsewhere.run_id)
    result, _ = made(one, elsewhere, allow_different_train=True)
    assert result.train_digest not in (one.result.train_digest, "e" * 32)
    assert any("learned from other images" in note for note in result.notes)
    assert result.tune_top1_error is None
    assert not [record for record in RunStore(Path("runs")).all() if not record.finished]


def test_ensembles_of_ensembles_count_models(member: Callable[..., Record]) -> None:
    tuned = log_softmax(logits(3))
    runs = [
        member("a", log_softmax(logits(0)), tuned),
        member("b", log_softmax(logits(1)), None),
        member("c", log_softmax(logits(2)), tuned),
    ]
    _, pair = made(*runs[:2])
    result, _ = made(pair, runs[2])
    assert result.notes[0].startswith("3 models, equal weights")
    assert result.test_evaluations == 2
    assert {"recipe of a", "recipe of b", "recipe of c"} <= set(result.notes)


def test_real_runs_are_put_together_and_compared(plugin: str) -> None:
    options: dict[str, Any] = {"plugins": [plugin], "track": False}
    runs = [
        harness.run("nearest-mean", "digits", **options),
        harness.run("raw-linear,c=0.01", "digits", **options),
    ]
    result = harness.ensemble("nearest-mean", runs[1], dataset="digits", weights="tune", **options)
    table = compare(runs[0], result)
    assert table.rows[1].name == "ensemble"
    assert table.rows[1].top1_error == pytest.approx(result.top1_error)
    assert result.test_digest == runs[0].test_digest
    assert result.identity not in {run.identity for run in runs}
    record = RunStore(Path("runs")).find(result.run_id)
    assert "2 models" in (record.folder / "log.txt").read_text()
    with pytest.raises(UserError, match="keeps no state"):
        record.trained_run()
    assert json.loads((record.folder / "spec.json").read_text())["members"] == [
        run.run_id for run in runs
    ]


def test_declared_ensembles() -> None:
    """Every spec of ours is one, members differ, and what cannot be had says what it needs."""
    for name, each in declarations().items():
        assert each["title"]
        assert each["source"]
        for one in each["member"]:
            assert "pipeline" in one or "needs" in one, name
            if "pipeline" in one:
                Registry().resolve("pipeline", one["pipeline"])
    specs = declared("5-readings")
    assert len({Registry().resolve("pipeline", spec)[3] for spec in specs}) == 5
    with pytest.raises(UserError, match=r"145f needs .*131 needs"):
        declared("5-cnns")
    with pytest.raises(UserError, match=r"131 needs .*146-2012-2011 needs a run"):
        declared("7-cnns")
    with pytest.raises(UserError, match=r"no ensemble is called '5-cnn' \(did you mean '5-cnns'"):
        declared("5-cnn")
    assert [len(declarations()[name]["member"]) for name in ("5-cnns", "7-cnns")] == [
        5,
        2,
    ]  # the seven include the five
