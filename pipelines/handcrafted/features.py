"""The features of a split: described chunk by chunk, each chunk kept in the cache, so that a killed run goes on from the last one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch

from harness.contract import Context, Split, State
from pipelines.handcrafted.channel import Channel
from pipelines.handcrafted.images import mirrored

CHUNK = 512  # images: what a kill can lose, and what is in memory at a time when rows are streamed
BATCH = 64  # images described at a time


class Features:
    """This process's rows of a split under a channel.

    flips  (False,): the images; (False, True): the images and, after them, their mirror images
    """

    def __init__(self, channel: Channel, learnt: State, split: Split, flips: tuple[bool, ...], context: Context) -> None:
        self.channel, self.learnt, self.split, self.context = channel, learnt, split, context
        share = np.arange(len(split))[context.rank :: context.world]
        starts = range(0, max(len(share), 1), CHUNK)  # a process without images has one empty chunk
        self.parts = [(flip, share[start : start + CHUNK]) for flip in flips for start in starts]
        self._key = {**channel.key, "learnt": _content_hash(learnt), "dtype": "float32"}

    def __iter__(self) -> Iterator[State]:
        """One chunk after the other: {"features": (n, features) float32, "labels": (n,) int64}, described or from the cache."""
        label = f"describe {len(self.split):,} images"
        for flip, positions in self.context.progress(self.parts, label=label, total=len(self.parts), unit="chunk"):
            # Labels lie beside the features: a digest does not tell the order of the images.
            part = self.split.take(positions).sharded(0, 1)
            key = {"stage": "features", **self._key, "mirrored": flip, "split": part.digest}
            yield self.context.cache(key, lambda: self._describe(part, flip))  # noqa: B023 (called at once)

    def _describe(self, part: Split, flip: bool) -> State:
        device = self.context.device
        rows = torch.empty(len(part), self._length(), device=device)
        done = 0
        for batch in part.batches(BATCH, device=device):
            images = mirrored(batch.images) if flip else batch.images
            rows[done : done + len(batch)] = self.channel.describe(images, self.learnt)
            done += len(batch)
        return {"features": rows, "labels": torch.from_numpy(part.labels).to(device)}

    def _length(self) -> int:
        dot = torch.zeros(1, 3, 1, 1, dtype=torch.uint8, device=self.context.device)
        return self.channel.describe(dot, self.learnt).shape[1]


def _content_hash(state: State) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
