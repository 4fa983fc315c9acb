"""One run from request to record, on real digits and with pipelines made to misbehave."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harness
from harness import Split, UserError
from harness.engine.observer import RunObserver
from harness.engine.request import find_unfinished
from harness.engine.runner import execute
from harness.metrics.errors import measure_errors
from harness.runs.run_store import RunStore

CURVES = {"train/loss": [(0, 1.0), (1, 0.5), (2, 1 / 3)]}


def test_the_result_equals_a_recomputation_from_the_saved_scores(
    means: Callable[..., Any], record_of: Callable[..., Any]
) -> None:
    result = harness.run(means(), "digits", track=False)
    record = record_of(result)
    scores = record.scores()
    assert len(scores) == result.n_test == 500
    assert set(scores.keys) == set(harness.load_dataset("digits").test.keys)
    errors = measure_errors(scores)
    assert errors.top1_error == result.top1_error
    assert errors.top5_error == result.top5_error
    assert errors.mean_class_error == result.mean_class_error
    saved = json.loads((record.folder / "result.json").read_text())
    assert saved["top1_error"]["value"] == result.top1_error.value
    tune_error = measure_errors(record.scores("tune_scores")).top1_error
    assert tune_error.value == saved["tune_top1_error"] == result.tune_top1_error
    assert record.result == result
    assert result.curves == CURVES


def test_the_result_holds_the_cost(means: Callable[..., Any]) -> None:
    cost = harness.run(means(), "digits", track=False).cost
    assert cost.fit_seconds > 0
    assert cost.fit_cpu_seconds > 0
    assert cost.score_cpu_seconds is not None
    assert cost.images_per_second == 500 / cost.score_seconds
    assert cost.cached_cpu_seconds == 0
    assert cost.model_bytes == 10 * 3 * 32 * 32 * 4  # the means of the classes, float32


def test_figures_that_cannot_be_measured_have_a_reason(means: Callable[..., Any]) -> None:
    result = harness.run(means(), "digits", track=False)
    assert result.cost.fit_device_seconds is None
    assert result.missing_reasons["fit_device_seconds"] == "computed on the CPU"
    assert result.cost.params_millions is None
    assert result.missing_reasons["params_millions"] == "only networks list their layers"
    assert "tune_top1_error" not in result.missing_reasons


def test_constant_scores_have_an_error_of_100_percent(means: Callable[..., Any]) -> None:
    assert harness.run(means("constant"), "digits", track=False).top1_error.value == 100.0


def test_evaluations_of_the_test_split_are_counted(means: Callable[..., Any]) -> None:
    results = [harness.run(means(), "digits", track=False) for _ in range(3)]
    assert [result.test_evaluations for result in results] == [1, 2, 3]


def test_a_run_leaves_no_global_state_changed(means: Callable[..., Any]) -> None:
    def global_state() -> tuple[Any, ...]:
        numpy_state = np.random.get_state()[1].tolist()
        torch_state = torch.get_rng_state().tolist()
        return random.getstate(), numpy_state, torch_state, torch.get_num_threads()

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = global_state()
    harness.run(means(), "digits", track=False, seed=7)
    assert global_state() == before


def test_without_test_the_run_stops_after_tune(
    means: Callable[..., Any], record_of: Callable[..., Any]
) -> None:
    result = harness.run(means(), "digits", track=False, test=False)
    assert (result.top1_error, result.n_test, result.cost.score_seconds) == (None, 0, None)
    assert result.tune_top1_error is not None
    assert result.test_evaluations == 0
    assert record_of(result).state == "tuned"
    assert not (record_of(result).folder / "scores.npz").exists()
    assert harness.run(means(), "digits", track=False).test_evaluations == 1


def test_without_tune_there_is_no_tune_error(means: Callable[..., Any]) -> None:
    result = harness.run(means(), "digits", track=False, tune=0)
    assert (result.n_tune, result.tune_top1_error, result.n_fit) == (0, None, 1297)


@pytest.mark.parametrize(
    ("misbehave", "words"),
    [("nan", "NaN scores for"), ("shape", r"scores are \(128, 5\) for 128 images")],
)
def test_invalid_scores_are_an_error_and_the_run_is_marked_as_failed(
    misbehave: str, words: str, means: Callable[..., Any]
) -> None:
    with pytest.raises(UserError, match=words):
        harness.run(means(misbehave), "digits", track=False, tune=0)
    (record,) = RunStore(Path("runs")).all()
    assert record.state == "failed"
    assert "scores" in record.status["why"]
    assert "failed     the pipeline" in (record.folder / "log.txt").read_text()


def test_a_run_interrupted_in_fit_resumes_from_its_checkpoint_with_the_same_result(
    means: Callable[..., Any], look_up: Callable[..., Any]
) -> None:
    undisturbed = harness.run(means(), "digits", track=False)
    request = look_up(means("interrupt"))
    with pytest.raises(KeyboardInterrupt):
        execute(request)
    record = find_unfinished(request)
    assert record.state == "stopped"
    result = execute(request, resume=record)
    assert result.curves == undisturbed.curves == CURVES
    assert result.top1_error == undisturbed.top1_error
    assert [r.state for r in RunStore(Path("runs")).all()] == ["finished", "finished"]


def test_a_run_that_fails_between_fit_and_score_does_not_fit_again(
    means: Callable[..., Any], look_up: Callable[..., Any], record_of: Callable[..., Any]
) -> None:
    request = look_up(means("fail in score"), tune=0)
    with pytest.raises(RuntimeError):
        execute(request)
    record = find_unfinished(request)
    state = record.state_file.read_bytes()
    Path("mended").touch()
    result = execute(request, resume=record)
    assert record_of(result).state_file.read_bytes() == state
    assert result.curves == CURVES


def test_a_failed_run_keeps_its_reason_when_its_observer_fails_too(
    means: Callable[..., Any], look_up: Callable[..., Any]
) -> None:
    class Failing(RunObserver):
        def failed(self, *_: Any, **__: Any) -> None:
            raise ValueError("and this too")

    with pytest.raises(RuntimeError, match="the disk burns"):
        execute(look_up(means("fail in score"), tune=0), observer=Failing())
    (record,) = RunStore(Path("runs")).all()
    assert record.status["why"] == "RuntimeError: the disk burns"


@pytest.mark.parametrize("event", ["started", "epoch", "progress"])
def test_an_observer_that_raises_ends_the_run_which_can_be_resumed(
    event: str, means: Callable[..., Any], look_up: Callable[..., Any]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("no place to draw")

    observer = RunObserver()
    setattr(observer, event, fail)
    request = look_up(means())
    with pytest.raises(ValueError, match="no place to draw"):
        execute(request, observer=observer)
    record = find_unfinished(request)
    assert (record.state, record.status["why"]) == ("failed", "ValueError: no place to draw")
    assert execute(request, resume=record).curves == CURVES


def test_an_observer_that_raises_at_the_end_leaves_the_run_finished(
    means: Callable[..., Any], look_up: Callable[..., Any]
) -> None:
    class Failing(RunObserver):
        def finished(self, *_: Any) -> None:
            raise ValueError("no place to draw")

    with pytest.raises(ValueError, match="no place to draw"):
        execute(look_up(means()), observer=Failing())
    (record,) = RunStore(Path("runs")).all()
    assert record.state == "finished"
    assert record.readable


def test_an_image_that_cannot_be_decoded_counts_as_wrong(
    means: Callable[..., Any], record_of: Callable[..., Any]
) -> None:
    splits = harness.load_dataset("digits")
    test = splits.test.take(np.arange(20))
    test.rows[3] = -1
    result = harness.run(means(), (splits.train, test), track=False)
    assert result.n_test == 20
    scores = record_of(result).scores().scores
    assert np.isneginf(scores[3]).all()
    assert not np.isneginf(np.delete(scores, 3, axis=0)).any()


def test_copies_in_train_and_tune_and_within_test_are_counted(
    means: Callable[..., Any], record_of: Callable[..., Any]
) -> None:
    digits = harness.load_dataset("digits", limit=200, limit_test=60)
    learned = digits.train + digits.tune
    images, labels = pixels(learned), learned.labels
    test_images = np.concatenate([pixels(digits.test), images[:7], pixels(digits.test)[:3]])
    test_labels = np.concatenate([digits.test.labels, labels[:6], [(labels[6] + 1) % 10]])
    test_labels = np.concatenate([test_labels, digits.test.labels[:3]])
    train, test = Split.from_arrays(images, labels), Split.from_arrays(test_images, test_labels)
    result = harness.run(means(), (train, test), track=False)
    scores = record_of(result).scores()
    assert result.copies
    assert (result.copies.in_train, result.copies.repeats, result.copies.n) == (7, 3, 60)
    kept = [record_of(result).scores().keys.tolist().index(key) for key in test.keys[:57]]
    assert not scores.in_train[kept].any()
    assert result.copies.top1_error
    assert result.dataset_notes == (
        "images with copies under different labels: 0 in train, 0 in test, "
        "1 between train and test",
    )


def pixels(split: Split) -> np.ndarray:
    """Return (n, 3, height, width) uint8."""
    return torch.cat([batch.images for batch in split.batches(256)]).numpy()


def test_a_state_that_cannot_be_kept_costs_neither_the_fit_nor_the_scores(
    means: Callable[..., Any], record_of: Callable[..., Any]
) -> None:
    for misbehave, words in (
        ("state", "entry 'optimizer' is of type dict; give tensors"),
        ("state raises", "KeyError: 'nothing'"),
    ):
        result = harness.run(means(misbehave), "digits", track=False)
        (note,) = result.notes
        assert note.startswith("state of means not kept, so predict and rescore cannot use")
        assert words in note
        assert result.top1_error
        assert result.missing_reasons["model_bytes"] == "the state was not kept, see the notes"
        with pytest.raises(UserError, match="has kept no state to load"):
            record_of(result).load_state()


@pytest.mark.parametrize("misbehave", ["nan", "nan after refit"])
def test_tune_scores_that_are_refused_do_not_cost_the_fit(
    misbehave: str, means: Callable[..., Any], look_up: Callable[..., Any]
) -> None:
    request = look_up(means(misbehave))
    with pytest.raises(UserError, match="NaN scores for 2 of 130 images"):
        execute(request)
    record = find_unfinished(request)
    assert record.state == "failed"
    assert record.state_file.exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("labels, sums", "train.nothing; labels, sums", r"line \d+, in fit\): AttributeError"),
        ("return -(", "return batch.nothing -(", r"line \d+, in scores\): AttributeError"),
        ("return NearestMean", "return undefined", r"line \d+, in build\): NameError"),
        ("return NearestMean()", "return NearestMean", "returned the class NearestMean; return"),
        ("fit(self, train, tune,", "fit(self, train,", r"\.py\): TypeError: .* positional"),
        ("return NearestMean()", "pass", "build returned NoneType without the methods fit, scores"),
    ],
)  # fmt: skip
def test_an_error_of_a_plugin_is_one_sentence_and_the_log_has_the_traceback(
    plugin: str, old: str, new: str, words: str
) -> None:
    text = Path(plugin).read_text()
    assert old in text
    Path(plugin).write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=words) as caught:
        harness.run("nearest-mean", "digits", track=False, plugins=[plugin])
    assert "nearest-mean" in str(caught.value)
    for record in RunStore(Path("runs")).all():
        assert "Traceback (most recent call last)" in (record.folder / "log.txt").read_text()
