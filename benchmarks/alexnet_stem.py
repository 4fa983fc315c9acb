"""Which stem and widths should AlexNet have below 128 pixels?

Question  The 11x11 stem with stride 4 leaves a 28-pixel crop with 6 positions per side. Which first
          layers suit small images, and what do they cost?
Arms      `ARMS` below: kernel and stride of conv1, kernel of conv2, and widths; everything else is
          `alexnet`'s default.
Metric    Top-1 error on tune (%) with one view, and multiply-adds of one view (M). The test split
          is never scored.
Rule      The cheapest arm whose mean tune error is within 1 point of the lowest: with so few images
          closer arms cannot be told apart.

    python -m benchmarks.alexnet_stem [DATASET] [--limit 10000] [--epochs 4] [--seeds 1]

Measured on CIFAR-10 as JPEG of quality 75 (9,000 train, 1,000 tune, 4 epochs, seed 0; 2026-11-23):

    5x5/1, conv2 3x3, a third of the maps  17.0 M  54.7 %
    3x3/1                                  15.8 M  53.8 %
    conv2 5x5                              21.9 M  54.1 %
    7x7/2                                   4.2 M  53.5 %
    half of the maps                       33.5 M  54.2 %

The arms lie within 1.2 points, less than one standard error of a tune error on 1,000 images (1.6):
this study is too short to tell them apart. Its rule would choose 7x7/2. The first arm is the
default for its cost alone (26 epochs of 45,000 images take half an hour on two cores) until a
longer study, such as `--limit 50000 --epochs 26`, decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import mean
from typing import Any

from benchmarks.command_line import argument_parser
from harness.data.split import Split
from harness.engine.context import RunContext
from harness.errors import UserError
from harness.workspace import Workspace
from pipelines.alexnet import build
from pipelines.learned.networks.alexnet import Shape

THIRD = (32, 96, 128, 128, 96)  # feature maps: about a third of the paper's
HALF = (48, 128, 192, 192, 128)

ARMS: dict[str, Callable[[int], Shape]] = {
    "5x5/1, conv2 3x3, a third of the maps": lambda crop: Shape(
        (5, 1, 2), THIRD, second_kernel=3, hidden=512
    ),
    "3x3/1": lambda crop: Shape((3, 1, 1), THIRD, second_kernel=3, hidden=512),
    "conv2 5x5": lambda crop: Shape((5, 1, 2), THIRD, second_kernel=5, hidden=512),
    "7x7/2": lambda crop: Shape((7, 2, 3), THIRD, second_kernel=3, hidden=512),
    "half of the maps": lambda crop: Shape((5, 1, 2), HALF, second_kernel=3, hidden=512),
}


def fit_arm(
    arm: Callable[[int], Shape], train: Split, tune: Split, *, epochs: int, seed: int
) -> tuple[float, float]:
    """Return the top-1 error on tune in percent, and the multiply-adds of one view in millions."""
    pipeline: Any = build(epochs=epochs, views=1)
    pipeline.design = replace(pipeline.design, small=arm)
    context = RunContext(seed=seed)
    pipeline.fit(train, tune, context)
    layers = pipeline.layers(train.num_classes, train.image_size)
    multiply_adds = sum(layer["multiply_adds"] for layer in layers)
    return context.curves["val/top1_error"][-1][1], multiply_adds / 1e6


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "dataset", nargs="?", default="cifar10", help="spec or path; images below 128 pixels"
    )
    parser.add_argument("--limit", type=int, default=10_000, help="images of train and tune")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    try:
        splits = Workspace.open().dataset(arguments.dataset, limit=arguments.limit)
    except UserError as error:
        parser.error(str(error))
    train, tune = splits.train, splits.tune
    assert tune is not None
    design = build().design  # type: ignore[attr-defined]
    if not design.is_small_variant(design.square_side(train.image_size)):
        parser.error(
            f"{splits.title}: give images of one size below 128 pixels; "
            "only their network has a stem to choose"
        )
    print(f"{'arm':40} {'M multiply-adds':>15} {'tune top-1 error %':>20}")
    for name, arm in ARMS.items():
        fits = [
            fit_arm(arm, train, tune, epochs=arguments.epochs, seed=seed)
            for seed in range(arguments.seeds)
        ]
        errors = [error for error, _ in fits]
        by_seed = " ".join(f"{error:.1f}" for error in errors)
        print(f"{name:40} {fits[0][1]:15.1f} {mean(errors):20.1f}   {by_seed}", flush=True)


if __name__ == "__main__":
    main()
