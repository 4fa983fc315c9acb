"""A bag of local descriptors as a channel.

    image -> descriptors of patches -> projection -> codes of image regions -> one normalized row

The descriptor is any class in `descriptors/` that satisfies `patch_grids.LocalDescriptor`; the
codebook and the codes come from an `Encoding` in `encodings.py`.
"""

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
from pipelines.handcrafted.channel import fit_or_load
from pipelines.handcrafted.chunks import map_chunks
from pipelines.handcrafted.descriptors.patch_grids import LocalDescriptor, Patches
from pipelines.handcrafted.encoders.code_normalization import l2_normalize
from pipelines.handcrafted.encoders.pca import PCA, fit_pca
from pipelines.handcrafted.encoders.pyramid import append_positions, pyramid_regions
from pipelines.handcrafted.resizing import map_by_size, resize_within, stack_by_size
from pipelines.handcrafted.state_dicts import join_states, substate, tensor_fields

MAX_SAMPLED_IMAGES = 5000  # training images whose descriptors fit the codebook
SAMPLING_BATCH = 16  # images


class Encoding(Protocol):
    """Turns the descriptors of an image's regions into one row of features.

    It must be a frozen dataclass: its fields identify its results in the cache.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def sample_size(self) -> int:
        """Number of descriptors to fit the codebook to."""
        ...

    def fit(self, sample: Tensor, context: Context) -> State:
        """Fit the codebook to all processes' samples, (s, d) on this process."""
        ...

    def encode(self, descriptors: Tensor, regions: Tensor, state: State) -> Tensor:
        """Return normalized rows.

        Parameters
        ----------
        descriptors : (n, m, d) float32
        regions : (r, m) bool
            True where a descriptor lies in a region.

        Returns
        -------
        Tensor : (n, features) float32
        """
        ...


