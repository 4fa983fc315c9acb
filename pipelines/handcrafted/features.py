"""The features of a split: described chunk by chunk, each chunk kept in the cache, so that a killed run goes on from the last one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from harness.contract import Context, Split, State
from pipelines.handcrafted.channel import Channel, learned_once, stage_state
from pipelines.handcrafted.encoders.quantizer import SAMPLE, ProductQuantizer, fit_quantizer
from pipelines.handcrafted.images import mirrored

CHUNK = 512  # images, over all processes: what a kill can lose, and what is in memory at a time when rows are streamed
BATCH = 64  # images described at a time
KEPT_BYTES = (
    2**24
)  # of chunks that a split's features keep: a small set does without the cache, a large one takes no more memory


class Features:
    """This process's rows of a split under a channel, to be read chunk by chunk as often as one likes.

    flips      (False,): the images; (False, True): the images and, after them, their mirror images
    quantizer  rows are kept as its codes, and are what it makes of these; None: as they are
    """

    def __init__(
        self,
        channel: Channel,
        learned: State,
        split: Split,
        flips: tuple[bool, ...],
        context: Context,
        quantizer: ProductQuantizer | None = None,
    ) -> None:
        self.channel, self.learned, self.split, self.context, self.quantizer = (
            channel,
            learned,
            split,
            context,
            quantizer,
        )
        # Chunks are the same however many processes share each of them.
        chunks = [
            np.arange(len(split))[start : start + CHUNK] for start in range(0, len(split), CHUNK)
        ]
        self.parts = [(flip, chunk) for flip in flips for chunk in chunks]
        codes = _content_hash(stage_state(quantizer)) if quantizer else None
        self._key = {
            **channel.key,
            "learned": _content_hash(learned),
            "dtype": "float32",
            "quantizer": codes,
        }
        self._kept: dict[int, State] = {}

    def __len__(self) -> int:
        return len(self.parts)

    def size(self, place: int) -> int:
        """Rows of a chunk over all processes; this one has every `world`-th from `rank` on."""
        return len(self.parts[place][1])

    def __getitem__(self, place: int) -> State:
        """A chunk: {"features": (n, features) float32, "labels": (n,) int64}, described or from the cache."""
        chunk = self._chunk(place)
        if self.quantizer is None:
            return chunk
        return {"features": self.quantizer.decode(chunk["codes"]), "labels": chunk["labels"]}

    def __iter__(self) -> Iterator[State]:
        """One chunk after the other."""
        label = f"describe {len(self.split):,} images"
        for place in self.context.progress(
            range(len(self)), label=label, total=len(self), unit="chunk"
        ):
            yield self[place]

    def _chunk(self, place: int) -> State:
        if place in self._kept:
            return self._kept[place]
        flip, positions = self.parts[place]
        own = positions[self.context.rank :: self.context.world_size]
        # Kept in order of the images' keys: a digest does not tell another, and rows of several channels are set against each other.
        by_key = np.argsort(self.split.keys[own])
        part = self.split.take(own[by_key]).sharded(0, 1)
        key = {
            "stage": "features in order of key",
            **self._key,
            "mirrored": flip,
            "split": part.digest,
        }
        chunk = self.context.cache(key, lambda: self._describe(part, flip))
        chunk = {name: array[torch.from_numpy(np.argsort(by_key))] for name, array in chunk.items()}
        if sum(map(_bytes, (*self._kept.values(), chunk))) <= KEPT_BYTES:
            self._kept[place] = chunk
        return chunk

    def _describe(self, part: Split, flip: bool) -> State:
        device, quantizer = self.context.device, self.quantizer
        rows = torch.empty(len(part), self._length(), device=device)
        done = 0
        for batch in part.batches(BATCH, device=device):
            images = mirrored(batch.images) if flip else batch.images
            rows[done : done + len(batch)] = self.channel.describe(images, self.learned)
            done += len(batch)
        labels = torch.from_numpy(part.labels).to(device)
        return (
            {"features": rows, "labels": labels}
            if quantizer is None
            else {"codes": quantizer.encode(rows), "labels": labels}
        )

    def _length(self) -> int:
        dot = torch.zeros(1, 3, 1, 1, dtype=torch.uint8, device=self.context.device)
        return self.channel.describe(dot, self.learned).shape[1]


def learn_quantizer(
    channel: Channel, learned: State, train: Split, context: Context
) -> ProductQuantizer:
    """Centers for a channel's rows, from those of the SAMPLE images whose keys come first."""
    chosen = train.take(np.argsort(train.keys, kind="stable")[:SAMPLE])

    def learn() -> State:
        rows = [
            chunk["features"] for chunk in Features(channel, learned, chosen, (False,), context)
        ]
        return stage_state(fit_quantizer(torch.cat(rows), context))

    key = {**channel.key, "learned": _content_hash(learned), "stage of": "quantizer"}
    return ProductQuantizer(**learned_once(key, train, context, learn))


def gathered(own: Tensor, wanted: Tensor, context: Context) -> Tensor:
    """The rows `wanted` of all, of which this process has every `world`-th from `rank` on, in `own`."""
    rows = own.new_zeros(len(wanted), own.shape[1])
    mine = wanted % context.world_size == context.rank
    rows[mine.to(own.device)] = own[(wanted[mine] // context.world_size).to(own.device)]
    return context.sum(rows)


def _bytes(state: State) -> int:
    return sum(array.nbytes for array in state.values())


def _content_hash(state: State) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
