"""What a pipeline returns, checked and brought into the form that the harness keeps.

`harness run`, `predict` and `check` read a pipeline through these functions alone, so that they
accept the same. What is kept of `state` is checked where it is written: `files.save_arrays`.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.contract import Batch, Pipeline
from harness.errors import UserError

METHODS = ("fit", "scores", "state", "load")
HERE = Path(__file__).parent  # where methods are called: a wrong number of parameters fails here


def require_pipeline(built: Any, owner: str) -> None:
    """Raise UserError unless `built` has the methods of a pipeline.

    Parameters
    ----------
    owner : str
        Whose `build` returned it, for the message.
    """
    if isinstance(built, type):
        raise UserError(f"{owner}: build returned the class {built.__name__}; return an object")
    missing = [name for name in METHODS if not callable(getattr(built, name, None))]
    if missing:
        raise UserError(
            f"{owner}: build returned {type(built).__name__} without the "
            f"method{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        )


def batch_scores(pipeline: Pipeline, batch: Batch, classes: int) -> torch.Tensor:
    """Return the pipeline's scores of a batch.

    Numpy arrays, lists of numbers, other types of number, other devices and gradients are accepted.

    Returns
    -------
    scores : (n, classes) float32
        On the CPU. They may be NaN: see `count_nan_rows`.

    Raises
    ------
    UserError
        If they have another shape, are no real numbers, or are too large for float32.
    """
    returned: Any = pipeline.scores(batch)
    rows = _as_tensor(returned)
    if tuple(rows.shape) != (len(batch), classes):
        raise UserError(
            f"the pipeline's scores are {tuple(rows.shape)} for {len(batch)} images, "
            f"not ({len(batch)}, {classes})"
        )
    rows = rows.detach().to("cpu")
    scores = rows.to(torch.float32)
    if rows.dtype != torch.float32 and not torch.equal(scores.isinf(), rows.isinf()):
        raise UserError(f"the pipeline's scores are {rows.dtype} and too large for torch.float32")
    return scores


def count_nan_rows(scores: np.ndarray | torch.Tensor) -> int:
    """Return for how many images a score is NaN."""
    return int(np.isnan(np.asarray(scores)).any(axis=1).sum())


def _as_tensor(returned: Any) -> torch.Tensor:
    """Return scores as a dense tensor of real numbers, or raise UserError."""
    rows = returned
    if not isinstance(rows, torch.Tensor):
        try:
            array = np.asarray(returned)
            if array.dtype.kind not in "biuf":
                raise TypeError
            rows = torch.from_numpy(array.astype(np.result_type(array, np.float32)))
        except (TypeError, ValueError, RuntimeError) as error:
            name = type(returned).__name__
            raise UserError(
                f"the pipeline's scores are of type {name}; return a torch.Tensor of float32"
            ) from error
    if rows.is_complex() or rows.layout != torch.strided or rows.is_quantized or rows.is_meta:
        raise UserError(
            f"the pipeline's scores are {rows.dtype}, {rows.layout} on {rows.device}; "
            "return a dense tensor of float32"
        )
    return rows


@contextmanager
def plugin_errors(name: str, plugin: Path | None) -> Iterator[None]:
    """Turn an error that passes through a plugin's file into a UserError that says where.

    Errors of pipelines that are built in pass: they are ours.

    Parameters
    ----------
    name : str
        Of the pipeline.
    plugin : Path or None
        The file; None for a pipeline that is built in or was given as an object.
    """
    try:
        yield
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if plugin and Path(frame.filename) == plugin]
        is_call = isinstance(error, TypeError) and Path(frames[-1].filename).parent == HERE
        if plugin is None or not (own or is_call):
            raise
        words = traceback.format_exception_only(error)[-1].strip()  # with Python's suggestion
        place = f", line {own[-1].lineno}, in {own[-1].name}" if own else ""
        raise UserError(f"{name} ({plugin}{place}): {words}") from error
