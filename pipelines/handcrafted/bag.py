"""A bag of local descriptors as a channel: descriptors -> projection -> codes of each region -> one normalized row an image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from harness.contract import Context, Split, State
from pipelines.handcrafted.channel import join_states, learned_once, part_of, stage_state
from pipelines.handcrafted.chunks import over_chunks
from pipelines.handcrafted.descriptors.patches import LocalDescriptor, Patches
from pipelines.handcrafted.encoders.normalization import unit
from pipelines.handcrafted.encoders.pca import PCA, fit_pca
from pipelines.handcrafted.encoders.pyramid import pyramid, with_positions
from pipelines.handcrafted.images import by_size, stacks, within

SAMPLE_IMAGES = 5000  # training images that a codebook is learned from, at most


class Coding(Protocol):
    """How the descriptors of a region become numbers. A frozen dataclass: its fields name its results in the cache."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def sample(self) -> int:
        """Descriptors to learn from."""
        ...

    def learn(self, sample: Tensor, context: Context) -> State:
        """The codebook, from this process's share (s, d) of the sample."""
        ...

    def encode(self, values: Tensor, regions: Tensor, learned: State) -> Tensor:
        """Normalized rows (n, features) from descriptors (n, m, d) and the regions (r, m) that they lie in."""
        ...


@dataclass(frozen=True)
class BagOfDescriptors:
    """A `channel.Channel`.

    descriptor  on a dense grid
    coding      of the projected descriptors
    dims        that PCA keeps of a descriptor; None: no PCA
    whiten      as `fit_pca`: None, or the share of the largest variance that is added to all before they are made equal
    renormalize projected descriptors are given length 1
    xy          the patch's position is appended to its projected descriptor (Sanchez, Perronnin & de Campos, PRL 2012)
    grids       (rows, columns) of the spatial pyramid's levels (Lazebnik et al., CVPR 2006)
    sides       pixels: images with a longer side below the first are enlarged, those higher than the second shrunk
    """

    descriptor: LocalDescriptor
    coding: Coding
    dims: int | None = None
    whiten: float | None = None
    renormalize: bool = False
    xy: bool = False
    grids: tuple[tuple[int, int], ...] = ((1, 1),)
    sides: tuple[int, int] = (64, 480)

    @property
    def key(self) -> dict[str, Any]:
        kinds = {"descriptor": type(self.descriptor).__name__, "coding": type(self.coding).__name__}
        return {"settings": asdict(self), **kinds}

    def learn(self, train: Split, context: Context) -> State:
        """PCA, then the codebook, from descriptors at random places of at most SAMPLE_IMAGES training images."""
        return learned_once(self.key, train, context, lambda: self._learn(train, context))

    def _learn(self, train: Split, context: Context) -> State:
        values, positions = self._sample(train, context)
        learned: State = {}
        if self.dims:
            pca = fit_pca(values, min(self.dims, values.shape[1]), context, whiten=self.whiten)
            learned = join_states({"pca": stage_state(pca)})
        projected = self._project(values[None], positions, learned)[0]
        return {**learned, **join_states({"coding": self.coding.learn(projected, context)})}

    def describe(self, images: Tensor | list[Tensor], learned: State) -> Tensor:
        return by_size(images, lambda same: self._encode(same, learned))

    def _encode(self, images: Tensor, learned: State) -> Tensor:
        patches = self._patches(images)
        values = self._project(patches.values, patches.positions, learned)
        return self.coding.encode(
            values, pyramid(patches.positions, self.grids), part_of(learned, "coding")
        )

    def _patches(self, images: Tensor) -> Patches:
        return self.descriptor(within(images, *self.sides))

    def _project(self, values: Tensor, positions: Tensor, learned: State) -> Tensor:
        """(n, m, d) descriptors and their (m, 2) positions to (n, m, dims) or (n, m, dims + 2)."""
        if self.dims:
            values = PCA(**part_of(learned, "pca"))(values)
        if self.renormalize:
            values = unit(values)
        return with_positions(values, positions) if self.xy else values

    def _sample(self, train: Split, context: Context) -> tuple[Tensor, Tensor]:
        """This process's share of the sample, (s, d) descriptors and their (s, 2) positions: one of each image, then a second one of
        each, and so on, images in order of key.

        Which images and which patches is settled by the images' keys and the seed, so it does not hang on the number of processes.
        """
        chosen = np.argsort(train.keys, kind="stable")[:SAMPLE_IMAGES]
        each = -(-self.coding.sample // max(len(chosen), 1))
        parts = list(self._sample_images(train.take(chosen), each, context))
        if not parts:
            dot = torch.zeros(0, self.descriptor.length, device=context.device)
            return dot, dot.new_zeros(0, 2)
        turns = (
            torch.cat([torch.arange(len(values)) for values, _ in parts])
            .argsort(stable=True)
            .to(context.device)
        )
        return torch.cat([values for values, _ in parts])[turns], torch.cat(
            [positions for _, positions in parts]
        )[turns]

    def _sample_images(
        self, images: Split, each: int, context: Context
    ) -> Iterator[tuple[Tensor, Tensor]]:
        batches = images.batches(16, device=context.device)
        share = len(range(context.rank, len(images), context.world_size))
        for batch in context.progress(batches, label="sample descriptors", total=-(-share // 16)):
            places, same = stacks(batch.images)
            numbers = [
                [_number(batch.keys[place], context.seed) for place in part.tolist()]
                for part in places
            ]
            drawn = chain.from_iterable(
                over_chunks(lambda images, of: self._drawn(images, of, each), same, numbers)
            )
            by_place = dict(zip(torch.cat(places).tolist(), drawn, strict=True))
            yield from (by_place[place] for place in range(len(batch)))

    def _drawn(self, images: Tensor, numbers: list[int], count: int) -> list[tuple[Tensor, Tensor]]:
        """Of each of (n, 3, height, width) at most `count` descriptors and their positions, drawn by the image's number."""
        patches = self._patches(images)
        drawn = []
        for values, number in zip(patches.values, numbers, strict=True):
            order = torch.randperm(
                len(patches.positions), generator=torch.Generator().manual_seed(number)
            )
            places = order[:count].to(images.device)
            drawn.append((values[places], patches.positions[places]))
        return drawn


def _number(key: str, seed: int) -> int:
    """Below 2**63, another one for each key and seed."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "big") >> 1


def grids(text: str) -> tuple[tuple[int, int], ...]:
    """`1x1+2x2` to ((1, 1), (2, 2)): (rows, columns) of each level of a spatial pyramid."""
    levels = [level.split("x") for level in text.split("+")]
    return tuple((int(rows), int(columns)) for rows, columns in levels)
