"""The library's functions, for Python users and for the commands alike.

Each takes either an open `workspace`, or the arguments of `Workspace.open` (config, data_root,
plugins) as `**where`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from harness.workspace import Workspace, WorkspaceOptions

if TYPE_CHECKING:
    from harness.comparison.table import Comparison
    from harness.contract import Pipeline
    from harness.data.load import DatasetSource, Splits
    from harness.engine.ensemble import Weighting
    from harness.engine.observer import RunObserver
    from harness.engine.predict import Prediction
    from harness.engine.request import Request
    from harness.runs.record import Record
    from harness.runs.result import Result


def run(
    pipeline: str | Pipeline,
    dataset: DatasetSource = None,
    *,
    seed: int = 0,
    tune: int | None = None,
    limit: int | None = None,
    limit_test: int | None = None,
    test: bool = True,
    device: str = "auto",
    track: bool = True,
    observer: RunObserver | None = None,
    workspace: Workspace | None = None,
    **where: Unpack[WorkspaceOptions],
) -> Result:
    """Fit a pipeline on the train part of a dataset, score the test part and keep the record.

    The random state and the thread settings of this process are left as they were.

    Parameters
    ----------
    pipeline : str or Pipeline
        A spec string, or an object with the methods of `contract.Pipeline`.
    dataset : str, Dataset, (train, test) pair of Splits, optional
        A spec string or path; default: HARNESS_DATASET, else digits.
    seed : int
        Seeds everything that is random.
    tune : int, optional
        Images per class to hold out for tuning; 0: none; default: the dataset's own number.
    limit, limit_test : int, optional
        At most this many labeled or test images, balanced over the classes.
    test : bool
        False: stop after the tune error.
    device : str
        auto, cpu, cuda or cuda:N.
    track : bool
        Also draw the pictures of the run and log it to MLflow.
    observer : RunObserver, optional
        Told what happens.

    Returns
    -------
    Result

    Raises
    ------
    UserError
        If anything about the request is wrong.
    """
    from harness.engine.request import RunOptions, resolve_request

    options = RunOptions(seed=seed, tune=tune, limit=limit, limit_test=limit_test, test=test)
    request = resolve_request(workspace or Workspace.open(**where), pipeline, dataset, options)
    return run_request(request, device=device, track=track, observer=observer)


def run_request(
    request: Request,
    *,
    device: str = "auto",
    track: bool = True,
    resume: Record | None = None,
    observer: RunObserver | None = None,
) -> Result:
    """Execute a run that is looked up already, or the rest of an unfinished one; see `run`."""
    from harness.engine.runner import execute

    observers = _observers(request.workspace, observer, track)
    return execute(request, device=device, resume=resume, observer=observers)


def compare(
    *runs: str | Result,
    dataset: str | None = None,
    allow_different_train: bool = False,
    workspace: Workspace | None = None,
    **where: Unpack[WorkspaceOptions],
) -> Comparison:
    """Compare two or more finished runs image by image; the first is the reference.

    Parameters
    ----------
    runs : str or Result
        Run ids, Results, or pipeline specs. A spec stands for its latest finished, unlimited run
        on `dataset`, together with the runs of other seeds that have the same source and images.
    dataset : str, optional
        A dataset spec or path; default: HARNESS_DATASET, else digits.
    allow_different_train : bool
        Compare runs that were fitted on different images; a note says so.

    Raises
    ------
    UserError
        If there is no such run, or if test splits or, unless allowed, training images differ.
    """
    from harness.comparison.compare import compare_records
    from harness.runs.select import find_groups

    groups = find_groups(workspace or Workspace.open(**where), runs, dataset=dataset)
    return compare_records(groups, allow_different_train=allow_different_train)


def write_report(
    *runs: str | Result,
    output: Path | str = "report.html",
    dataset: str | None = None,
    allow_different_train: bool = False,
    pictures: bool = True,
    neighbors: int | None = None,
    device: str = "auto",
    workspace: Workspace | None = None,
    **where: Unpack[WorkspaceOptions],
) -> Comparison:
    """Write a comparison as one HTML page, or its tables alone.

    Parameters
    ----------
    runs, dataset, allow_different_train
        As for `compare`.
    output : Path or str
        Ends in .html for the page, in .md, .csv or .tex for the tables.
    pictures : bool
        False: leave out the test images, which need the dataset.
    neighbors : int, optional
        Training images to search for nearest neighbors; 0: none; default 5000.
    device : str
        For the neighbors: auto, cpu, cuda or cuda:N.

    Raises
    ------
    UserError
        As `compare` does, and for an output that cannot be written.
    """
    from harness.report import export
    from harness.runs.select import find_groups

    workspace, output = workspace or Workspace.open(**where), Path(output)
    export.check_output(output)
    groups = find_groups(workspace, runs, dataset=dataset)
    options = export.ReportOptions(
        allow_different_train=allow_different_train,
        pictures=pictures,
        neighbors=neighbors,
        device=device,
        dataset=dataset,
    )
    return export.write_report(workspace, output, groups, options)


def ensemble(
    *runs: str | Result,
    weights: Weighting = "equal",
    dataset: str | None = None,
    allow_different_train: bool = False,
    track: bool = True,
    observer: RunObserver | None = None,
    workspace: Workspace | None = None,
    **where: Unpack[WorkspaceOptions],
) -> Result:
    """Average the probabilities of finished runs into a run of its own, from the scores on record.

    Parameters
    ----------
    runs, dataset, allow_different_train
        As for `compare`; a spec stands for its runs of every seed.
    weights : {"equal", "tune"}
        `tune`: the weights that make the labels of the tune split most likely.

    Raises
    ------
    UserError
        For fewer than two members, for different test splits, or for missing tune scores.
    """
    from harness.engine.ensemble import average_runs
    from harness.runs.select import find_group

    workspace = workspace or Workspace.open(**where)
    members = [record for run in runs for record in find_group(workspace, run, dataset=dataset)]
    return average_runs(
        workspace,
        members,
        weighting=weights,
        allow_different_train=allow_different_train,
        observer=_observers(workspace, observer, track),
    )


def rescore(
    run: str | Result,
    views: int = 1,
    *,
    device: str = "auto",
    track: bool = True,
    observer: RunObserver | None = None,
    workspace: Workspace | None = None,
    **where: Unpack[WorkspaceOptions],
) -> Result:
    """Score a finished run's weights again, averaging another number of views per image.

    Raises
    ------
    UserError
        If the run has no weights of its own, its pipeline has no parameter `views`, or the dataset
        has changed.
    """
    from harness.engine.rescore import rescore_run

    workspace = workspace or Workspace.open(**where)
    run_id = run if isinstance(run, str) else run.run_id
    observers = _observers(workspace, observer, track)
    return rescore_run(workspace, run_id, views, device=device, observer=observers)


def predict(
    run: str | Result,
    paths: Sequence[Path | str],
    *,
    device: str = "auto",
    note: Callable[[str], object] | None = None,
    workspace: Workspace | None = None,
    **where: Unpack[WorkspaceOptions],
) -> Iterator[Prediction]:
    """Yield the five most likely classes of your own images, by a finished run.

    `note` receives, after the last image, a sentence per kind of conversion, such as of
    transparency.

    Yields
    ------
    (Path, list of (class, score))

    Raises
    ------
    UserError
        If the run is not finished; after the last prediction, if a path does not exist or an image
        cannot be decoded.
    """
    from harness.engine.predict import predict_images

    workspace = workspace or Workspace.open(**where)
    run_id = run if isinstance(run, str) else run.run_id
    files = [Path(path) for path in paths]
    return predict_images(workspace, run_id, files, device=device, note=note)


def load(
    run: str | Result,
    *,
    device: str = "auto",
    workspace: Workspace | None = None,
    **where: Unpack[WorkspaceOptions],
) -> Pipeline:
    """Return the fitted pipeline of a finished run.

    Raises
    ------
    UserError
        If the run is not finished, is an ensemble or was made from an object.
    """
    from harness.engine.device import choose_device
    from harness.engine.load import load_pipeline
    from harness.runs.run_store import RunStore

    workspace = workspace or Workspace.open(**where)
    record = RunStore(workspace.runs_folder).find(run if isinstance(run, str) else run.run_id)
    record.require_finished()
    return load_pipeline(workspace, record, choose_device(device))


def load_dataset(
    dataset: DatasetSource = None,
    *,
    tune: int | None = None,
    limit: int | None = None,
    limit_test: int | None = None,
    workspace: Workspace | None = None,
    **where: Unpack[WorkspaceOptions],
) -> Splits:
    """Return the train, tune and test splits of a dataset, as `run` would use them.

    Parameters
    ----------
    dataset, tune, limit, limit_test
        As for `run`.

    Raises
    ------
    UserError
        For an unknown dataset, a wrong parameter, or a limit below one image per class.
    """
    workspace = workspace or Workspace.open(**where)
    return workspace.dataset(dataset, tune=tune, limit=limit, limit_test=limit_test)


def _observers(workspace: Workspace, observer: RunObserver | None, track: bool) -> RunObserver:
    """Combine the log file, the caller's observer and, if wanted, pictures and MLflow."""
    from harness.engine.observer import Observers
    from harness.report.run_summary import LogFile, ProgressDisplay

    observers = Observers([LogFile(), observer or ProgressDisplay()])
    if track:
        from harness.publish import Publisher

        observers.observers.append(Publisher(workspace.settings, observers))
    return observers
