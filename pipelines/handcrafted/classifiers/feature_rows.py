"""Feature rows as linear classifiers see them: standardized, with a constant 1 appended.

The standardized rows are never stored; products with them are computed from the plain features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import Context

CHUNK_ROWS = 4096  # rows whose temporary copies exist at a time
GRAM_COLUMNS = 4096  # columns whose products are summed in the rows' own dtype
GRAM_ROWS = 512  # rows multiplied at a time with all rows before them


class FeatureRows:
    """This process's rows, each seen as ((features - mean) * scale, 1).

    The constant 1 is the feature of the bias and is regularized like the others, as in
    scikit-learn's `LinearSVC` with `intercept_scaling=1`.

    Parameters
    ----------
    blocks : list of (rows, features) float32 or float64
        The plain features.
    context
    mean, scale : (features,)
        Default to 0 and 1.

    Attributes
    ----------
    total : int
        Number of rows over all processes.
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
        count = torch.tensor(float(len(self)), dtype=torch.float64, device=first.device)
        self.total = int(context.sum(count))

    @classmethod
    def standardized(cls, blocks: Sequence[Tensor], context: Context) -> FeatureRows:
        """Return rows whose features have mean 0 and equal variances; constant ones become 0.

        The rows' mean squared length is 1, so that the same C means the same trade-off for
        descriptors of any length and unit.
        """
        rows = cls(blocks, context)
        mean = (rows._column_sums(lambda chunk: chunk) / rows.total).to(rows.dtype)
        variance = rows._column_sums(lambda chunk: (chunk - mean).square()) / rows.total
        deviation = variance.sqrt().to(rows.dtype)
        scale = equalizing_scale(mean, deviation)
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
        """Return this process's rows times weights: (classes, features + 1) -> (rows, classes)."""
        plain_weights, offsets = self.fold(weights)
        return torch.cat([linear(block, plain_weights, offsets) for block in self.blocks])

    def transposed_times(self, coefficients: Tensor) -> Tensor:
        """Return the sum of all processes' rows, weighted by coefficients.

        Parameters
        ----------
        coefficients : (rows, classes)

        Returns
        -------
        Tensor : (classes, features + 1)
        """
        product = coefficients.new_zeros(coefficients.shape[1], self.features)
        for block_coefficients, block in self._zip_blocks(coefficients):
            product.addmm_(block_coefficients.T, block)
        return self._sum_products(product, coefficients.sum(0))

    def hessian_times(self, curvature: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return `times(weights)` and `transposed_times(curvature * times(weights))`.

        Both are computed in one pass over the rows. `curvature` is (rows, classes).
        """
        plain_weights, offsets = self.fold(weights)
        margins, product = [], torch.zeros_like(plain_weights)
        for block_curvature, block in self._zip_blocks(curvature):
            margins.append(linear(block, plain_weights, offsets))
            product.addmm_((block_curvature * margins[-1]).T, block)
        all_margins = torch.cat(margins)
        return all_margins, self._sum_products(product, (curvature * all_margins).sum(0))

    def fold(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights (classes, features) and offsets (classes,) for the plain features.

        They give the same margins as `weights` (classes, features + 1) on the rows seen here.
        """
        plain_weights = weights[:, :-1] * self.scale
        return plain_weights, weights[:, -1] - plain_weights @ self.mean

    def sample(self, count: int) -> Tensor:
        """Return about `count` of this process's rows, evenly spaced: (n, features + 1)."""
        step = max(1, len(self) // max(count, 1))
        chosen = [block[::step] for block in self.blocks]
        rows = self.mean.new_ones(sum(map(len, chosen)), self.features + 1)
        for part, block in zip(rows.split([len(block) for block in chosen]), chosen, strict=True):
            part[:, :-1] = block
        rows[:, :-1].sub_(self.mean).mul_(self.scale)
        return rows

    def gram(self) -> Tensor:
        """Return the products of all rows with each other: (total, total) float64.

        The rows of process 0 come first. A slice of columns at a time is gathered from all
        processes, and each process multiplies its share of the slices, in the rows' dtype. Only
        the lower triangle is multiplied.
        """
        start, _ = self.span()
        gram = torch.zeros(self.total, self.total, dtype=torch.float64, device=self.device)
        for number, first in enumerate(range(0, self.features, GRAM_COLUMNS)):
            columns = slice(first, first + GRAM_COLUMNS)
            scale, mean = self.scale[columns], self.mean[columns]
            values = torch.zeros(self.total, len(mean), dtype=self.dtype, device=self.device)
            plain = torch.cat([block[:, columns] for block in self.blocks])
            values[start : start + len(self)] = (plain - mean) * scale
            self.context.sum(values)
            if number % self.context.world_size == self.context.rank:
                for row in range(0, self.total, GRAM_ROWS):
                    end = row + GRAM_ROWS
                    gram[row:end, :end] += values[row:end] @ values[:end].T
        gram = self.context.sum(gram).tril_()
        return gram.add_(gram.tril(-1).T).add_(1)

    def span(self) -> tuple[int, int]:
        """Return where this process's rows are among all rows: (first, one past the last)."""
        counts = torch.zeros(self.context.world_size, dtype=torch.float64, device=self.device)
        counts[self.context.rank] = len(self)
        start = int(self.context.sum(counts)[: self.context.rank].sum())
        return start, start + len(self)

    def _zip_blocks(self, values: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Pair each block with its rows of values (rows, ...)."""
        return zip(values.split([len(block) for block in self.blocks]), self.blocks, strict=True)

    def _sum_products(self, product: Tensor, constant: Tensor) -> Tensor:
        """Turn this process's products with plain features into all processes' with the rows.

        Parameters
        ----------
        product : (classes, features)
        constant : (classes,)
            The product with the appended constant.

        Returns
        -------
        Tensor : (classes, features + 1)
        """
        both = self.context.sum(torch.cat([product, constant[:, None]], dim=1))
        product, constant = both[:, :-1], both[:, -1:]
        return torch.cat([(product - constant * self.mean) * self.scale, constant], dim=1)

    def _column_sums(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the sums (features,) float64 of a function of all processes' plain rows."""
        sums = torch.zeros(self.features, dtype=torch.float64, device=self.device)
        for block in self.blocks:
            for chunk in block.split(CHUNK_ROWS):
                sums += function(chunk).sum(0)
        return self.context.sum(sums)


def equalizing_scale(mean: Tensor, deviation: Tensor) -> Tensor:
    """Return the scale (features,) that gives features equal variances, whose sum is 1.

    Constant features get the scale 0.
    """
    varies = deviation > 1e-6 * mean.abs()  # below this the deviation is rounding error
    return torch.where(varies, 1 / deviation, 0) / varies.sum().clamp_min(1).sqrt()
