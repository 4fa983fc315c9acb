"""What the curves of Figure 1 say: a line per curve, the ratio of each seed, and the picture."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import mean, stdev

from benchmarks.figure1_study import ACTIVATIONS, RATES, Study
from benchmarks.figure1_training import TARGET, Curve
from harness.render.text import duration
from pipelines.learned.networks.network import Activation

LINE_STYLES = {"relu": "-", "tanh": "--"}  # as in the paper


def summarize(study: Study, seeds: int) -> list[str]:
    """Return a line per curve, the ratio of each seed and of all, and the caveats."""
    curves = [
        f"  {curve.name:30} {progress(curve):22} {curve.status:11} {duration(curve.seconds)}"
        for curve in study.curves.values()
    ]
    ratio_of_seeds = [ratio_line(study, seed) for seed in range(seeds)]
    return [*curves, *ratio_of_seeds, *mean_ratio(study, seeds), *caveats(study)]


def progress(curve: Curve) -> str:
    """Return when the curve reached the target, or how far it is."""
    if curve.epochs_to_target < math.inf:
        return f"{TARGET:g} % at epoch {curve.epochs_to_target:.2f}"
    return f"{len(curve.errors)} epochs"


def ratio_line(study: Study, seed: int) -> str:
    """Return the line of one seed: its ratio of epochs, a lower bound, or that there is none."""
    relu, tanh = (study.best(activation, seed) for activation in ACTIVATIONS)
    if relu and tanh:
        relu_epochs, tanh_epochs = relu.epochs_to_target, tanh.epochs_to_target
        ratio = tanh_epochs / relu_epochs
        return f"seed {seed}     {tanh_epochs:.2f} / {relu_epochs:.2f} epochs: ratio {ratio:.2f}"
    if relu and (done := epochs_without_target(study, "tanh", seed)):
        bound = done / relu.epochs_to_target
        return (
            f"seed {seed}     tanh has not reached {TARGET:g} % in {done} epochs at the rates "
            f"tried: ratio above {bound:.2f} so far"
        )
    return f"seed {seed}     not measured"


def mean_ratio(study: Study, seeds: int) -> list[str]:
    """Return the line of the mean ratio, or nothing if no seed has one."""
    ratios = []
    for seed in range(seeds):
        relu, tanh = (study.best(activation, seed) for activation in ACTIVATIONS)
        if relu and tanh:
            ratios.append(tanh.epochs_to_target / relu.epochs_to_target)
    if not ratios:
        return []
    spread = "(one seed)"
    if len(ratios) > 1:
        spread = f"+- {stdev(ratios):.2f} (standard deviation over {len(ratios)} seeds)"
    return [
        f"ratio      {mean(ratios):.2f} {spread}; "
        "the paper reports 6 for a network and initial weights that it does not name"
    ]


def caveats(study: Study) -> list[str]:
    """Return notes on best rates at an end of the grid and on rates that have not finished."""
    lines = []
    for activation in ACTIVATIONS:
        best = study.best(activation, 0)
        if best and best.rate in (min(RATES), max(RATES)):
            lines.append(
                f"note       {activation}: the best rate, {best.rate:g}, is at an end of the grid; "
                "a rate beyond it might be faster"
            )
    unfinished = [
        f"{activation} at {rate:g}"
        for activation in ACTIVATIONS
        for rate in RATES
        if is_unfinished(study, activation, rate)
    ]
    if unfinished:
        lines.append(
            f"not run    {', '.join(unfinished)}, seed 0: "
            "an arm without one of its rates may be faster than shown"
        )
    return lines


def epochs_without_target(study: Study, activation: Activation, seed: int) -> int:
    """Return the epochs that every curve still in the race has trained for."""
    still_running = ("epoch limit", "training")
    curves = study.curves_of(activation, seed)
    return min((len(c.errors) for c in curves if c.status in still_running), default=0)


def is_unfinished(study: Study, activation: Activation, rate: float) -> bool:
    curve = study.curves.get((activation, rate, 0))
    return curve is None or curve.status == "training"


def draw(study: Study, path: Path, title: str) -> None:
    """Draw training error by epoch: ReLU solid and tanh dashed as in the paper.

    The best rate of each activation and seed is in full color, the others are pale.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="training error, %", title=title)
    labeled = set()
    for curve in study.curves.values():
        best = study.best(curve.activation, curve.seed)
        is_best = best == curve or best is None
        label = None
        if is_best and curve.activation not in labeled:
            label = f"{curve.activation}, rate {curve.rate:g}"
            labeled.add(curve.activation)
        axes.plot(
            range(1, len(curve.errors) + 1),
            curve.errors,
            LINE_STYLES[curve.activation],
            color=f"C{ACTIVATIONS.index(curve.activation)}",
            alpha=1 if is_best else 0.25,
            label=label,
        )
    axes.axhline(TARGET, color="0.4", linewidth=1, label=f"{TARGET:g} %")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)
