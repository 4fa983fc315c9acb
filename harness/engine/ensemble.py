"""Several finished runs as one classifier: their probabilities averaged, offline, from the scores they left.

Krizhevsky et al. 2012, section 6, average the predictions of five and of seven networks. Scores that are log-probabilities are averaged
as probabilities. Margins are first made probabilities by a softmax at a temperature of their own, the one number of it fitted to the
run's tune scores (Guo et al. 2017), so that a run does not count for more because its margins are larger. Which of the two a run left is
seen from the scores: exponentials of log-probabilities sum to 1.

Reads run folders only, so it imports neither torch nor mlflow.
"""

from __future__ import annotations

import shlex
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.errors import UserError
from harness.metrics.calibration import are_log_probabilities, fitted_sharpness, logsumexp
from harness.metrics.errors import errors
from harness.report.run_summary import result_lines
from harness.runs.protocol import protocol
from harness.runs.record import Record
from harness.runs.result import Result, Scores
from harness.runs.run_store import RunStore
from harness.runs.select import find_records, same_images
from harness.settings import load_settings
from harness.spec import format_spec, suggest

NAME = "ensemble"
Weights = Literal["equal", "tune"]
SUMS = (
    "params_millions", "gflops_per_image", "model_bytes", "fit_cpu_seconds", "score_cpu_seconds", "cached_cpu_seconds",
    "fit_device_seconds", "score_device_seconds",
)  # fmt: skip
EM_STEPS, EM_CHANGE = 1000, 1e-6


