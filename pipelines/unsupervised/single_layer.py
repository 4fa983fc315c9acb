"""Single-layer features learned without labels as a `pipelines.handcrafted.channel.Channel` (Coates, Lee & Ng, AISTATS 2011)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from harness.contract import Context, Split, State, UserError
from pipelines.handcrafted.channel import join_states, learned_once, part_of, stage_state
from pipelines.handcrafted.encoders.kmeans import fit_kmeans
from pipelines.handcrafted.images import squares, working_size
from pipelines.unsupervised.patches import Whitening, fit_whitening, sample_patches
from pipelines.unsupervised.triangle import Triangle

SIZES = (32, 64)  # pixels: the smallest and the largest working size, unless one is asked for
SAMPLE = 400_000  # patches that whitening and centroids are learned from
PER_CENTROID = 10  # patches at least: from a few images fewer centroids are learned than asked for


@dataclass(frozen=True)
class SingleLayer:
    """Images at a square working size, their whitened patches compared with centroids.

    k       centroids
    patch   side of a patch in pixels
    stride  pixels from one patch to the next
    size    working size in pixels; None: by `working_size` from the training images, within SIZES and a multiple of 8
    """

    k: int
    patch: int
    stride: int
    size: int | None

    @property
    def key(self) -> dict[str, Any]:
        return {"channel": type(self).__name__, **asdict(self)}

    def learn(self, train: Split, context: Context) -> State:
        """The working size, the whitening and the centroids."""
        size = self.size or working_size(
            train.image_size, multiple=8, smallest=SIZES[0], largest=SIZES[1]
        )
        if size < self.patch:
            raise UserError(
                f"kmeans-triangle: size must be at least patch = {self.patch} pixels, got {size}"
            )
        learned = learned_once(
            {**self.key, "size": size}, train, context, lambda: self._learn(train, size, context)
        )
        if len(learned["centroids"]) < self.k:
            context.note(f"{len(learned['centroids'])} centroids, {PER_CENTROID} patches each")
        return {**learned, "size": torch.tensor(size)}

    def _learn(self, train: Split, size: int, context: Context) -> State:
        sample = sample_patches(train, size, self.patch, SAMPLE, context)
        whitening = fit_whitening(sample, context)
        total = int(
            context.sum(
                torch.tensor(float(len(sample)), dtype=torch.float64, device=context.device)
            )
        )
        codebook = fit_kmeans(
            whitening(sample), min(self.k, max(1, total // PER_CENTROID)), context
        )
        return {**join_states({"whitening": stage_state(whitening)}), "centroids": codebook.centers}

    def describe(self, images: Tensor | list[Tensor], learned: State) -> Tensor:
        size = int(learned["size"])
        triangle = Triangle(
            Whitening(**part_of(learned, "whitening")),
            learned["centroids"],
            self.patch,
            self.stride,
        )
        return triangle(squares(images, size))
