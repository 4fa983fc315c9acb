"""How fast is each hand-crafted stage on a device? `python -m benchmarks.stage_rates [--device auto] [--images 64]`

Question  images/s of describing and encoding, and seconds of learning codebooks and SVMs: on a GPU, and on a CPU beside it
Data      random: images of 300 x 200 or of heights from 150 to 300, rows for codebooks and SVMs; on the device already
Protocol  one process; after one run to warm up, the shortest of three; a GPU has finished before the clock is read
Reading   a GPU is kept busy by images of one size, which it gets together; of images of several sizes each is described by itself, and
          what it takes is then the launching of some 350 small pieces of work
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from harness.engine.context import RunContext
from harness.engine.device import choose_device, describe_machine, synchronize
from harness.engine.distributed import Processes
from harness.errors import UserError
from pipelines.handcrafted.bag import BagOfDescriptors, grids
from pipelines.handcrafted.channel import join_states, stage_state
from pipelines.handcrafted.classifiers.linear_svm import LinearSVM
from pipelines.handcrafted.classifiers.rows import Rows
from pipelines.handcrafted.codings import Fisher
from pipelines.handcrafted.descriptors.hog import Hog
from pipelines.handcrafted.descriptors.sift import RECOGNITION
from pipelines.handcrafted.encoders.gmm import fit_gmm
from pipelines.handcrafted.encoders.kmeans import fit_kmeans
from pipelines.handcrafted.encoders.pca import PCA
from pipelines.unsupervised.patches import Whitening
from pipelines.unsupervised.triangle import Triangle

HEIGHT, WIDTH, SMALL = 200, 300, 32  # pixels
DIMS, COMPONENTS, CENTROIDS, ITERATIONS = 80, 256, 1600, 20
SAMPLE, CALTECH, CIFAR = (
    256_000,
    (3_060, 40_960, 102),
    (50_000, 6_400, 10),
)  # rows; (rows, features, classes)
ROUNDS = 3


class Stages:
    """The stages with their inputs on one device; `images` of the larger size, and all else in proportion to `share` of the usual sizes."""

    def __init__(self, device: torch.device, images: int, share: float) -> None:
        self.device, self.context, self.share = (
            device,
            RunContext(processes=Processes(0, 1, device)),
            share,
        )
        self.random = torch.Generator().manual_seed(0)
        self.same = [self.pixels(HEIGHT) for _ in range(images)]
        self.varied = [
            self.pixels(height)
            for height in torch.randint(150, 301, (images,), generator=self.random).tolist()
        ]
        tiles = (
            torch.stack(self.same).unfold(2, SMALL, SMALL).unfold(3, SMALL, SMALL)
        )  # (images, 3, rows, columns, SMALL, SMALL)
        self.small = tiles.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).float()
        self.rows = self.normal(self.count(SAMPLE), DIMS)

    def count(self, usual: int) -> int:
        return max(COMPONENTS, round(self.share * usual))

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.random).to(self.device)

    def pixels(self, height: int) -> Tensor:
        """uint8 (3, height, WIDTH)."""
        return torch.randint(256, (3, height, WIDTH), generator=self.random, dtype=torch.uint8).to(
            self.device
        )

    def learning(self) -> dict[str, Callable[[], object]]:
        (n, features, classes), (many, fewer, ten) = CALTECH, CIFAR
        n, many = self.count(n), self.count(many)
        vectors, values = (
            torch.nn.functional.normalize(self.normal(n, features)),
            self.normal(many, fewer),
        )
        labels, more = (
            torch.arange(count, device=self.device) % k for count, k in ((n, classes), (many, ten))
        )
        return {
            f"mixture of {COMPONENTS}, {len(self.rows):,} rows of {DIMS}, {ITERATIONS} iterations": lambda: (
                fit_gmm(self.rows, COMPONENTS, self.context, from_rows=True, iterations=ITERATIONS)
            ),
            f"k-means of {COMPONENTS}, the same": lambda: fit_kmeans(
                self.rows, COMPONENTS, self.context, iterations=ITERATIONS
            ),
            f"SVM, {n:,} x {features:,}, {classes} classes": lambda: LinearSVM(
                Rows([vectors], self.context), labels, classes
            ).fit(10),
            f"SVM, {many:,} x {fewer:,}, {ten} classes": lambda: LinearSVM(
                Rows.standardized([values], self.context), more, ten
            ).fit(10),
        }

    def describing(self) -> dict[str, tuple[int, Callable[[], object]]]:
        """Of each stage how many images it takes, and it."""
        pca = PCA(
            torch.zeros(RECOGNITION.length, device=self.device),
            self.normal(DIMS, RECOGNITION.length),
        )
        mixture = fit_gmm(self.rows, COMPONENTS, self.context, from_rows=True, iterations=1)
        learned = join_states({"pca": stage_state(pca), "coding": stage_state(mixture)})
        plain, pyramid = (
            BagOfDescriptors(RECOGNITION, Fisher(COMPONENTS), dims=DIMS, grids=grids(text))
            for text in ("1x1", "1x1+2x2")
        )
        stack = torch.stack(self.same)
        whitening = Whitening(
            torch.zeros(108, device=self.device), torch.eye(108, device=self.device)
        )
        triangle = Triangle(whitening, self.normal(CENTROIDS, 108))
        size = f"{WIDTH} x {HEIGHT}"
        return {
            f"SIFT at 7 scales, {size}": (len(stack), lambda: RECOGNITION(stack.float())),
            f"the same and Fisher vectors, {size}": (
                len(stack),
                lambda: plain.describe(stack, learned),
            ),
            "the same, images of several sizes": (
                len(self.varied),
                lambda: plain.describe(self.varied, learned),
            ),
            f"the same, pyramid of 5 regions, {size}": (
                len(stack),
                lambda: pyramid.describe(stack, learned),
            ),
            f"HOG, {SMALL} x {SMALL}": (len(self.small), lambda: Hog()(self.small)),
            f"k-means triangle, k = {CENTROIDS}, {SMALL} x {SMALL}": (
                len(self.small),
                lambda: triangle(self.small),
            ),
        }


def shortest(stage: Callable[[], object], device: torch.device) -> float:
    """Seconds."""
    times = []
    for _ in range(ROUNDS + 1):  # the first warms up
        synchronize(device)
        started = time.perf_counter()
        stage()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--images", type=int, default=64, help=f"of {WIDTH} x {HEIGHT} pixels")
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="of the rows that codebooks and SVMs are learned from",
    )
    given = parser.parse_args(arguments)
    try:
        device = choose_device(given.device)
    except UserError as error:
        parser.error(str(error))
    if given.images < 1 or not 0 < given.share <= 1:
        parser.error(
            f"--images {given.images} --share {given.share}: at least 1 image, and a share above 0 and up to 1"
        )
    stages = Stages(device, given.images, given.share)
    for name, (images, stage) in stages.describing().items():
        print(f"{name:55} {images / shortest(stage, device):12,.1f} images/s", flush=True)
    for name, stage in stages.learning().items():
        print(f"{name:55} {shortest(stage, device):12.3f} s", flush=True)
    machine = describe_machine(device, 1)
    print(
        f"{machine['cpu']}, device {machine['device']}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
