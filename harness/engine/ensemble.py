"""Several finished runs as one classifier: their probabilities averaged, from the scores on record.

Krizhevsky et al. 2012, section 6, average the predictions of five and of seven networks.
Log-probabilities are averaged as probabilities. Margins first become probabilities through a
softmax at a temperature of their own, fitted to the run's tune scores (Guo et al. 2017), so that a
run does not count for more because its margins are larger. The scores tell which of the two a run
left: exponentials of log-probabilities sum to 1.

Reads run folders only, so it imports neither torch nor mlflow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal

import numpy as np

from harness.commands import harness_command
from harness.engine.observer import RunObserver
from harness.errors import UserError
from harness.metrics.calibration import are_log_probabilities, fit_temperature, logsumexp
from harness.metrics.errors import measure_errors
from harness.metrics.verification import verify
from harness.runs.protocol import protocol
from harness.runs.record import Record
from harness.runs.result import COST_FIELDS, Cost, Result, Scores, any_in_train
from harness.runs.run_store import RunStore
from harness.runs.select import require_same_images
from harness.runs.spec import RunSpec
from harness.spec import format_spec
from harness.workspace import Workspace

NAME = "ensemble"
Weighting = Literal["equal", "tune"]
EM_STEPS, EM_TOLERANCE = 1000, 1e-6


def average_runs(
    workspace: Workspace,
    members: Sequence[Record],
    *,
    weighting: Weighting = "equal",
    allow_different_train: bool = False,
    observer: RunObserver | None = None,
) -> Result:
    """Average the members' probabilities into a finished run with a record of its own.

    Parameters
    ----------
    members : sequence of Record
        Two or more finished runs on one test split.
    weighting : {"equal", "tune"}
        `tune`: the weights that make the labels of the tune split most likely.
    allow_different_train : bool
        Accept members that were fitted on different images.

    Raises
    ------
    UserError
        If there are fewer than two members or one is given twice, if test splits or, unless
        allowed, training images differ, if tune scores are needed and were not kept, or if the
        record of a member is damaged.
    """
    _require_distinct(members)
    warnings = require_same_images(members, allow_different_train=allow_different_train)
    for member in members:
        verify(member)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    temperatures = [_temperature(member) for member in members]
    mixture = _Mixture(members, temperatures, weighting, tuple(warnings))
    test = mixture.average("scores")
    tune = mixture.average("tune_scores") if _have_same_tune_images(members) else None

    store = RunStore(workspace.runs_folder)
    record = store.create(NAME, mixture.spec)
    record.save_scores(test)
    if tune:
        record.save_scores(tune, "tune_scores")
    result = replace(mixture.result(record.run_id, test, tune), started=started)
    result = store.finish(record, result)
    if observer:
        observer.finished(record, None)
    return result


@dataclass(frozen=True)
class _Mixture:
    """The members of an ensemble and their weights.

    Parameters
    ----------
    temperatures : sequence of float or None
        None for a member that left log-probabilities.
    """

    members: Sequence[Record]
    temperatures: Sequence[float | None]
    weighting: Weighting
    warnings: tuple[str, ...]

    @property
    def first(self) -> Result:
        return self.members[0].result

    @property
    def results(self) -> list[Result]:
        return [member.result for member in self.members]

    @cached_property
    def weights(self) -> np.ndarray:
        """(members,) float, summing to 1."""
        if self.weighting == "equal":
            return np.full(len(self.members), 1 / len(self.members))
        if not _have_same_tune_images(self.members):
            raise UserError(
                "--weights tune needs every member's scores of one tune split, and these have "
                "scores of different images, or none; use --weights equal"
            )
        parts = [
            _log_probabilities(member, "tune_scores", temperature)
            for member, temperature in zip(self.members, self.temperatures, strict=True)
        ]
        return mixture_weights(
            np.stack([part.scores[np.arange(len(part)), part.labels] for part in parts])
        )

    @property
    def pipeline(self) -> str:
        runs = " ".join(member.run_id for member in self.members)
        return format_spec(NAME, {"runs": runs, "weights": self.weighting})

    @property
    def models(self) -> int:
        """The number of models; a member that is an ensemble counts with all of its own."""
        return sum(member.spec.models for member in self.members)

    @property
    def spec(self) -> RunSpec:
        specs = [member.spec for member in self.members]
        return replace(
            specs[0],
            kind="ensemble",
            pipeline=self.pipeline,
            source_hash=_joint_digest([spec.source_hash for spec in specs])[:16],
            train_digest=_joint_digest([spec.train_digest for spec in specs]),
            members=tuple(member.run_id for member in self.members),
            weights=tuple(self.weights.tolist()),
            models=self.models,
            from_object=False,
            seed_group=None,
            weights_of=None,
        )

    def average(self, name: str) -> Scores:
        """Return the log of the weighted mean probability, with one member in memory at a time."""
        total: np.ndarray | None = None
        in_train: list[np.ndarray | None] = []
        parts = zip(self.members, self.temperatures, self.weights, strict=True)
        for member, temperature, weight in parts:
            part = _log_probabilities(member, name, temperature)
            with np.errstate(divide="ignore"):
                weighted = part.scores + np.log(weight)
            total = weighted if total is None else np.logaddexp(total, weighted)
            in_train.append(part.in_train)
        assert total is not None
        return Scores(part.keys, part.labels, total.astype(np.float32), any_in_train(in_train))

    def result(self, run_id: str, test: Scores, tune: Scores | None) -> Result:
        """Return the result: errors of the averaged scores, and the members' costs summed."""
        results, spec, errors = self.results, self.spec, measure_errors(test)
        views = {protocol(member).views for member in self.members}
        cost = _summed_cost([result.cost for result in results], len(test))
        missing = {
            name: "not known for every member"
            for name in COST_FIELDS
            if getattr(cost, name) is None
        }
        if errors.top5_error is None:
            missing["top5_error"] = self.first.missing_reasons["top5_error"]
        tune_error = measure_errors(tune).top1_error
        if tune_error is None:
            missing["tune_top1_error"] = "the members did not all score the same tune images"
        identities = [result.identity for result in results] + [str(self.weights)]
        return replace(
            self.first,
            run_id=run_id,
            pipeline=self.pipeline,
            name=NAME,
            label=NAME,
            family=" + ".join(dict.fromkeys(result.family for result in results)),
            n_fit=max(result.n_fit for result in results),
            refitted=any(result.refitted for result in results),
            train_digest=spec.train_digest,
            identity=_joint_digest(identities)[:16],
            source_hash=spec.source_hash,
            **vars(errors),
            tune_top1_error=tune_error.value if tune_error else None,
            cost=cost,
            notes=self._notes(),
            missing_reasons=missing,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            command=self._command(),
            curves={},
            views=views.pop() if len(views) == 1 else None,
        )

    def _command(self) -> str:
        run_ids = [member.run_id for member in self.members]
        allowed = ["--allow-different-train"] if self.warnings else []
        return harness_command("ensemble", *run_ids, "--weights", self.weighting, *allowed)

    def _notes(self) -> tuple[str, ...]:
        """State the models, their weights and temperatures, then what the members' notes say."""
        results = self.results
        weights = ", ".join(
            f"{weight:.3f} {result.run_id}"
            for weight, result in zip(self.weights, results, strict=True)
        )
        chosen = "equal weights" if self.weighting == "equal" else "weights from tune"
        notes = [f"{self.models} models, {chosen}: {weights}"]
        temperatures = [
            f"{result.run_id} {temperature:.3g}"
            for result, temperature in zip(results, self.temperatures, strict=True)
            if temperature is not None
        ]
        if temperatures:
            notes.append(
                "margins turned into probabilities at temperatures from tune: "
                + ", ".join(temperatures)
            )
        if len({str(result.machine) for result in results}) > 1:
            notes.append("times of several machines added")
        member_notes = [note for result in results for note in result.notes]
        return tuple(dict.fromkeys([*notes, *self.warnings, *member_notes]))


