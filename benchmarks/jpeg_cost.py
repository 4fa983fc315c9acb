"""How much does JPEG compression of small images change the error?

Question  Published figures on CIFAR-10 are for the original pixels, ours for JPEG files of quality
          75. How much of a difference do the files make?
Arms      The pixels as they are, and the same pixels after one more JPEG of the same quality and
          color subsampling, whose blocks are shifted by 4 pixels down and right. Both arms apply to
          training and test images alike; images, order, seed and the rule for settings are equal.
Metric    Top-1 error on the test split and the paired difference in points with its 95 % interval
          (images resampled).
Reading   The original pixels are not available, so the cost of the first JPEG cannot be measured.
          The second one removes detail of which the first has already removed a similar share. Its
          cost is therefore an estimate of the first one's, and no figure is corrected by it.

    python -m benchmarks.jpeg_cost PIPELINE... --dataset cifar10-jpeg.tar.gz

Runs are recorded as by `harness run`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from benchmarks.command_line import argument_parser
from benchmarks.study_runs import finished_or_run, study_request
from harness.data.array_images import ArrayImages
from harness.data.load import load_whole
from harness.data.split import Dataset, Split
from harness.errors import UserError
from harness.metrics.errors import top_k_wrong
from harness.metrics.intervals import paired_bootstrap
from harness.render.table import Table
from harness.workspace import Workspace

SHIFT_PX = 4  # half a block
BATCH = 512  # images


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """Return the image after a JPEG whose blocks begin SHIFT_PX pixels further down and right.

    The image is continued periodically at its edges.

    Parameters
    ----------
    image : (3, height, width) uint8

    Returns
    -------
    (3, height, width) uint8
    """
    shifted = np.roll(image, (SHIFT_PX, SHIFT_PX), axis=(1, 2)).transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(shifted)).save(file, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(file)).transpose(2, 0, 1)
    return np.roll(decoded, (-SHIFT_PX, -SHIFT_PX), axis=(1, 2))


def compress_split(split: Split, quality: int) -> Split:
    """Return the split with every image compressed; keys and labels stay.

    Raises
    ------
    UserError
        If the images have several sizes or some cannot be decoded.
    """
    if split.image_size is None or (split.rows < 0).any():
        raise UserError(
            "jpeg_cost needs images of one size that can all be decoded; this dataset has images "
            "of several sizes or damaged ones"
        )
    batches = (batch.images for batch in split.batches(BATCH))
    pixels = np.concatenate([b.numpy() for b in batches if isinstance(b, torch.Tensor)])
    for image in pixels:
        image[:] = compress(image, quality)
    shift = f"after a shift of {SHIFT_PX}"
    return Split(
        keys=split.keys,
        labels=split.labels,
        class_names=split.class_names,
        images=ArrayImages.of(pixels),
        preparation=f"{split.preparation}, JPEG of quality {quality} {shift}",
    )


def cost_row(workspace: Workspace, pipeline: str, datasets: Sequence[Dataset]) -> list[str]:
    """Return the row of one pipeline: its error on both datasets, compared image by image."""
    wrong = []
    for dataset in datasets:
        scores = finished_or_run(study_request(workspace, pipeline, dataset)).scores()
        wrong.append(top_k_wrong(scores, 1)[np.argsort(scores.keys)])
    interval = paired_bootstrap(wrong[1].astype(float) - wrong[0]).in_percent()
    before, after = 100 * wrong[0].mean(), 100 * wrong[1].mean()
    difference = f"{after - before:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"
    return [pipeline, f"{before:.2f} %", f"{after:.2f} %", difference]


def main(words: Sequence[str] | None = None) -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("pipelines", nargs="+", metavar="PIPELINE", help="specs")
    parser.add_argument("--dataset", default="cifar10", help="spec or path of images of one size")
    parser.add_argument("--data-root")
    parser.add_argument("--quality", type=int, default=75)
    arguments = parser.parse_args(words)
    quality = arguments.quality
    try:
        workspace = Workspace.open(data_root=arguments.data_root)
        _, plain = load_whole(arguments.dataset, workspace.registry, workspace.data_root)
        train, test = (compress_split(split, quality) for split in (plain.train, plain.test))
        title = f"{plain.title} after one more JPEG"
        compressed = Dataset(title, train, test, plain.tune_per_class)
        datasets = plain, compressed
        rows = [cost_row(workspace, pipeline, datasets) for pipeline in arguments.pipelines]
    except UserError as error:
        parser.error(str(error))
    head = ["pipeline", "as given", "after one more JPEG", "difference in points"]
    print(Table(head, rows).to_text())
    print(f"{plain.title}, n = {len(plain.test):,} test images, JPEG of quality {quality}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
