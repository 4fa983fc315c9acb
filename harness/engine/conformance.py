"""The contract as tests that run on any pipeline: what `harness check` prints and what the test suite asserts."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from harness.contract import Pipeline
from harness.data.load import load_dataset
from harness.data.split import Split
from harness.engine.context import RunContext
from harness.engine.runner import seeded
from harness.errors import UserError
from harness.files import load_arrays, save_arrays
from harness.registry import Registry

TOLERANCE = (
    1e-4  # of scores, relative to their largest magnitude: batching changes the order of float sums
)
N_LABELED, N_SCORED = 200, 60  # of the embedded digits


class Broken(Exception):
    """The pipeline does not keep a promise; says which."""


class Subject:
    """The pipeline under test, fitted once on a few digits."""

    def __init__(self, spec: str, plugins: Sequence[str]) -> None:
        self.spec, self.plugins = spec, tuple(plugins)
        splits = load_dataset("digits", limit=N_LABELED, limit_test=N_SCORED)
        self.train, self.tune, self.test = splits.train, splits.tune, splits.test
        self.entry, *_ = Registry(plugins).resolve("pipeline", spec)
        self.settings = global_settings()
        self.fitted = self.fit()
        self.scores = self.score(self.fitted)

    def build(self) -> Pipeline:
        return _build(self.spec, self.plugins)

    def fit(self, seed: int = 0) -> Pipeline:
        pipeline = self.build()
        with seeded(seed):
            pipeline.fit(self.train, self.tune, RunContext(seed=seed))
        return pipeline

    def score(self, pipeline: Pipeline, split: Split | None = None, size: int = 64) -> torch.Tensor:
        return torch.cat([pipeline.scores(batch) for batch in (split or self.test).batches(size)])


def check_docstring_and_family(subject: Subject) -> None:
    """its file says what it is: a docstring and a FAMILY"""
    if subject.entry.summary.startswith("("):
        raise Broken(f"the file has {subject.entry.summary.strip('()')}")
    if subject.entry.family not in ("hand-crafted", "unsupervised", "learned"):
        raise Broken(
            f"FAMILY is {subject.entry.family!r}; allowed: hand-crafted, unsupervised, learned"
        )


def check_methods(subject: Subject) -> None:
    """it has fit, scores, state and load"""
    if not isinstance(subject.fitted, Pipeline):
        missing = [
            name for name in ("fit", "scores", "state", "load") if not hasattr(subject.fitted, name)
        ]
        raise Broken(f"build returned {type(subject.fitted).__name__} without {', '.join(missing)}")


def check_score_shape(subject: Subject) -> None:
    """scores are (n, classes) float32 without NaN"""
    scores = subject.scores
    if tuple(scores.shape) != (len(subject.test), subject.test.num_classes):
        raise Broken(
            f"scores are {tuple(scores.shape)}, not {(len(subject.test), subject.test.num_classes)}"
        )
    if scores.dtype != torch.float32:
        raise Broken(f"scores are {scores.dtype}, not torch.float32")
    if scores.isnan().any():
        raise Broken("scores hold NaN")


def check_learns(subject: Subject) -> None:
    """it beats guessing on the images it was fitted on"""
    right = (
        subject.score(subject.fitted, subject.train).argmax(dim=1).numpy() == subject.train.labels
    )
    guessing = 1 / subject.train.num_classes
    if right.mean() <= 1.5 * guessing:
        raise Broken(
            f"{100 * right.mean():.0f} % of its own training images right, where guessing gives {100 * guessing:.0f} %"
        )


def check_scores_is_pure(subject: Subject) -> None:
    """scores leaves the pipeline as it was and gives the same again"""
    before = copy.deepcopy(subject.fitted.state())
    again = subject.score(subject.fitted)
    _same(again, subject.scores, "scoring twice gave other scores", exactly=True)
    after = subject.fitted.state()
    changed = [
        name for name in before if name not in after or not torch.equal(before[name], after[name])
    ]
    if changed or set(after) != set(before):
        raise Broken(f"scores changed the state: {', '.join(changed) or 'its names'}")


def check_deterministic(subject: Subject) -> None:
    """the same seed gives the same scores"""
    _same(
        subject.score(subject.fit()),
        subject.scores,
        "fitting again with the same seed gave other scores",
        exactly=True,
    )


def check_batch_is_whole(subject: Subject) -> None:
    """one image at a time scores as all at once"""
    _same(
        subject.score(subject.fitted, size=1),
        subject.score(subject.fitted, size=len(subject.test)),
        "single images score otherwise",
    )


def check_order_free(subject: Subject) -> None:
    """the order of images does not matter"""
    order = np.random.default_rng(0).permutation(len(subject.test))
    shuffled = subject.score(subject.fitted, subject.test.take(order))
    _same(shuffled, subject.scores[torch.from_numpy(order)], "shuffled images score otherwise")


def check_leaves_globals(subject: Subject) -> None:
    """fit and scores leave thread and determinism settings alone"""
    after = global_settings()
    if subject.settings != after:
        raise Broken(
            f"(threads, deterministic, dtype, gradients) were {subject.settings} and are {after}"
        )


def check_state_round_trip(subject: Subject) -> None:
    """rebuilt from spec and state in a fresh process it scores the same"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        save_arrays(path, subject.fitted.state())
        with get_context("forkserver").Pool(1) as pool:
            rescored = pool.apply(_rescore, (subject.spec, subject.plugins, path))
    _same(torch.from_numpy(rescored), subject.scores, "the reloaded pipeline scores otherwise")


