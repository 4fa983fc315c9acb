"""Labeled images: Batch, Split and Dataset, which pipelines read and datasets return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.data.identity import image_keys, select_class_balanced, split_digest
from harness.data.images import Images
from harness.errors import UserError
from harness.render.text import printable

if TYPE_CHECKING:
    import torch

    from harness.data.random_draws import RandomCrop


@dataclass(frozen=True)
class Batch:
    """Some images of a split, without their labels.

    Attributes
    ----------
    keys : (n,) str
        The identity of each image.
    images : (n, 3, height, width) uint8, or a list of (3, height, width) if sizes differ
        On the device that was asked for.
    index : (n,) int64, on the same device
        Positions in the split: `labels[batch.index]` are the labels of the batch.
    """

    keys: np.ndarray
    images: torch.Tensor | list[torch.Tensor]
    index: torch.Tensor

    def __len__(self) -> int:
        return len(self.keys)


class Split:
    """Images with keys and labels.

    Length, labels, class names and digest describe the complete split, also when it is sharded
    over processes; `batches` and `shuffled` yield the share of this process.

    Parameters
    ----------
    keys : (n,) str
        First 16 hex digits of the SHA-256 of each image's source bytes; duplicates are numbered.
    labels : (n,) int64 in [0, classes)
    class_names : sequence of str
        One per class, in label order.
    images : Images
        Where the pixels come from.
    preparation : str
        One line that says how pixels were made from source bytes; part of the digest.
    rows : (n,) int, optional
        The row of `images` that each image has; -1 for one that cannot be decoded. Default: in
        order.
    names : (n,) str, optional
        Display names, such as file names.

    Attributes
    ----------
    shard : tuple of int
        (rank, world size) of this process; see `sharded`.
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
    ) -> None:
        self.keys = np.asarray(keys)
        self.labels = np.asarray(labels, dtype=np.int64)
        self.class_names = tuple(map(printable, class_names))
        self.images = images
        self.preparation = preparation
        self.rows = np.arange(len(self.keys)) if rows is None else np.asarray(rows)
        self.names = names
        self.shard = (0, 1)
        if not len(self.keys) == len(self.labels) == len(self.rows):
            raise ValueError(
                f"a split needs one label and one image per key, got {len(self.keys)} keys, "
                f"{len(self.labels)} labels, {len(self.rows)} images"
            )
        if len(self.labels):
            low, high = self.labels.min(), self.labels.max()
            if low < 0 or high >= len(self.class_names):
                raise ValueError(
                    f"labels run from {low} to {high}, but there are "
                    f"{len(self.class_names)} classes"
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
        """Make a split of images in memory.

        Parameters
        ----------
        images : (n, 3, height, width), (n, height, width, 3) or gray (n, height, width) uint8
        labels : (n,) int, from 0
        class_names : sequence of str, optional
            Default: the labels as strings.
        sources : sequence of bytes, optional
            The bytes that each key is a hash of. Default: the shape and raw bytes of each image.
        preparation : str
            One line that says how the pixels were made.

        Raises
        ------
        UserError
            If the shapes, the type or the counts do not fit.
        """
        from harness.data.array_images import ArrayImages

        array_images = ArrayImages.of(images)
        label_array = np.asarray(labels, dtype=np.int64)
        if label_array.shape != (len(array_images),):
            raise UserError(
                "Split.from_arrays needs one label per image: "
                f"got {len(array_images)} images and labels of shape {label_array.shape}"
            )
        if class_names is None:
            class_names = [str(i) for i in range(int(label_array.max(initial=-1)) + 1)]
        if sources is None:
            keys = image_keys(array_images.source_bytes(), label_array)
        else:
            keys = image_keys(sources, label_array)
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
        """(height, width) in pixels if all images share it, else None."""
        return self.images.image_size

    @cached_property
    def digest(self) -> str:
        """32 hex digits over the preparation and the sorted (key, label) pairs.

        Two splits have the same digest exactly if their labeled pixels are the same.
        """
        return split_digest(self.preparation, self.keys, self.labels)

    def batches(
        self, size: int, *, device: torch.device | str = "cpu", order: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """Yield this process's share of the images in batches.

        Of w processes, process r gets positions r, r + w, ... of `order`. No image is repeated,
        left out or padded, and the i-th batches of all processes together are the i-th w * size
        images of `order`.

        Parameters
        ----------
        size : int
            Images per batch.
        device : torch.device or str
        order : (m,) int, optional
            Positions in the split. Default: all, in order.
        """
        from harness.data.loader import read_batches

        rank, world_size = self.shard
        positions = np.arange(len(self)) if order is None else np.asarray(order)
        share = positions[rank::world_size]
        chunks = [share[start : start + size] for start in range(0, len(share), size)]
        images_of_chunks = read_batches(self.images, (self.rows[chunk] for chunk in chunks))
        for index, images in zip(chunks, images_of_chunks, strict=True):
            yield self._batch(index, images, device)

    def shuffled(
        self,
        size: int,
        *,
        seed: int,
        epoch: int,
        start: int = 0,
        crop: RandomCrop | None = None,
        flip: bool = False,
        device: torch.device | str = "cpu",
    ) -> Iterator[Batch]:
        """Yield this process's share of each batch of an epoch, in random order.

        Of w processes, process r gets images r, r + w, ... of each batch, so that the batches do
        not depend on w. The last batch may be incomplete, and its share then empty.

        Parameters
        ----------
        size : int
            Images per batch, over all processes together.
        seed, epoch : int
            Determine the order, the crops and the flips.
        start : int
            Batches of this epoch to skip: the rest is image for image that of the full epoch.
        crop : RandomCrop, optional
            Default: full images.
        flip : bool
            Whether to mirror each image left to right with probability 1/2.
        device : torch.device or str
        """
        import torch

        from harness.data.loader import read_cropped, read_flipped
        from harness.data.random_draws import EpochDraws, batch_slices

        draws = EpochDraws.draw(len(self), seed=seed, epoch=epoch, flip=flip)
        slices = batch_slices(len(self), size, start=start, shard=self.shard)
        batches = [draws.batch(positions) for positions in slices]
        if crop is None:
            read = read_flipped(self.images, self.rows, batches)
        else:
            pinned = torch.device(device).type == "cuda"
            read = read_cropped(self.images, self.rows, batches, crop, pinned=pinned)
        for batch, images in zip(batches, read, strict=True):
            yield self._batch(batch.order, images, device)

    def _batch(
        self,
        index: np.ndarray,
        images: torch.Tensor | list[torch.Tensor],
        device: torch.device | str,
    ) -> Batch:
        import torch

        if isinstance(images, torch.Tensor):
            moved: torch.Tensor | list[torch.Tensor] = to_device(images, device)
        else:
            moved = [to_device(image, device) for image in images]
        return Batch(self.keys[index], moved, to_device(torch.from_numpy(index), device))

    def take(self, index: np.ndarray) -> Split:
        """Return the images at these positions, in this order."""
        return self._derive(
            keys=self.keys[index],
            labels=self.labels[index],
            images=self.images,
            rows=self.rows[index],
            names=None if self.names is None else self.names[index],
        )

    def subset(self, fraction: float) -> Split:
        """Return a class-balanced share of the images, selected by key.

        The selection is the same on every machine, and a smaller subset is part of a larger one.
        """
        if not 0 < fraction <= 1:
            raise UserError(f"subset: fraction must be above 0 and at most 1, got {fraction}")
        selected, _ = select_class_balanced(self.keys, self.labels, fraction=fraction)
        return self.take(selected)

    def __add__(self, other: Split) -> Split:
        if (self.class_names, self.preparation) != (other.class_names, other.preparation):
            raise UserError("splits can only be added if class names and preparation agree")
        images, offset = self.images, 0
        if other.images is not self.images:
            from harness.data.array_images import ConcatImages

            images, offset = ConcatImages(self.images, other.images), len(self.images)
        names = None
        if self.names is not None and other.names is not None:
            names = np.concatenate([self.names, other.names])
        return self._derive(
            keys=np.concatenate([self.keys, other.keys]),
            labels=np.concatenate([self.labels, other.labels]),
            images=images,
            rows=np.concatenate([self.rows, offset + other.rows]),
            names=names,
        )

    def sharded(self, rank: int, world_size: int) -> Split:
        """Return the same split, whose batches are the share of process `rank`."""
        split = self.take(np.arange(len(self)))
        split.shard = (rank, world_size)
        return split

    def _derive(
        self,
        *,
        keys: np.ndarray,
        labels: np.ndarray,
        images: Images,
        rows: np.ndarray,
        names: np.ndarray | None,
    ) -> Split:
        """Return other images with the same classes, preparation and shard."""
        split = Split(
            keys=keys,
            labels=labels,
            class_names=self.class_names,
            images=images,
            preparation=self.preparation,
            rows=rows,
            names=names,
        )
        split.shard = self.shard
        return split


@dataclass(frozen=True)
class Dataset:
    """What a dataset's `build` returns.

    Parameters
    ----------
    title : str
        The name in tables, such as `digits` or `cifar10-jpeg (folder)`.
    train, test : Split
        With the same class names.
    tune_per_class : int, optional
        Images per class to hold out of train for tuning. Default: 10 % of each class.
    dataset_notes : tuple of str
        What a reader of the numbers must know about the splits; shown with every run.
    tune : Split, optional
        A validation part to tune on, disjoint from train. Default: it is held out of train.
    """

    title: str
    train: Split
    test: Split
    tune_per_class: int | None = None
    dataset_notes: tuple[str, ...] = ()
    tune: Split | None = None


def to_device(array: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Copy a tensor to a device without waiting for the copy to finish.

    Only pinned memory is copied while the GPU computes, so CPU tensors are pinned first.
    """
    import torch

    if torch.device(device).type == "cuda" and array.device.type == "cpu":
        array = array.pin_memory()
    return array.to(device, non_blocking=True)