@dataclass(frozen=True)
class BagOfDescriptors:
    """A `channel.Channel` that encodes the local descriptors of an image.

    Parameters
    ----------
    descriptor
        Computed on a dense grid of patches.
    encoding
        Of the projected descriptors.
    pca_dims : int or None
        Dimensions that PCA keeps; None skips PCA.
    whiten : float or None
        See `fit_pca`; None does not whiten.
    renormalize
        Scale projected descriptors to unit length.
    append_xy
        Append the patch's position to its projected descriptor (Sanchez, Perronnin & de Campos,
        PRL 2012).
    grids : tuple of (rows, columns)
        Levels of the spatial pyramid (Lazebnik et al., CVPR 2006).
    min_side, max_height : pixels
        Images whose longer side is below it are enlarged; taller ones are shrunk.
    """

    descriptor: LocalDescriptor
    encoding: Encoding
    pca_dims: int | None = None
    whiten: float | None = None
    renormalize: bool = False
    append_xy: bool = False
    grids: tuple[tuple[int, int], ...] = ((1, 1),)
    min_side: int = 64
    max_height: int = 480

    @property
    def key(self) -> dict[str, Any]:
        return {
            "settings": asdict(self),
            "descriptor": type(self.descriptor).__name__,
            "encoding": type(self.encoding).__name__,
        }

    def fit(self, train: Split, context: Context) -> State:
        """Fit the PCA, then the codebook, to a sample of the training images' descriptors."""
        return fit_or_load(self.key, train, context, lambda: self._fit(train, context))

    def _fit(self, train: Split, context: Context) -> State:
        descriptors, positions = self._sample(train, context)
        state: State = {}
        if self.pca_dims:
            dims = min(self.pca_dims, descriptors.shape[1])
            pca = fit_pca(descriptors, dims, context, whiten=self.whiten)
            state = join_states({"pca": tensor_fields(pca)})
        projected = self._project(descriptors[None], positions, state)[0]
        return {**state, **join_states({"encoding": self.encoding.fit(projected, context)})}

    def describe(self, images: Tensor | list[Tensor], state: State) -> Tensor:
        return map_by_size(images, lambda stack: self._encode(stack, state))

    def _encode(self, images: Tensor, state: State) -> Tensor:
        patches = self._extract(images)
        projected = self._project(patches.descriptors, patches.positions, state)
        regions = pyramid_regions(patches.positions, self.grids)
        return self.encoding.encode(projected, regions, substate(state, "encoding"))

    def _extract(self, images: Tensor) -> Patches:
        return self.descriptor(resize_within(images, self.min_side, self.max_height))

    def _project(self, descriptors: Tensor, positions: Tensor, state: State) -> Tensor:
        """Project (n, m, d) descriptors at (m, 2) positions to (n, m, pca_dims [+ 2])."""
        if self.pca_dims:
            descriptors = PCA(**substate(state, "pca"))(descriptors)
        if self.renormalize:
            descriptors = l2_normalize(descriptors)
        return append_positions(descriptors, positions) if self.append_xy else descriptors

    def _sample(self, train: Split, context: Context) -> tuple[Tensor, Tensor]:
        """Sample descriptors (s, d) and their positions (s, 2): this process's share.

        The images are those whose keys come first, and each image's patches are drawn by its key
        and the seed, so the sample does not depend on the number of processes. The sample holds
        one descriptor of each image in order of key, then a second one of each, and so on: a
        codebook that starts from the first rows then starts from images of all classes.
        """
        chosen = np.argsort(train.keys, kind="stable")[:MAX_SAMPLED_IMAGES]
        per_image = -(-self.encoding.sample_size // max(len(chosen), 1))
        samples = list(self._sample_images(train.take(chosen), per_image, context))
        if not samples:
            empty = torch.zeros(0, self.descriptor.length, device=context.device)
            return empty, empty.new_zeros(0, 2)
        ranks = torch.cat([torch.arange(len(descriptors)) for descriptors, _ in samples])
        order = ranks.argsort(stable=True).to(context.device)
        descriptors = torch.cat([descriptors for descriptors, _ in samples])
        positions = torch.cat([positions for _, positions in samples])
        return descriptors[order], positions[order]

    def _sample_images(
        self, images: Split, per_image: int, context: Context
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the sampled descriptors and positions of each of this process's images."""
        batches = images.batches(SAMPLING_BATCH, device=context.device)
        images_here = len(range(context.rank, len(images), context.world_size))
        total = -(-images_here // SAMPLING_BATCH)
        for batch in context.progress(batches, label="sample descriptors", total=total):
            indices, stacks = stack_by_size(batch.images)
            keys = [batch.keys[stack.numpy()] for stack in indices]
            seeds = [[_image_seed(key, context.seed) for key in stack_keys] for stack_keys in keys]
            samples = map_chunks(
                lambda stack, stack_seeds: self._draw(stack, stack_seeds, per_image), stacks, seeds
            )
            by_index = dict(
                zip(torch.cat(indices).tolist(), chain.from_iterable(samples), strict=True)
            )
            yield from (by_index[index] for index in range(len(batch)))

    def _draw(self, images: Tensor, seeds: list[int], count: int) -> list[tuple[Tensor, Tensor]]:
        """Draw at most `count` descriptors and positions from each of (n, 3, height, width)."""
        patches = self._extract(images)
        samples = []
        for descriptors, seed in zip(patches.descriptors, seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            order = torch.randperm(len(patches.positions), generator=generator)
            drawn = order[:count].to(images.device)
            samples.append((descriptors[drawn], patches.positions[drawn]))
        return samples


def _image_seed(key: str, seed: int) -> int:
    """Return a seed below 2**63 that differs for each image key and run seed."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "big") >> 1


def parse_grids(text: str) -> tuple[tuple[int, int], ...]:
    """Return the (rows, columns) of each pyramid level: "1x1+2x2" -> ((1, 1), (2, 2))."""
    levels = [level.split("x") for level in text.split("+")]
    return tuple((int(rows), int(columns)) for rows, columns in levels)
