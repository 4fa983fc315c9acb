"""The study trains the curves that its rule asks for, and continues where it was stopped."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import figure1_study
from benchmarks.figure1_report import summarize
from benchmarks.figure1_study import Study
from benchmarks.figure1_training import Curve, TrainingImages
from harness.errors import UserError
from tests.benchmarks.striped_images import striped_images

NO_IMAGES = TrainingImages(torch.zeros(0), torch.zeros(0), torch.zeros(0), 0)
EPOCHS = {  # until 25 %, by activation and rate
    ("relu", 0.001): 6, ("relu", 0.003): 4, ("relu", 0.0003): 20, ("relu", 0.01): math.inf,
    ("tanh", 0.001): 12, ("tanh", 0.003): 16, ("tanh", 0.0003): 10, ("tanh", 0.01): 30,
}  # fmt: skip


@pytest.fixture
def synthetic_curves(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace training by errors that fall in a straight line, and return the names of the curves.

    They reach 25 % after EPOCHS plus one epoch per seed; the highest rate of ReLU diverges.
    """
    started = []

    def errors(curve: Curve, images: TrainingImages, checkpoint: Path) -> Iterator[float]:
        started.append(curve.name)
        epochs = EPOCHS[curve.activation, curve.rate] + curve.seed
        if math.isinf(epochs):
            return iter(())
        return (100 - 75 * done / epochs for done in itertools.count(len(curve.errors) + 1))

    monkeypatch.setattr(figure1_study, "training_errors", errors)
    return started


def open_study(folder: Path, *, hours: float = 1, max_epochs: int = 60) -> Study:
    path, settings = folder / "figure1.json", {"title": "synthetic"}
    return Study(path, settings, hours=hours, max_epochs=max_epochs)


def set_curves(study: Study, errors: dict[float, tuple[float, ...]]) -> None:
    """Give the study curves of tanh with seed 0."""
    curves = [Curve("tanh", rate, 0, errors_of_rate) for rate, errors_of_rate in errors.items()]
    study.curves = {curve.key: curve for curve in curves}


def test_the_rates_of_an_arm_take_turns_until_one_is_left(
    workdir: Path, synthetic_curves: list[str]
) -> None:
    """ReLU's best rate reaches the target before another is slower for long enough.

    One rate of tanh is left after five epochs and becomes that of the other seeds.
    """
    study = open_study(workdir)
    study.run(2, NO_IMAGES)
    assert {key: (c.status, len(c.errors)) for key, c in study.curves.items()} == {
        ("relu", 0.001, 0): ("slower", 4), ("relu", 0.003, 0): ("reached", 4),
        ("relu", 0.0003, 0): ("slower", 4), ("relu", 0.01, 0): ("diverged", 0),
        ("tanh", 0.001, 0): ("slower", 5), ("tanh", 0.003, 0): ("slower", 5),
        ("tanh", 0.0003, 0): ("reached", 10), ("tanh", 0.01, 0): ("slower", 5),
        ("relu", 0.003, 1): ("reached", 5), ("tanh", 0.0003, 1): ("reached", 11),
    }  # fmt: skip


def test_a_rate_is_dropped_after_five_epochs_with_a_higher_error(workdir: Path) -> None:
    """The errors must be higher than those of one and the same other rate in all five epochs."""
    errors = {
        0.001: (90.0, 60.0, 55.0, 50.0, 45.0, 40.0),
        0.003: (80.0, 70.0, 60.0, 55.0, 50.0, 45.0),
        0.01: (85.0, 75.0, 65.0, 52.0, 57.0, 52.0),
        0.0003: (95.0, 90.0, 85.0, 80.0),
    }
    study = open_study(workdir)
    set_curves(study, errors)
    assert {rate: study.status_of(study.curves["tanh", rate, 0]) for rate in errors} == {
        0.001: "training",
        0.003: "slower",
        0.01: "slower",
        0.0003: "training",  # fewer epochs so far
    }
    # A single epoch in which the other rate has the higher error saves this one.
    study.curves["tanh", 0.001, 0] = Curve("tanh", 0.001, 0, (90.0, 60.0, 55.0, 50.0, 51.0, 40.0))
    assert study.status_of(study.curves["tanh", 0.003, 0]) == "training"


def test_the_other_seeds_begin_when_one_rate_is_left(workdir: Path) -> None:
    study = open_study(workdir)
    errors = {0.0003: (80.0,) * 5, 0.001: (70.0,) * 5, 0.003: (60.0,) * 5, 0.01: (50.0,) * 4}
    set_curves(study, errors)

    def due() -> list[tuple[float, int]]:
        return [(c.rate, c.seed) for c in study._due(3) if c.activation == "tanh"]

    assert due() == [(0.01, 0), (0.003, 0)]
    study.curves["tanh", 0.01, 0] = Curve("tanh", 0.01, 0, (50.0,) * 5)
    assert due() == [(0.01, 1), (0.01, 2), (0.01, 0)]


