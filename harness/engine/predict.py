"""Scores of a finished run for images that belong to no dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from harness.contract import Batch
from harness.data.decode import Undecodable, decode, is_image, resize, shrink
from harness.engine.device import choose_device
from harness.engine.load import load_pipeline
from harness.engine.outputs import batch_scores, count_nan_rows
from harness.errors import UserError
from harness.render.text import printable
from harness.runs.run_store import RunStore
from harness.workspace import Workspace

TOP = 5
Prediction = tuple[Path, list[tuple[str, float]]]
"""An image file, and its most likely (class, score) pairs, the best first."""


def predict_images(
    workspace: Workspace, run: str, paths: Sequence[Path], *, device: str = "auto"
) -> Iterator[Prediction]:
    """Yield the five most likely classes of each image, prepared as the run's test images were.

    Parameters
    ----------
    run : str
        Id of a finished run.
    paths : sequence of Path
        Image files, or folders that are searched for them.

    Raises
    ------
    UserError
        If the run is not finished, a path does not exist, or a file is no image.
    """
    record = RunStore(workspace.runs_folder).find(run)
    record.require_finished()
    files = [file for path in paths for file in _image_files(path)]
    target = choose_device(device)
    pipeline = load_pipeline(workspace, record, target)
    spec = record.spec
    size = re.match(r"size=(\d+) ", spec.preparation)
    for file in files:
        try:
            image = decode(file.read_bytes())
        except Undecodable as error:
            raise UserError(f"{printable(str(file))} cannot be decoded: {error}") from error
        image = _prepare(image, spec.image_size, int(size[1]) if size else None)
        index = torch.zeros(1, dtype=torch.int64, device=target)
        batch = Batch(np.array([str(file)]), image[None].to(target), index)
        scores = batch_scores(pipeline, batch, len(spec.class_names))
        if count_nan_rows(scores):
            raise UserError(f"run {run} gives NaN scores for {printable(str(file))}")
        values, labels = scores[0].topk(min(TOP, len(spec.class_names)))
        classes = [spec.class_names[label] for label in labels.tolist()]
        yield file, list(zip(classes, values.tolist(), strict=True))


def _image_files(path: Path) -> list[Path]:
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        images = sorted(file for file in files if is_image(file.relative_to(path).as_posix()))
        if not images:
            raise UserError(f"{printable(str(path))} holds no images")
        return images
    if not path.is_file():
        raise UserError(f"there is no file or folder {printable(str(path))}")
    return [path]


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
