"""The paper's Figure 1: how much faster does a four-layer network learn CIFAR-10 with ReLU than with tanh?

Question   Krizhevsky et al. 2012, section 3.1: "reaches a 25% training error rate on CIFAR-10 six times faster". By what ratio of epochs here?
Arms       ReLU and tanh in cuda-convnet's `19pct` network (three convolutions, one fully connected layer), from the same first weights (its
           file's own: normal, deviations 0.0001 and 0.01), with the same order of images of the same seed; batches of 128, momentum 0.9, a
           learning rate that stays. No regularization of any kind: no weight decay, dropout, crops, mirroring, color noise, normalization.
           `RATES`, four an arm and the same for both, on seed 0; the arm's other seeds take the one of them that was not dropped.
Metric     epochs until the error on all training images, by a full pass after an epoch, is 25 %; between two epochs by a straight line.
           The full pass is left out while 5,000 of the images, the same each time, say that the error is above 30 %: eight standard
           errors of theirs from 25. Their figure then stands for it, where it is the last above 25 too: 0.01 of an epoch at most.
Rule       the rates of an arm take turns, an epoch each. One is dropped once slower: when another of its arm had less error after each of the
           last `SLOWER_FOR` epochs, or is at 25 %. The result is the ratio, tanh to ReLU, of each seed, and its mean and standard deviation
           over seeds. A best rate at an end of the grid is told, as are arms that time or `--epochs` did not suffice for; of these the
           ratio is a bound.

The paper names neither the network nor its first weights: 6 is the figure of one network and one start, with a rate chosen for each arm.
It is no target. Nothing here is to be tuned towards it: another start, scale of pixels or position of the pool gives another ratio.

    python -m benchmarks.figure1 [DATASET] --hours 2 --seeds 3 -o figure1.png

Products are in bfloat16 where the device has it, in the full passes too: after one epoch at 0.003 these told 44.384 %, in float32 44.376 %.
On a CPU each core learns a curve of its own, which uses two of them whole where one step on both gains half as much. An epoch of 50,000
images with its full pass takes 30 s of a core of an AMD EPYC that multiplies bfloat16, 85 s of one that does not. Curves are kept after
every epoch in a JSON file beside the picture, and weights in a folder: the same command goes on where it was stopped or killed. `--hours`
is by the clock, of all that the file took.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

import torch
from torch.nn import functional as F

from harness.data.load import load_dataset
from harness.engine.device import choose_device, describe_machine
from harness.errors import UserError
from harness.files import load_arrays, save_arrays, write_json
from harness.render.text import duration
from pipelines.learned.images import square
from pipelines.learned.memory import kept_memory
from pipelines.learned.networks.cuda_convnet import cuda_convnet
from pipelines.learned.networks.network import Activation, Init
from pipelines.learned.precision import mixed_precision, mixes, wide

ACTIVATIONS: tuple[Activation, Activation] = ("relu", "tanh")
RATES = (0.0003, 0.001, 0.003, 0.01)  # 0.001 is the published one
SIDE = 32  # pixels
BATCH = 128  # images
MOMENTUM = 0.9
INIT: Init = "published"
TARGET = 25.0  # percent of the training images
EVALUATED = 250  # images at once where nothing is learned
FAR = 30.0  # percent; above it an estimate will do
ESTIMATED_FROM = 5_000  # images
SLOWER_FOR = 5  # epochs in a row, after which a rate is dropped

Ended = Literal["reached", "slower", "diverged", "epochs", "under way"]
Arm = tuple[Activation, float, int]  # activation, rate, seed


@dataclass(frozen=True)
class Curve:
    """One training: errors on all training images after each epoch, in percent, and how it ended; see `Study.ended`."""

    activation: Activation
    rate: float
    seed: int
    errors: tuple[float, ...] = ()
    seconds: float = 0.0
    ended: Ended = "under way"

    @property
    def arm(self) -> Arm:
        return self.activation, self.rate, self.seed

    @property
    def name(self) -> str:
        return f"{self.activation}, rate {self.rate:g}, seed {self.seed}"

    @property
    def epochs(self) -> float:
        """Until TARGET, between two epochs by a straight line; infinity where it was not reached."""
        before = 100.0
        for done, error in enumerate(self.errors):
            if error <= TARGET:
                return done + ((before - TARGET) / (before - error) if done else 1.0)
            before = error
        return math.inf


@dataclass(frozen=True)
class Images:
    """pixels uint8 (n, 3, SIDE, SIDE), labels (n,) int64, both on the device; mean (3, SIDE, SIDE) in gray levels."""

    pixels: torch.Tensor
    labels: torch.Tensor
    mean: torch.Tensor
    classes: int

    def inputs(self, index: torch.Tensor | slice) -> torch.Tensor:
        return self.pixels[index].float() - self.mean


def training_errors(curve: Curve, images: Images, kept: Path) -> Iterator[float]:
    """`training_error` after each epoch that `curve` has not yet, for ever; ends where the loss is no longer a
    number. What it takes to go on after a kill is in the file `kept`; without it those epochs are learned again.
    """
    generator = torch.Generator().manual_seed(curve.seed)
    network = cuda_convnet("19pct", classes=images.classes, activation=curve.activation)
    network.initialize(INIT, generator)
    network.to(images.pixels.device)
    groups: list[dict[str, Any]] = [
        {"params": group.parameters, "lr": curve.rate * group.rate} for group in network.groups()
    ]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM)
    errors = resume(kept, network, optimizer, generator) if kept.exists() else []
    yield from errors[len(curve.errors) :]
    while True:
        total = torch.zeros((), device=images.pixels.device)
        for index in (
            torch.randperm(len(images.labels), generator=generator)
            .to(images.pixels.device)
            .split(BATCH)
        ):
            with mixed_precision(images.pixels.device, "auto"):
                logits = network(images.inputs(index))
            loss = F.cross_entropy(wide(logits), images.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        if not math.isfinite(float(total)):
            return
        known = len(errors) < len(curve.errors)
        errors.append(curve.errors[len(errors)] if known else training_error(network, images))
        keep(kept, network, optimizer, generator, errors)
        if not known:
            yield errors[-1]


def keep(
    path: Path,
    network: torch.nn.Module,
    optimizer: torch.optim.SGD,
    generator: torch.Generator,
    errors: list[float],
) -> None:
    """Weights, velocities and the order to come, after so many epochs."""
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


def resume(
    path: Path, network: torch.nn.Module, optimizer: torch.optim.SGD, generator: torch.Generator
) -> list[float]:
    """The errors of the epochs that are done."""
    arrays, facts = load_arrays(path)
    network.load_state_dict({name: arrays[name] for name in network.state_dict()})
    slots = {
        int(name.rpartition(".")[2]): {"momentum_buffer": array}
        for name, array in arrays.items()
        if name.startswith("velocity.")
    }
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
    generator.set_state(arrays["order"])
    return list(json.loads(facts["errors"]))


def training_error(network: torch.nn.Module, images: Images) -> float:
    """In percent over all training images; over ESTIMATED_FROM of them alone where that is above FAR."""
    every = torch.arange(len(images.labels))
    estimate = error_over(every[:: max(1, len(every) // ESTIMATED_FROM)], network, images)
    return (
        estimate
        if estimate > FAR and len(every) > ESTIMATED_FROM
        else error_over(every, network, images)
    )


@torch.inference_mode()
def error_over(index: torch.Tensor, network: torch.nn.Module, images: Images) -> float:
    """In percent over these training images, each as it is: the network has nothing that training and test do differently."""
    wrong = torch.zeros((), dtype=torch.int64, device=images.pixels.device)
    for part in index.to(images.pixels.device).split(EVALUATED):
        with mixed_precision(images.pixels.device, "auto"):
            logits = network(images.inputs(part))
        wrong += (logits.argmax(1) != images.labels[part]).sum()
    return 100 * int(wrong) / len(index)


class Study:
    """The curves so far, kept in `path`, and in a folder beside it what those under way go on from.

    hours   that all of it may take, by the clock
    epochs  that a curve may take
    """

    def __init__(self, path: Path, facts: dict[str, Any], *, hours: float, epochs: int) -> None:
        self.path, self.facts, self.limit, self.epochs = path, facts, 3600 * hours, epochs
        self.curves: dict[Arm, Curve] = {}
        self.seconds = 0.0
        if path.exists():
            self._read()

    def run(self, seeds: int, images: Images, workers: int = 1) -> None:
        """An epoch each of every curve that the rule asks for, `workers` of them side by side. Ends when the time would be over."""
        trainings: dict[Arm, Iterator[float]] = {}
        running: dict[Future[Curve], Arm] = {}
        before, started = self.seconds, time.perf_counter()
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            while True:
                waiting = [curve for curve in self._due(seeds) if curve.arm not in running.values()]
                in_time = self.seconds + self._seconds_of_an_epoch() <= self.limit
                for curve in waiting[: workers - len(running)] if in_time else ():
                    if curve.arm not in trainings:
                        trainings[curve.arm] = training_errors(curve, images, self._kept(curve))
                    running[pool.submit(epoch, curve, trainings[curve.arm])] = curve.arm
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self.curves[running.pop(future)] = future.result()
                self.seconds = before + time.perf_counter() - started
                self._judge()
                self._keep()
        if waiting:
            print("the time is spent", flush=True)

    def best(self, activation: Activation, seed: int) -> Curve | None:
        """The curve that was first at TARGET."""
        there = [curve for curve in self._of_arm(activation, seed) if curve.epochs < math.inf]
        return min(there, key=lambda curve: curve.epochs, default=None)

    def _of_arm(self, activation: Activation, seed: int) -> list[Curve]:
        return [
            curve
            for curve in self.curves.values()
            if (curve.activation, curve.seed) == (activation, seed)
        ]

    def _due(self, seeds: int) -> list[Curve]:
        """Those that have epochs to learn, the one with the fewest first: an arm's rates on seed 0, and once all but one of them are dropped,
        that one on the other seeds.
        """
        due = []
        for activation in ACTIVATIONS:
            rates = [
                self.curves.get((activation, rate, 0), Curve(activation, rate, 0)) for rate in RATES
            ]
            left = [curve for curve in rates if self.ended(curve) in ("under way", "epochs")]
            best = self.best(activation, 0)
            if len(left) + (best is not None) == 1:
                rate = (best or left[0]).rate
                due += [
                    self.curves.get((activation, rate, seed), Curve(activation, rate, seed))
                    for seed in range(1, seeds)
                ]
            due += left
        return sorted(
            (curve for curve in due if self.ended(curve) == "under way"),
            key=lambda curve: len(curve.errors),
        )

    def ended(self, curve: Curve) -> Ended:
        """reached: it is at TARGET; slower: dropped by the rule; epochs: it has done as many as allowed."""
        done = len(curve.errors)
        if curve.ended == "diverged":
            return "diverged"
        if curve.epochs < math.inf:
            return "reached"
        others = [
            other
            for other in self._of_arm(curve.activation, curve.seed)
            if other.ended != "diverged"
        ]
        if any(other.epochs <= done or always_less(other, curve) for other in others):
            return "slower"
        return "epochs" if done >= self.epochs else "under way"

    def _judge(self) -> None:
        self.curves = {
            curve.arm: replace(curve, ended=self.ended(curve)) for curve in self.curves.values()
        }

    def _seconds_of_an_epoch(self) -> float:
        """The mean so far."""
        done = sum(len(curve.errors) for curve in self.curves.values())
        return sum(curve.seconds for curve in self.curves.values()) / max(1, done)

    def _kept(self, curve: Curve) -> Path:
        return (
            self.path.with_suffix("")
            / f"{curve.name.replace(', ', '-').replace(' ', '_')}.safetensors"
        )

    def _keep(self) -> None:
        for curve in self.curves.values():
            if curve.ended not in ("under way", "epochs"):
                self._kept(curve).unlink(missing_ok=True)
        kept = {
            "facts": self.facts,
            "seconds": self.seconds,
            "curves": [asdict(curve) for curve in self.curves.values()],
        }
        write_json(self.path, kept)

    def _read(self) -> None:
        """Raises UserError for a file that is of something else."""
        try:
            kept = json.loads(self.path.read_text())
            curves = [Curve(**{**each, "errors": tuple(each["errors"])}) for each in kept["curves"]]
            facts, self.seconds = kept["facts"], kept["seconds"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.path} cannot be read ({error}); remove it, or give another -o"
            ) from error
        if different := [key for key in self.facts if facts.get(key) != self.facts[key]]:
            told = "; ".join(
                f"{key}: {facts.get(key)} there, {self.facts[key]} now" for key in different
            )
            raise UserError(f"{self.path} is of another study ({told}); give another -o")
        self.curves = {curve.arm: curve for curve in curves}


def epoch(curve: Curve, training: Iterator[float]) -> Curve:
    """The curve with one epoch more."""
    started = time.perf_counter()
    error = next(training, None)
    curve = replace(curve, seconds=curve.seconds + time.perf_counter() - started)
    curve = (
        replace(curve, ended="diverged")
        if error is None
        else replace(curve, errors=(*curve.errors, error))
    )
    told = "diverged" if error is None else f"training error {error:.2f} %"
    print(f"{curve.name}: epoch {len(curve.errors)}, {told}, {duration(curve.seconds)}", flush=True)
    return curve


def always_less(one: Curve, other: Curve) -> bool:
    """Had `one` less error than `other` after each of the last SLOWER_FOR epochs that `other` did?"""
    last = slice(max(0, len(other.errors) - SLOWER_FOR), len(other.errors))
    pairs = list(zip(one.errors[last], other.errors[last], strict=False))
    return len(pairs) == SLOWER_FOR and all(a < b for a, b in pairs)


def findings(study: Study, seeds: int) -> list[str]:
    """A line a curve, the ratio of each seed, and what to know of them."""
    lines = [
        f"  {curve.name:30} {arrival(curve):22} {curve.ended:10} {duration(curve.seconds)}"
        for curve in study.curves.values()
    ]
    ratios = []
    for seed in range(seeds):
        relu, tanh = (study.best(activation, seed) for activation in ACTIVATIONS)
        if relu and tanh:
            ratios.append(tanh.epochs / relu.epochs)
            lines.append(
                f"seed {seed}     {tanh.epochs:.2f} / {relu.epochs:.2f} epochs: ratio {ratios[-1]:.2f}"
            )
        elif relu and (done := done_by_all(study, "tanh", seed)):
            lines.append(
                f"seed {seed}     tanh has not arrived in {done} epochs at the rates tried: ratio above {done / relu.epochs:.2f}, so far"
            )
        else:
            lines.append(f"seed {seed}     not measured")
    if ratios:
        spread = (
            f" +- {stdev(ratios):.2f} (standard deviation over {len(ratios)} seeds)"
            if len(ratios) > 1
            else " (one seed)"
        )
        lines.append(
            f"ratio      {mean(ratios):.2f}{spread}; the paper's figure is 6, of a network and a start that it does not name"
        )
    for activation in ACTIVATIONS:
        best = study.best(activation, 0)
        if best and best.rate in (min(RATES), max(RATES)):
            lines.append(
                f"note       {activation}: the best rate, {best.rate:g}, is an end of the grid: one beyond it might be faster"
            )
    missing = [
        f"{activation} at {rate:g}"
        for activation in ACTIVATIONS
        for rate in RATES
        if unfinished(study, activation, rate)
    ]
    return [
        *lines,
        *(
            [
                f"not run    {', '.join(missing)}, seed 0: an arm that lacks a rate may be faster than it seems"
            ]
            if missing
            else []
        ),
    ]


def arrival(curve: Curve) -> str:
    return (
        f"{TARGET:g} % at epoch {curve.epochs:.2f}"
        if curve.epochs < math.inf
        else f"{len(curve.errors)} epochs"
    )


def done_by_all(study: Study, activation: Activation, seed: int) -> int:
    """Epochs that every curve of the arm has done, but those that diverged or were dropped."""
    arm = [c for c in study.curves.values() if (c.activation, c.seed) == (activation, seed)]
    return min(
        (len(curve.errors) for curve in arm if curve.ended in ("epochs", "under way")), default=0
    )


def unfinished(study: Study, activation: Activation, rate: float) -> bool:
    curve = study.curves.get((activation, rate, 0))
    return curve is None or curve.ended == "under way"


def draw(study: Study, path: Path, title: str) -> None:
    """Training error by epoch: the best rate of each arm and seed in color, ReLU solid and tanh dashed as in the paper, the others pale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="training error, %", title=title)
    labeled = set()
    for curve in study.curves.values():
        best = study.best(curve.activation, curve.seed)
        color, style = (
            f"C{ACTIVATIONS.index(curve.activation)}",
            {"relu": "-", "tanh": "--"}[curve.activation],
        )
        chosen = best == curve or best is None
        label = (
            f"{curve.activation}, rate {curve.rate:g}"
            if chosen and curve.activation not in labeled
            else None
        )
        labeled |= {curve.activation} if chosen else set()
        axes.plot(
            range(1, len(curve.errors) + 1),
            curve.errors,
            style,
            color=color,
            alpha=1 if chosen else 0.25,
            label=label,
        )
    axes.axhline(TARGET, color="0.4", linewidth=1, label=f"{TARGET:g} %")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def load(dataset: str, data_root: Path | None, limit: int | None) -> tuple[Images, dict[str, Any]]:
    """The training images, and what tells the study from others."""
    splits = load_dataset(dataset, tune=0, limit=limit, data_root=data_root)
    train, device = splits.train, choose_device("auto")
    pixels = torch.cat([square(batch.images, SIDE) for batch in train.batches(EVALUATED)])
    facts = {
        "title": splits.title,
        "images": len(train),
        "digest": train.digest,
        "rates": list(RATES),
        "batch": BATCH,
        "momentum": MOMENTUM,
        "init": INIT,
        "estimates": f"of {ESTIMATED_FROM} images above {FAR:g} %",
        "products": "bfloat16" if mixes(device, "auto") else "float32",
    }
    average = pixels.double().mean(0).float()
    return Images(
        pixels.to(device),
        torch.from_numpy(train.labels).to(device),
        average.to(device),
        train.num_classes,
    ), facts


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "dataset", nargs="?", default="cifar10", help="spec or path of images, brought to 32 pixels"
    )
    parser.add_argument("--data-root", type=Path)
    parser.add_argument(
        "--limit", type=int, help="training images, class-balanced: for trying it out"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--hours", type=float, default=2.0, help="by the clock (default: %(default)s)"
    )
    parser.add_argument(
        "--epochs", type=int, default=60, help="of one curve at most (default: %(default)s)"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("figure1.png"))
    given = parser.parse_args(arguments)
    if given.seeds < 1 or given.epochs < 1 or given.hours <= 0:
        parser.error(
            f"--seeds {given.seeds} --epochs {given.epochs} --hours {given.hours}: all must be above 0"
        )
    try:
        images, facts = load(given.dataset, given.data_root, given.limit)
        study = Study(
            given.output.with_suffix(".json"), facts, hours=given.hours, epochs=given.epochs
        )
    except UserError as error:
        parser.error(str(error))
    machine = describe_machine(images.pixels.device, 1)
    workers = machine["cores"] if images.pixels.device.type == "cpu" else 1
    print(
        f"{facts['title']}, {facts['images']:,} training images; {machine['cpu']}, {machine['cores']} cores, {machine['device']}"
    )
    try:
        with kept_memory(images.pixels.device):
            study.run(given.seeds, images, workers)
    except KeyboardInterrupt:
        print("stopped    the same command goes on", flush=True)
    print("\n".join(findings(study, given.seeds)))
    if study.curves:
        draw(
            study,
            given.output,
            f"{facts['title']}, {facts['images']:,} training images, no regularization",
        )
        print(f"picture    {given.output}, curves in {study.path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
