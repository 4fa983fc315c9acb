"""How fast is each hand-crafted stage on a device?

Question  images/s of describing and encoding, and seconds of fitting codebooks and SVMs, on a GPU
          and on a CPU.
Data      Random: images of 300 x 200 pixels or of heights from 150 to 300, and rows for codebooks
          and SVMs. All of it is on the device from the start.
Protocol  One process; the shortest of three runs after one that warms up. The clock is read when
          the GPU has finished.
Reading   A GPU is kept busy by images of one size, which it gets as a batch. Images of several
          sizes are described one by one, and their time is that of launching about 350 small
          kernels.

    python -m benchmarks.stage_speed [--device auto] [--images 64]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.command_line import argument_parser
from harness.contract import State
from harness.engine.context import RunContext
from harness.engine.device import choose_device, describe_machine, synchronize
from harness.engine.distributed import Processes
from harness.errors import UserError
from pipelines.handcrafted.bag import BagOfDescriptors, parse_grids
from pipelines.handcrafted.classifiers.feature_rows import FeatureRows
from pipelines.handcrafted.classifiers.linear_svm import LinearSVM
from pipelines.handcrafted.descriptors.hog import Hog
from pipelines.handcrafted.descriptors.sift import RECOGNITION_SIFT
from pipelines.handcrafted.encoders.gmm import GMM, fit_gmm
from pipelines.handcrafted.encoders.kmeans import fit_kmeans
from pipelines.handcrafted.encoders.pca import PCA
from pipelines.handcrafted.encodings import FisherEncoding
from pipelines.handcrafted.state_dicts import join_states, tensor_fields
from pipelines.unsupervised.triangle import TriangleEncoder
from pipelines.unsupervised.whitened_patches import Whitening

HEIGHT, WIDTH, SMALL_SIDE = 200, 300, 32  # pixels
DIMS, COMPONENTS, CENTROIDS, ITERATIONS = 80, 256, 1600, 20
PATCH_DIMS = 108  # 6 x 6 pixels, 3 colors
SAMPLE_ROWS = 256_000
CALTECH, CIFAR = (3_060, 40_960, 102), (50_000, 6_400, 10)  # rows, features, classes
ROUNDS = 3

FitStage = Callable[[], object]
DescribeStage = tuple[int, Callable[[], object]]  # images, and the work


class Stages:
    """The stages with their inputs on one device.

    Parameters
    ----------
    images : int
        Number of images of WIDTH x HEIGHT pixels.
    share : float
        Share of the usual number of rows that codebooks and SVMs are fitted on.
    """

    def __init__(self, device: torch.device, images: int, share: float) -> None:
        self.device = device
        self.context = RunContext(processes=Processes(0, 1, device))
        self.share = share
        self.random = torch.Generator().manual_seed(0)
        self.same_size = torch.stack([self.random_pixels(HEIGHT) for _ in range(images)])
        heights = torch.randint(150, 301, (images,), generator=self.random).tolist()
        self.several_sizes = [self.random_pixels(height) for height in heights]
        self.small = self._small_tiles()
        self.rows = self.normal(self.row_count(SAMPLE_ROWS), DIMS)

    def row_count(self, usual: int) -> int:
        return max(COMPONENTS, round(self.share * usual))

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.random).to(self.device)

    def random_pixels(self, height: int) -> Tensor:
        """Return (3, height, WIDTH) uint8."""
        shape = 3, height, WIDTH
        return torch.randint(256, shape, generator=self.random, dtype=torch.uint8).to(self.device)

    def _small_tiles(self) -> Tensor:
        """Cut the images into (tiles, 3, SMALL_SIDE, SMALL_SIDE) float32."""
        tiles = self.same_size.unfold(2, SMALL_SIDE, SMALL_SIDE).unfold(3, SMALL_SIDE, SMALL_SIDE)
        return tiles.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).float()

    def fit_stages(self) -> dict[str, FitStage]:
        """Return the stages that fit something, by their description."""
        mixture = f"mixture of {COMPONENTS}, {len(self.rows):,} rows of {DIMS}"
        svms = [self._svm_stage(*CALTECH), self._svm_stage(*CIFAR, standardize=True)]
        return {
            f"{mixture}, {ITERATIONS} iterations": self._fit_mixture,
            f"k-means of {COMPONENTS}, the same": lambda: fit_kmeans(
                self.rows, COMPONENTS, self.context, iterations=ITERATIONS
            ),
            **dict(svms),
        }

    def _fit_mixture(self, iterations: int = ITERATIONS) -> GMM:
        return fit_gmm(
            self.rows, COMPONENTS, self.context, start_from_rows=True, iterations=iterations
        )

    def _svm_stage(
        self, rows: int, features: int, classes: int, *, standardize: bool = False
    ) -> tuple[str, FitStage]:
        """Return the description and the fit of an SVM on random rows."""
        n = self.row_count(rows)
        values = self.normal(n, features)
        values = values if standardize else normalize(values)
        labels = torch.arange(n, device=self.device) % classes
        make_rows = FeatureRows.standardized if standardize else FeatureRows

        def fit() -> object:
            return LinearSVM(make_rows([values], self.context), labels, classes).fit(10)

        return f"SVM, {n:,} x {features:,}, {classes} classes", fit

    def describe_stages(self) -> dict[str, DescribeStage]:
        """Return the stages that describe images, by their description."""
        images, sizes, small = self.same_size, self.several_sizes, self.small
        state = self._bag_state()
        plain, pyramid = (
            BagOfDescriptors(
                RECOGNITION_SIFT, FisherEncoding(COMPONENTS), pca_dims=DIMS, grids=parse_grids(text)
            )
            for text in ("1x1", "1x1+2x2")
        )
        zeros = torch.zeros(PATCH_DIMS, device=self.device)
        whitening = Whitening(zeros, torch.eye(PATCH_DIMS, device=self.device))
        triangle = TriangleEncoder(whitening, self.normal(CENTROIDS, PATCH_DIMS))
        n, hog = len(images), Hog()
        size, tile = f"{WIDTH} x {HEIGHT}", f"{SMALL_SIDE} x {SMALL_SIDE}"
        return {
            f"SIFT at 7 scales, {size}": (n, lambda: RECOGNITION_SIFT(images.float())),
            f"the same and Fisher vectors, {size}": (n, lambda: plain.describe(images, state)),
            "the same, images of several sizes": (n, lambda: plain.describe(sizes, state)),
            f"the same, pyramid of 5 regions, {size}": (n, lambda: pyramid.describe(images, state)),
            f"HOG, {tile}": (len(small), lambda: hog(small)),
            f"k-means triangle, k = {CENTROIDS}, {tile}": (len(small), lambda: triangle(small)),
        }

    def _bag_state(self) -> State:
        """Return the state of a bag of descriptors: a random PCA and a mixture."""
        length = RECOGNITION_SIFT.length
        pca = PCA(torch.zeros(length, device=self.device), self.normal(DIMS, length))
        mixture = self._fit_mixture(iterations=1)
        return join_states({"pca": tensor_fields(pca), "encoding": tensor_fields(mixture)})


def shortest_seconds(stage: Callable[[], object], device: torch.device) -> float:
    """Return the shortest time of ROUNDS runs, after one that warms up."""
    times = []
    for _ in range(ROUNDS + 1):
        synchronize(device)
        started = time.perf_counter()
        stage()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def parse_arguments(words: Sequence[str] | None) -> tuple[argparse.Namespace, torch.device]:
    parser = argument_parser(__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--images", type=int, default=64, help=f"number of images of {WIDTH} x {HEIGHT} pixels"
    )
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="share of the usual number of rows that codebooks and SVMs are fitted on",
    )
    arguments = parser.parse_args(words)
    try:
        device = choose_device(arguments.device)
    except UserError as error:
        parser.error(str(error))
    if arguments.images < 1 or not 0 < arguments.share <= 1:
        parser.error(
            f"--images {arguments.images} --share {arguments.share}: "
            "give at least 1 image, and a share above 0 and at most 1"
        )
    return arguments, device


def main(words: Sequence[str] | None = None) -> int:
    arguments, device = parse_arguments(words)
    stages = Stages(device, arguments.images, arguments.share)
    for name, (images, describe) in stages.describe_stages().items():
        rate = images / shortest_seconds(describe, device)
        print(f"{name:55} {rate:12,.1f} images/s", flush=True)
    for name, fit in stages.fit_stages().items():
        print(f"{name:55} {shortest_seconds(fit, device):12.3f} s", flush=True)
    machine = describe_machine(device, 1)
    print(
        f"{machine['cpu']}, device {machine['device']}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
