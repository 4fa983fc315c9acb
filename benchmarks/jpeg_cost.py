"""Study: what do JPEG files cost small images? `python -m benchmarks.jpeg_cost PIPELINE... --dataset cifar10-jpeg.tar.gz`

Question   published figures on CIFAR-10 are of the original pixels, ours of JPEG files of quality 75. How much of a difference is the files'?
Arms       the pixels as they are; the same after one more JPEG, of the same quality and color subsampling, on blocks that lie 4 pixels
           further down and right. Training and test images alike. Nothing else differs: images, order, seed, the rule for settings.
Metric     top-1 error on the test split and the paired difference in points, with its 95 % interval (images resampled).
Reading    the original pixels are not here, so the first JPEG's cost cannot be measured. What the second one takes away, the first has taken
           a like part of already; so its cost stands for the first one's, as an estimate and not as a correction. No figure is corrected by it.

Runs are kept and tracked as `harness run` keeps them.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from benchmarks.runs import finished_or_run
from harness.data.array_images import ArrayImages
from harness.data.load import load_whole
from harness.data.split import Dataset, Split
from harness.engine.request import resolve
from harness.errors import UserError
from harness.metrics.errors import top_k_wrong
from harness.metrics.intervals import paired_bootstrap
from harness.render.text import text_table

SHIFT = 4  # pixels, half a block
BATCH = 512  # images


def after_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """uint8 (3, height, width) to the same shape: through a JPEG whose blocks begin SHIFT pixels before the image's, which goes on around."""
    moved = np.roll(image, (SHIFT, SHIFT), axis=(1, 2)).transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(moved)).save(file, "JPEG", quality=quality)
    return np.roll(np.asarray(Image.open(file)).transpose(2, 0, 1), (-SHIFT, -SHIFT), axis=(1, 2))


def split_after_jpeg(split: Split, quality: int) -> Split:
    """The same images under the same keys. Raises UserError where they are of several sizes, or not all decodable."""
    if split.image_size is None or (split.rows < 0).any():
        raise UserError(
            "jpeg_cost: images of one size are needed, all decodable, and these are not so"
        )
    pixels = np.concatenate(
        [
            batch.images.numpy()
            for batch in split.batches(BATCH)
            if isinstance(batch.images, torch.Tensor)
        ]
    )
    for image in pixels:
        image[:] = after_jpeg(image, quality)
    preparation = f"{split.preparation}, JPEG of quality {quality} after a shift of {SHIFT}"
    return Split(
        keys=split.keys,
        labels=split.labels,
        class_names=split.class_names,
        images=ArrayImages.of(pixels),
        preparation=preparation,
    )


def cost(pipeline: str, datasets: Sequence[Dataset], data_root: str | None) -> list[str]:
    """A row of the table: the pipeline on both, compared image by image. Finished runs of the same identity are read."""
    wrong = []
    for dataset in datasets:
        scores = finished_or_run(resolve(pipeline, dataset, data_root=data_root)).scores()
        wrong.append(top_k_wrong(scores, 1)[np.argsort(scores.keys)])
    low, high = paired_bootstrap(wrong[1].astype(float) - wrong[0])
    before, after = (100 * each.mean() for each in wrong)
    return [
        pipeline,
        f"{before:.2f} %",
        f"{after:.2f} %",
        f"{after - before:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pipelines", nargs="+", help="specs")
    parser.add_argument("--dataset", default="cifar10", help="spec or path of images of one size")
    parser.add_argument("--data-root")
    parser.add_argument("--quality", type=int, default=75)
    given = parser.parse_args(arguments)
    try:
        _, plain = load_whole(given.dataset, given.data_root)
        train, test = (
            split_after_jpeg(split, given.quality) for split in (plain.train, plain.test)
        )
        again = Dataset(f"{plain.title} after one more JPEG", train, test, plain.tune_per_class)
        rows = [cost(pipeline, (plain, again), given.data_root) for pipeline in given.pipelines]
    except UserError as error:
        parser.error(str(error))
    print(text_table(["pipeline", "as given", "after one more JPEG", "difference in points"], rows))
    print(f"{plain.title}, n = {len(plain.test):,} test images, JPEG of quality {given.quality}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
