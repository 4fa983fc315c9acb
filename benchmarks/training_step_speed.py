"""How fast is a training step of the full network, and what does its normalization cost? `python -m benchmarks.training_step [--batch 128] [--device cpu]`

Question  images/s of a step (forward, loss, backward, update) of `alexnet` on crops of 224 pixels, 1,000 classes
Arms      ours; the same network of stock parts: nn.LocalResponseNorm, nn.Dropout, memory as images come (channels first), torch.optim.SGD;
          ours without normalization (lrn=false). Where the device multiplies bfloat16, in which it then trains, also ours and lrn=false
          in that. Each in a process of its own, since ours keeps memory as training does (`kept_memory`); one works at a time, round
          by round
Decision  in float32, ours at 1.7 times the images/s of the stock arm or more, and in 1.10 times the time of the arm without normalization or
          less; medians of the ratios of rounds
Before anything is timed, losses and gradients of the first two are compared, without dropout, whose random numbers differ; in float64, since
in float32 the largest value of a pooling window may be another one where two are nearly equal, and its gradient then goes elsewhere.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from harness.engine.device import choose_device, describe_machine, synchronize
from harness.errors import UserError
from pipelines.alexnet import build
from pipelines.learned.layers import Dropout
from pipelines.learned.memory import kept_memory
from pipelines.learned.networks.network import Network
from pipelines.learned.noise import BatchNoise
from pipelines.learned.normalization import LocalResponseNorm
from pipelines.learned.optimizers import Optimizer
from pipelines.learned.precision import Precision, mixed_precision, mixes, wide
from pipelines.learned.recipe import RECIPE_2012

CLASSES, SIDE, CHECKED = 1000, 256, 4  # CHECKED images are compared
TOLERANCE = 1e-9  # of the loss, and of the norm of each gradient
ARMS = ("ours", "stock", "lrn=false")
MIXED_ARMS = ("ours, bfloat16", "lrn=false, bfloat16")
Step = Callable[[], None]


class StockNorm(nn.Module):
    """nn.LocalResponseNorm, which divides alpha by the window, within each column: a view where maps lie one after the other."""

    def __init__(self, ours: LocalResponseNorm) -> None:
        super().__init__()
        self.columns = ours.columns
        self.norm = nn.LocalResponseNorm(
            ours.n, alpha=ours.n * ours.alpha, beta=ours.beta, k=ours.k
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        n, channels, height, width = images.shape
        columns = images.view(n * self.columns, channels // self.columns, height, width)
        return self.norm(columns).view(n, channels, height, width)


def stock(network: Network) -> nn.Sequential:
    """The same layers with the same weights, of stock parts."""

    def part(layer: nn.Module) -> nn.Module:
        if isinstance(layer, LocalResponseNorm):
            return StockNorm(layer)
        return nn.Dropout(layer.p) if isinstance(layer, Dropout) else deepcopy(layer)

    return nn.Sequential(*(part(layer) for layer in network.children()))


def network(**options: Any) -> Network:
    made: Network = build(**options).design.network(CLASSES, SIDE)  # type: ignore[attr-defined]
    made.initialize("published", torch.Generator().manual_seed(0))
    return made


def check(images: torch.Tensor, labels: torch.Tensor) -> str:
    """Exits where losses or gradients of our network and the stock one differ."""
    images = images.double()
    ours = network(dropout=0.0).double()
    other = stock(ours)
    loss = F.cross_entropy(ours(images, BatchNoise(torch.Generator(), len(images))), labels)
    stock_loss = F.cross_entropy(other(images), labels)
    loss.backward()
    stock_loss.backward()
    differences = {"loss": float((loss - stock_loss).detach().abs() / stock_loss.detach())}
    for (name, p), q in zip(ours.named_parameters(), other.parameters(), strict=True):
        assert p.grad is not None
        assert q.grad is not None
        differences[name] = float((p.grad - q.grad).norm() / q.grad.norm())
    worst = max(differences, key=lambda name: differences[name])
    line = f"loss {float(loss.detach()):.6f}; largest relative difference of it and of the gradients {differences[worst]:.1e} ({worst})"
    if differences[worst] > TOLERANCE:
        sys.exit(f"ours and the stock network differ: {line}")
    return line


def our_step(
    images: torch.Tensor, labels: torch.Tensor, *, lrn: bool, precision: Precision
) -> Step:
    ours = network(lrn=lrn).to(images.device)
    optimizer = Optimizer(ours, RECIPE_2012)
    noise = BatchNoise(torch.Generator(images.device).manual_seed(0), len(images))

    def step() -> None:
        with mixed_precision(images.device, precision):
            logits = wide(ours(images, noise))
        F.cross_entropy(logits, labels).backward()
        optimizer.step(RECIPE_2012.rate)

    return step


def stock_step(images: torch.Tensor, labels: torch.Tensor) -> Step:
    recipe, other = RECIPE_2012, stock(network()).to(images.device)
    optimizer = torch.optim.SGD(
        other.parameters(), recipe.rate, recipe.momentum, weight_decay=recipe.weight_decay
    )

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(other(images), labels).backward()
        optimizer.step()

    return step


def work(arm: str, batch: int, device: torch.device, asked: Connection) -> None:
    """Does a step, and answers with its seconds, each time that it is asked to."""
    choose_device(str(device))  # its settings are those of a run
    images, labels = (part.to(device) for part in batch_of(batch))
    if arm == "stock":
        step = stock_step(images, labels)
    else:
        step = our_step(
            images,
            labels,
            lrn=arm.startswith("ours"),
            precision="auto" if arm in MIXED_ARMS else "float32",
        )
    with nullcontext() if arm == "stock" else kept_memory(images.device):
        while asked.recv():
            started = time.perf_counter()
            step()
            synchronize(device)
            asked.send(time.perf_counter() - started)


def batch_of(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (n, 3, 224, 224) of gray levels less their mean, and labels."""
    random = torch.Generator().manual_seed(1)
    return 60 * torch.randn(n, 3, 224, 224, generator=random), torch.randint(
        CLASSES, (n,), generator=random
    )


