"""Its rules on curves made by hand, and the whole of it on few images that are soon learned."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import figure1
from benchmarks.figure1 import Curve, Images, Study, findings, main, training_error, training_errors
from harness.errors import UserError
from harness.files import load_arrays
from pipelines.learned.networks.cuda_convnet import cuda_convnet

NONE = Images(
    torch.zeros(0), torch.zeros(0), torch.zeros(0), 0
)  # curves made by hand look at no image
EPOCHS = {  # until 25 %, by activation and rate
    ("relu", 0.001): 6, ("relu", 0.003): 4, ("relu", 0.0003): 20, ("relu", 0.01): math.inf,
    ("tanh", 0.001): 12, ("tanh", 0.003): 16, ("tanh", 0.0003): 10, ("tanh", 0.01): 30,
}  # fmt: skip


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Errors that fall in a straight line from 100 to 25 %, for seed s in s epochs more; the highest rate of ReLU diverges. Which ones ran."""
    begun = []

    def errors(curve: Curve, images: Images, kept: Path) -> Iterator[float]:
        begun.append(curve.name)
        epochs = EPOCHS[curve.activation, curve.rate] + curve.seed
        return (
            iter(())
            if math.isinf(epochs)
            else (100 - 75 * done / epochs for done in itertools.count(len(curve.errors) + 1))
        )

    monkeypatch.setattr(figure1, "training_errors", errors)
    return begun


def study(path: Path, **options: float) -> Study:
    return Study(
        path / "figure1.json", {"title": "by hand"}, **{"hours": 1, "epochs": 60, **options}
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("errors", "epochs"),
    [([80, 50, 30, 20], 3.5), ([20], 1), ([60, 25, 10], 2), ([60, 40], math.inf), ([], math.inf)],
)
def test_epochs_until_a_quarter_is_wrong(errors: list[float], epochs: float) -> None:
    assert Curve("relu", 0.001, 0, tuple(errors)).epochs == epochs


def test_the_rates_of_an_arm_take_turns_until_one_is_left(
    workdir: Path, by_hand: list[str]
) -> None:
    """ReLU's best is there before any rate is slower for long enough; the one of tanh that is left after five epochs is the other seeds'."""
    whole = study(workdir)
    whole.run(2, NONE)
    ended = {
        (c.activation, c.rate, c.seed): (c.ended, len(c.errors)) for c in whole.curves.values()
    }
    assert ended == {
        ("relu", 0.001, 0): ("slower", 4), ("relu", 0.003, 0): ("reached", 4), ("relu", 0.0003, 0): ("slower", 4), ("relu", 0.01, 0): ("diverged", 0),
        ("tanh", 0.001, 0): ("slower", 5), ("tanh", 0.003, 0): ("slower", 5), ("tanh", 0.0003, 0): ("reached", 10), ("tanh", 0.01, 0): ("slower", 5),
        ("relu", 0.003, 1): ("reached", 5), ("tanh", 0.0003, 1): ("reached", 11),
    }  # fmt: skip
    told = "\n".join(findings(whole, 2))
    assert "seed 0     10.00 / 4.00 epochs: ratio 2.50" in told
    assert "seed 1     11.00 / 5.00 epochs: ratio 2.20" in told
    assert "ratio      2.35 +- 0.21 (standard deviation over 2 seeds)" in told
    assert "note       tanh: the best rate, 0.0003, is an end of the grid" in told
    assert "not run" not in told


def test_a_rate_is_dropped_once_slower_for_five_epochs(workdir: Path) -> None:
    """Than one and the same other of its arm; a spike of that one saves it, and so does having done fewer epochs."""
    errors = {
        0.001: (90.0, 60.0, 55.0, 50.0, 45.0, 40.0),
        0.003: (80.0, 70.0, 60.0, 55.0, 50.0, 45.0),
        0.01: (85.0, 75.0, 65.0, 52.0, 57.0, 52.0),
        0.0003: (95.0, 90.0, 85.0, 80.0),
    }
    whole = study(workdir)
    whole.curves = {
        curve.arm: curve for curve in (Curve("tanh", rate, 0, errors[rate]) for rate in errors)
    }
    ended = {rate: whole.ended(whole.curves["tanh", rate, 0]) for rate in errors}
    assert ended == {0.001: "under way", 0.003: "slower", 0.01: "slower", 0.0003: "under way"}
    whole.curves["tanh", 0.001, 0] = Curve("tanh", 0.001, 0, (90.0, 60.0, 55.0, 50.0, 51.0, 40.0))
    assert whole.ended(whole.curves["tanh", 0.003, 0]) == "under way"


