"""Feature rows as linear classifiers see them: standardized and with a constant appended, without a second copy in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import Context

CHUNK_ROWS = 4096  # rows whose temporary copies exist at one time
STRETCH = 4096  # columns whose products are summed in the rows' own type
PRODUCT_ROWS = 512  # multiplied with all those before them at a time


class Rows:
    """This process's rows: blocks of (rows, features), float32 or float64, that stand one below the other.

    Seen from outside, a row is ((features - mean) * scale, 1). The constant is the bias' feature and is regularized like the
    others: scikit-learn's `LinearSVC` with `intercept_scaling=1`. `total` counts the rows of all processes.
    """

    def __init__(
        self,
        blocks: Sequence[Tensor],
        context: Context,
        *,
        mean: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> None:
        self.blocks = list(blocks)
        self.context = context
        first = self.blocks[0]
        self.features = first.shape[1]
        self.mean = first.new_zeros(self.features) if mean is None else mean
        self.scale = first.new_ones(self.features) if scale is None else scale
        self.total = int(
            context.sum(torch.tensor(float(len(self)), dtype=torch.float64, device=first.device))
        )

    @classmethod
    def standardized(cls, blocks: Sequence[Tensor], context: Context) -> Rows:
        """Each feature with mean 0 and the same variance, such that a row's mean squared length is 1; constant ones become 0.

        So the same value of C means the same trade-off for descriptors of any length and unit.
        """
        rows = cls(blocks, context)
        mean = (rows._column_sums(lambda chunk: chunk) / rows.total).to(rows.dtype)
        variance = rows._column_sums(lambda chunk: (chunk - mean).square()) / rows.total
        deviation = variance.sqrt().to(rows.dtype)
        varying = deviation > 1e-6 * mean.abs()  # else by rounding only
        scale = torch.where(varying, 1 / deviation, 0) / varying.sum().clamp_min(1).sqrt()
        return cls(blocks, context, mean=mean, scale=scale)

    def __len__(self) -> int:
        return sum(len(block) for block in self.blocks)

    @property
    def device(self) -> torch.device:
        return self.blocks[0].device

    @property
    def dtype(self) -> torch.dtype:
        return self.blocks[0].dtype

    def times(self, weights: Tensor) -> Tensor:
        """(classes, features + 1) to (rows, classes): each row's product with each class's weights."""
        plain, offset = self.fold(weights)
        return torch.cat([linear(block, plain, offset) for block in self.blocks])

    def transposed_times(self, coefficients: Tensor) -> Tensor:
        """(rows, classes) to (classes, features + 1): the rows of all processes, summed with these coefficients."""
        product = coefficients.new_zeros(coefficients.shape[1], self.features)
        for part, block in self._beside(coefficients):
            product.addmm_(part.T, block)
        return self._gathered(product, coefficients.sum(0))

    def curved_times(self, curvature: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """`times(weights)`, and `transposed_times` of that multiplied by the curvature (rows, classes): in one pass over the rows."""
        plain, offset = self.fold(weights)
        products, product = [], torch.zeros_like(plain)
        for part, block in self._beside(curvature):
            products.append(linear(block, plain, offset))
            product.addmm_((part * products[-1]).T, block)
        whole = torch.cat(products)
        return whole, self._gathered(product, (curvature * whole).sum(0))

    def fold(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """(classes, features) weights and (classes,) offsets that do to plain features what `weights` do to the rows seen here."""
        plain = weights[:, :-1] * self.scale
        return plain, weights[:, -1] - plain @ self.mean

    def sample(self, count: int) -> Tensor:
        """About `count` of this process's rows as seen from outside, evenly spaced: (n, features + 1)."""
        step = max(1, len(self) // max(count, 1))
        return self._seen(torch.cat([block[::step] for block in self.blocks]))

    def gram(self) -> Tensor:
        """(total, total) float64: the products of all rows with each other, those of process 0 first.

        A stretch of columns at a time is gathered from all processes; each process multiplies its share of the stretches. Products over
        a stretch are of the rows' type, and only those of each row with itself and those before it are made.
        """
        start, _ = self.span()
        gram = torch.zeros(self.total, self.total, dtype=torch.float64, device=self.device)
        for number, first in enumerate(range(0, self.features, STRETCH)):
            columns = slice(first, first + STRETCH)
            stretch = torch.zeros(
                self.total, len(self.mean[columns]), dtype=self.dtype, device=self.device
            )
            own = torch.cat([block[:, columns] for block in self.blocks])
            stretch[start : start + len(self)] = (own - self.mean[columns]) * self.scale[columns]
            self.context.sum(stretch)
            if number % self.context.world_size == self.context.rank:
                for row in range(0, self.total, PRODUCT_ROWS):
                    rows = slice(row, row + PRODUCT_ROWS)
                    gram[rows, : row + PRODUCT_ROWS] += (
                        stretch[rows] @ stretch[: row + PRODUCT_ROWS].T
                    )
        gram = self.context.sum(gram).tril_()
        return gram.add_(gram.tril(-1).T).add_(1)

    def span(self) -> tuple[int, int]:
        """Where this process's rows stand among everybody's: (first, one past the last)."""
        counts = torch.zeros(self.context.world_size, dtype=torch.float64, device=self.device)
        counts[self.context.rank] = len(self)
        start = int(self.context.sum(counts)[: self.context.rank].sum())
        return start, start + len(self)

    def _beside(self, values: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """What stands beside each block in (rows, ...) values, and the block."""
        return zip(values.split([len(block) for block in self.blocks]), self.blocks, strict=True)

    def _gathered(self, product: Tensor, constant: Tensor) -> Tensor:
        """Sums of plain features (classes, features) and of the constant (classes,), to those of rows seen from outside, of all processes."""
        both = self.context.sum(torch.cat([product, constant[:, None]], dim=1))
        product, constant = both[:, :-1], both[:, -1:]
        return torch.cat([(product - constant * self.mean) * self.scale, constant], dim=1)

    def _seen(self, chunk: Tensor) -> Tensor:
        return torch.cat([(chunk - self.mean) * self.scale, chunk.new_ones(len(chunk), 1)], dim=1)

    def _column_sums(self, of: Callable[[Tensor], Tensor]) -> Tensor:
        """(features,) float64 sums over the rows of all processes."""
        sums = torch.zeros(self.features, dtype=torch.float64, device=self.device)
        for block in self.blocks:
            for chunk in block.split(CHUNK_ROWS):
                sums += of(chunk).sum(0)
        return self.context.sum(sums)
