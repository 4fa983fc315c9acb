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

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from harness.data.split import Batch as Batch
from harness.data.split import Dataset as Dataset
from harness.data.split import Split as Split
from harness.errors import UserError as UserError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
State = dict[str, "torch.Tensor"]


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
