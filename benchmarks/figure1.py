"""The paper's Figure 1: how much faster does a small network learn CIFAR-10 with ReLU than tanh?

Question   Krizhevsky et al. 2012, section 3.1: a four-layer network with ReLU "reaches a 25%
           training error rate on CIFAR-10 six times faster" than with tanh. What is the ratio of
           epochs here?
Arms       ReLU and tanh in cuda-convnet's `19pct` network (three convolutions, one fully connected
           layer). Both start from the same weights, drawn as its layer file says (normal, standard
           deviations 0.0001 and 0.01), and see the images of a seed in the same order. Batches of
           128, momentum 0.9, constant learning rate. No regularization of any kind: no weight
           decay, dropout, crops, flips, color noise or normalization.
           Both arms train with the four learning rates `RATES` on seed 0; the other seeds use the
           rate that was not dropped.
Metric     Epochs until the error on all training images, measured by a full pass after each epoch,
           is 25 %; linearly interpolated between epochs. The full pass is skipped while the same
           5,000 images put the error above 30 %, which is eight standard errors from 25 %. Their
           estimate is then used, also if it is the last one above 25 %: an effect of at most 0.01
           epochs.
Rule       The rates of an arm take turns, one epoch each. A rate is dropped when another rate of
           its arm had a lower error after each of the last `SLOWER_EPOCHS` epochs, or has reached
           25 %. The result is the ratio tanh / ReLU of each seed, with mean and standard deviation
           over seeds. Notes say if a best rate is at an end of the grid, and which arms the time
           limit or `--epochs` cut short; their ratio is a lower bound.

The paper names neither the network nor its initial weights: 6 is the figure of one network and one
initialization, with a learning rate chosen for each arm. It is not a target, and nothing here
should be tuned towards it: other initial weights, pixel scales or pooling layers give other ratios.

    python -m benchmarks.figure1 [DATASET] --hours 2 --seeds 3 -o figure1.png

Matrix products are in bfloat16 if the device supports it, also in the full passes: after one epoch
at 0.003 the error was 44.384 % in bfloat16 and 44.376 % in float32. On a CPU each core trains a
curve of its own, since one step on two cores is only half again as fast. An epoch of 50,000 images
with its full pass takes 30 s on a core of an AMD EPYC with bfloat16 products, 85 s on one without.
Curves are saved after every epoch in a JSON file next to the picture, and weights in a folder: the
same command continues a study that was stopped or killed. `--hours` limits the wall-clock time of
all sessions together.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.command_line import argument_parser
from benchmarks.figure1_report import draw, summarize
from benchmarks.figure1_study import RATES, Study
from benchmarks.figure1_training import (
    BATCH,
    ESTIMATE_IMAGES,
    EVALUATION_BATCH,
    FULL_PASS_BELOW,
    INIT,
    MOMENTUM,
    TrainingImages,
)
from harness.engine.device import choose_device, describe_machine
from harness.errors import UserError
from harness.workspace import Workspace
from pipelines.learned.malloc import keep_freed_memory
from pipelines.learned.precision import uses_bfloat16
from pipelines.learned.square_images import to_squares

SIDE = 32  # pixels


def load_training_images(
    dataset: str, data_root: Path | None, limit: int | None
) -> tuple[TrainingImages, dict[str, Any]]:
    """Return the training images, and the settings that identify a study on them."""
    splits = Workspace.open(data_root=data_root).dataset(dataset, tune=0, limit=limit)
    train, device = splits.train, choose_device("auto")
    pixels = torch.cat(
        [to_squares(batch.images, SIDE) for batch in train.batches(EVALUATION_BATCH)]
    )
    settings = {
        "title": splits.title,
        "images": len(train),
        "digest": train.digest,
        "rates": list(RATES),
        "batch": BATCH,
        "momentum": MOMENTUM,
        "init": INIT,
        "estimates": f"from {ESTIMATE_IMAGES} images above {FULL_PASS_BELOW:g} %",
        "products": "bfloat16" if uses_bfloat16(device, "auto") else "float32",
    }
    images = TrainingImages(
        pixels=pixels.to(device),
        labels=torch.from_numpy(train.labels).to(device),
        mean=pixels.double().mean(0).float().to(device),
        classes=train.num_classes,
    )
    return images, settings


def parse_arguments(
    words: Sequence[str] | None,
) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Return the parser, for error messages, and the parsed arguments."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "dataset", nargs="?", default="cifar10", help="spec or path; images are scaled to 32 pixels"
    )
    parser.add_argument("--data-root", type=Path)
    parser.add_argument(
        "--limit", type=int, help="number of training images, class-balanced, for a trial run"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--hours", type=float, default=2.0, help="wall-clock limit (default: %(default)s)"
    )
    parser.add_argument(
        "--epochs", type=int, default=60, help="limit of each curve (default: %(default)s)"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("figure1.png"))
    arguments = parser.parse_args(words)
    if arguments.seeds < 1 or arguments.epochs < 1 or arguments.hours <= 0:
        parser.error(
            f"--seeds {arguments.seeds} --epochs {arguments.epochs} --hours {arguments.hours}: "
            "all must be above 0"
        )
    return parser, arguments


def main(words: Sequence[str] | None = None) -> int:
    parser, arguments = parse_arguments(words)
    try:
        images, settings = load_training_images(
            arguments.dataset, arguments.data_root, arguments.limit
        )
        path = arguments.output.with_suffix(".json")
        study = Study(path, settings, hours=arguments.hours, max_epochs=arguments.epochs)
    except UserError as error:
        parser.error(str(error))
    device = images.pixels.device
    machine = describe_machine(device, 1)
    data = f"{settings['title']}, {settings['images']:,} training images"
    print(f"{data}; {machine['cpu']}, {machine['cores']} cores, {machine['device']}")
    try:
        with keep_freed_memory(device):
            study.run(arguments.seeds, images, machine["cores"] if device.type == "cpu" else 1)
    except KeyboardInterrupt:
        print("stopped    the same command continues the study", flush=True)
    print("\n".join(summarize(study, arguments.seeds)))
    if study.curves:
        draw(study, arguments.output, f"{data}, no regularization")
        print(f"picture    {arguments.output}, curves in {study.path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
