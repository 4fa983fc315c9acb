"""Draw the curves of finished runs: top-1 error on train and tune by epoch, and a run without epochs as a line across.

python -m benchmarks.curves RUN... -o curves.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from harness.contract import Result
from harness.record import Runs
from harness.settings import load_settings


def draw(results: Sequence[Result], path: Path) -> None:
    """One panel; errors in percent. Hand-crafted runs have no epochs: their tune error is a dashed line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(
        xlabel="epoch", ylabel="top-1 error, %", title=f"{results[0].title}, tune split of {results[0].n_tune:,} images"
    )
    for number, result in enumerate(results):
        colour, label = f"C{number}", f"{result.name}, seed {result.seed}"
        if "train/top1_error" in result.curves:
            for curve, style in (("train/top1_error", ":"), ("val/top1_error", "-")):
                steps, errors = zip(*result.curves[curve], strict=True)
                where = "train (augmented, running)" if style == ":" else "tune, one view"
                axes.plot([step + 1 for step in steps], errors, style, color=colour, label=f"{label}: {where}")
        elif result.tune_top1_error is not None:
            axes.axhline(result.tune_top1_error, linestyle="--", color=colour, label=f"{label}: tune")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("-o", "--output", type=Path, default=Path("curves.png"))
    arguments = parser.parse_args()
    runs = Runs(load_settings().runs)
    draw([runs.find(run).result for run in arguments.runs], arguments.output)


if __name__ == "__main__":
    main()
