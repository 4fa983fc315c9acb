"""Labeled images: Batch, Split and Dataset, which pipelines read and datasets return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.data.identity import class_balanced, image_keys, split_digest
from harness.data.images import Images
from harness.errors import UserError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Batch:
    """Some images of a split, without their labels.

    keys    (n,) strings, the identity of each image
    images  uint8, (n, 3, height, width) on the device where all sizes agree, else a list of (3, height, width)
    index   (n,) int64 on the same device: positions in the split, so that `labels[batch.index]` is the labels' row
    """

    keys: np.ndarray
    images: torch.Tensor | list[torch.Tensor]
    index: torch.Tensor

    def __len__(self) -> int:
        return len(self.keys)


class Split:
    """Images with keys and labels. Length, labels, class names and digest are global; `batches` yields this process's share.

    keys         (n,) strings: first 16 hex digits of the SHA-256 of each image's source bytes, equal images numbered
    labels       (n,) int64 in [0, classes)
    class_names  one name a class, in label order
    names        (n,) display names (file names), or None
    preparation  one line that says how pixels were made from source bytes; part of the digest
    """

    def __init__(
        self,
        *,
        keys: np.ndarray,
        labels: np.ndarray,
        class_names: Sequence[str],
        images: Images,
        preparation: str,
        rows: np.ndarray | None = None,
        names: np.ndarray | None = None,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.keys = np.asarray(keys)
        self.labels = np.asarray(labels, dtype=np.int64)
        self.class_names = tuple(class_names)
        self.images = images
        self.preparation = preparation
        self.rows = np.arange(len(self.keys)) if rows is None else np.asarray(rows)
        self.names = names
        self.shard = shard
        if not len(self.keys) == len(self.labels) == len(self.rows):
            raise ValueError(
                f"a split needs one label and one image a key, got {len(self.keys)} keys, {len(self.labels)} labels, {len(self.rows)} images"
            )
        if len(self.labels) and not (
            self.labels.min() >= 0 and self.labels.max() < len(self.class_names)
        ):
            raise ValueError(
                f"labels run from {self.labels.min()} to {self.labels.max()}, but there are {len(self.class_names)} classes"
            )

    @classmethod
    def from_arrays(
        cls,
        images: np.ndarray | torch.Tensor,
        labels: Sequence[int] | np.ndarray | torch.Tensor,
        *,
        class_names: Sequence[str] | None = None,
        sources: Sequence[bytes] | None = None,
        preparation: str = "size=as-given resize=none codec=raw quality=lossless",
    ) -> Split:
        """A split of images in memory.

        images   uint8, (n, 3, height, width) or (n, height, width, 3) or gray (n, height, width)
        labels   n integers from 0
        sources  the bytes that each key is taken from; by default the shape and raw bytes of each image
        Raises UserError when the shapes, the type or the counts do not fit.
        """
        from harness.data.array_images import ArrayImages

        array_images = ArrayImages.of(images)
        label_array = np.asarray(labels, dtype=np.int64)
        if label_array.shape != (len(array_images),):
            raise UserError(
                f"Split.from_arrays needs one label an image: got {len(array_images)} images and labels of shape {label_array.shape}"
            )
        if class_names is None:
            class_names = [str(i) for i in range(int(label_array.max(initial=-1)) + 1)]
        keys = image_keys(sources if sources is not None else array_images.sources(), label_array)
        return cls(
            keys=keys,
            labels=label_array,
            class_names=class_names,
            images=array_images,
            preparation=preparation,
        )

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) in pixels where all images agree, else None."""
        return self.images.image_size

    @cached_property
    def digest(self) -> str:
        """32 hex digits over the preparation and the sorted (key, label) pairs: equal exactly when the labeled pixels are."""
        return split_digest(self.preparation, self.keys, self.labels)

    def batches(
        self, size: int, *, device: torch.device | str = "cpu", order: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """This process's share of the images at `order` (positions; default: all, in store order), `size` at a time.

        Of W processes, process r gets positions r, r + W, ... of `order`: no image twice, none left out, none padded, and
        the union of everybody's i-th batch is the i-th stretch of W * size images of `order`.
        """
        from harness.data.loader import read_batches

        rank, world = self.shard
        share = (np.arange(len(self)) if order is None else np.asarray(order))[rank::world]
        chunks = [share[start : start + size] for start in range(0, len(share), size)]
        for index, images in zip(
            chunks, read_batches(self.images, (self.rows[chunk] for chunk in chunks)), strict=True
        ):
            yield self._batch(index, images, device)

    def shuffled(
        self,
        size: int,
        *,
        seed: int,
        epoch: int,
        start: int = 0,
        crop: int | None = None,
        pad: int = 0,
        flip: bool = False,
        device: torch.device | str = "cpu",
    ) -> Iterator[Batch]:
        """All images in an order drawn by (seed, epoch), `size` at a time over all processes, of which this one gets its share.

        Of W processes, process r gets images r, r + W, ... of each batch: whatever W is, the batches are the same. The last one may be
        incomplete, and then empty here.

        start  batches of this epoch that are done: what follows is, image for image, what an undisturbed epoch goes on with
        crop   a square of so many pixels from a random place of each image, after `pad` zeros on every side; an image smaller than
               that is first scaled up until it just fits. None: whole images
        flip   each image is mirrored left to right with probability 1/2
        """
        from harness.data.loader import shuffled

        for index, images in shuffled(
            self,
            size,
            seed=seed,
            epoch=epoch,
            start=start,
            crop=crop,
            pad=pad,
            flip=flip,
            device=device,
        ):
            yield self._batch(index, images, device)

    def _batch(
        self,
        index: np.ndarray,
        images: torch.Tensor | list[torch.Tensor],
        device: torch.device | str,
    ) -> Batch:
        import torch

        there = (
            to_device(images, device)
            if isinstance(images, torch.Tensor)
            else [to_device(image, device) for image in images]
        )
        return Batch(self.keys[index], there, to_device(torch.from_numpy(index), device))

    def take(self, index: np.ndarray) -> Split:
        """The images at these positions, in this order."""
        names = None if self.names is None else self.names[index]
        return self._like(
            self.keys[index], self.labels[index], self.images, self.rows[index], names
        )

    def subset(self, fraction: float) -> Split:
        """A class-balanced part, chosen by key alone: the same on every machine, and the 10 % lies inside the 25 %."""
        if not 0 < fraction <= 1:
            raise UserError(f"subset: fraction must be above 0 and at most 1, got {fraction}")
        chosen, _ = class_balanced(self.keys, self.labels, fraction=fraction)
        return self.take(chosen)

    def __add__(self, other: Split) -> Split:
        if (self.class_names, self.preparation) != (other.class_names, other.preparation):
            raise UserError("splits can only be added when class names and preparation agree")
        names = (
            None
            if self.names is None or other.names is None
            else np.concatenate([self.names, other.names])
        )
        images, rows = self.images, np.concatenate([self.rows, other.rows])
        if other.images is not self.images:
            from harness.data.array_images import ConcatImages

            images, rows = (
                ConcatImages(self.images, other.images),
                np.concatenate([self.rows, len(self.images) + other.rows]),
            )
        return self._like(
            np.concatenate([self.keys, other.keys]),
            np.concatenate([self.labels, other.labels]),
            images,
            rows,
            names,
        )

    def sharded(self, rank: int, world: int) -> Split:
        """The same split, whose `batches` yields the share of process `rank` of `world`."""
        split = self.take(np.arange(len(self)))
        split.shard = (rank, world)
        return split

    def _like(
        self,
        keys: np.ndarray,
        labels: np.ndarray,
        images: Images,
        rows: np.ndarray,
        names: np.ndarray | None,
    ) -> Split:
        return Split(
            keys=keys, labels=labels, class_names=self.class_names, images=images, preparation=self.preparation,
            rows=rows, names=names, shard=self.shard,
        )  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """What a dataset's `build` returns.

    title           how tables call it (`digits`, `cifar10-jpeg (folder)`)
    tune_per_class  images a class to hold out of train for tuning; None: 10 % of each class
    dataset_notes         what a reader of the numbers must know about the split; printed with every run
    """

    title: str
    train: Split
    test: Split
    tune_per_class: int | None = None
    dataset_notes: tuple[str, ...] = ()


def to_device(array: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """The array on the device. The host does not wait until a GPU has it: only pinned memory is copied beside the GPU's work."""
    import torch

    if torch.device(device).type == "cuda" and array.device.type == "cpu":
        array = array.pin_memory()
    return array.to(device, non_blocking=True)
