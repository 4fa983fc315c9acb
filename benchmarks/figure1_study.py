"""Decide which curve of Figure 1 trains next, and keep all curves in a file."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.figure1_training import Curve, CurveKey, Status, TrainingImages, training_errors
from harness.errors import UserError
from harness.files import write_json
from harness.render.text import duration
from pipelines.learned.networks.network import Activation

ACTIVATIONS: tuple[Activation, Activation] = ("relu", "tanh")
RATES = (0.0003, 0.001, 0.003, 0.01)  # 0.001 is the published one
SLOWER_EPOCHS = 5  # epochs in a row with a higher error after which a rate is dropped


class Study:
    """The curves so far, saved in `path` after every epoch.

    Checkpoints of the curves in training are in a folder of the same name without the suffix.

    Parameters
    ----------
    path : Path
        JSON file; read if it exists.
    settings : dict
        What identifies the study: data, network and optimizer. Must equal those in the file.
    hours : float
        Wall-clock limit of the study, including the time on record in the file.
    max_epochs : int
        Limit of each curve.

    Raises
    ------
    UserError
        If the file cannot be read or has other settings.
    """

    def __init__(
        self, path: Path, settings: dict[str, Any], *, hours: float, max_epochs: int
    ) -> None:
        self.path = path
        self.settings = settings
        self.limit_seconds = 3600 * hours
        self.max_epochs = max_epochs
        self.curves: dict[CurveKey, Curve] = {}
        self.seconds = 0.0
        if path.exists():
            self._read()

    def run(self, seeds: int, images: TrainingImages, workers: int = 1) -> None:
        """Train every curve that the rule asks for, `workers` of them at a time, until time is up.

        The curves take turns: the one with the fewest epochs trains for one more.
        """
        trainings: dict[CurveKey, Iterator[float]] = {}
        running: dict[Future[Curve], CurveKey] = {}
        seconds_before, started = self.seconds, time.perf_counter()
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            while True:
                waiting = [curve for curve in self._due(seeds) if curve.key not in running.values()]
                in_time = self.seconds + self._mean_epoch_seconds() <= self.limit_seconds
                for curve in waiting[: workers - len(running)] if in_time else ():
                    if curve.key not in trainings:
                        checkpoint = self._checkpoint(curve)
                        trainings[curve.key] = training_errors(curve, images, checkpoint)
                    running[pool.submit(train_curve, curve, trainings[curve.key])] = curve.key
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self.curves[running.pop(future)] = future.result()
                self.seconds = seconds_before + time.perf_counter() - started
                self._update_statuses()
                self._save()
        if waiting:
            print("time limit reached", flush=True)

    def best(self, activation: Activation, seed: int) -> Curve | None:
        """Return the curve that needed the fewest epochs to reach the target, if any did."""
        reached = [c for c in self.curves_of(activation, seed) if c.epochs_to_target < math.inf]
        return min(reached, key=lambda curve: curve.epochs_to_target, default=None)

    def curves_of(self, activation: Activation, seed: int) -> list[Curve]:
        """Return the curves of all rates of one activation and seed."""
        wanted = activation, seed
        return [c for c in self.curves.values() if (c.activation, c.seed) == wanted]

    def status_of(self, curve: Curve) -> Status:
        """Return how a curve ended, if it did.

        Returns
        -------
        Status
            reached: it is at the target; slower: dropped, as another rate is better; epoch limit:
            it has trained for `max_epochs`; diverged: its loss stopped being finite.
        """
        done = len(curve.errors)
        if curve.status == "diverged":
            return "diverged"
        if curve.epochs_to_target < math.inf:
            return "reached"
        for other in self.curves_of(curve.activation, curve.seed):
            if other.status != "diverged" and is_faster(other, curve):
                return "slower"
        return "epoch limit" if done >= self.max_epochs else "training"

    def _due(self, seeds: int) -> list[Curve]:
        """Return the curves to train, the one with the fewest epochs first.

        They are an arm's rates on seed 0 and, once one rate is left, that rate on the other seeds.
        """
        due = []
        for activation in ACTIVATIONS:
            curves = [self._curve(activation, rate, 0) for rate in RATES]
            left = [c for c in curves if self.status_of(c) in ("training", "epoch limit")]
            best = self.best(activation, 0)
            if len(left) + (best is not None) == 1:
                rate = (best or left[0]).rate
                due += [self._curve(activation, rate, seed) for seed in range(1, seeds)]
            due += left
        in_training = [curve for curve in due if self.status_of(curve) == "training"]
        return sorted(in_training, key=lambda curve: len(curve.errors))

    def _curve(self, activation: Activation, rate: float, seed: int) -> Curve:
        """Return the curve so far, or a new one."""
        return self.curves.get((activation, rate, seed), Curve(activation, rate, seed))

    def _update_statuses(self) -> None:
        self.curves = {
            key: replace(curve, status=self.status_of(curve)) for key, curve in self.curves.items()
        }

    def _mean_epoch_seconds(self) -> float:
        epochs = sum(len(curve.errors) for curve in self.curves.values())
        return sum(curve.seconds for curve in self.curves.values()) / max(1, epochs)

    def _checkpoint(self, curve: Curve) -> Path:
        name = curve.name.replace(", ", "-").replace(" ", "_")
        return self.path.with_suffix("") / f"{name}.safetensors"

    def _save(self) -> None:
        """Write the file and delete the checkpoints of curves that have ended for good."""
        for curve in self.curves.values():
            if curve.status not in ("training", "epoch limit"):
                self._checkpoint(curve).unlink(missing_ok=True)
        content = {
            "settings": self.settings,
            "seconds": self.seconds,
            "curves": [asdict(curve) for curve in self.curves.values()],
        }
        write_json(self.path, content)

    def _read(self) -> None:
        """Read the file; raise UserError if it is damaged or has other settings."""
        try:
            content = json.loads(self.path.read_text())
            curves = [
                Curve(**{**fields, "errors": tuple(fields["errors"])})
                for fields in content["curves"]
            ]
            settings, self.seconds = content["settings"], content["seconds"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.path} cannot be read ({error}); remove it, or give another -o"
            ) from error
        differences = [
            f"{key}: {settings.get(key)} there, {value} now"
            for key, value in self.settings.items()
            if settings.get(key) != value
        ]
        if differences:
            raise UserError(
                f"{self.path} belongs to another study ({'; '.join(differences)}); give another -o"
            )
        self.curves = {curve.key: curve for curve in curves}


def train_curve(curve: Curve, training: Iterator[float]) -> Curve:
    """Return the curve after one more epoch."""
    started = time.perf_counter()
    error = next(training, None)
    curve = replace(curve, seconds=curve.seconds + time.perf_counter() - started)
    if error is None:
        curve, outcome = replace(curve, status="diverged"), "diverged"
    else:
        curve = replace(curve, errors=(*curve.errors, error))
        outcome = f"training error {error:.2f} %"
    epoch = len(curve.errors)
    print(f"{curve.name}: epoch {epoch}, {outcome}, {duration(curve.seconds)}", flush=True)
    return curve


def is_faster(one: Curve, other: Curve) -> bool:
    """Return whether `one` reached the target within the epochs of `other`, or is steadily lower.

    Steadily: its error was lower after each of the last SLOWER_EPOCHS epochs that `other` did.
    """
    if one.epochs_to_target <= len(other.errors):
        return True
    last = slice(max(0, len(other.errors) - SLOWER_EPOCHS), len(other.errors))
    pairs = list(zip(one.errors[last], other.errors[last], strict=False))
    return len(pairs) == SLOWER_EPOCHS and all(a < b for a, b in pairs)
