"""A channel: the way from an image to one row of features. What every hand-crafted pipeline puts before its classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from harness.contract import Context, Split, State
from pipelines.handcrafted.images import squares, working_size


class Channel(Protocol):
    """Settings only: what it learns of the training images is handed out and handed in again as `learned`."""

    @property
    def key(self) -> dict[str, Any]:
        """The settings, as they name this channel's results in the cache."""
        ...

    def learn(self, train: Split, context: Context) -> State:
        """A projection, a codebook or nothing at all, from this process's share of the training images. Labels are not looked at."""
        ...

    def describe(self, images: Tensor | list[Tensor], learned: State) -> Tensor:
        """Float32 (n, features) from uint8 (n, 3, height, width) or a list of (3, height, width). Each row of its own image only."""
        ...


class Descriptor(Protocol):
    """Float (n, 3, size, size) in 0..255 to (n, features). A frozen dataclass: its fields name its results in the cache."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __call__(self, images: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class WholeImage:
    """One descriptor of the whole image, brought to a square working size; the aspect ratio is not kept.

    make   the descriptor for a working size
    size   working size in pixels; None: by `working_size` from the training images, within `sizes` and a multiple of 8
    """

    make: Callable[[int], Descriptor]
    size: int | None
    sizes: tuple[int, int]

    @property
    def key(self) -> dict[str, Any]:
        # At two sizes: what follows from the working size, which is not known yet, is told from what was asked for.
        made = [
            self.make(size)
            for size in ((self.size,) if self.size else (self.sizes[1], 2 * self.sizes[1]))
        ]
        return {
            "descriptor": type(made[0]).__name__,
            "made": [asdict(each) for each in made],
            "size": self.size,
        }

    def learn(self, train: Split, context: Context) -> State:
        """The working size."""
        size = self.size or working_size(
            train.image_size, multiple=8, smallest=self.sizes[0], largest=self.sizes[1]
        )
        return {"size": torch.tensor(size)}

    def describe(self, images: Tensor | list[Tensor], learned: State) -> Tensor:
        size = int(learned["size"])
        return self.make(size)(squares(images, size))


@dataclass(frozen=True)
class Joined:
    """Several channels' rows side by side."""

    channels: Sequence[Channel]

    @property
    def key(self) -> dict[str, Any]:
        return {"joined": [channel.key for channel in self.channels]}

    def learn(self, train: Split, context: Context) -> State:
        return join_states(
            {
                str(place): channel.learn(train, context)
                for place, channel in enumerate(self.channels)
            }
        )

    def describe(self, images: Tensor | list[Tensor], learned: State) -> Tensor:
        parts = [
            channel.describe(images, part_of(learned, str(place)))
            for place, channel in enumerate(self.channels)
        ]
        return torch.cat(parts, dim=1)


def learned_once(
    key: Mapping[str, Any], train: Split, context: Context, learn: Callable[[], State]
) -> State:
    """What `learn` returns for these settings, this training split and this seed: from the cache when one process runs alone.

    Several meet in sums while they learn: one that found its copy in the cache would leave the others waiting.
    """
    if context.world_size > 1:
        return learn()
    return context.cache(
        {"stage": "codebook", **key, "train": train.digest, "seed": context.seed}, learn
    )


def join_states(states: Mapping[str, State]) -> State:
    """Several states as one; `part_of` takes one of them out again."""
    return {
        f"{part}.{name}": array for part, state in states.items() for name, array in state.items()
    }


def part_of(state: State, part: str) -> State:
    return {
        name.removeprefix(f"{part}."): array
        for name, array in state.items()
        if name.startswith(f"{part}.")
    }


def stage_state(stage: Any) -> State:
    """The tensors of a learned stage (PCA, GMM, ...): a dataclass that is rebuilt from them."""
    return {field.name: getattr(stage, field.name) for field in fields(stage)}
