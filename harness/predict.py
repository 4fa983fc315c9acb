"""Scores of a finished run for images that belong to no dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from harness.contract import Batch, Pipeline
from harness.data.decode import Undecodable, decode, resize, shrink
from harness.data.names import is_image
from harness.errors import UserError
from harness.files import load_arrays
from harness.machine import choose_device
from harness.record import Record, Runs
from harness.registry import Registry
from harness.settings import load_settings
from harness.spec import parse_spec

TOP = 5


def predict(
    run: str,
    paths: Sequence[Path],
    *,
    device: str = "auto",
    plugins: Sequence[str] = (),
    config: Path | None = None,
) -> Iterator[tuple[Path, list[tuple[str, float]]]]:
    """(path, the five likeliest (class, score)) of each image, as the run's own test images were prepared.

    Raises UserError for a run that is not finished, a path that does not exist and a file that is no image.
    """
    record = Runs(load_settings(config).runs).find(run)
    record.require_finished()
    files = [file for path in paths for file in _images(path)]
    target = choose_device(device)
    pipeline = load_pipeline(record, target, plugins)
    class_names, image_size = record.spec["class_names"], record.spec["image_size"]
    size = re.match(r"size=(\d+) ", record.spec["preparation"])
    for file in files:
        try:
            image = decode(file.read_bytes())
        except Undecodable as error:
            raise UserError(f"{file} cannot be decoded: {error}") from error
        image = _fit(image, image_size, int(size[1]) if size else None)
        batch = Batch(
            np.array([str(file)]),
            image[None].to(target),
            torch.zeros(1, dtype=torch.int64, device=target),
        )
        scores = pipeline.scores(batch)[0]
        values, indices = scores.topk(min(TOP, len(class_names)))
        yield (
            file,
            [(class_names[i], v) for i, v in zip(indices.tolist(), values.tolist(), strict=True)],
        )


def load_pipeline(record: Record, device: torch.device, plugins: Sequence[str] = ()) -> Pipeline:
    """The fitted pipeline of a run. Raises UserError as `new_pipeline` does."""
    pipeline = new_pipeline(record, plugins)
    pipeline.load(load_arrays(record.state_file, device)[0])
    return pipeline


def new_pipeline(record: Record, plugins: Sequence[str] = ()) -> Pipeline:
    """The same, before it has learned anything. Raises UserError when it was an object and not a file, is an ensemble, or its source is gone."""
    spec = record.spec
    if "members" in spec:
        raise UserError(
            f"run {record.run_id} is an ensemble, without weights of its own; take its members: {', '.join(spec['members'])}"
        )
    if spec["pipeline"].startswith("object:"):
        raise UserError(
            f"run {record.run_id} was made from an object in a program; only pipelines in files can be loaded again"
        )
    _, build, values, _ = Registry(plugins_for(record, plugins)).resolve(
        "pipeline", spec["pipeline"]
    )
    pipeline: Pipeline = build(**values)
    return pipeline


def plugins_for(record: Record, given: Sequence[str]) -> tuple[str, ...]:
    """The plugins that a run is loaded with again: those given, and its own, which may have moved, where these do not know its pipeline."""
    known = Registry(given).entries["pipeline"]
    return (
        tuple(given)
        if parse_spec(record.spec["pipeline"])[0] in known
        else (*given, *record.spec["plugins"])
    )


def _images(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(
            file
            for file in path.rglob("*")
            if is_image(file.relative_to(path).as_posix()) and file.is_file()
        )
        if not found:
            raise UserError(f"{path} holds no images")
        return found
    if not path.is_file():
        raise UserError(f"there is no file or folder {path}")
    return [path]


def _fit(image: torch.Tensor, image_size: list[int] | None, size: int | None) -> torch.Tensor:
    """As the run's images were: all of one size (shorter side fitted, center cut out), or the shorter side at most `size`."""
    if image_size is None:
        return shrink(image, size) if size else image
    from torchvision.transforms.v2 import functional

    height, width = image_size
    scale = max(height / image.shape[1], width / image.shape[2])
    resized = resize(
        image,
        (max(height, round(image.shape[1] * scale)), max(width, round(image.shape[2] * scale))),
    )
    return functional.center_crop(resized, [height, width])
