"""Batches off a split: read by threads some batches ahead, shuffled by a permutation that resumes anywhere, cropped as they are decoded.

Threads, since Pillow decodes outside Python's lock: no copies between processes, no start-up, and what goes wrong in one is raised where the
batch is taken.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness.data.decode import resize

if TYPE_CHECKING:
    from harness.data.images import Images
    from harness.data.split import Split

PIECE = 16  # images that a thread reads at once
AHEAD = 2  # batches begun before the one that is asked for
Pixels = torch.Tensor | list[torch.Tensor]
Job = tuple[
    Sequence[Callable[[], Any]], Callable[[list[Any]], Pixels]
]  # what threads do; what to make of their results


def read_batches(images: Images, chunks: Iterable[np.ndarray]) -> Iterator[Pixels]:
    """The images at the rows of each chunk, as `images.read` gives them."""
    if getattr(images, "in_memory", False):
        return (images.read(rows) for rows in chunks)
    return _in_threads(_reading(images, rows) for rows in chunks)


def _reading(images: Images, rows: np.ndarray) -> Job:
    pieces = [rows[start : start + PIECE] for start in range(0, len(rows), PIECE)] or [rows]

    def collect(read: list[Pixels]) -> Pixels:
        if all(isinstance(part, torch.Tensor) for part in read):
            return torch.cat(read)  # type: ignore[arg-type]
        return [image for part in read for image in part]

    return [lambda piece=piece: images.read(piece) for piece in pieces], collect


def shuffled(
    split: Split,
    size: int,
    *,
    seed: int,
    epoch: int,
    start: int,
    crop: int | None,
    pad: int,
    flip: bool,
    device: torch.device | str,
) -> Iterator[tuple[np.ndarray, Pixels]]:
    """(positions, images) of `Split.shuffled`."""
    rng = np.random.default_rng([seed, epoch])
    n, (rank, world) = len(split), split.shard
    order = rng.permutation(n)
    places = rng.random((n, 2), dtype=np.float32)
    mirrored = (rng.random(n, dtype=np.float32) < 0.5) & flip
    chunks = [slice(at + rank, min(at + size, n), world) for at in range(start * size, n, size)]
    positions = (order[chunk] for chunk in chunks)
    if crop is None:
        whole = read_batches(split.images, (split.rows[order[chunk]] for chunk in chunks))
        return zip(
            positions,
            (_mirror(images, mirrored[chunk]) for images, chunk in zip(whole, chunks, strict=True)),
            strict=True,
        )
    pinned = torch.device(device).type == "cuda"
    jobs = (
        _cropping(
            split.images,
            split.rows[order[chunk]],
            places[chunk],
            mirrored[chunk],
            crop,
            pad,
            pinned,
        )
        for chunk in chunks
    )
    in_memory = getattr(split.images, "in_memory", False)
    return zip(positions, _in_turn(jobs) if in_memory else _in_threads(jobs), strict=True)


def _cropping(
    images: Images,
    rows: np.ndarray,
    places: np.ndarray,
    mirrored: np.ndarray,
    crop: int,
    pad: int,
    pinned: bool,
) -> Job:
    batch = torch.empty(len(rows), 3, crop, crop, dtype=torch.uint8, pin_memory=pinned)
    out = batch.numpy()
    read_crops = getattr(images, "read_crops", None)
    step = max(1, len(rows)) if getattr(images, "in_memory", False) else PIECE

    def fill(piece: slice) -> None:
        if read_crops and not pad:
            read_crops(rows[piece], places[piece], mirrored[piece], out[piece])
        else:
            cut_crops(images.read(rows[piece]), places[piece], mirrored[piece], pad, out[piece])

    pieces = [slice(start, start + step) for start in range(0, len(rows), step)]
    return [lambda piece=piece: fill(piece) for piece in pieces], lambda _: batch


def cut_crops(
    images: Pixels, places: np.ndarray, mirrored: np.ndarray, pad: int, out: np.ndarray
) -> None:
    """Fill `out`, uint8 (n, 3, side, side): of each image the crop at `places` (n, 2) in [0, 1), after `pad` zeros on every side.

    An image smaller than that is first scaled up until the crop just fits.
    """
    side = out.shape[2]
    if isinstance(images, torch.Tensor):
        arrays = list(_with_room(images, pad, side).numpy())
    else:
        arrays = [_with_room(image, pad, side).numpy() for image in images]
    for image, (top, left), mirror, crop in zip(
        arrays, places.tolist(), mirrored.tolist(), out, strict=True
    ):
        y, x = int(top * (image.shape[1] - side + 1)), int(left * (image.shape[2] - side + 1))
        view = image[:, y : y + side, x : x + side]
        crop[:] = view[:, :, ::-1] if mirror else view


def _with_room(images: torch.Tensor, pad: int, side: int) -> torch.Tensor:
    """(..., 3, height, width) padded, and with both sides `side` at least."""
    if pad:
        around = [(0, 0)] * (images.ndim - 2) + [(pad, pad)] * 2
        images = torch.from_numpy(np.pad(images.numpy(), around))
    height, width = images.shape[-2:]
    if min(height, width) >= side:
        return images
    short = min(height, width)
    return resize(images, (height * side // short, width * side // short))


def _mirror(images: Pixels, mirrored: np.ndarray) -> Pixels:
    if isinstance(images, torch.Tensor):
        return (
            torch.where(torch.from_numpy(mirrored)[:, None, None, None], images.flip(3), images)
            if mirrored.any()
            else images
        )
    return [
        image.flip(2) if mirror else image for image, mirror in zip(images, mirrored, strict=True)
    ]


def _in_turn(jobs: Iterable[Job]) -> Iterator[Pixels]:
    for tasks, collect in jobs:
        yield collect([task() for task in tasks])


def _in_threads(jobs: Iterable[Job]) -> Iterator[Pixels]:
    """In order, AHEAD jobs begun early. What a thread raises is raised here; left early, no thread goes on."""
    begun: deque[tuple[list[Future[Any]], Callable[[list[Any]], Pixels]]] = deque()
    pool = ThreadPoolExecutor(cores(), thread_name_prefix="loader")

    def finish() -> Pixels:
        futures, collect = begun.popleft()
        return collect([future.result() for future in futures])

    try:
        for tasks, collect in jobs:
            begun.append(([pool.submit(task) for task in tasks], collect))
            if len(begun) > AHEAD:
                yield finish()
        while begun:
            yield finish()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
