"""The features of a split, described chunk by chunk.

Each chunk is cached, so that a killed run resumes after the last finished chunk, and a streamed
classifier can read the features again in every epoch without holding them in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from harness.contract import Context, Split, State, UserError
from pipelines.handcrafted.channel import Channel, fit_or_load
from pipelines.handcrafted.encoders.quantizer import (
    MAX_SAMPLE,
    ProductQuantizer,
    fit_quantizer,
)
from pipelines.handcrafted.image_views import flip
from pipelines.handcrafted.state_dicts import tensor_fields

# Images per chunk, over all processes: what a killed run loses at most, and what a streamed
# classifier holds in memory.
CHUNK_IMAGES = 512
BATCH = 64  # images described at a time
# Chunks kept in memory per split: small datasets need no cache, large ones no extra memory.
MEMORY_BYTES = 2**24


class Features:
    """This process's share of a split's feature rows, as a sequence of chunks.

    Parameters
    ----------
    channel, state
        The channel and its fitted state.
    split
        The whole split; the share is taken here.
    flips : (False,) or (False, True)
        (False, True) adds the rows of the flipped images after those of the images.
    context
    quantizer : ProductQuantizer or None
        If given, rows are stored as its codes, and reading decodes them.
    half
        Store rows in half precision, which has 11 significant bits and a range of 65,504.
    """

    def __init__(
        self,
        channel: Channel,
        state: State,
        split: Split,
        flips: tuple[bool, ...],
        context: Context,
        *,
        quantizer: ProductQuantizer | None = None,
        half: bool = False,
    ) -> None:
        self.channel, self.state, self.split = channel, state, split
        self.context, self.quantizer, self.half = context, quantizer, half
        # Chunks do not depend on the number of processes, of which each takes a share of a chunk.
        starts = range(0, len(split), CHUNK_IMAGES)
        chunks = [np.arange(start, min(start + CHUNK_IMAGES, len(split))) for start in starts]
        self._chunk_images = [(flipped, chunk) for flipped in flips for chunk in chunks]
        self._key = {
            **channel.key,
            "state": _content_hash(state),
            "dtype": "float16" if half else "float32",
            "quantizer": _content_hash(tensor_fields(quantizer)) if quantizer else None,
        }
        self._in_memory: dict[int, State] = {}

    def __len__(self) -> int:
        """Return the number of chunks."""
        return len(self._chunk_images)

    def chunk_rows(self, index: int) -> int:
        """Return the rows of a chunk over all processes.

        Of these this process has every `world_size`-th, from `rank` on.
        """
        return len(self._chunk_images[index][1])

    def __getitem__(self, index: int) -> State:
        """Return a chunk, described or loaded from the cache.

        Returns
        -------
        dict
            "features": (n, features) float32, "labels": (n,) int64
        """
        return self.decode(self.stored(index))

    def decode(self, stored: State) -> State:
        """Return what `stored` returned as `__getitem__` returns it."""
        if self.quantizer is None:
            return {**stored, "features": stored["features"].float()}
        return {"features": self.quantizer.decode(stored["codes"]), "labels": stored["labels"]}

    def __iter__(self) -> Iterator[State]:
        label = f"describe {len(self.split):,} images"
        chunks = range(len(self))
        for index in self.context.progress(chunks, label=label, total=len(self), unit="chunk"):
            yield self[index]

    def stored(self, index: int) -> State:
        """Return a chunk as it is kept: "features" or "codes", and "labels"."""
        if index in self._in_memory:
            return self._in_memory[index]
        flipped, images = self._chunk_images[index]
        share = images[self.context.rank :: self.context.world_size]
        # A digest does not depend on the order of the images, so chunks are stored in order of
        # key and reordered after loading: rows of several channels must match each other.
        by_key = np.argsort(self.split.keys[share])
        subset = self.split.take(share[by_key]).sharded(0, 1)
        key = {
            "stage": "features in order of key",
            **self._key,
            "flipped": flipped,
            "split": subset.digest,
        }
        stored = self.context.cache(key, lambda: self._describe(subset, flipped))
        order = torch.from_numpy(np.argsort(by_key))
        chunk = {name: tensor[order] for name, tensor in stored.items()}
        if sum(map(_byte_size, (*self._in_memory.values(), chunk))) <= MEMORY_BYTES:
            self._in_memory[index] = chunk
        return chunk

    def _describe(self, subset: Split, flipped: bool) -> State:
        device = self.context.device
        length = row_length(self.channel, self.state, self.context)
        rows = torch.empty(len(subset), length, device=device)
        done = 0
        for batch in subset.batches(BATCH, device=device):
            images = flip(batch.images) if flipped else batch.images
            rows[done : done + len(batch)] = self.channel.describe(images, self.state)
            done += len(batch)
        labels = torch.from_numpy(subset.labels).to(device)
        if self.quantizer is not None:
            return {"codes": self.quantizer.encode(rows), "labels": labels}
        return {"features": self._halved(rows) if self.half else rows, "labels": labels}

    def _halved(self, rows: Tensor) -> Tensor:
        halved = rows.half()
        if torch.equal(halved.isfinite(), rows.isfinite()):
            return halved
        raise UserError(
            f"features of up to {float(rows.abs().max()):.3g} are beyond half precision, in which "
            "they are kept for a streamed SVM (65,504 at most); use solver=exact"
        )


def row_length(channel: Channel, state: State, context: Context) -> int:
    """Return the number of features of an image."""
    one_pixel = torch.zeros(1, 3, 1, 1, dtype=torch.uint8, device=context.device)
    return channel.describe(one_pixel, state).shape[1]


def fit_channel_quantizer(
    channel: Channel, state: State, train: Split, context: Context
) -> ProductQuantizer:
    """Fit a quantizer to the rows of the MAX_SAMPLE training images whose keys come first."""
    chosen = train.take(np.argsort(train.keys, kind="stable")[:MAX_SAMPLE])

    def fit() -> State:
        chunks = Features(channel, state, chosen, (False,), context)
        rows = torch.cat([chunk["features"] for chunk in chunks])
        return tensor_fields(fit_quantizer(rows, context))

    key = {**channel.key, "state": _content_hash(state), "stage of": "quantizer"}
    return ProductQuantizer(**fit_or_load(key, train, context, fit))


def gather_rows(share: Tensor, count: int, context: Context) -> Tensor:
    """Return the rows of all processes, on every process.

    Parameters
    ----------
    share : (s, ...)
        This process's rows: every `world_size`-th of all rows, from `rank` on.
    count
        Rows over all processes.

    Returns
    -------
    Tensor : (count, ...)
    """
    if context.world_size == 1:
        return share
    largest_share = share.new_zeros(-(-count // context.world_size), *share.shape[1:])
    largest_share[: len(share)] = share
    return context.gather(largest_share).transpose(0, 1).flatten(0, 1)[:count]


def _byte_size(state: State) -> int:
    return sum(tensor.nbytes for tensor in state.values())


def _content_hash(state: State) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
