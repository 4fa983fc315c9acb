"""Single-layer features fitted without labels, as a channel (Coates, Lee & Ng, AISTATS 2011)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from harness.contract import Context, Split, State, UserError
from pipelines.handcrafted.channel import fit_or_load
from pipelines.handcrafted.encoders.kmeans import fit_kmeans
from pipelines.handcrafted.resizing import resize_square, working_size
from pipelines.handcrafted.state_dicts import join_states, substate, tensor_fields
from pipelines.unsupervised.triangle import TriangleEncoder
from pipelines.unsupervised.whitened_patches import Whitening, fit_whitening, sample_patches

SIZE_RANGE = (32, 64)  # pixels: the smallest and the largest default working size
SAMPLED_PATCHES = 400_000  # to which whitening and centroids are fitted
PATCHES_PER_CENTROID = 10  # at least: a few images get fewer centroids than requested


@dataclass(frozen=True)
class SingleLayer:
    """A `channel.Channel` that compares whitened patches with centroids.

    Parameters
    ----------
    k
        Number of centroids.
    patch : pixels
        Side of a patch.
    stride : pixels
        Between patches.
    size : pixels or None
        The working size; None derives it from the training images with `working_size`, as a
        multiple of 8 within SIZE_RANGE.
    """

    k: int
    patch: int
    stride: int
    size: int | None

    @property
    def key(self) -> dict[str, Any]:
        return {"channel": type(self).__name__, **asdict(self)}

    def fit(self, train: Split, context: Context) -> State:
        """Choose the working size and fit the whitening and the centroids."""
        smallest, largest = SIZE_RANGE
        size = self.size or working_size(
            train.image_size, multiple=8, smallest=smallest, largest=largest
        )
        if size < self.patch:
            raise UserError(
                f"kmeans-triangle: size must be at least patch = {self.patch} pixels, got {size}"
            )
        state = fit_or_load(
            {**self.key, "size": size}, train, context, lambda: self._fit(train, size, context)
        )
        if len(state["centroids"]) < self.k:
            context.note(
                f"{len(state['centroids'])} centroids, one per {PATCHES_PER_CENTROID} patches"
            )
        return {**state, "size": torch.tensor(size)}

    def _fit(self, train: Split, size: int, context: Context) -> State:
        sample = sample_patches(train, size, self.patch, SAMPLED_PATCHES, context)
        whitening = fit_whitening(sample, context)
        count = torch.tensor(float(len(sample)), dtype=torch.float64, device=context.device)
        affordable = int(context.sum(count)) // PATCHES_PER_CENTROID
        codebook = fit_kmeans(whitening(sample), min(self.k, max(1, affordable)), context)
        named = join_states({"whitening": tensor_fields(whitening)})
        return {**named, "centroids": codebook.centers}

    def describe(self, images: Tensor | list[Tensor], state: State) -> Tensor:
        encoder = TriangleEncoder(
            Whitening(**substate(state, "whitening")), state["centroids"], self.patch, self.stride
        )
        return encoder(resize_square(images, int(state["size"])))