def global_settings() -> tuple[int, bool, torch.dtype, bool]:
    """torch's (threads, deterministic algorithms, default dtype, gradients on), for the whole process."""
    return (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
    )


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_docstring_and_family,
    check_methods,
    check_score_shape,
    check_learns,
    check_scores_is_pure,
    check_deterministic,
    check_batch_is_whole,
    check_order_free,
    check_leaves_globals,
    check_state_round_trip,
)


def conformance(spec: str, *, plugins: Sequence[str] = ()) -> Iterator[tuple[str, str | None]]:
    """(what is promised, why it is not kept or None) for every check. Raises UserError for a spec that names nothing."""
    Registry(plugins).resolve("pipeline", spec)
    try:
        subject = Subject(spec, plugins)
    except Exception as error:
        yield "fits and scores a few digits", _reason(error)
        return
    yield "fits and scores a few digits", None
    for check in CHECKS:
        try:
            check(subject)
            why = None
        except Exception as error:
            why = _reason(error)
        yield str(check.__doc__), why


def _build(spec: str, plugins: Sequence[str]) -> Pipeline:
    _, build, values, _ = Registry(plugins).resolve("pipeline", spec)
    pipeline: Pipeline = build(**values)
    return pipeline


def _rescore(spec: str, plugins: Sequence[str], path: Path) -> np.ndarray:
    """In a fresh process: the scores of the test digits from spec and state alone."""
    pipeline = _build(spec, plugins)
    pipeline.load(load_arrays(path)[0])
    test = load_dataset("digits", limit=N_LABELED, limit_test=N_SCORED).test
    return torch.cat([pipeline.scores(batch) for batch in test.batches(64)]).numpy()


def _same(
    found: torch.Tensor, wanted: torch.Tensor, complaint: str, *, exactly: bool = False
) -> None:
    worst = float((found - wanted).abs().max())
    if worst > (0.0 if exactly else TOLERANCE * float(wanted.abs().max().clamp(min=1))):
        raise Broken(f"{complaint} (largest difference {worst:.3g})")


def _reason(error: Exception) -> str:
    return (
        str(error) if isinstance(error, Broken | UserError) else f"{type(error).__name__}: {error}"
    )
