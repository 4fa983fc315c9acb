"""Scores of a finished run for images that belong to no dataset."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from harness.contract import Batch, Pipeline
from harness.data.decode import resize, shrink
from harness.data.own_images import OwnImages
from harness.engine.device import choose_device
from harness.engine.load import load_pipeline
from harness.engine.outputs import batch_scores, count_nan_rows
from harness.errors import UserError
from harness.render.text import printable
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.workspace import Workspace

TOP = 5
Prediction = tuple[Path, list[tuple[str, float]]]
"""An image file, and its most likely (class, score) pairs, the best first."""


def predict_images(
    workspace: Workspace,
    run: str,
    paths: Sequence[Path],
    *,
    device: str = "auto",
    note: Callable[[str], object] | None = None,
) -> Iterator[Prediction]:
    """Yield the five most likely classes of each image, prepared as the run's test images were.

    An image that cannot be decoded is left out until the others are done.

    Parameters
    ----------
    run : str
        Id of a finished run.
    paths : sequence of Path
        Image files, or folders and archives that are searched for them.
    note : callable, optional
        Receives, after the last image, a sentence per kind of conversion, such as of transparency.

    Raises
    ------
    UserError
        If the run is not finished; after the last prediction, if a path does not exist or an image
        cannot be decoded.
    """
    record = RunStore(workspace.runs_folder).find(run)
    record.require_finished()
    images = OwnImages(paths)
    target = choose_device(device)
    pipeline = load_pipeline(workspace, record, target)
    spec = record.spec
    size = re.match(r"size=(\d+) ", spec.preparation)
    for file, decoded in images:
        image = _prepare(decoded, spec.image_size, int(size[1]) if size else None)
        index = torch.zeros(1, dtype=torch.int64, device=target)
        batch = Batch(np.array([str(file)]), image[None].to(target), index)
        scores = _scores(pipeline, batch, record)
        values, labels = scores.topk(min(TOP, len(spec.class_names)))
        classes = [spec.class_names[label] for label in labels.tolist()]
        yield file, list(zip(classes, values.tolist(), strict=True))
    if note:
        for text in images.notes:
            note(text)
    images.raise_problems()


def _scores(pipeline: Pipeline, batch: Batch, record: Record) -> torch.Tensor:
    """Return the scores of one image; raise UserError where the weights do not fit."""
    file = printable(batch.keys[0])
    try:
        scores = batch_scores(pipeline, batch, len(record.spec.class_names))
    except (MemoryError, UserError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"run {record.run_id} cannot score {file} ({type(error).__name__}: {reason})"
        ) from error
    if count_nan_rows(scores):
        raise UserError(f"run {record.run_id} gives NaN scores for {file}")
    return scores[0]


def _prepare(
    image: torch.Tensor, image_size: tuple[int, int] | None, size: int | None
) -> torch.Tensor:
    """Bring an image to the run's size.

    Where all images of the run have one size, fit the shorter side and cut out the center;
    otherwise shrink the shorter side to at most `size` pixels.
    """
    if image_size is None:
        return shrink(image, size) if size else image
    from torchvision.transforms.v2 import functional

    height, width = image_size
    scale = max(height / image.shape[1], width / image.shape[2])
    scaled = (max(height, round(image.shape[1] * scale)), max(width, round(image.shape[2] * scale)))
    return functional.center_crop(resize(image, scaled), [height, width])