def mixture_weights(log_likelihoods: np.ndarray) -> np.ndarray:
    """Find the weights w that maximize sum_i log sum_m w_m p_m(y_i).

    By expectation-maximization over which member is right (Dempster, Laird and Rubin 1977). The
    likelihood is concave in the weights, so there is one best answer.

    Parameters
    ----------
    log_likelihoods : (members, n)
        The log-probability that each member gives to the true class of each image.

    Returns
    -------
    (members,) float
        At least 0, and summing to 1.
    """
    seen = log_likelihoods[:, np.isfinite(log_likelihoods).any(axis=0)]
    likelihoods = np.exp(seen - seen.max(axis=0))
    weights = np.full(len(likelihoods), 1 / len(likelihoods))
    for _ in range(EM_STEPS):
        joint = weights[:, None] * likelihoods
        # The sum is 0 for an image that only members of weight 0 get right.
        updated = (joint / joint.sum(axis=0).clip(min=np.finfo(float).tiny)).mean(axis=1)
        updated /= updated.sum()
        change = np.abs(updated - weights).max()
        weights = updated
        if change < EM_TOLERANCE:
            break
    return weights


def _require_distinct(members: Sequence[Record]) -> None:
    if len(members) < 2:
        example = harness_command("ensemble", "RUN", "RUN")
        raise UserError(
            f"an ensemble needs two or more finished runs, got {len(members)}: {example}"
        )
    counts = Counter(member.run_id for member in members)
    if repeated := [run_id for run_id, count in counts.items() if count > 1]:
        raise UserError(f"run {repeated[0]} is given twice; weigh runs with --weights tune")


