"""Random numbers for a batch that do not depend on how many processes share it."""

from __future__ import annotations

import torch


class BatchNoise:
    """Random numbers for the images of a batch that this process holds, one row per image.

    Every process draws the numbers of the full batch from a generator in the same state and keeps
    the rows of its own images (rank, rank + world_size, ...). N processes therefore use the same
    random numbers as one.

    Parameters
    ----------
    generator : torch.Generator
        Source of the numbers; they are made on its device.
    batch_size : int
        Images in the full batch, over all processes.
    rank, world_size : int
        This process and the number of processes that share the batch.
    """

    def __init__(
        self, generator: torch.Generator, batch_size: int, *, rank: int = 0, world_size: int = 1
    ) -> None:
        self.generator, self.batch_size = generator, batch_size
        self.rank, self.world_size = rank, world_size

    @property
    def full_batch(self) -> BatchNoise:
        """Noise for all images of the batch, from the same generator."""
        return BatchNoise(self.generator, self.batch_size)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Draw (rows, *shape) float32 from [0, 1)."""
        generator = self.generator
        size = (self.batch_size, *shape)
        return self._own_rows(torch.rand(size, generator=generator, device=generator.device))

    def normal(self, *shape: int) -> torch.Tensor:
        """Draw (rows, *shape) float32 from N(0, 1)."""
        generator = self.generator
        size = (self.batch_size, *shape)
        return self._own_rows(torch.randn(size, generator=generator, device=generator.device))

    def integers(self, high: int, *shape: int) -> torch.Tensor:
        """Draw (rows, *shape) int64 from [0, high)."""
        generator = self.generator
        size = (self.batch_size, *shape)
        return self._own_rows(
            torch.randint(high, size, generator=generator, device=generator.device)
        )

    def _own_rows(self, numbers: torch.Tensor) -> torch.Tensor:
        return numbers[self.rank :: self.world_size]
