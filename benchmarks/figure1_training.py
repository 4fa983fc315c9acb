"""Train the network of Figure 1 for one curve: training error after each epoch, resumable."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch.nn import functional as F

from harness.files import load_arrays, save_arrays
from pipelines.learned.networks.cuda_convnet import cuda_convnet
from pipelines.learned.networks.network import Activation, Init
from pipelines.learned.precision import at_least_float32, mixed_precision

BATCH = 128  # images
MOMENTUM = 0.9
INIT: Init = "published"
TARGET = 25.0  # percent of the training images
EVALUATION_BATCH = 250  # images
FULL_PASS_BELOW = 30.0  # percent; above it, an estimate from a part of the images is enough
ESTIMATE_IMAGES = 5_000

Status = Literal["training", "reached", "slower", "diverged", "epoch limit"]
CurveKey = tuple[Activation, float, int]  # activation, learning rate, seed


@dataclass(frozen=True)
class Curve:
    """One training.

    Parameters
    ----------
    rate : float
        Learning rate, constant.
    errors : tuple of float
        Error on all training images after each epoch, in percent.
    seconds : float
        Time spent so far.
    status : Status
        See `Study.status_of`.
    """

    activation: Activation
    rate: float
    seed: int
    errors: tuple[float, ...] = ()
    seconds: float = 0.0
    status: Status = "training"

    @property
    def key(self) -> CurveKey:
        return self.activation, self.rate, self.seed

    @property
    def name(self) -> str:
        return f"{self.activation}, rate {self.rate:g}, seed {self.seed}"

    @property
    def epochs_to_target(self) -> float:
        """Epochs until TARGET, interpolated linearly; infinity if it was not reached."""
        previous = 100.0
        for done, error in enumerate(self.errors):
            if error <= TARGET:
                return done + ((previous - TARGET) / (previous - error) if done else 1.0)
            previous = error
        return math.inf


@dataclass(frozen=True)
class TrainingImages:
    """The training set on the device.

    Parameters
    ----------
    pixels : (n, 3, height, width) uint8
    labels : (n,) int64
    mean : (3, height, width) float32
        The mean image, in gray levels.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    mean: torch.Tensor
    classes: int

    def inputs(self, index: torch.Tensor | slice) -> torch.Tensor:
        """Return these images minus the mean image, float32."""
        return self.pixels[index].float() - self.mean


def training_errors(curve: Curve, images: TrainingImages, checkpoint: Path) -> Iterator[float]:
    """Yield the training error after each epoch that `curve` does not have yet.

    The iterator is endless unless the loss stops being finite. It continues from the file
    `checkpoint`; without that file the epochs are trained again.
    """
    generator = torch.Generator().manual_seed(curve.seed)
    network = cuda_convnet("19pct", num_classes=images.classes, activation=curve.activation)
    network.initialize(INIT, generator)
    network.to(images.pixels.device)
    groups: list[dict[str, Any]] = [
        {"params": group.parameters, "lr": curve.rate * group.lr_factor}
        for group in network.parameter_groups()
    ]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM)
    errors: list[float] = []
    if checkpoint.exists():
        errors = restore_checkpoint(checkpoint, network, optimizer, generator)
    yield from errors[len(curve.errors) :]
    while True:
        loss = train_epoch(network, optimizer, images, generator)
        if not math.isfinite(loss):
            return
        is_known = len(errors) < len(curve.errors)
        errors.append(curve.errors[len(errors)] if is_known else training_error(network, images))
        save_checkpoint(checkpoint, network, optimizer, generator, errors)
        if not is_known:
            yield errors[-1]


def train_epoch(
    network: torch.nn.Module,
    optimizer: torch.optim.SGD,
    images: TrainingImages,
    generator: torch.Generator,
) -> float:
    """Train on every image once, in random order, and return the sum of the losses of batches."""
    total = torch.zeros((), device=images.pixels.device)
    order = torch.randperm(len(images.labels), generator=generator).to(images.pixels.device)
    for index in order.split(BATCH):
        with mixed_precision(images.pixels.device, "auto"):
            logits = network(images.inputs(index))
        loss = F.cross_entropy(at_least_float32(logits), images.labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return float(total)


def save_checkpoint(
    path: Path,
    network: torch.nn.Module,
    optimizer: torch.optim.SGD,
    generator: torch.Generator,
    errors: list[float],
) -> None:
    """Save weights, velocities, the state of the random order and the errors so far."""
    velocities = {
        f"velocity.{i}": slot["momentum_buffer"]
        for i, slot in optimizer.state_dict()["state"].items()
    }
    path.parent.mkdir(exist_ok=True)
    save_arrays(
        path,
        {**network.state_dict(), **velocities, "order": generator.get_state()},
        {"errors": json.dumps(errors)},
    )


def restore_checkpoint(
    path: Path, network: torch.nn.Module, optimizer: torch.optim.SGD, generator: torch.Generator
) -> list[float]:
    """Restore what `save_checkpoint` saved and return the errors of the epochs done."""
    arrays, header = load_arrays(path)
    network.load_state_dict({name: arrays[name] for name in network.state_dict()})
    slots = {
        int(name.rpartition(".")[2]): {"momentum_buffer": array}
        for name, array in arrays.items()
        if name.startswith("velocity.")
    }
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
    generator.set_state(arrays["order"])
    return list(json.loads(header["errors"]))


def training_error(network: torch.nn.Module, images: TrainingImages) -> float:
    """Return the error on all training images in percent, or its estimate.

    The estimate is from ESTIMATE_IMAGES images, and stands while it is above FULL_PASS_BELOW.
    """
    index = torch.arange(len(images.labels))
    stride = max(1, len(index) // ESTIMATE_IMAGES)
    estimate = error_on(index[::stride], network, images)
    if estimate > FULL_PASS_BELOW and len(index) > ESTIMATE_IMAGES:
        return estimate
    return error_on(index, network, images)


@torch.inference_mode()
def error_on(index: torch.Tensor, network: torch.nn.Module, images: TrainingImages) -> float:
    """Return the error on these training images in percent.

    The network has no layer that behaves differently in training, so it needs no `eval()`.
    """
    wrong = torch.zeros((), dtype=torch.int64, device=images.pixels.device)
    for batch in index.to(images.pixels.device).split(EVALUATION_BATCH):
        with mixed_precision(images.pixels.device, "auto"):
            logits = network(images.inputs(batch))
        wrong += (logits.argmax(1) != images.labels[batch]).sum()
    return 100 * int(wrong) / len(index)
