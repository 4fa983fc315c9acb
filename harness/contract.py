"""The contract between the harness and a pipeline. Who writes a pipeline reads only this file.

A pipeline is ONE file. Its stem is its name (`_` reads as `-`), its docstring's first line is what `harness list` shows,
and it holds one constant and one function:

    FAMILY = "hand-crafted"                # or "unsupervised" or "learned": shown in tables, never acted upon

    def build(*, cell: int = 8, flip: bool = True) -> Pipeline:
        ...

`build` takes keyword-only parameters with type hints and defaults. They are the keys of the spec string
(`my-pipeline,cell=4`), and `typing.Literal` or `typing.Annotated[int, annotated_types.Ge(1)]` states what is allowed.
Import heavy modules (torch, sklearn) inside functions: `compare` and completion read the signature of `build` without them.

The harness owns the clock, the seed, the metrics, the storage and the sharding. A pipeline fits and scores:

    class MyPipeline:
        def fit(self, train, tune, context): ...
        def scores(self, batch): ...       # (n, classes) float32, higher is likelier; never sees a label
        def state(self): ...               # what fit has learned, as a dict of arrays
        def load(self, state): ...         # the inverse, on an object fresh from build()

A dataset is one file too, with `build(root, *, ...) -> Dataset`; `root` is the folder that holds downloads and stores.

This module imports neither torch nor anything else that is slow to start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from harness.data.identity import class_balanced, image_keys, split_digest
from harness.errors import (
    UserError as UserError,
)  # part of the contract: a pipeline raises it for a mistake that the user can mend

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
State = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Batch:
    """Some images of a split, without their labels.

    keys    (n,) strings, the identity of each image
    images  uint8, (n, 3, height, width) on the device where all sizes agree, else a list of (3, height, width)
    index   (n,) int64 on the same device: positions in the split, so that `labels[batch.index]` is the labels' row
    """

    keys: np.ndarray
    images: torch.Tensor | list[torch.Tensor]
    index: torch.Tensor

    def __len__(self) -> int:
        return len(self.keys)


class Images(Protocol):
    """Where the pixels of a split come from: memory, a store, files. Read by several threads at once, unless an attribute `in_memory`
    is True: reading is then a copy, and done where the batch is asked for.
    """

    image_size: tuple[int, int] | None
    """(height, width) in pixels where every image has it, else None."""

    def __len__(self) -> int: ...

    def read(self, rows: np.ndarray) -> torch.Tensor | list[torch.Tensor]:
        """The images at `rows`, in that order: uint8 (n, 3, height, width), or a list where sizes differ; from any device."""
        ...


class Split:
    """Images with keys and labels. Length, labels, class names and digest are global; `batches` yields this process's share.

    keys         (n,) strings: first 16 hex digits of the SHA-256 of each image's source bytes, equal images numbered
    labels       (n,) int64 in [0, classes)
    class_names  one name a class, in label order
    names        (n,) display names (file names), or None
    preparation  one line that says how pixels were made from source bytes; part of the digest
    """

    def __init__(
        self,
        *,
        keys: np.ndarray,
        labels: np.ndarray,
        class_names: Sequence[str],
        images: Images,
        preparation: str,
        rows: np.ndarray | None = None,
        names: np.ndarray | None = None,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.keys = np.asarray(keys)
        self.labels = np.asarray(labels, dtype=np.int64)
        self.class_names = tuple(class_names)
        self.images = images
        self.preparation = preparation
        self.rows = np.arange(len(self.keys)) if rows is None else np.asarray(rows)
        self.names = names
        self.shard = shard
        if not len(self.keys) == len(self.labels) == len(self.rows):
            raise ValueError(
                f"a split needs one label and one image a key, got {len(self.keys)} keys, {len(self.labels)} labels, {len(self.rows)} images"
            )
        if len(self.labels) and not (
            self.labels.min() >= 0 and self.labels.max() < len(self.class_names)
        ):
            raise ValueError(
                f"labels run from {self.labels.min()} to {self.labels.max()}, but there are {len(self.class_names)} classes"
            )

    @classmethod
    def from_arrays(
        cls,
        images: np.ndarray | torch.Tensor,
        labels: Sequence[int] | np.ndarray | torch.Tensor,
        *,
        class_names: Sequence[str] | None = None,
        sources: Sequence[bytes] | None = None,
        preparation: str = "size=as-given resize=none codec=raw quality=lossless",
    ) -> Split:
        """A split of images in memory.

        images   uint8, (n, 3, height, width) or (n, height, width, 3) or gray (n, height, width)
        labels   n integers from 0
        sources  the bytes that each key is taken from; by default the shape and raw bytes of each image
        Raises UserError when the shapes, the type or the counts do not fit.
        """
        from harness.data.images import ArrayImages

        array_images = ArrayImages.of(images)
        label_array = np.asarray(labels, dtype=np.int64)
        if label_array.shape != (len(array_images),):
            raise UserError(
                f"Split.from_arrays needs one label an image: got {len(array_images)} images and labels of shape {label_array.shape}"
            )
        if class_names is None:
            class_names = [str(i) for i in range(int(label_array.max(initial=-1)) + 1)]
        keys = image_keys(sources if sources is not None else array_images.sources(), label_array)
        return cls(
            keys=keys,
            labels=label_array,
            class_names=class_names,
            images=array_images,
            preparation=preparation,
        )

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) in pixels where all images agree, else None."""
        return self.images.image_size

    @cached_property
    def digest(self) -> str:
        """32 hex digits over the preparation and the sorted (key, label) pairs: equal exactly when the labeled pixels are."""
        return split_digest(self.preparation, self.keys, self.labels)

    def batches(
        self, size: int, *, device: torch.device | str = "cpu", order: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """This process's share of the images at `order` (positions; default: all, in store order), `size` at a time.

        Of W processes, process r gets positions r, r + W, ... of `order`: no image twice, none left out, none padded, and
        the union of everybody's i-th batch is the i-th stretch of W * size images of `order`.
        """
        from harness.data.loader import read_batches

        rank, world = self.shard
        share = (np.arange(len(self)) if order is None else np.asarray(order))[rank::world]
        chunks = [share[start : start + size] for start in range(0, len(share), size)]
        for index, images in zip(
            chunks, read_batches(self.images, (self.rows[chunk] for chunk in chunks)), strict=True
        ):
            yield self._batch(index, images, device)

    def shuffled(
        self,
        size: int,
        *,
        seed: int,
        epoch: int,
        start: int = 0,
        crop: int | None = None,
        pad: int = 0,
        flip: bool = False,
        device: torch.device | str = "cpu",
    ) -> Iterator[Batch]:
        """All images in an order drawn by (seed, epoch), `size` at a time over all processes, of which this one gets its share.

        Of W processes, process r gets images r, r + W, ... of each batch: whatever W is, the batches are the same. The last one may be
        incomplete, and then empty here.

        start  batches of this epoch that are done: what follows is, image for image, what an undisturbed epoch goes on with
        crop   a square of so many pixels from a random place of each image, after `pad` zeros on every side; an image smaller than
               that is first scaled up until it just fits. None: whole images
        flip   each image is mirrored left to right with probability 1/2
        """
        from harness.data.loader import shuffled

        for index, images in shuffled(
            self,
            size,
            seed=seed,
            epoch=epoch,
            start=start,
            crop=crop,
            pad=pad,
            flip=flip,
            device=device,
        ):
            yield self._batch(index, images, device)

    def _batch(
        self,
        index: np.ndarray,
        images: torch.Tensor | list[torch.Tensor],
        device: torch.device | str,
    ) -> Batch:
        import torch

        from harness.machine import moved

        there = (
            moved(images, device)
            if isinstance(images, torch.Tensor)
            else [moved(image, device) for image in images]
        )
        return Batch(self.keys[index], there, moved(torch.from_numpy(index), device))

    def take(self, index: np.ndarray) -> Split:
        """The images at these positions, in this order."""
        names = None if self.names is None else self.names[index]
        return self._like(
            self.keys[index], self.labels[index], self.images, self.rows[index], names
        )

    def subset(self, fraction: float) -> Split:
        """A class-balanced part, chosen by key alone: the same on every machine, and the 10 % lies inside the 25 %."""
        if not 0 < fraction <= 1:
            raise UserError(f"subset: fraction must be above 0 and at most 1, got {fraction}")
        chosen, _ = class_balanced(self.keys, self.labels, fraction=fraction)
        return self.take(chosen)

    def __add__(self, other: Split) -> Split:
        if (self.class_names, self.preparation) != (other.class_names, other.preparation):
            raise UserError("splits can only be added when class names and preparation agree")
        names = (
            None
            if self.names is None or other.names is None
            else np.concatenate([self.names, other.names])
        )
        images, rows = self.images, np.concatenate([self.rows, other.rows])
        if other.images is not self.images:
            from harness.data.images import ConcatImages

            images, rows = (
                ConcatImages(self.images, other.images),
                np.concatenate([self.rows, len(self.images) + other.rows]),
            )
        return self._like(
            np.concatenate([self.keys, other.keys]),
            np.concatenate([self.labels, other.labels]),
            images,
            rows,
            names,
        )

    def sharded(self, rank: int, world: int) -> Split:
        """The same split, whose `batches` yields the share of process `rank` of `world`."""
        split = self.take(np.arange(len(self)))
        split.shard = (rank, world)
        return split

    def _like(
        self,
        keys: np.ndarray,
        labels: np.ndarray,
        images: Images,
        rows: np.ndarray,
        names: np.ndarray | None,
    ) -> Split:
        return Split(
            keys=keys, labels=labels, class_names=self.class_names, images=images, preparation=self.preparation,
            rows=rows, names=names, shard=self.shard,
        )  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """What a dataset's `build` returns.

    title           how tables call it (`digits`, `cifar10-jpeg (folder)`)
    tune_per_class  images a class to hold out of train for tuning; None: 10 % of each class
    remarks         what a reader of the numbers must know about the split; printed with every run
    """

    title: str
    train: Split
    test: Split
    tune_per_class: int | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainedRun:
    """What an earlier, finished run has learned, for a pipeline that starts from there.

    state        as that run's pipeline returned it, on the CPU
    dataset      the title of the dataset that it learned from
    class_names  that dataset's, in label order
    """

    run_id: str
    dataset: str
    class_names: tuple[str, ...]
    state: State


@dataclass(frozen=True)
class Probe:
    """What `fit` would take here on a split, judged by doing a little of it on some of the images.

    preparation_seconds  before the first epoch
    seconds_per_epoch     on the whole split, tune included
    checkpoint_bytes     that work in progress takes on the disk
    unseen_bytes         memory that the whole split takes in `fit` and the probe did without
    """

    preparation_seconds: float
    seconds_per_epoch: float
    checkpoint_bytes: int
    unseen_bytes: int


class Checkpoint(Protocol):
    """This run's own place to save work in progress. Writes are atomic; what a killed run saved last is there on `--resume`."""

    def save(self, arrays: State) -> None:
        """Replace what was saved. Numbers go in as 0-d tensors. Only process 0 writes."""
        ...

    def load(self) -> State | None:
        """What was saved last, on the CPU, or None at the start of a fresh run."""
        ...

    def due(self) -> bool:
        """True when enough time has passed since the last save for another one to be worth its cost."""
        ...


class Context(Protocol):
    """All that a pipeline gets of the harness.

    The global random state of Python, numpy and torch is seeded from `seed` before `fit` and put back after it.
    """

    seed: int
    device: torch.device
    rank: int
    """This process, 0 to world - 1; both are (0, 1) unless started by torchrun."""
    world_size: int
    checkpoint: Checkpoint

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over all processes, in place; the same on each. The tensor itself when there is one process."""
        ...

    def broadcast(self, tensor: torch.Tensor) -> torch.Tensor:
        """Process 0's values on every process, in place."""
        ...

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """(world, *shape): everybody's tensor, in order of rank, on every process. Shapes and types must agree."""
        ...

    def cache(self, key: Mapping[str, Any], make: Callable[[], State]) -> State:
        """The arrays that `make` returns, kept on disk and shared between runs.

        `key` names the stage and everything that its result depends on (parameters, `split.digest`, dtype); the harness adds
        the hash of the pipeline's source files and of the process's share. Time that a hit saves is counted as if spent.
        """
        ...

    def load_run(self, run: str) -> TrainedRun:
        """What the finished run of that id has learned. A pipeline that asks takes the id as a parameter, so that its spec says it, and
        notes it. Raises UserError when there is no such run.
        """
        ...

    def log(self, name: str, value: float, step: int) -> None:
        """One point of a curve, such as ("train/loss", 2.3, 0): from process 0, by epoch or stage, not by mini-batch."""
        ...

    def note(self, text: str) -> None:
        """A short remark that stands beside this run in every table: the recipe, a variant, anything later than 2012."""
        ...

    def progress(
        self, items: Iterable[T], *, label: str, total: int | None = None, unit: str = "batch"
    ) -> Iterator[T]:
        """Yields the items and shows rate and time left."""
        ...

    def score_tune(self, pipeline: Pipeline) -> None:
        """Call with all choices made, before fitting again on train + tune.

        The harness scores the tune split with the pipeline as it stands now, since afterwards it has seen those labels.
        """
        ...


@runtime_checkable
class Pipeline(Protocol):
    """What `build` returns. Learning happens in `fit` alone; everything else leaves the object as it was.

    It may also have `views`, how many views of an image `scores` averages (else 1), `augmentation`, a tuple of how its training images
    were varied (crops, mirroring, color; else its parameters crops, flip and color tell), and a network
    `layers(classes, image_size) -> list[dict]` (image_size as Split has it), one dict a layer with `name`, `output` (shape),
    `parameters` and `multiply_adds` for one view of one image: `harness show` and the columns of protocol and cost read them.
    `embed(batch) -> (n, d)` float on the batch's device, the last hidden layer or whatever stands before the linear classifier, lets
    `harness report` show the training images that lie nearest to a test image. `filters() -> dict[str, array]`, a name -> (n, 3, height,
    width) weights of a first layer, are drawn at the end of a run.
    With a parameter `epochs`, `epochs(images, image_size) -> float`, how many it does on so many training images, and
    `probe(train, tune, context) -> Probe`, after which the object is of no use but for the time that its `scores` take, it can be
    planned and run with --budget.
    """

    def fit(self, train: Split, tune: Split | None, context: Context) -> None:
        """Learn from train; choose settings on tune (None when the user asked for no tuning: `--tune 0`)."""
        ...

    def scores(self, batch: Batch) -> torch.Tensor:
        """(n, classes) float32 on the batch's device: margins or log-probabilities. Each row depends on its own image only."""
        ...

    def state(self) -> State:
        """Everything that `load` needs to score as this object does."""
        ...

    def load(self, state: State) -> None:
        """Restore what `state` returned; the arrays lie on the device on which batches will come."""
        ...


@dataclass(frozen=True)
class Scores:
    """The scores of one split, kept for ever: every metric is computed from these arrays.

    keys (n,), labels (n,) int64, scores (n, classes) float32: margins or log-probabilities.
    """

    keys: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Result:
    """One finished run, as `result.json` holds it. Errors are in percent, times in seconds.

    A figure that could not be had is None, and `absent` says why.
    """

    run_id: str
    pipeline: str  # resolved spec: every parameter written out
    name: str  # the pipeline's bare name
    family: str
    dataset: str  # resolved spec
    title: str  # the dataset as tables call it
    seed: int
    classes: int
    n_train: int
    n_tune: int
    n_test: int
    n_fit: int  # labeled images that the scored model was fitted on
    refitted: bool  # on train + tune, after tuning
    limit: int | None
    limit_test: int | None
    tune: int | None  # images a class asked for with --tune; None: the dataset's own
    train_digest: str  # of train + tune
    test_digest: str
    identity: str
    source_hash: str
    test_looks: int  # finished runs of this pipeline on this test split, this one included

    top1_error: (
        float | None
    )  # None: the run stopped after tune (--no-test) and never enters a comparison
    top1_error_ci_low: float | None  # 95 % Wilson
    top1_error_ci_high: float | None
    top5_error: float | None
    top5_error_ci_low: float | None
    top5_error_ci_high: float | None
    mean_class_error: float | None
    tune_top1_error: float | None

    fit_seconds: float  # tuning included, as if nothing had been cached
    score_seconds: float | None
    cached_seconds: float  # the part of fit_seconds that a cache saved
    images_per_second: float | None  # scored
    peak_memory_mb: float  # resident, sampled over the run
    params_millions: float | None
    gflops_per_image: float | None  # 1 multiply-add = 2 FLOPs, all views

    notes: tuple[str, ...]
    remarks: tuple[str, ...]
    absent: Mapping[str, str]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    started: str  # ISO 8601, UTC
    finished: str
    command: str
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    views: int | None = (
        None  # of a test image, averaged; None: recorded before this was kept, or members of an ensemble differ
    )
    augmentation: tuple[str, ...] | None = (
        None  # of the training images; None: its parameters tell, or nothing
    )
    # Of processor, user and system, of all processes with their threads and children; cached as for fit_seconds. None, here and below, also
    # where a run was recorded before this was kept.
    fit_cpu_seconds: float | None = None
    score_cpu_seconds: float | None = None
    cached_cpu_seconds: float | None = None
    fit_device_seconds: float | None = None  # accelerators times the seconds that they were held
    score_device_seconds: float | None = None
    model_bytes: int | None = None  # of the arrays of the saved state

    def to_frame(self) -> Any:
        """One row as a pandas DataFrame."""
        from harness.report.tables import results_frame

        return results_frame([self])

    def _repr_html_(self) -> str:
        from harness.report.tables import results_html

        return results_html([self])