def test_the_other_seeds_begin_when_one_rate_is_left(workdir: Path) -> None:
    whole = study(workdir)
    errors = {0.0003: (80.0,) * 5, 0.001: (70.0,) * 5, 0.003: (60.0,) * 5, 0.01: (50.0,) * 4}
    whole.curves = {
        curve.arm: curve for curve in (Curve("tanh", rate, 0, errors[rate]) for rate in errors)
    }
    tanh = lambda: [
        (curve.rate, curve.seed) for curve in whole._due(3) if curve.activation == "tanh"
    ]
    assert tanh() == [(0.01, 0), (0.003, 0)]
    whole.curves["tanh", 0.01, 0] = Curve("tanh", 0.01, 0, (50.0,) * 5)
    assert tanh() == [(0.01, 1), (0.01, 2), (0.01, 0)]


def test_trainings_side_by_side_tell_what_one_alone_tells(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figure1, "RATES", (0.0001, 0.0003))
    alone, beside = (
        Study(workdir / f"{workers}.json", {}, hours=1, epochs=2) for workers in (1, 2)
    )
    alone.run(1, few_images(), workers=1)
    beside.run(1, few_images(), workers=2)
    assert len(alone.curves) == 4
    assert not list((workdir / "1").iterdir())  # all have ended: nothing is left to go on from
    assert {arm: curve.errors for arm, curve in alone.curves.items()} == {
        arm: curve.errors for arm, curve in beside.curves.items()
    }


def test_it_goes_on_where_it_was_killed(workdir: Path, by_hand: list[str]) -> None:
    study(workdir).run(1, NONE)
    kept = json.loads((workdir / "figure1.json").read_text())
    curves = {(curve["activation"], curve["rate"]): curve for curve in kept["curves"]}
    for rate, done in (0.0003, 3), (0.001, 3), (0.003, 3):
        curves["tanh", rate]["ended"] = "under way"
        del curves["tanh", rate]["errors"][done:]
    del curves["tanh", 0.01]
    kept["curves"] = list(curves.values())
    (workdir / "figure1.json").write_text(json.dumps(kept))
    by_hand.clear()
    again = study(workdir)
    assert (
        "not run    tanh at 0.0003, tanh at 0.001, tanh at 0.003, tanh at 0.01, seed 0"
        in "\n".join(findings(again, 1))
    )
    again.run(1, NONE)
    assert sorted(by_hand) == [
        f"tanh, rate {rate:g}, seed 0" for rate in (0.0003, 0.001, 0.003, 0.01)
    ]
    assert again.curves["tanh", 0.0003, 0].errors == tuple(
        100 - 7.5 * done for done in range(1, 11)
    )
    assert "ratio 2.50" in "\n".join(findings(again, 1))


def test_what_is_known_is_not_learned_again(workdir: Path, by_hand: list[str]) -> None:
    study(workdir).run(1, NONE)
    by_hand.clear()
    study(workdir).run(1, NONE)
    assert by_hand == []


