"""Everything that a report shows, gathered from the records, the dataset and the pipelines; what cannot be had is a sentence that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.comparison.compare import compare_records
from harness.comparison.disagreement import Answers, answers, cells, examples, same_seed
from harness.comparison.literature import PublishedComparison, beside_published
from harness.comparison.table import Comparison
from harness.data.split import Split
from harness.errors import UserError
from harness.runs.record import Record
from harness.spec import parse_spec

if TYPE_CHECKING:
    from harness.data.load import Splits
    from harness.report.neighbors import Neighbors

EXAMPLES = 2  # of each cell of the paired table, for the lists of likely classes
QUERIES = 6  # test images whose neighbors are shown


@dataclass(frozen=True)
class Evidence:
    """
    groups      the records of each row, one a seed; runs: the one of each whose answers are shown, of one seed where all have it
    shown       positions, in order of key, of the images whose likely classes are listed
    test, train the splits with their pictures, or None, and `no_pictures` says why
    neighbors  of each row, or why there are none
    """

    comparison: Comparison
    groups: Sequence[Sequence[Record]]
    runs: Sequence[Record]
    answers: Sequence[Answers]
    class_names: Sequence[str]
    shown: Sequence[int]
    test: Split | None
    train: Split | None
    no_pictures: str
    neighbors: Sequence[Neighbors | str]
    published: PublishedComparison

    @property
    def labels(self) -> list[str]:
        """Of the rows."""
        return [row.label for row in self.comparison.rows]


def gather(
    groups: Sequence[Sequence[Record]],
    *,
    allow_different_train: bool = False,
    pictures: bool = True,
    searched: int | None = None,
    device: str = "auto",
    data_root: Path | str | None = None,
    plugins: Sequence[str] = (),
) -> Evidence:
    """Of records as `compare_records` takes them. Raises UserError where those cannot be compared.

    pictures  False: the dataset is not opened
    searched  training images among which neighbors are looked for; 0: none; None: as `nearest_images` has it
    """
    comparison = compare_records(groups, allow_different_train=allow_different_train)
    runs = same_seed(groups)
    given = [answers(run) for run in runs]
    first = runs[0].result
    shown = [int(position) for position in examples(cells(given[0], given[-1]), EXAMPLES)]
    splits: Splits | str = (
        _splits(runs[0], data_root, plugins) if pictures else "left out, as asked"
    )
    if isinstance(splits, str):
        neighbors: list[Neighbors | str] = [splits] * len(runs)
    else:
        keys = [str(key) for key in given[0].keys[shown[:QUERIES]]]
        neighbors = [_neighbors(run, splits, keys, searched, device, plugins) for run in runs]
    names = runs[0].spec.class_names
    return Evidence(
        comparison=comparison,
        groups=groups,
        runs=runs,
        answers=given,
        class_names=names or [str(label) for label in range(first.classes)],
        shown=shown,
        test=None if isinstance(splits, str) else splits.test,
        train=None if isinstance(splits, str) else splits.train,
        no_pictures=splits if isinstance(splits, str) else "",
        neighbors=neighbors,
        published=beside_published(comparison),
    )


def _splits(record: Record, data_root: Path | str | None, plugins: Sequence[str]) -> Splits | str:
    """The splits of the run, or why they cannot be opened."""
    result = record.result
    if result.dataset.startswith("object:"):
        return f"the images of {result.title} were given by a program and are not kept"
    from harness.data.load import load_dataset
    from harness.registry import Registry

    try:
        # A plugin of the run may be gone; it matters only where the dataset is one.
        known = parse_spec(result.dataset)[0] in Registry(plugins).entries["dataset"]
        wanted = [*plugins, *(() if known else record.spec.plugins)]
        splits = load_dataset(
            result.dataset,
            tune=result.tune,
            limit=result.limit,
            limit_test=result.limit_test,
            data_root=data_root,
            plugins=wanted,
        )
    except (UserError, OSError) as error:
        return f"the dataset {result.dataset} cannot be opened: {error}"
    if splits.test.digest != result.test_digest:
        return f"the dataset {result.dataset} has changed: its test digest is {splits.test.digest} now, {result.test_digest} in the runs"
    return splits


def _neighbors(
    record: Record,
    splits: Splits,
    keys: Sequence[str],
    searched: int | None,
    device: str,
    plugins: Sequence[str],
) -> Neighbors | str:
    if searched == 0:
        return "left out, as asked"
    from harness.engine.device import choose_device
    from harness.engine.load import load_pipeline, new_pipeline
    from harness.report.neighbors import SEARCHED, nearest_images

    result, target = record.result, choose_device(device)
    if splits.fit_digest != result.train_digest:
        return "it learned from other images than the first row"
    if record.spec.kind == "ensemble":
        return "an ensemble has no last hidden layer of its own"
    place = {key: position for position, key in enumerate(splits.test.keys.tolist())}
    queries = [place[key] for key in keys if splits.test.rows[place[key]] >= 0]
    try:
        if not hasattr(new_pipeline(record, plugins), "embed"):
            return "no last hidden layer to look at (the pipeline has no method embed)"
        embed = getattr(load_pipeline(record, target, plugins), "embed")  # noqa: B009 (an optional method, which Pipeline does not name)
        return nearest_images(
            embed, splits.test, splits.train, queries, target, searched=searched or SEARCHED
        )
    except Exception as error:  # a pipeline's source may be gone or may no longer load this state; the rest of the report stands
        return f"its state cannot be loaded: {error}"
