"""Random numbers for one batch, the same whether one process holds it or many share it."""

from __future__ import annotations

import torch


class BatchNoise:
    """Random numbers, one row an image, for the rows of a batch that this process holds.

    Every process draws the numbers of the whole batch from a generator in the same state and keeps those of its own images
    (rank, rank + world_size, ...), so that N processes train the network that one process would.
    """

    def __init__(
        self, generator: torch.Generator, batch: int, *, rank: int = 0, world_size: int = 1
    ) -> None:
        self.generator, self.batch, self.rank, self.world_size = generator, batch, rank, world_size

    @property
    def whole(self) -> BatchNoise:
        """For the rows of all images, from the same generator."""
        return BatchNoise(self.generator, self.batch)

    def uniform(self, *shape: int) -> torch.Tensor:
        """(rows, *shape) in [0, 1)."""
        return self._own(
            torch.rand(self.batch, *shape, generator=self.generator, device=self.generator.device)
        )

    def normal(self, *shape: int) -> torch.Tensor:
        """(rows, *shape) from N(0, 1)."""
        return self._own(
            torch.randn(self.batch, *shape, generator=self.generator, device=self.generator.device)
        )

    def integers(self, high: int, *shape: int) -> torch.Tensor:
        """(rows, *shape) int64 in [0, high)."""
        return self._own(
            torch.randint(
                high, (self.batch, *shape), generator=self.generator, device=self.generator.device
            )
        )

    def _own(self, numbers: torch.Tensor) -> torch.Tensor:
        return numbers[self.rank :: self.world_size]