def test_the_end_of_its_time(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 52 minutes, an epoch taking one: so many epochs, the eight curves' errors being equal."""
    clock = [0.0]

    def errors(curve: Curve, images: Images, kept: Path) -> Iterator[float]:
        while True:
            clock[0] += 60
            yield 60.0

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(figure1, "training_errors", errors)
    cut = study(workdir, hours=52 / 60)
    cut.run(3, NONE)
    assert cut.seconds == study(workdir).seconds == 52 * 60
    told = "\n".join(findings(cut, 3))
    assert "seed 0     not measured" in told
    assert (
        "not run    relu at 0.0003, relu at 0.001, relu at 0.003, relu at 0.01, tanh at 0.0003"
        in told
    )


def test_an_arm_that_has_not_arrived_bounds_the_ratio(workdir: Path, by_hand: list[str]) -> None:
    short = study(workdir, epochs=8)
    short.run(1, NONE)
    assert (
        "seed 0     tanh has not arrived in 8 epochs at the rates tried: ratio above 2.00, so far"
        in "\n".join(findings(short, 1))
    )


def test_more_epochs_are_given_to_those_that_lacked_them(workdir: Path, by_hand: list[str]) -> None:
    short = study(workdir, epochs=5)
    short.run(1, NONE)
    assert short.curves["tanh", 0.0003, 0].ended == "epochs"
    longer = study(workdir)
    longer.run(1, NONE)
    assert longer.curves["tanh", 0.0003, 0].ended == "reached"


def test_a_file_of_another_study_is_refused(workdir: Path, by_hand: list[str]) -> None:
    study(workdir).run(1, NONE)
    with pytest.raises(
        UserError,
        match=r"is of another study \(title: by hand there, digits now\); give another -o",
    ):
        Study(workdir / "figure1.json", {"title": "digits"}, hours=1, epochs=1)
    (workdir / "figure1.json").write_text("{")
    with pytest.raises(UserError, match=r"figure1.json cannot be read"):
        study(workdir)


def test_the_network_has_nothing_that_regularizes() -> None:
    kinds = {
        type(layer).__name__
        for layer in cuda_convnet("19pct", num_classes=10, activation="tanh").children()
    }
    assert kinds == {"CeilConv2d", "MaxPool2d", "AvgPool2d", "Tanh", "Flatten", "Linear"}


def few_images(n: int = 48) -> Images:
    """Two classes of stripes, across and down."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    wave = 128 + 80 * np.sin(np.arange(32) * 0.8 + rng.uniform(0, 6, (n, 1)))
    across, down = (
        np.broadcast_to(wave[:, None, :], (n, 32, 32)),
        np.broadcast_to(wave[:, :, None], (n, 32, 32)),
    )
    pixels = np.where((labels == 0)[:, None, None], across, down)[:, None] + rng.normal(
        0, 10, (n, 3, 32, 32)
    )
    images = torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))
    return Images(images, torch.from_numpy(labels), images.float().mean(0), 2)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps and a start with which few images are learned in few epochs."""
    monkeypatch.setattr(figure1, "INIT", "he")
    monkeypatch.setattr(figure1, "BATCH", 8)


def learned(curve: Curve, kept: Path, epochs: int = 8) -> list[float]:
    return list(itertools.islice(training_errors(curve, few_images(), kept), epochs))


@pytest.mark.parametrize("activation", figure1.ACTIVATIONS)
def test_few_images_are_learned_by_heart(activation: str, quick: None, workdir: Path) -> None:
    curve = Curve(activation, 0.0003, 0)  # type: ignore[arg-type]
    errors = learned(curve, workdir / "a")
    assert min(errors) < 10
    assert errors == learned(curve, workdir / "b")
    assert errors != learned(Curve(activation, 0.0003, 1), workdir / "c")  # type: ignore[arg-type]


@pytest.mark.parametrize("told", [0, 1, 2, 3])
def test_a_training_goes_on_from_what_it_kept(told: int, quick: None, workdir: Path) -> None:
    """After three epochs, of which the study heard of so many before it was killed; without the file they are learned again."""
    curve = Curve("tanh", 0.0003, 0)
    whole = learned(curve, workdir / "whole", 6)
    learned(curve, workdir / "kept", 3)
    known = replace(curve, errors=tuple(whole[:told]))
    assert (
        learned(known, workdir / "kept", 6 - told)
        == whole[told:]
        == learned(known, workdir / "none", 6 - told)
    )
    assert load_arrays(workdir / "kept")[0].keys() == load_arrays(workdir / "whole")[0].keys()
    assert all(
        torch.equal(array, load_arrays(workdir / "whole")[0][name])
        for name, array in load_arrays(workdir / "kept")[0].items()
    )


def test_a_training_that_diverges_ends(workdir: Path) -> None:
    assert len(learned(Curve("relu", 1e9, 0), workdir / "kept", 9)) < 9


def test_the_error_is_of_all_images_in_a_full_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure1, "EVALUATED", 7)
    assert training_error(always_first(), few_images()) == 50


def test_an_estimate_stands_for_the_full_pass_while_it_is_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(figure1, "ESTIMATED_FROM", 16)  # every third of the 48
    images = few_images()
    images.labels[:] = 0
    images.labels[[0, 3, 6, 9, 12]] = 1  # 5 of the 16, 5 of all 48
    assert training_error(always_first(), images) == 100 * 5 / 16
    images.labels[12] = 0  # 4 of the 16
    assert training_error(always_first(), images) == 100 * 4 / 48


def always_first() -> torch.nn.Module:
    """A network that gives class 0, of two."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2))
    torch.nn.init.zeros_(network[1].weight)  # type: ignore[arg-type]
    network[1].bias.data = torch.tensor([1.0, 0.0])
    return network


def test_the_command(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "digits",
        "--limit",
        "40",
        "--epochs",
        "1",
        "--seeds",
        "2",
        "-o",
        str(workdir / "f.png"),
    ]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert out.count("epoch 1, training error") == 8
    assert "not measured" in out
    assert (workdir / "f.png").stat().st_size > 5_000
    assert main(arguments) == 0
    assert "epoch 1, training error" not in capsys.readouterr().out
    for wrong, said in (
        (["digits", "--seeds", "0"], "all must be above 0"),
        (["digit"], "no dataset is called 'digit'"),
    ):
        with pytest.raises(SystemExit):
            main(wrong)
        assert said in capsys.readouterr().err
