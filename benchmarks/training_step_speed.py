"""How fast is a training step of the full network, and what does its normalization cost?

Question  images/s of a step (forward, loss, backward, update) of `alexnet` on crops of 224 pixels
          with 1,000 classes.
Arms      Ours; the same network of stock parts (nn.LocalResponseNorm, nn.Dropout, channels first,
          torch.optim.SGD); ours without normalization (lrn=false). If the device trains in
          bfloat16, also ours and lrn=false in bfloat16. Each arm has its own process, since ours
          keeps freed memory as training does; one works at a time, round by round.
Rule      In float32, ours processes at least 1.7 times the images/s of the stock arm and takes at
          most 1.10 times as long as without normalization; medians of the ratios of rounds.

    python -m benchmarks.training_step_speed [--batch 128] [--device cpu]

Before any timing, losses and gradients of the first two arms are compared: without dropout, whose
random numbers differ, and in float64, since in float32 the largest value of a pooling window may be
another one where two are nearly equal, and its gradient then flows elsewhere.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.command_line import argument_parser
from benchmarks.timing import median_ratio, timed
from harness.engine.device import choose_device, describe_machine, synchronize
from harness.errors import UserError
from pipelines.alexnet import build
from pipelines.learned.batch_noise import BatchNoise
from pipelines.learned.layers import Dropout
from pipelines.learned.malloc import keep_freed_memory
from pipelines.learned.networks.network import Network
from pipelines.learned.normalization import LocalResponseNorm
from pipelines.learned.optimizers import Optimizer
from pipelines.learned.precision import Precision, at_least_float32, mixed_precision, uses_bfloat16
from pipelines.learned.recipe import RECIPE_2012

CLASSES, SIDE = 1000, 256
COMPARED_IMAGES = 4
TOLERANCE = 1e-9  # relative, of the loss and of the norm of each gradient
MIN_SPEEDUP, MAX_NORM_COST = 1.7, 1.10
ARMS = ("ours", "stock", "lrn=false")
BFLOAT16_ARMS = ("ours, bfloat16", "lrn=false, bfloat16")
Step = Callable[[], None]


class StockNorm(nn.Module):
    """nn.LocalResponseNorm within each column, with our alpha (torch divides it by the window).

    A column is a view, since its feature maps are adjacent in memory.
    """

    def __init__(self, ours: LocalResponseNorm) -> None:
        super().__init__()
        self.columns = ours.columns
        alpha = ours.n * ours.alpha
        self.norm = nn.LocalResponseNorm(ours.n, alpha=alpha, beta=ours.beta, k=ours.k)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        n, channels, height, width = images.shape
        columns = images.view(n * self.columns, channels // self.columns, height, width)
        return self.norm(columns).view(n, channels, height, width)


def stock_network(network: Network) -> nn.Sequential:
    """Return a network of stock layers with the same weights."""

    def stock_layer(layer: nn.Module) -> nn.Module:
        if isinstance(layer, LocalResponseNorm):
            return StockNorm(layer)
        return nn.Dropout(layer.p) if isinstance(layer, Dropout) else deepcopy(layer)

    return nn.Sequential(*(stock_layer(layer) for layer in network.children()))


def our_network(**options: Any) -> Network:
    network: Network = build(**options).design.network(CLASSES, SIDE)  # type: ignore[attr-defined]
    network.initialize("published", torch.Generator().manual_seed(0))
    return network


def compare_gradients(images: torch.Tensor, labels: torch.Tensor) -> str:
    """Return the largest difference of the two networks' gradients; exit if it is too large."""
    images = images.double()
    ours = our_network(dropout=0.0).double()
    stock = stock_network(ours)
    loss = F.cross_entropy(ours(images, BatchNoise(torch.Generator(), len(images))), labels)
    stock_loss = F.cross_entropy(stock(images), labels)
    loss.backward()
    stock_loss.backward()
    differences = {"loss": float((loss - stock_loss).detach().abs() / stock_loss.detach())}
    for (name, p), q in zip(ours.named_parameters(), stock.parameters(), strict=True):
        assert p.grad is not None
        assert q.grad is not None
        differences[name] = float((p.grad - q.grad).norm() / q.grad.norm())
    worst = max(differences, key=lambda name: differences[name])
    text = (
        f"loss {float(loss.detach()):.6f}; largest relative difference of loss and gradients "
        f"{differences[worst]:.1e} ({worst})"
    )
    if differences[worst] > TOLERANCE:
        sys.exit(f"our network and the stock one differ: {text}")
    return text