def ratio(times: list[float], others: list[float]) -> float:
    """The median of the ratios of rounds."""
    return statistics.median(a / b for a, b in zip(times, others, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    try:
        device = choose_device(arguments.device)
    except UserError as error:
        parser.error(str(error))
    print(f"equal      {check(*batch_of(CHECKED))}", flush=True)
    arms = (*ARMS, *MIXED_ARMS) if mixes(device, "auto") else ARMS
    times: dict[str, list[float]] = {arm: [] for arm in arms}
    context, pipes = multiprocessing.get_context("spawn"), {}
    for arm in arms:
        pipes[arm], theirs = context.Pipe()
        context.Process(
            target=work, args=(arm, arguments.batch, device, theirs), daemon=True
        ).start()
    for number in range(arguments.rounds + 1):  # the first warms up
        for arm, pipe in pipes.items():
            pipe.send(True)
            times[arm].append(pipe.recv())
        print(
            f"round {number}    "
            + ", ".join(f"{arm} {taken[-1]:.4f} s" for arm, taken in times.items()),
            flush=True,
        )
    for arm, pipe in pipes.items():
        pipe.send(False)
        del times[arm][0]
    faster, cost = ratio(times["stock"], times["ours"]), ratio(times["ours"], times["lrn=false"])
    machine = describe_machine(device, 1)
    print(
        f"batch {arguments.batch}, {torch.get_num_threads()} threads, {machine['cpu']}, device {machine['device']}, medians of {arguments.rounds} rounds"
    )
    for arm, taken in times.items():
        print(
            f"{arm:19} {statistics.median(taken):8.4f} s a step, {arguments.batch / statistics.median(taken):8.1f} images/s"
        )
    print(
        f"ours is {faster:.2f} times as fast as stock parts (at least 1.7 asked) and takes {cost:.3f} times lrn=false (at most 1.10 asked)"
    )
    if arms != ARMS:
        mixed, plain = (times[arm] for arm in MIXED_ARMS)
        print(
            f"in bfloat16 ours is {ratio(times['ours'], mixed):.2f} times as fast again and takes {ratio(mixed, plain):.3f} times lrn=false"
        )
    sys.exit(faster < 1.7 or cost > 1.10)


if __name__ == "__main__":
    main()