def _temperature(record: Record) -> float | None:
    """Return the temperature of a run's margins, or None if it left log-probabilities."""
    if are_log_probabilities(record.scores().scores):
        return None
    if not record.has_scores("tune_scores"):
        raise UserError(
            f"run {record.run_id} left margins, which become probabilities by means of its tune "
            "scores, and it has none (as with --tune 0, or a rescored run that was refitted with "
            "its tune images)"
        )
    return fit_temperature(record.scores("tune_scores"))


def _log_probabilities(record: Record, name: str, temperature: float | None) -> Scores:
    """Return the record's scores as float64 log-probabilities, in order of key.

    A row of -inf, which stands for an image that cannot be decoded, stays one.
    """
    scores = record.scores(name)
    order = np.argsort(scores.keys)
    logs = scores.scores[order].astype(np.float64)
    if temperature is not None:
        logs /= temperature
        logs -= np.where(np.isfinite(logs).any(axis=1), logsumexp(logs), 0)[:, None]
    in_train = None if scores.in_train is None else scores.in_train[order]
    return Scores(scores.keys[order], scores.labels[order], logs, in_train)


def _have_same_tune_images(members: Sequence[Record]) -> bool:
    if not all(member.has_scores("tune_scores") for member in members):
        return False
    keys = [np.sort(member.scores("tune_scores").keys) for member in members]
    return all(np.array_equal(own, keys[0]) for own in keys)


def _joint_digest(digests: Sequence[str]) -> str:
    """Return the digest that all have in common, or else a new one over all."""
    if len(set(digests)) == 1:
        return digests[0]
    return sha256(" ".join(digests).encode()).hexdigest()[:32]


def _summed_cost(costs: Sequence[Cost], n_test: int) -> Cost:
    """Sum the costs, except for memory, of which the largest counts, and the scoring rate."""
    sums: dict[str, Any] = {}
    for name in COST_FIELDS:
        values = [getattr(cost, name) for cost in costs]
        sums[name] = None if None in values else sum(values)
    sums["peak_memory_mb"] = max(cost.peak_memory_mb for cost in costs)
    seconds = sums["score_seconds"]
    sums["images_per_second"] = n_test / seconds if seconds else None
    return Cost(**sums)