def make_our_step(
    images: torch.Tensor, labels: torch.Tensor, *, lrn: bool, precision: Precision
) -> Step:
    network = our_network(lrn=lrn).to(images.device)
    optimizer = Optimizer(network, RECIPE_2012)
    noise = BatchNoise(torch.Generator(images.device).manual_seed(0), len(images))

    def step() -> None:
        with mixed_precision(images.device, precision):
            logits = at_least_float32(network(images, noise))
        F.cross_entropy(logits, labels).backward()
        optimizer.step(RECIPE_2012.lr)

    return step


def make_stock_step(images: torch.Tensor, labels: torch.Tensor) -> Step:
    recipe, network = RECIPE_2012, stock_network(our_network()).to(images.device)
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay
    )

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()

    return step


def serve_steps(arm: str, batch: int, device: torch.device, requests: Connection) -> None:
    """Do a step and answer with its seconds for every true request, in a worker process."""
    choose_device(str(device))  # the settings that a run has
    images, labels = (tensor.to(device) for tensor in random_batch(batch))
    is_stock = arm == "stock"
    if is_stock:
        step = make_stock_step(images, labels)
    else:
        precision: Precision = "auto" if arm in BFLOAT16_ARMS else "float32"
        step = make_our_step(images, labels, lrn=arm.startswith("ours"), precision=precision)

    def synchronized_step() -> None:
        step()
        synchronize(device)

    with nullcontext() if is_stock else keep_freed_memory(images.device):
        while requests.recv():
            requests.send(timed(synchronized_step))


def random_batch(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (n, 3, 224, 224) of gray levels minus their mean, and labels."""
    random = torch.Generator().manual_seed(1)
    images = 60 * torch.randn(n, 3, 224, 224, generator=random)
    return images, torch.randint(CLASSES, (n,), generator=random)


def time_arms(
    arms: tuple[str, ...], batch: int, device: torch.device, rounds: int
) -> dict[str, list[float]]:
    """Return the seconds of each arm's steps over `rounds` rounds, after one that warms up."""
    context, pipes = multiprocessing.get_context("spawn"), {}
    for arm in arms:
        pipes[arm], other_end = context.Pipe()
        arguments = arm, batch, device, other_end
        context.Process(target=serve_steps, args=arguments, daemon=True).start()
    seconds: dict[str, list[float]] = {arm: [] for arm in arms}
    for number in range(rounds + 1):
        for arm, pipe in pipes.items():
            pipe.send(True)
            seconds[arm].append(pipe.recv())
        latest = ", ".join(f"{arm} {steps[-1]:.4f} s" for arm, steps in seconds.items())
        print(f"round {number}    {latest}", flush=True)
    for arm, pipe in pipes.items():
        pipe.send(False)
        del seconds[arm][0]
    return seconds


def report(seconds: dict[str, list[float]], batch: int) -> bool:
    """Print rates and ratios and return whether they are as required."""
    for arm, steps in seconds.items():
        median = statistics.median(steps)
        print(f"{arm:19} {median:8.4f} s per step, {batch / median:8.1f} images/s")
    ours = seconds["ours"]
    speedup = median_ratio(seconds["stock"], ours)
    norm_cost = median_ratio(ours, seconds["lrn=false"])
    print(
        f"ours is {speedup:.2f} times as fast as stock parts (required: {MIN_SPEEDUP}) and takes "
        f"{norm_cost:.3f} times as long as lrn=false (allowed: {MAX_NORM_COST:.2f})"
    )
    if BFLOAT16_ARMS[0] in seconds:
        bfloat16, without_norm = (seconds[arm] for arm in BFLOAT16_ARMS)
        print(
            f"in bfloat16 ours is {median_ratio(ours, bfloat16):.2f} times as fast as in float32 "
            f"and takes {median_ratio(bfloat16, without_norm):.3f} times as long as lrn=false"
        )
    return speedup >= MIN_SPEEDUP and norm_cost <= MAX_NORM_COST


def parse_arguments() -> tuple[argparse.Namespace, torch.device]:
    parser = argument_parser(__doc__)
    parser.add_argument("--batch", type=int, default=128, help="images")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    arguments = parser.parse_args()
    try:
        return arguments, choose_device(arguments.device)
    except UserError as error:
        parser.error(str(error))


def main() -> None:
    arguments, device = parse_arguments()
    print(f"equal      {compare_gradients(*random_batch(COMPARED_IMAGES))}", flush=True)
    arms = (*ARMS, *BFLOAT16_ARMS) if uses_bfloat16(device, "auto") else ARMS
    seconds = time_arms(arms, arguments.batch, device, arguments.rounds)
    machine = describe_machine(device, 1)
    print(
        f"batch {arguments.batch}, {torch.get_num_threads()} threads, {machine['cpu']}, device "
        f"{machine['device']}, medians of {arguments.rounds} rounds"
    )
    sys.exit(not report(seconds, arguments.batch))


if __name__ == "__main__":
    main()
