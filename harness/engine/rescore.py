"""A finished run scored again, with another number of views of each test image: the same weights, as a run of its own.

So the table at one view, which stands beside the one of averages, costs no second training. What the fit cost is told as of the first run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.engine.load import new_pipeline, plugins_for
from harness.engine.request import Request, resolve
from harness.engine.runner import execute
from harness.errors import UserError
from harness.files import load_arrays, save_arrays
from harness.runs.record import Record
from harness.runs.result import Result
from harness.runs.run_store import RunStore
from harness.settings import load_settings
from harness.spec import format_spec, parse_spec


def rescore(
    run: str | Result,
    views: int = 1,
    *,
    device: str = "auto",
    track: bool = True,
    plugins: Sequence[str] = (),
    config: Path | None = None,
    data_root: Path | str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Result:
    """The run's weights at so many views. It is one more look at the test split.

    Raises UserError for a run that is not finished, has no weights of its own (an ensemble) or was made from an object, for a pipeline
    without a parameter `views` or that number of them, and where the dataset has changed since.
    """
    runs = RunStore(load_settings(config).runs)
    before = runs.find(run if isinstance(run, str) else run.run_id)
    before.require_finished()
    new_pipeline(before, plugins)  # an ensemble or an object cannot be had again
    request = _request(before, views, plugins=plugins, config=config, data_root=data_root)
    state, facts = load_arrays(before.state_file)
    fit = json.loads(facts["fit"])
    changed = (
        ""
        if request.source_hash == before.result.source_hash
        else f", learned by another source ({before.result.source_hash})"
    )
    fit["notes"] = [*fit["notes"], f"weights of {before.run_id}{changed}"]
    fit["peak_memory_mb"] = before.result.cost.peak_memory_mb
    record = runs.create(request.name, {**request.record, "weights_of": before.run_id})
    save_arrays(record.state_file, state, {"fit": json.dumps(fit)})
    return execute(request, device=device, track=track, resume=record, say=say)


def _request(
    before: Record,
    views: int,
    *,
    plugins: Sequence[str],
    config: Path | None,
    data_root: Path | str | None,
) -> Request:
    spec = before.spec
    name, values = parse_spec(spec.pipeline)
    if "views" not in values:
        raise UserError(
            f"{name} has no parameter views: run {before.run_id} looks at each image once"
        )
    if values["views"] == str(views):
        raise UserError(
            f"run {before.run_id} was scored with views={views}; give another number with --views"
        )
    request = resolve(
        format_spec(name, {**values, "views": views}),
        spec.dataset,
        seed=spec.seed,
        tune=spec.tune,
        limit=spec.limit,
        limit_test=spec.limit_test,
        config=config,
        data_root=data_root,
        plugins=plugins_for(before, plugins),
    )
    for part, digest in {
        "train": request.splits.fit_digest,
        "test": request.splits.test.digest,
    }.items():
        if digest != spec[f"{part}_digest"]:
            raise UserError(
                f"{spec.title} has changed since {before.run_id}: its {part} images had digest {spec[f'{part}_digest']}, now {digest}"
            )
    return request