def test_concurrent_workers_train_the_same_curves(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figure1_study, "RATES", (0.0001, 0.0003))
    one, two = (Study(workdir / f"{workers}.json", {}, hours=1, max_epochs=2) for workers in (1, 2))
    one.run(1, striped_images(), workers=1)
    two.run(1, striped_images(), workers=2)
    assert len(one.curves) == 4
    assert {key: curve.errors for key, curve in one.curves.items()} == {
        key: curve.errors for key, curve in two.curves.items()
    }


def test_checkpoints_of_ended_curves_are_deleted(
    workdir: Path, synthetic_curves: list[str]
) -> None:
    study = open_study(workdir)
    folder = workdir / "figure1"
    folder.mkdir()
    for rate in (0.003, 0.02):
        (folder / f"relu-rate_{rate:g}-seed_0.safetensors").touch()
    study.run(1, NO_IMAGES)
    assert [path.name for path in folder.iterdir()] == ["relu-rate_0.02-seed_0.safetensors"]


def test_a_killed_study_continues(workdir: Path, synthetic_curves: list[str]) -> None:
    open_study(workdir).run(1, NO_IMAGES)
    path = workdir / "figure1.json"
    content = json.loads(path.read_text())
    curves = {(curve["activation"], curve["rate"]): curve for curve in content["curves"]}
    for rate in (0.0003, 0.001, 0.003):
        curves["tanh", rate]["status"] = "training"
        del curves["tanh", rate]["errors"][3:]
    del curves["tanh", 0.01]
    path.write_text(json.dumps({**content, "curves": list(curves.values())}))
    synthetic_curves.clear()

    study = open_study(workdir)
    unfinished = "tanh at 0.0003, tanh at 0.001, tanh at 0.003, tanh at 0.01, seed 0"
    assert f"not run    {unfinished}" in "\n".join(summarize(study, 1))
    study.run(1, NO_IMAGES)
    assert sorted(synthetic_curves) == [
        f"tanh, rate {rate:g}, seed 0" for rate in (0.0003, 0.001, 0.003, 0.01)
    ]
    expected = tuple(100 - 7.5 * done for done in range(1, 11))
    assert study.curves["tanh", 0.0003, 0].errors == expected
    assert "ratio 2.50" in "\n".join(summarize(study, 1))


def test_a_finished_study_trains_nothing(workdir: Path, synthetic_curves: list[str]) -> None:
    open_study(workdir).run(1, NO_IMAGES)
    synthetic_curves.clear()
    open_study(workdir).run(1, NO_IMAGES)
    assert synthetic_curves == []


def test_the_time_limit_ends_a_study(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With epochs of one minute, 52 of them fit into 52 minutes; no curve gets ahead of another."""
    clock = [0.0]

    def errors(curve: Curve, images: TrainingImages, checkpoint: Path) -> Iterator[float]:
        while True:
            clock[0] += 60
            yield 60.0

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(figure1_study, "training_errors", errors)
    study = open_study(workdir, hours=52 / 60)
    study.run(3, NO_IMAGES)
    assert study.seconds == open_study(workdir).seconds == 52 * 60
    epochs = [len(curve.errors) for curve in study.curves.values()]
    assert sum(epochs) == 52
    assert max(epochs) - min(epochs) <= 1
    lines = "\n".join(summarize(study, 3))
    assert "seed 0     not measured" in lines
    rates = "relu at 0.0003, relu at 0.001, relu at 0.003, relu at 0.01, tanh at 0.0003"
    assert f"not run    {rates}" in lines


def test_a_higher_epoch_limit_continues_the_curves_that_met_the_old_one(
    workdir: Path, synthetic_curves: list[str]
) -> None:
    short = open_study(workdir, max_epochs=5)
    short.run(1, NO_IMAGES)
    assert short.curves["tanh", 0.0003, 0].status == "epoch limit"
    longer = open_study(workdir)
    longer.run(1, NO_IMAGES)
    assert longer.curves["tanh", 0.0003, 0].status == "reached"


def test_a_file_of_another_study_is_refused(workdir: Path, synthetic_curves: list[str]) -> None:
    path = workdir / "figure1.json"
    open_study(workdir).run(1, NO_IMAGES)
    message = r"belongs to another study \(title: synthetic there, digits now\); give another -o"
    with pytest.raises(UserError, match=message):
        Study(path, {"title": "digits"}, hours=1, max_epochs=1)
    path.write_text("{")
    with pytest.raises(UserError, match=r"figure1.json cannot be read"):
        open_study(workdir)
