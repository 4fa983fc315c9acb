"""Everything that a report shows, gathered from the records, the dataset and the pipelines.

What is not available is a sentence that says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.comparison.compare import compare_records
from harness.comparison.disagreement import (
    Predictions,
    contingency,
    examples,
    predictions,
    same_seed,
)
from harness.comparison.literature import PublishedComparison, compare_with_literature
from harness.comparison.table import Comparison
from harness.contract import Embeds
from harness.data.split import Split
from harness.engine.load import require_registered
from harness.errors import UserError
from harness.runs.record import Record
from harness.workspace import Workspace

if TYPE_CHECKING:
    from harness.data.load import Splits
    from harness.report.neighbors import Neighbors

EXAMPLES = 2  # of each cell of the paired table, for the lists of likely classes
QUERIES = 6  # test images whose neighbors are shown
OMITTED = "omitted on request"


@dataclass(frozen=True)
class ReportOptions:
    """What a report shows.

    Parameters
    ----------
    allow_different_train : bool
        Compare runs that were fitted on different images; a note says so.
    pictures : bool
        False: the dataset is not opened.
    neighbors : int or None
        Training images among which neighbors are searched; 0: no neighbors; None: the default of
        `nearest_images`.
    device : str
        For the search of neighbors.
    dataset : str or None
        Where the images may be now, if not where the runs saw them.
    """

    allow_different_train: bool = False
    pictures: bool = True
    neighbors: int | None = None
    device: str = "auto"
    dataset: str | None = None


@dataclass(frozen=True)
class Evidence:
    """What the page of a report is made of.

    Parameters
    ----------
    comparison : Comparison
    groups : sequence of sequences of Record
        The records of each row, one per seed.
    runs : sequence of Record
        One of each row, whose predictions are shown; of one seed where all rows have it.
    predictions : sequence of Predictions
        Of `runs`.
    class_names : sequence of str
    shown : sequence of int
        Positions, in order of key, of the images whose likely classes are listed.
    test, train : Split or None
        With their pictures; None where `no_pictures` says why.
    no_pictures : str
    neighbors : sequence of Neighbors or str
        Of each row, or why there are none.
    published : PublishedComparison
    """

    comparison: Comparison
    groups: Sequence[Sequence[Record]]
    runs: Sequence[Record]
    predictions: Sequence[Predictions]
    class_names: Sequence[str]
    shown: Sequence[int]
    test: Split | None
    train: Split | None
    no_pictures: str
    neighbors: Sequence[Neighbors | str]
    published: PublishedComparison

    @property
    def labels(self) -> list[str]:
        """The labels of the rows."""
        return [row.label for row in self.comparison.rows]


def gather(
    workspace: Workspace,
    groups: Sequence[Sequence[Record]],
    options: ReportOptions | None = None,
) -> Evidence:
    """Gather what a report shows of these records.

    Parameters
    ----------
    workspace : Workspace
    groups : sequence of sequences of Record
        As for `compare_records`.
    options : ReportOptions, optional

    Raises
    ------
    UserError
        If the records cannot be compared.
    """
    options = options or ReportOptions()
    comparison = compare_records(groups, allow_different_train=options.allow_different_train)
    runs = same_seed(groups)
    predicted = [predictions(run) for run in runs]
    cells = contingency(predicted[0], predicted[-1])
    shown = [int(position) for position in examples(cells, EXAMPLES)]
    recorded = [record.result.dataset for group in groups for record in group]
    asked = [options.dataset] if options.dataset else []
    splits = _splits(workspace, runs[0], [*asked, *recorded]) if options.pictures else OMITTED
    if isinstance(splits, str):
        neighbors: list[Neighbors | str] = [splits] * len(runs)
    else:
        keys = [str(key) for key in predicted[0].keys[shown[:QUERIES]]]
        search = _Search(workspace, splits, keys, options)
        neighbors = [search.neighbors(run) for run in runs]
    classes = range(runs[0].result.classes)
    return Evidence(
        comparison=comparison,
        groups=groups,
        runs=runs,
        predictions=predicted,
        class_names=runs[0].spec.class_names or [str(label) for label in classes],
        shown=shown,
        test=None if isinstance(splits, str) else splits.test,
        train=None if isinstance(splits, str) else splits.train,
        no_pictures=splits if isinstance(splits, str) else "",
        neighbors=neighbors,
        published=compare_with_literature(comparison),
    )


def _splits(workspace: Workspace, record: Record, datasets: Sequence[str]) -> Splits | str:
    """Return the splits of a run from the first of these datasets that has them, or why none has.

    The run's own dataset comes last: its folder may have been moved, and its reason is the one that
    the reader understands.
    """
    result = record.result
    if record.spec.dataset_from_object:
        return f"the images of {result.title} were given by a program and are not kept"
    reason = ""
    for dataset in dict.fromkeys([*datasets, result.dataset]):
        try:
            if dataset == result.dataset:
                require_registered(workspace.registry, record, "dataset")
            splits = workspace.dataset(
                dataset, tune=result.tune, limit=result.limit, limit_test=result.limit_test
            )
        except (UserError, OSError) as error:
            reason = f"the dataset {dataset} cannot be opened: {error}"
            continue
        if splits.test.digest == result.test_digest:
            return splits
        reason = (
            f"the dataset {dataset} has changed: its test digest is {splits.test.digest} now, "
            f"{result.test_digest} in the runs"
        )
    return reason


@dataclass(frozen=True)
class _Search:
    """Where neighbors are searched, and for which test images."""

    workspace: Workspace
    splits: Splits
    keys: Sequence[str]
    options: ReportOptions

    def neighbors(self, record: Record) -> Neighbors | str:
        """Return the neighbors in the last hidden layer of a run, or why there are none."""
        if self.options.neighbors == 0:
            return OMITTED
        if self.splits.fit_digest != record.result.train_digest:
            return "it was fitted on other images than the first row"
        if record.spec.kind == "ensemble":
            return "an ensemble has no last hidden layer of its own"
        try:
            return self._neighbors(record)
        # The source of a pipeline may be gone or may no longer load this state; the rest of the
        # report does not depend on it.
        except Exception as error:
            return f"its state cannot be loaded: {error}"

    def _neighbors(self, record: Record) -> Neighbors | str:
        from harness.engine.device import choose_device
        from harness.engine.load import load_pipeline, new_pipeline
        from harness.report.neighbors import SEARCHED, nearest_images

        if not isinstance(new_pipeline(self.workspace, record), Embeds):
            return "no last hidden layer to look at (the pipeline has no method embed)"
        device = choose_device(self.options.device)
        pipeline = load_pipeline(self.workspace, record, device)
        assert isinstance(pipeline, Embeds)
        test = self.splits.test
        positions = {key: position for position, key in enumerate(test.keys.tolist())}
        queries = [positions[key] for key in self.keys if test.rows[positions[key]] >= 0]
        searched = self.options.neighbors or SEARCHED
        return nearest_images(
            pipeline.embed, test, self.splits.train, queries, device, searched=searched
        )
