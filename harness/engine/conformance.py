"""The contract as checks that run on any pipeline: `harness check`, and the test suite.

A check is a function whose docstring is the promise; it raises `Broken` when that is not kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from harness.contract import Pipeline, Split
from harness.engine.context import RunContext
from harness.engine.outputs import batch_scores, count_nan_rows, plugin_errors, require_pipeline
from harness.engine.seeding import seeded
from harness.errors import UserError
from harness.files import as_tensors, load_arrays, save_arrays
from harness.registry import Resolved
from harness.workspace import Workspace

# Of scores, relative to their largest magnitude: batching changes the order of float sums.
TOLERANCE = 1e-4
N_LABELED, N_SCORED = 200, 60  # of the embedded digits
FAMILIES = ("hand-crafted", "unsupervised", "learned")


class Broken(Exception):
    """The pipeline does not keep a promise; the message says how."""


class Subject:
    """The pipeline under test, fitted once on a few digits."""

    def __init__(self, workspace: Workspace, spec: str) -> None:
        self.spec, self.plugins = spec, workspace.plugins
        splits = workspace.dataset("digits", limit=N_LABELED, limit_test=N_SCORED)
        self.train, self.tune, self.test = splits.train, splits.tune, splits.test
        self.resolved: Resolved = workspace.resolve("pipeline", spec)
        self.settings = global_settings()
        self.fitted = self.fit()
        self.scores = self.score(self.fitted)

    def fit(self, seed: int = 0) -> Pipeline:
        pipeline: Pipeline = self.resolved.make()
        require_pipeline(pipeline, self.spec)
        with seeded(seed):
            pipeline.fit(self.train, self.tune, RunContext(seed=seed))
        return pipeline

    def score(self, pipeline: Pipeline, split: Split | None = None, size: int = 64) -> torch.Tensor:
        split = split or self.test
        batches = split.batches(size)
        return torch.cat([batch_scores(pipeline, batch, split.num_classes) for batch in batches])


def check_docstring_and_family(subject: Subject) -> None:
    """its file says what it is: a docstring and a FAMILY"""
    entry = subject.resolved.entry
    if entry.summary.startswith("("):
        raise Broken(f"the file has {entry.summary.strip('()')}")
    if entry.family not in FAMILIES:
        raise Broken(f"FAMILY is {entry.family!r}; allowed: {', '.join(FAMILIES)}")


def check_scores(subject: Subject) -> None:
    """scores are (n, classes) numbers without NaN"""
    if bad := count_nan_rows(subject.scores):
        raise Broken(f"scores hold NaN for {bad} of {len(subject.test)} images")


def check_state(subject: Subject) -> None:
    """what it has learned can be kept"""
    as_tensors(subject.fitted.state())


def check_learns(subject: Subject) -> None:
    """it beats guessing on the images it was fitted on"""
    predicted = subject.score(subject.fitted, subject.train).argmax(dim=1).numpy()
    right = (predicted == subject.train.labels).mean()
    guessing = 1 / subject.train.num_classes
    if right <= 1.5 * guessing:
        raise Broken(
            f"{100 * right:.0f} % of its own training images are right, "
            f"where guessing gives {100 * guessing:.0f} %"
        )


def check_scores_is_pure(subject: Subject) -> None:
    """scores leaves the pipeline as it was and gives the same again"""
    before = as_tensors(subject.fitted.state())
    again = subject.score(subject.fitted)
    _require_equal(again, subject.scores, "scoring twice gave different scores", exactly=True)
    after = as_tensors(subject.fitted.state())
    changed = [
        name for name in before if name not in after or not torch.equal(before[name], after[name])
    ]
    if changed or set(after) != set(before):
        raise Broken(f"scores changed the state: {', '.join(changed) or 'its names'}")


def check_deterministic(subject: Subject) -> None:
    """the same seed gives the same scores"""
    again = subject.score(subject.fit())
    _require_equal(
        again,
        subject.scores,
        "fitting again with the same seed gave different scores",
        exactly=True,
    )


def check_batch_is_whole(subject: Subject) -> None:
    """one image at a time scores as all at once"""
    singly = subject.score(subject.fitted, size=1)
    at_once = subject.score(subject.fitted, size=len(subject.test))
    _require_equal(singly, at_once, "single images get different scores")


def check_order_free(subject: Subject) -> None:
    """the order of images does not matter"""
    order = np.random.default_rng(0).permutation(len(subject.test))
    shuffled = subject.score(subject.fitted, subject.test.take(order))
    expected = subject.scores[torch.from_numpy(order)]
    _require_equal(shuffled, expected, "shuffled images get different scores")


def check_leaves_globals(subject: Subject) -> None:
    """fit and scores leave thread and determinism settings alone"""
    after = global_settings()
    if subject.settings != after:
        raise Broken(
            "(threads, deterministic, dtype, gradients) were "
            f"{subject.settings} and are now {after}"
        )


def check_state_round_trip(subject: Subject) -> None:
    """rebuilt from spec and state in a fresh process it scores the same"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        save_arrays(path, subject.fitted.state())
        with get_context("forkserver").Pool(1) as pool:
            rescored = pool.apply(_rescore, (subject.spec, subject.plugins, path))
    _require_equal(
        torch.from_numpy(rescored), subject.scores, "the reloaded pipeline gives different scores"
    )


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_docstring_and_family,
    check_scores,
    check_state,
    check_learns,
    check_scores_is_pure,
    check_deterministic,
    check_batch_is_whole,
    check_order_free,
    check_leaves_globals,
    check_state_round_trip,
)


def check_pipeline(workspace: Workspace, spec: str) -> Iterator[tuple[str, str | None]]:
    """Yield (promise, why it is not kept or None) for every check.

    Raises
    ------
    UserError
        If the spec names nothing.
    """
    plugin = workspace.resolve("pipeline", spec).entry.plugin
    first = "fits and scores a few digits"
    try:
        with plugin_errors(spec, plugin):
            subject = Subject(workspace, spec)
    except Exception as error:
        yield first, _reason(error)
        return
    yield first, None
    for check in CHECKS:
        try:
            with plugin_errors(spec, plugin):
                check(subject)
            reason = None
        except Exception as error:
            reason = _reason(error)
        yield str(check.__doc__), reason


def global_settings() -> tuple[int, bool, torch.dtype, bool]:
    """Return torch's (threads, deterministic algorithms, default dtype, gradients)."""
    return (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
    )


def _rescore(spec: str, plugins: tuple[str, ...], path: Path) -> np.ndarray:
    """In a fresh process: score the test digits from spec and state alone."""
    workspace = Workspace.open(plugins=plugins)
    pipeline: Pipeline = workspace.resolve("pipeline", spec).make()
    pipeline.load(load_arrays(path)[0])
    test = workspace.dataset("digits", limit=N_LABELED, limit_test=N_SCORED).test
    scores = [batch_scores(pipeline, batch, test.num_classes) for batch in test.batches(64)]
    return torch.cat(scores).numpy()


def _require_equal(
    scores: torch.Tensor, expected: torch.Tensor, complaint: str, *, exactly: bool = False
) -> None:
    worst = float((scores - expected).abs().max())
    tolerance = 0.0 if exactly else TOLERANCE * float(expected.abs().max().clamp(min=1))
    if worst > tolerance:
        raise Broken(f"{complaint} (largest difference {worst:.3g})")


def _reason(error: Exception) -> str:
    if isinstance(error, Broken | UserError):
        return str(error)
    return f"{type(error).__name__}: {error}"
