"""A finished run scored again with another number of views: the same weights, as a run of its own.

So the table at one view, beside the one of averages, costs no second training. The cost of the
fit is that of the first run.
"""

from __future__ import annotations

import json
from dataclasses import replace

from harness.engine.load import FitProgress, load_fit, new_pipeline, require_registered
from harness.engine.observer import RunObserver
from harness.engine.request import Request, RunOptions, resolve_request
from harness.engine.runner import execute
from harness.errors import UserError
from harness.files import save_arrays
from harness.runs.record import Record
from harness.runs.result import Result
from harness.runs.run_store import RunStore
from harness.runs.select import datasets_with_images_of
from harness.spec import format_spec, parse_spec
from harness.workspace import Workspace


def rescore_run(
    workspace: Workspace,
    run: str,
    views: int = 1,
    *,
    device: str = "auto",
    observer: RunObserver | None = None,
) -> Result:
    """Score a run's weights at this many views: one more evaluation of the test split.

    Raises
    ------
    UserError
        If the run is not finished, has no weights of its own or was made from an object, if its
        pipeline has no parameter `views` or was scored at that number, or if the dataset has
        changed.
    """
    store = RunStore(workspace.runs_folder)
    source = store.find(run)
    source.require_finished()
    new_pipeline(workspace, source)  # fails where the pipeline cannot be had again
    if not source.spec.dataset_from_object:
        require_registered(workspace.registry, source, "dataset")
    request = _rescore_request(workspace, source, views)
    state, progress = load_fit(source)  # a damaged file must not leave a record behind
    record = store.create(request.name, request.spec)
    save_arrays(record.state_file, state, {"fit": _progress(source, request, progress)})
    return execute(request, device=device, resume=record, observer=observer)


def _rescore_request(workspace: Workspace, source: Record, views: int) -> Request:
    spec = source.spec
    name, values = parse_spec(spec.pipeline)
    if "views" not in values:
        raise UserError(
            f"{name} has no parameter views: run {source.run_id} looks at each image once"
        )
    if values["views"] == str(views):
        raise UserError(
            f"run {source.run_id} was scored with views={views}; give another number with --views"
        )
    pipeline = format_spec(name, {**values, "views": views})
    request = _on_same_images(workspace, source, pipeline)
    return replace(request, spec=replace(request.spec, kind="rescore", weights_of=source.run_id))


def _on_same_images(workspace: Workspace, source: Record, pipeline: str) -> Request:
    """Look up a pipeline on the images of a run, wherever they are now."""
    spec = source.spec
    options = RunOptions(
        seed=spec.seed, tune=spec.tune, limit=spec.limit, limit_test=spec.limit_test
    )
    store = RunStore(workspace.runs_folder)
    reasons = []
    for dataset in datasets_with_images_of(store, source):
        try:
            request = resolve_request(workspace, pipeline, dataset, options)
            _require_same_images(source, request)
            return request
        except UserError as error:
            reasons.append(error)
    raise reasons[0]


def _require_same_images(source: Record, request: Request) -> None:
    for part in ("train", "test"):
        before = getattr(source.spec, f"{part}_digest")
        now = getattr(request.spec, f"{part}_digest")
        if now != before:
            raise UserError(
                f"{source.spec.title} has changed since {source.run_id}: its {part} images had "
                f"digest {before}, now {now}"
            )


def _progress(source: Record, request: Request, progress: FitProgress) -> str:
    """Add a note of where the weights come from, and whether the source has changed since."""
    note = f"weights of {source.run_id}"
    if request.spec.source_hash != source.result.source_hash:
        note += f", learned by another source ({source.result.source_hash})"
    changes = {
        "notes": [*progress.notes, note],
        "peak_memory_mb": source.result.cost.peak_memory_mb,
    }
    return json.dumps({**vars(progress), **changes})
