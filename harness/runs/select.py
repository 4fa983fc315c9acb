"""Which records a run id or a pipeline spec refers to."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from harness.commands import harness_command
from harness.errors import RecordWarning, UserError
from harness.runs.record import SPEC, Record
from harness.runs.result import Result
from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec
from harness.workspace import Workspace

Group = list[Record]
"""The runs of one row of a comparison, one per seed."""


class NoSuchRun(UserError):
    """There is no finished run of `spec` to compare; the message says how to make one."""

    def __init__(self, message: str, spec: str) -> None:
        super().__init__(message)
        self.spec = spec


def find_groups(
    workspace: Workspace, runs: Sequence[str | Result], *, dataset: str | None = None
) -> list[Group]:
    """Find the records of each row of a comparison.

    Parameters
    ----------
    runs : sequence of str or Result
        Two or more; see `find_group`.
    dataset : str, optional
        For pipeline specs: a dataset spec or path; default HARNESS_DATASET, else digits.

    Raises
    ------
    UserError
        If there are fewer than two runs, or one of them is not on record.
    """
    if len(runs) < 2:
        raise UserError(
            f"give two or more pipelines or run ids, such as baseline alexnet, got {len(runs)}"
        )
    return [find_group(workspace, run, dataset=dataset) for run in runs]


def find_group(workspace: Workspace, run: str | Result, *, dataset: str | None = None) -> Group:
    """Find the finished records that one argument of `compare` names.

    Parameters
    ----------
    run : str or Result
        A run id or a Result names one record. A pipeline spec names its latest unlimited run on
        the images of `dataset`, wherever they were when it ran, together with the runs of other
        seeds that have the same source, images and tune split.

    Raises
    ------
    NoSuchRun
        If there is no finished, unlimited run of the spec.
    UserError
        If the run is not on record, damaged, not finished or without test scores.
    """
    store = RunStore(workspace.runs_folder)
    name = run.run_id if isinstance(run, Result) else run
    record = store.get(name)
    is_pipeline = name in workspace.registry.entries["pipeline"]
    if record and ((record.folder / SPEC).exists() or not is_pipeline):
        return [_require_test_scores(record)]
    if isinstance(run, Result):
        raise UserError(f"the record of run {name} is not in {store.folder}")
    pipeline = workspace.resolve("pipeline", name).spec
    full_dataset = workspace.resolve("dataset", workspace.dataset_spec(dataset)).spec
    whole = _unlimited_runs(store)
    matches = workspace.registry.matches
    of_pipeline = [r for r in whole if matches(r.result.pipeline, "pipeline", pipeline)]
    digests = _digests(workspace, full_dataset, whole, load=bool(of_pipeline))
    group = _latest_group([r for r in of_pipeline if _digest_pair(r.result) in digests])
    if not group:
        message = _missing_run_message(workspace, name, full_dataset, dataset, of_pipeline)
        raise NoSuchRun(message, name)
    for record in group:
        if not matches(record.result.dataset, "dataset", full_dataset):
            warnings.warn(
                f"{record.run_id} was recorded on {record.result.dataset}: the same images as "
                f"those of {full_dataset}",
                RecordWarning,
                stacklevel=2,
            )
    return group


def _digest_pair(images: Result | RunSpec) -> tuple[str, str]:
    return images.train_digest, images.test_digest


def datasets_with_images_of(store: RunStore, record: Record) -> list[str]:
    """Return the dataset specs on which the images of a run were seen: its own, then the latest."""
    wanted = _digest_pair(record.spec)
    alike = [other for other in store.readable() if _digest_pair(other.spec) == wanted]
    return list(dict.fromkeys(other.spec.dataset for other in (record, *reversed(alike))))


def _digests(
    workspace: Workspace, full_dataset: str, whole: Sequence[Record], *, load: bool
) -> set[tuple[str, str]]:
    """Return the digests of train and test that a resolved dataset spec stands for.

    They are those of the runs that were recorded on it, also on earlier versions of it. Without
    such runs, as after a folder was moved, they are those of its images, if these may be loaded.
    """
    matches = workspace.registry.matches
    specs = {record.result.dataset for record in whole}
    same = {spec for spec in specs if matches(spec, "dataset", full_dataset)}
    recorded = {_digest_pair(record.result) for record in whole if record.result.dataset in same}
    if recorded or not load:
        return recorded
    try:
        splits = workspace.dataset(full_dataset, tune=0)
    except UserError:  # it is not there: the missing run is what matters
        return set()
    return {(splits.fit_digest, splits.test.digest)}


def _latest_group(records: Sequence[Record]) -> Group:
    """Return the latest of these runs of one pipeline and its like with other seeds, by seed.

    Runs with damaged scores are left out, and a warning names them.
    """
    remaining = list(records)
    while remaining:
        latest = remaining[-1].result
        alike = {r.result.seed: r for r in remaining if _only_seed_differs(r.result, latest)}
        damaged = [record for record in alike.values() if not has_intact_scores(record)]
        if not damaged:
            return [alike[seed] for seed in sorted(alike)]
        remaining = [record for record in remaining if record not in damaged]
    return []


def has_intact_scores(record: Record) -> bool:
    """Return whether the test scores of a run can be used; a warning says why not."""
    try:
        record.scores()
        return True
    except UserError as error:
        warnings.warn(f"left out: {error}", RecordWarning, stacklevel=2)
        return False


def require_same_images(
    records: Sequence[Record], *, allow_different_train: bool = False
) -> list[str]:
    """Check that the runs can be compared, and return in words how their training images differ.

    Raises
    ------
    UserError
        If test splits or numbers of classes differ, or, unless allowed, training images do.
    """
    reference = records[0].result
    warnings = []
    for result in (record.result for record in records):
        if result.test_digest != reference.test_digest:
            raise UserError(
                f"{result.run_id} and {reference.run_id} were scored on different test splits "
                f"({result.title}: {result.test_digest}, {reference.title}: "
                f"{reference.test_digest}); compare runs on one dataset with equal limits"
            )
        # A class without test images leaves the test digest as it is.
        if result.classes != reference.classes:
            raise UserError(
                f"{result.run_id} has {result.classes} classes and {reference.run_id} "
                f"{reference.classes} (of {result.title}); compare runs on one version of "
                "the dataset"
            )
        if result.train_digest == reference.train_digest:
            continue
        difference = (
            f"{result.run_id} was fitted on different images from {reference.run_id} (train + "
            f"tune: {result.n_train + result.n_tune} and {reference.n_train + reference.n_tune}, "
            f"digests {result.train_digest[:8]} and {reference.train_digest[:8]})"
        )
        if not allow_different_train:
            raise UserError(f"{difference}; to compare them anyway: --allow-different-train")
        warnings.append(difference)
    return warnings


def _unlimited_runs(store: RunStore) -> list[Record]:
    """Return the finished runs on whole datasets, oldest first."""
    return [
        record
        for record in store.finished()
        if record.state == "finished"
        and record.result.limit is None
        and record.result.limit_test is None
    ]


def _only_seed_differs(one: Result, other: Result) -> bool:
    """Compare two runs of one pipeline on one dataset; either may have changed in between."""
    names = ("source_hash", "tune", "train_digest", "test_digest")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _require_test_scores(record: Record) -> Record:
    record.require_finished()
    if record.state == "tuned":
        raise UserError(
            f"run {record.run_id} stopped after tune (--no-test) and has no test scores to compare"
        )
    return record


def _missing_run_message(
    workspace: Workspace,
    name: str,
    full_dataset: str,
    dataset: str | None,
    of_pipeline: Sequence[Record],
) -> str:
    """Suggest the run that is missing, and --dataset where there are runs on other data."""
    dataset_words = ["--dataset", dataset] if dataset else []
    command = harness_command("run", "--pipeline", name, *dataset_words, flags=workspace.flags)
    message = (
        f"there is no finished, unlimited run of {name} on {full_dataset}; make one with: "
        f"{command} (or give --run-missing)"
    )
    if not of_pipeline:
        return message
    titles = ", ".join(sorted({record.result.title for record in of_pipeline}))
    return f"{message}; there are runs of it on {titles}: give --dataset"
