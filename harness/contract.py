"""The contract between the harness and a pipeline: all that the author of a pipeline reads.

A pipeline is ONE file. Its stem is its name (`_` reads as `-`), the first line of its docstring is
what `harness list` shows, and it holds one constant and one function:

    FAMILY = "hand-crafted"            # or "unsupervised" or "learned": shown in tables

    def build(*, cell: int = 8, flip: bool = True) -> Pipeline:
        ...

The keyword-only parameters of `build` are the keys of the spec string (`my-pipeline,cell=4`). Their
type hints say what is allowed, with `typing.Literal` or `Annotated[int, annotated_types.Ge(1)]`.
Import heavy modules (torch, sklearn) inside functions: completion reads the signature of `build`.

The harness owns clock, seed, metrics, storage and sharding. A pipeline fits and scores: see
`Pipeline`. Learning happens in `fit` alone; nothing else changes the object.

A dataset is one file too, with `build(root, *, ...) -> Dataset`; `root` is the data root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from harness.data.random_draws import RandomCrop as RandomCrop
from harness.data.split import Batch as Batch
from harness.data.split import Dataset as Dataset
from harness.data.split import Split as Split
from harness.errors import UserError as UserError  # raise it for a mistake that the user can fix

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
State = dict[str, "torch.Tensor"]


@runtime_checkable
class Pipeline(Protocol):
    """What `build` returns.

    It may also have the attributes `views`, the number of views per image that `scores` averages
    (else 1), and `augmentation`, how training images were varied, such as ("crops", "flips").
    Optional methods are those of `HasLayers`, `Plannable`, `Embeds` and `HasFilters` below.
    """

    def fit(self, train: Split, tune: Split | None, context: Context) -> None:
        """Learn from `train`; choose settings on `tune`, which is None when there is no tuning."""

    def scores(self, batch: Batch) -> torch.Tensor:
        """Return (n, classes) float32 margins or log-probabilities on the batch's device.

        Each row depends on its own image only.
        """

    def state(self) -> State:
        """Return everything that `load` needs to score as this object does.

        Values are tensors, numpy arrays or numbers; `load` gets each as what it was.
        """

    def load(self, state: State) -> None:
        """Restore what `state` returned, on an object fresh from `build`."""


@runtime_checkable
class HasLayers(Protocol):
    """A network, whose cost can be counted."""

    def layers(self, classes: int, image_size: tuple[int, int] | None) -> list[dict[str, Any]]:
        """Return one dict per layer, for one view of one image.

        Its keys are `name`, `output` (a shape), `parameters` and `multiply_adds`.
        """


@runtime_checkable
class Plannable(Protocol):
    """A pipeline that learns in epochs and has a parameter `epochs`: it can be planned."""

    def epochs(self, images: int, image_size: tuple[int, int] | None) -> float:
        """Return the number of epochs on this many training images."""

    def probe(self, train: Split, tune: Split | None, context: Context) -> Probe:
        """Do a little of `fit` and judge the whole by it; afterwards the object only scores."""


@runtime_checkable
class Embeds(Protocol):
    """A pipeline with features that `harness report` can search for nearest training images."""

    def embed(self, batch: Batch) -> torch.Tensor:
        """Return (n, d) float on the batch's device: what the last, linear layer sees."""


@runtime_checkable
class HasFilters(Protocol):
    """A pipeline whose first layer can be drawn."""

    def filters(self) -> Mapping[str, Any]:
        """Return name -> (n, 3, height, width) weights."""


@dataclass(frozen=True)
class Probe:
    """What `fit` would take here on a split, judged by doing a little of it.

    Parameters
    ----------
    preparation_seconds : float
        Before the first epoch.
    seconds_per_epoch : float
        On the whole split, tune included.
    checkpoint_bytes : int
        Disk space of the work in progress.
    unseen_bytes : int
        Memory that the whole split takes in `fit` and the probe did without.
    """

    preparation_seconds: float
    seconds_per_epoch: float
    checkpoint_bytes: int
    unseen_bytes: int


@dataclass(frozen=True)
class TrainedRun:
    """What an earlier, finished run has learned, for a pipeline that starts from there.

    `dataset` and `class_names` are those of its training data; `state` is on the CPU.
    """

    run_id: str
    dataset: str
    class_names: tuple[str, ...]
    state: State


class Checkpoint(Protocol):
    """A run's own place for work in progress: what a killed run saved last is there on resume."""

    def save(self, arrays: State) -> None:
        """Replace what was saved, in one step. Numbers go in as 0-d tensors; process 0 writes."""

    def load(self) -> State | None:
        """Return what was saved last, on the CPU, or None at the start of a new run."""

    def due(self) -> bool:
        """Return whether enough time has passed for another save to be worth its cost."""


class Context(Protocol):
    """All that a pipeline gets from the harness.

    The global random state of Python, numpy and torch is seeded from `seed` before `fit` and
    restored after it. Under torchrun this is process `rank` of `world_size`.
    """

    seed: int
    device: torch.device
    rank: int
    world_size: int
    checkpoint: Checkpoint

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over all processes, in place."""

    def broadcast(self, tensor: torch.Tensor) -> torch.Tensor:
        """Copy the values of process 0 to every process, in place."""

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return `(world_size, *shape)`, in order of rank; shapes and types must agree."""

    def cache(self, key: Mapping[str, Any], make: Callable[[], State]) -> State:
        """Return the arrays of `make`, kept on disk and shared between runs.

        `key` names the stage and everything that its result depends on (parameters, digest of the
        split, dtype); the harness adds the pipeline's source and the process's share. Time that a
        hit saves counts as if it had been spent.
        """

    def free_memory(self) -> int:
        """Return the bytes of memory that each process may still use: the same on all of them."""

    def load_run(self, run: str) -> TrainedRun:
        """Return what a finished run has learned; raises UserError if there is no such run."""

    def log(self, name: str, value: float, step: int) -> None:
        """Add a point to a curve, such as ("train/loss", 2.3, 0), per epoch or stage."""

    def note(self, text: str) -> None:
        """Add a short remark that stands beside this run in every table."""

    def progress(
        self, items: Iterable[T], *, label: str, total: int | None = None, unit: str = "batch"
    ) -> Iterator[T]:
        """Yield the items and show the rate and the time left."""

    def score_tune(self, pipeline: Pipeline) -> None:
        """Score the tune split with the pipeline as it is now.

        Call it when all choices are made, before fitting again on train + tune.
        """
