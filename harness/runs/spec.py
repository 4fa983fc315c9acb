"""What a run was asked to do: enough to recognize it, repeat it and load its pipeline again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from harness.runs.result import Amount, Count, Seed

Kind = Literal["fit", "rescore", "ensemble"]

Pixels = Annotated[int, Ge(1), Le(2**16)]

# Two runs that agree in these are the same run, including the state of the source and the data.
IDENTITY_FIELDS = (
    "pipeline", "dataset", "seed", "tune", "limit", "limit_test", "test", "source_hash",
    "train_digest", "test_digest",
)  # fmt: skip


@dataclass(frozen=True)
class SeedGroup:
    """The group of runs, one per seed, that a run with several seeds belongs to."""

    run_id: str
    seeds: Count


@dataclass(frozen=True)
class RunSpec:
    """What spec.json holds.

    Parameters
    ----------
    kind : {"fit", "rescore", "ensemble"}
        Whether the run fits a pipeline, scores the weights of another run, or averages runs.
    pipeline, dataset : str
        Resolved specs: every parameter written out.
    title : str
        The dataset as tables call it.
    tune, limit, limit_test : int or None
        As the run was asked; None: the dataset's own.
    test : bool
        False for a run that stops after the tune split.
    preparation : str
        How pixels were made from the source bytes.
    image_size : (height, width) or None
        In pixels; None where the sizes of the images differ.
    from_object, dataset_from_object : bool
        The pipeline or the dataset was a Python object, which its spec cannot build again.
    seed_group : SeedGroup or None
        Set when the run is one of several seeds.
    members : tuple of str
        Run ids that an ensemble averages, with their `weights`; empty for other kinds.
    models : int
        Number of trained models behind the scores; the members of an ensemble, counted in full.
    weights_of : str or None
        The run whose weights a rescored run uses.
    """

    kind: Kind
    pipeline: str
    dataset: str
    title: str
    seed: Seed
    class_names: tuple[str, ...]
    source_hash: str
    train_digest: str
    test_digest: str
    tune: Count | None = None
    limit: Count | None = None
    limit_test: Count | None = None
    test: bool = True
    preparation: str = ""
    image_size: tuple[Pixels, Pixels] | None = None
    plugins: tuple[str, ...] = ()
    from_object: bool = False
    dataset_from_object: bool = False
    seed_group: SeedGroup | None = None
    members: tuple[str, ...] = ()
    weights: tuple[Amount, ...] = ()
    models: Count = 1
    weights_of: str | None = None

    @property
    def identifying(self) -> dict[str, Any]:
        """What makes two runs the same run."""
        return {name: getattr(self, name) for name in IDENTITY_FIELDS}

    @property
    def identity(self) -> str:
        """16 hex digits over `identifying`."""
        text = json.dumps(self.identifying, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return what spec.json holds."""
        return asdict(self)
