"""Late fusion: how much each classifier's scores count in their weighted mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from harness.contract import Context
from pipelines.handcrafted.classifiers.linear_svm import NEVER

STEPS = 100  # of L-BFGS, which has converged long before


def fusion_weights(scores: Tensor, labels: Tensor, context: Context) -> Tensor:
    """(k,) weights, none negative, that sum to 1: those of the likeliest multinomial model of these held-out scores.

    scores (k, n, classes) and labels (n,) int64 are this process's share. Their log-loss is minimized over weights and a common
    scale: unlike the error rate it is smooth, so few images tell more.
    """
    free = torch.zeros(len(scores), dtype=torch.float64, device=scores.device, requires_grad=True)
    seen = scores[scores > NEVER / 2].double()  # not the margins of classes without training images
    squares, count = context.sum(
        torch.stack([seen.square().sum(), free.new_tensor(float(seen.numel()))])
    )
    scaled = (
        scores.double() / (squares / count).sqrt()
    )  # so that weights near 1 are the right order of magnitude to start from
    optimizer = torch.optim.LBFGS([free], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        own = cross_entropy(
            torch.einsum("k,knc->nc", softplus(free), scaled), labels, reduction="sum"
        )
        own.backward()
        total = context.sum(torch.stack([own.detach(), own.new_tensor(float(len(labels)))]))
        assert free.grad is not None
        context.sum(free.grad).div_(total[1])
        return total[0] / total[1]

    optimizer.step(loss)
    weights = softplus(free.detach())
    return context.broadcast((weights / weights.sum()).to(scores.dtype))