def ensemble(
    *runs: str | Result,
    weights: Weights = "equal",
    dataset: str | None = None,
    allow_different_train: bool = False,
    config: Path | None = None,
    data_root: Path | str | None = None,
    plugins: Sequence[str] = (),
    track: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Result:
    """The weighted mean of the members' probabilities, as a finished run with a record of its own.

    runs     as for `compare`: run ids, Results, or spec strings, which stand for the latest run of every seed on `dataset`
    weights  equal, or those that make the tune split's labels likeliest
    Raises UserError for fewer than two members, where test splits (or, unless allowed, what was learned from) differ, and where tune scores
    are needed and were not kept.
    """
    settings = load_settings(config)
    where: dict[str, Any] = {
        "dataset": dataset,
        "config": config,
        "data_root": data_root,
        "plugins": plugins,
    }
    members = [record for run in runs for record in find_records(run, **where)]
    if len(members) < 2:
        raise UserError(
            f"an ensemble needs two or more finished runs, got {len(members)}: harness ensemble RUN RUN"
        )
    if twice := [
        run_id
        for run_id, count in Counter(member.run_id for member in members).items()
        if count > 1
    ]:
        raise UserError(f"run {twice[0]} is given twice; weigh runs with --weights tune")
    warnings = same_images(members, allow_different_train=allow_different_train)
    sharpness = [_sharpness(member) for member in members]
    shares = (
        _tuned(members, sharpness) if weights == "tune" else np.full(len(members), 1 / len(members))
    )
    started = datetime.now(UTC).isoformat(timespec="seconds")
    test = _average(members, "scores", sharpness, shares)
    tune = _average(members, "tune_scores", sharpness, shares) if _same_tune(members) else None

    store = RunStore(settings.runs)
    made = _Made(members, weights, shares, sharpness, tuple(warnings))
    record = store.create(NAME, made.spec)
    record.save_scores(test)
    if tune:
        record.save_scores(tune, "tune_scores")
    looks = store.test_evaluations(NAME, made.first.test_digest) + 1
    result = made.result(record.run_id, test, tune, looks=looks, started=started)
    lines = result_lines(result)
    for line in lines:
        say(line)
    record.save_log(lines)
    record.finish(result)
    if track:
        from harness.publish import mirror

        mirror(record, settings, lines, say)
    return result


def declared(name: str) -> list[str]:
    """The pipeline specs of an ensemble of `benchmarks/ensembles.toml`.

    Raises UserError for an unknown name, and for an ensemble with members that cannot be had here: what each of them needs.
    """
    sets = declarations()
    if name not in sets:
        raise UserError(
            f"no ensemble is called {name!r}{suggest(name, sets)}; there are: {', '.join(sets)}"
        )
    members = (
        [*sets[sets[name]["includes"]]["member"], *sets[name]["member"]]
        if "includes" in sets[name]
        else sets[name]["member"]
    )
    if missing := [
        f"{member['config']} needs {member['needs']}" for member in members if "needs" in member
    ]:
        raise UserError(
            f"ensemble {name}, {sets[name]['title']}, cannot be put together here: {'; '.join(missing)}"
        )
    return [member["pipeline"] for member in members]


def declarations() -> dict[str, Any]:
    return tomllib.loads((files("benchmarks") / "ensembles.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class _Made:
    """What an ensemble was made of. `sharpness` is 1 over the temperature, None for log-probabilities."""

    members: Sequence[Record]
    weights: Weights
    shares: np.ndarray
    sharpness: Sequence[float | None]
    warnings: tuple[str, ...]

    @property
    def first(self) -> Result:
        return self.members[0].result

    @property
    def pipeline(self) -> str:
        return format_spec(
            NAME,
            {"runs": " ".join(member.run_id for member in self.members), "weights": self.weights},
        )

    @property
    def spec(self) -> dict[str, Any]:
        facts = {
            name: self.members[0].spec[name] for name in ("dataset", "title", "seed", "class_names")
        }
        return {**facts, "pipeline": self.pipeline, "members": [member.run_id for member in self.members], "shares": self.shares.tolist(), "models": self.models}  # fmt: skip

    @property
    def models(self) -> int:
        """Members that are ensembles count with all their models."""
        return sum(member.spec.models for member in self.members)

    def result(
        self, run_id: str, test: Scores, tune: Scores | None, *, looks: int, started: str
    ) -> Result:
        """The record: errors of the averaged scores; times, parameters and operations are sums of the members', memory is the largest."""
        results = [member.result for member in self.members]
        views = {protocol(member).views for member in self.members}
        measured: dict[str, Any] = errors(test)
        absent = {}
        if measured["top5_error"] is None:
            absent["top5_error"] = self.first.missing_reasons["top5_error"]
        if tune is None:
            absent["tune_top1_error"] = "the members did not all score the same tune images"
        flags = ["--allow-different-train"] if self.warnings else []
        score_seconds = _total([r.cost.score_seconds for r in results])
        costs: dict[str, Any] = {name: _total([getattr(r, name) for r in results]) for name in SUMS}
        absent |= {
            name: "not known of every member" for name, value in costs.items() if value is None
        }
        return replace(
            self.first,
            run_id=run_id,
            pipeline=self.pipeline,
            name=NAME,
            family=" + ".join(dict.fromkeys(r.family for r in results)),
            n_fit=max(r.n_fit for r in results),
            refitted=any(r.refitted for r in results),
            train_digest=_joint([r.train_digest for r in results]),
            identity=_joint([r.identity for r in results] + [str(self.shares)])[:16],
            source_hash=_joint([r.source_hash for r in results])[:16],
            test_evaluations=looks,
            **measured,
            tune_top1_error=errors(tune)["top1_error"],
            fit_seconds=sum(r.cost.fit_seconds for r in results),
            score_seconds=score_seconds,
            cached_seconds=sum(r.cost.cached_seconds for r in results),
            images_per_second=len(test) / score_seconds if score_seconds else None,
            peak_memory_mb=max(r.cost.peak_memory_mb for r in results),
            **costs,
            notes=self._notes(results),
            missing_reasons=absent,
            started=started,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            command=shlex.join(
                [
                    "harness",
                    "ensemble",
                    *(r.run_id for r in results),
                    "--weights",
                    self.weights,
                    *flags,
                ]
            ),
            curves={},
            views=views.pop() if len(views) == 1 else None,
        )

    def _notes(self, results: Sequence[Result]) -> tuple[str, ...]:
        """Number of models, members with their weights, how margins were treated; then whatever the members' tables say."""
        weighed = ", ".join(
            f"{share:.3f} {r.run_id}" for share, r in zip(self.shares, results, strict=True)
        )
        chosen = "equal weights" if self.weights == "equal" else "weights from tune"
        softened = [
            f"{r.run_id} {1 / sharp:.3g}"
            for r, sharp in zip(results, self.sharpness, strict=True)
            if sharp is not None
        ]
        notes = [f"{self.models} models, {chosen}: {weighed}"]
        if softened:
            notes.append(
                f"margins made probabilities at temperatures from tune: {', '.join(softened)}"
            )
        if len({str(r.machine) for r in results}) > 1:
            notes.append("times of several machines added")
        return tuple(
            dict.fromkeys([*notes, *self.warnings, *(note for r in results for note in r.notes)])
        )


def mixture_weights(log_likelihoods: np.ndarray) -> np.ndarray:
    """(members,) weights, at least 0 and 1 in sum, under which sum_i log sum_m w_m p_m(y_i) is largest.

    log_likelihoods (members, n): the log-probability that each member gives to the true class of each image. By expectation-maximization
    over which member is right (Dempster, Laird and Rubin 1977); the likelihood is concave in the weights, so there is one best answer.
    """
    seen = log_likelihoods[:, np.isfinite(log_likelihoods).any(axis=0)]
    likelihoods = np.exp(seen - seen.max(axis=0))
    weights = np.full(len(likelihoods), 1 / len(likelihoods))
    for _ in range(EM_STEPS):
        joint = weights[:, None] * likelihoods
        # An image that only members of weight 0 get right has no say any more.
        moved = (joint / joint.sum(axis=0).clip(min=np.finfo(float).tiny)).mean(axis=1)
        moved /= moved.sum()
        if np.abs(moved - weights).max() < EM_CHANGE:
            return moved
        weights = moved
    return weights


def _sharpness(record: Record) -> float | None:
    """None where the scores are log-probabilities. Raises UserError where they are margins and there are no tune scores to fit to."""
    if are_log_probabilities(record.scores().scores):
        return None
    if not record.has_scores("tune_scores"):
        raise UserError(
            f"run {record.run_id} left margins, which become probabilities by its tune scores, and it has none (as with --tune 0, or a "
            f"rescored run that was refitted with its tune images)"
        )
    return fitted_sharpness(record.scores("tune_scores"))


def _log_probabilities(record: Record, name: str, sharpness: float | None) -> Scores:
    """The record's scores as log-probabilities, float64, in order of key. A row of -inf, an image that cannot be decoded, stays one."""
    scores = record.scores(name)
    order = np.argsort(scores.keys)
    logs = scores.scores[order].astype(np.float64)
    if sharpness is not None:
        logs *= sharpness
        logs -= np.where(np.isfinite(logs).any(axis=1), logsumexp(logs), 0)[:, None]
    return Scores(scores.keys[order], scores.labels[order], logs)


def _average(
    members: Sequence[Record], name: str, sharpness: Sequence[float | None], shares: np.ndarray
) -> Scores:
    """The logarithm of the weighted mean of the members' probabilities, one member in memory at a time."""
    total: np.ndarray | None = None
    for member, sharp, share in zip(members, sharpness, shares, strict=True):
        part = _log_probabilities(member, name, sharp)
        with np.errstate(divide="ignore"):
            weighed = part.scores + np.log(share)
        total = weighed if total is None else np.logaddexp(total, weighed)
    assert total is not None
    return Scores(part.keys, part.labels, total.astype(np.float32))


def _tuned(members: Sequence[Record], sharpness: Sequence[float | None]) -> np.ndarray:
    if not _same_tune(members):
        raise UserError(
            "--weights tune needs the scores of one tune split from every member, and these have those of other images, or none; "
            "use --weights equal"
        )
    parts = (
        _log_probabilities(member, "tune_scores", sharp)
        for member, sharp in zip(members, sharpness, strict=True)
    )
    return mixture_weights(
        np.stack([part.scores[np.arange(len(part)), part.labels] for part in parts])
    )


def _same_tune(members: Sequence[Record]) -> bool:
    if not all(member.has_scores("tune_scores") for member in members):
        return False
    keys = [np.sort(member.scores("tune_scores").keys) for member in members]
    return all(np.array_equal(each, keys[0]) for each in keys)


def _joint(digests: Sequence[str]) -> str:
    """The one digest of all, or, where they differ, one of its own."""
    return (
        digests[0]
        if len(set(digests)) == 1
        else sha256(" ".join(digests).encode()).hexdigest()[:32]
    )


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
