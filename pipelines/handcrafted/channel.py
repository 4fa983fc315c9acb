"""A channel maps an image to one row of features, which a linear classifier then scores.

`WholeImage` describes the image with one descriptor (HOG, LBP, raw pixels). `bag.BagOfDescriptors`
describes patches and encodes them. `Concatenation` puts the rows of several channels side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from harness.contract import Context, Split, State
from pipelines.handcrafted.resizing import resize_square, working_size
from pipelines.handcrafted.state_dicts import join_states, substate


class Channel(Protocol):
    """The settings of a feature extractor.

    A channel stores no fitted values: `fit` returns them as a state, and `describe` takes them.
    """

    @property
    def key(self) -> dict[str, Any]:
        """The settings that identify this channel's results in the cache."""
        ...

    def fit(self, train: Split, context: Context) -> State:
        """Fit a projection, a codebook or nothing to the training images; labels are not read.

        Every process calls it with its own share of `train` and gets the same state.
        """
        ...

    def describe(self, images: Tensor | list[Tensor], state: State) -> Tensor:
        """Return one row of features per image; each row depends on its own image only.

        Parameters
        ----------
        images : (n, 3, height, width) uint8, or a list of n (3, height, width) uint8

        Returns
        -------
        Tensor : (n, features) float32
        """
        ...


class ImageDescriptor(Protocol):
    """A descriptor of whole images: float (n, 3, size, size) in 0 to 255 -> (n, features).

    It must be a frozen dataclass: its fields identify its results in the cache.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __call__(self, images: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class WholeImage:
    """A channel that resizes each image to a square working size and applies one descriptor.

    The aspect ratio is not kept.

    Parameters
    ----------
    make_descriptor
        Returns the descriptor for a working size in pixels.
    size : pixels or None
        The working size; None derives it from the training images with `working_size`, as a
        multiple of 8 within `size_range`.
    size_range : (smallest, largest) in pixels
    """

    make_descriptor: Callable[[int], ImageDescriptor]
    size: int | None
    size_range: tuple[int, int]

    @property
    def key(self) -> dict[str, Any]:
        # Where the working size is not known yet, descriptors at two sizes show which of their
        # settings are fixed and which follow from the size.
        largest = self.size_range[1]
        sizes = [self.size] if self.size else [largest, 2 * largest]
        descriptors = [self.make_descriptor(size) for size in sizes]
        return {
            "descriptor": type(descriptors[0]).__name__,
            "settings": [asdict(descriptor) for descriptor in descriptors],
            "size": self.size,
        }

    def fit(self, train: Split, context: Context) -> State:
        """Choose the working size."""
        smallest, largest = self.size_range
        size = self.size or working_size(
            train.image_size, multiple=8, smallest=smallest, largest=largest
        )
        return {"size": torch.tensor(size)}

    def describe(self, images: Tensor | list[Tensor], state: State) -> Tensor:
        size = int(state["size"])
        return self.make_descriptor(size)(resize_square(images, size))


@dataclass(frozen=True)
class Concatenation:
    """A channel whose rows are the rows of several channels side by side."""

    channels: Sequence[Channel]

    @property
    def key(self) -> dict[str, Any]:
        return {"concatenation": [channel.key for channel in self.channels]}

    def fit(self, train: Split, context: Context) -> State:
        states = [channel.fit(train, context) for channel in self.channels]
        return join_states({str(index): state for index, state in enumerate(states)})

    def describe(self, images: Tensor | list[Tensor], state: State) -> Tensor:
        rows = [
            channel.describe(images, substate(state, str(index)))
            for index, channel in enumerate(self.channels)
        ]
        return torch.cat(rows, dim=1)


def fit_or_load(
    key: Mapping[str, Any], train: Split, context: Context, fit: Callable[[], State]
) -> State:
    """Return the result of `fit`, cached by these settings, the training split and the seed.

    With several processes nothing is cached: `fit` sums over processes, and a process that found
    its result in the cache would leave the others waiting.
    """
    if context.world_size > 1:
        return fit()
    return context.cache(
        {"stage": "codebook", **key, "train": train.digest, "seed": context.seed}, fit
    )
