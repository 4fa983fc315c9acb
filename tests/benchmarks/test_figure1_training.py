"""The network learns a few images, resumes exactly, and its error is measured as documented."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import figure1_training
from benchmarks.figure1_study import ACTIVATIONS
from benchmarks.figure1_training import Curve, training_error, training_errors
from harness.files import load_arrays
from pipelines.learned.networks.cuda_convnet import cuda_convnet
from tests.benchmarks.striped_images import striped_images


@pytest.fixture
def fast_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use small batches and initial weights with which few epochs are enough."""
    monkeypatch.setattr(figure1_training, "INIT", "he")
    monkeypatch.setattr(figure1_training, "BATCH", 8)


def train(curve: Curve, checkpoint: Path, epochs: int, images: int = 48) -> list[float]:
    errors = training_errors(curve, striped_images(images), checkpoint)
    return list(itertools.islice(errors, epochs))


@pytest.mark.parametrize(
    ("errors", "epochs"),
    [
        ((80, 50, 30, 20), 3.5),
        ((20,), 1),
        ((60, 25, 10), 2),
        ((60, 40), float("inf")),
        ((), float("inf")),
    ],
)
def test_epochs_to_the_target_are_interpolated(errors: tuple[float, ...], epochs: float) -> None:
    assert Curve("relu", 0.001, 0, errors).epochs_to_target == epochs


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_few_images_are_memorized(activation: str, fast_learning: None, workdir: Path) -> None:
    curve = Curve(activation, 0.0003, 0)
    assert min(train(curve, workdir / "checkpoint", epochs=6)) < 10


def test_a_training_is_determined_by_its_seed(fast_learning: None, workdir: Path) -> None:
    for name, seed in (("first", 0), ("same", 0), ("other", 1)):
        train(Curve("relu", 0.0003, seed), workdir / name, epochs=2, images=24)
    first, same, other = (load_arrays(workdir / name)[0] for name in ("first", "same", "other"))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if "weight" in name)


def test_a_training_resumes_from_its_checkpoint(fast_learning: None, workdir: Path) -> None:
    """A study killed after three epochs may have saved the errors of any number of them.

    Without the checkpoint, the epochs are trained again.
    """
    curve, images = Curve("tanh", 0.0003, 0), 24
    uninterrupted = train(curve, workdir / "uninterrupted", 4, images)
    train(curve, workdir / "killed", 2, images)
    expected = load_arrays(workdir / "uninterrupted")[0]
    for known in (0, 1, 2):
        checkpoint = workdir / f"resumed-{known}"
        checkpoint.write_bytes((workdir / "killed").read_bytes())
        resumed = replace(curve, errors=tuple(uninterrupted[:known]))
        assert train(resumed, checkpoint, 4 - known, images) == uninterrupted[known:]
        arrays = load_arrays(checkpoint)[0]
        assert arrays.keys() == expected.keys()
        assert all(torch.equal(arrays[name], expected[name]) for name in arrays)
    resumed = replace(curve, errors=tuple(uninterrupted[:1]))
    assert train(resumed, workdir / "no checkpoint", 3, images) == uninterrupted[1:]


def test_a_diverging_training_ends(workdir: Path) -> None:
    assert len(train(Curve("relu", 1e9, 0), workdir / "checkpoint", epochs=9)) < 9


def test_the_network_has_no_layer_that_regularizes() -> None:
    network = cuda_convnet("19pct", num_classes=10, activation="tanh")
    kinds = {type(layer).__name__ for layer in network.children()}
    assert kinds == {"CeilConv2d", "MaxPool2d", "AvgPool2d", "Tanh", "Flatten", "Linear"}


def constant_network() -> torch.nn.Module:
    """Return a network that always predicts class 0 of two."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2))
    torch.nn.init.zeros_(network[1].weight)
    network[1].bias.data = torch.tensor([1.0, 0.0])
    return network


def test_a_full_pass_counts_all_images_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure1_training, "EVALUATION_BATCH", 7)
    assert training_error(constant_network(), striped_images()) == 50


def test_an_estimate_is_enough_far_above_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure1_training, "ESTIMATE_IMAGES", 16)  # every third of the 48
    images = striped_images()
    images.labels[:] = 0
    images.labels[[0, 3, 6, 9, 12]] = 1  # 5 of the 16, and 5 of all 48
    assert training_error(constant_network(), images) == 100 * 5 / 16
    images.labels[12] = 0  # 4 of the 16 are 25 %: close enough for a full pass
    assert training_error(constant_network(), images) == 100 * 4 / 48
