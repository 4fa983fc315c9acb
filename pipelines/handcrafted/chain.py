"""The chain that every hand-crafted pipeline is: descriptor -> standardisation -> linear classifier."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import Batch, Context, Split, State
from pipelines._mirroring import may_mirror
from pipelines.handcrafted.classifiers.linear_svm import LinearSVM
from pipelines.handcrafted.classifiers.rows import Rows
from pipelines.handcrafted.images import resized, working_size

BATCH = 256  # images described at a time
# Rows have a mean squared length of 1, so these suit descriptors of any length.
C_GRID = (0.03, 0.1, 0.3, 1.0, 3.0)
DEFAULT_C = 1.0


class Descriptor(Protocol):
    """Float (n, 3, size, size) in 0..255 to (n, features). A frozen dataclass: its fields name its results in the cache."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __call__(self, images: Tensor) -> Tensor: ...


class Chain:
    """A `contract.Pipeline`: images at a working size are described, standardised and put before a linear SVM.

    describe  the descriptor for a working size
    size      working size in pixels; None: by `working_size` from the train images, within `sizes` and a multiple of 8
    c         the SVM's C on rows of mean squared length 1; None: of C_GRID the one nearest to DEFAULT_C among those as good
              as the best on tune (`nearest_as_good`), or DEFAULT_C without tune
    flip      train on the images and on their mirror images; None: as `may_mirror` finds
    """

    def __init__(
        self,
        describe: Callable[[int], Descriptor],
        *,
        size: int | None,
        sizes: tuple[int, int],
        c: float | None,
        flip: bool | None,
    ) -> None:
        self.describe = describe
        self.size = size
        self.sizes = sizes
        self.c = c
        self.flip = flip
        self.learnt: State = {}

    def fit(self, train: Split, tune: Split | None, context: Context) -> None:
        size = self.size or working_size(train.image_size, multiple=8, smallest=self.sizes[0], largest=self.sizes[1])
        flip = may_mirror(train, tune, context) if self.flip is None else self.flip
        views = (False, True) if flip else (False,)
        train_blocks = [self._features(train, size, mirrored, context) for mirrored in views]
        svm = _svm(train_blocks, train.classes, context)
        if tune is None:
            self._learn(svm, size, self.c or DEFAULT_C)
            return
        tune_blocks = [self._features(tune, size, mirrored, context) for mirrored in views]
        c = self._choose_c(svm, size, tune_blocks[0], len(tune), context)
        context.refit(self)
        self._learn(_svm(train_blocks + tune_blocks, train.classes, context), size, c)

    def scores(self, batch: Batch) -> Tensor:
        size = int(self.learnt["size"])
        features = self.describe(size)(resized(batch.images, size))
        return linear(features, self.learnt["weights"], self.learnt["biases"])

    def state(self) -> State:
        return dict(self.learnt)

    def load(self, state: State) -> None:
        self.learnt = dict(state)

    def _learn(self, svm: LinearSVM, size: int, c: float) -> None:
        weights, biases = svm.fit(c)
        self.learnt = {"weights": weights, "biases": biases, "size": torch.tensor(size)}

    def _choose_c(self, svm: LinearSVM, size: int, tune: State, tune_size: int, context: Context) -> float:
        """The C for this tune split, with its model in place."""
        grid = C_GRID if self.c is None else (self.c,)
        models, wrong = [], []
        for step, c in enumerate(grid):
            self._learn(svm, size, c)
            models.append(self.learnt)
            scores = linear(tune["features"], self.learnt["weights"], self.learnt["biases"])
            wrong.append(mistaken(scores, tune["labels"]))
            context.log("val/c", c, step)
            errors = context.sum(wrong[-1].sum(dtype=torch.float64))
            context.log("val/top1_error", 100 * float(errors) / tune_size, step)
        chosen = nearest_as_good(torch.stack(wrong), grid, DEFAULT_C, context)
        self.learnt = models[chosen]
        return grid[chosen]

    def _features(self, split: Split, size: int, mirrored: bool, context: Context) -> State:
        """This process's rows and their labels: {"features": (n, features) float32, "labels": (n,)}."""
        descriptor = self.describe(size)
        key = {
            "stage": type(descriptor).__name__, **asdict(descriptor), "size": size, "mirrored": mirrored,
            "split": split.digest, "dtype": "float32",
        }  # fmt: skip
        return context.cache(key, lambda: _describe_split(descriptor, split, size, mirrored, context))


def mistaken(scores: Tensor, labels: Tensor) -> Tensor:
    """(n,) bool: rows whose own class does not score above every other one."""
    return (scores >= scores.gather(1, labels[:, None])).sum(1) > 1


def nearest_as_good(wrong: Tensor, grid: Sequence[float], default: float, context: Context) -> int:
    """The position in `grid` nearest to `default` (in ratio) of those that are as good as the best one.

    wrong (settings, n) bool, this process's share. As good: more mistakes than the best by no more than one standard error of their
    paired difference, the root of the number of rows on which just one of the two is wrong. A small tune split tells little.
    """
    errors = context.sum(wrong.sum(1, dtype=torch.float64))
    best = int(errors.argmin())
    discordant = context.sum((wrong ^ wrong[best]).sum(1, dtype=torch.float64))
    as_good = errors - errors[best] <= discordant.sqrt()
    distances = torch.tensor([abs(math.log(value / default)) for value in grid], dtype=torch.float64)
    return int(distances.masked_fill(~as_good.cpu(), math.inf).argmin())


def _svm(blocks: list[State], classes: int, context: Context) -> LinearSVM:
    rows = Rows.standardised([block["features"] for block in blocks], context)
    return LinearSVM(rows, torch.cat([block["labels"] for block in blocks]), classes)


def _describe_split(descriptor: Descriptor, split: Split, size: int, mirrored: bool, context: Context) -> State:
    # Labels are kept beside the features: a split's digest does not tell the order of its images.
    device = context.device
    length = descriptor(torch.zeros(1, 3, size, size, device=device)).shape[1]
    count = len(range(context.rank, len(split), context.world))
    features = torch.empty(count, length, device=device)
    index = torch.empty(count, dtype=torch.int64, device=device)
    done = 0
    batches = split.batches(BATCH, device=device)
    for batch in context.progress(batches, label=f"describe {type(descriptor).__name__}", total=-(-count // BATCH)):
        images = resized(batch.images, size)
        stretch = slice(done, done + len(batch))
        features[stretch] = descriptor(images.flip(-1) if mirrored else images)
        index[stretch] = batch.index
        done += len(batch)
    return {"features": features, "labels": torch.from_numpy(split.labels).to(device)[index]}
