"""Late fusion: the weights of several classifiers' scores in their weighted mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from harness.contract import Context
from pipelines.handcrafted.classifiers.linear_svm import UNSEEN_CLASS_MARGIN

MAX_ITERATIONS = 100  # of L-BFGS, which converges long before


def fusion_weights(scores: Tensor, labels: Tensor, context: Context) -> Tensor:
    """Return the weights that minimize the multinomial log-loss of the fused scores.

    The log-loss is minimized over non-negative weights and a common scale. Unlike the error rate
    it is smooth, so a small held-out split is more informative.

    Parameters
    ----------
    scores : (k, n, classes) float32
        Held-out scores of the k classifiers for this process's share of the images.
    labels : (n,) int64

    Returns
    -------
    Tensor : (k,) float32, non-negative, with sum 1
    """
    free = torch.zeros(len(scores), dtype=torch.float64, device=scores.device, requires_grad=True)
    # Margins of classes without training images would dominate the scale.
    seen = scores[scores > UNSEEN_CLASS_MARGIN / 2].double()
    moments = torch.stack([seen.square().sum(), free.new_tensor(float(seen.numel()))])
    square_sum, count = context.sum(moments)
    # Scores of unit mean square make weights near 1 a good starting point. All are 0 where no
    # feature varies, as on images of one color: no weight is better than another then.
    mean_square = square_sum / count.clamp(min=1)
    scaled = scores.double() / torch.where(mean_square > 0, mean_square, 1).sqrt()
    optimizer = torch.optim.LBFGS([free], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def mean_loss() -> Tensor:
        optimizer.zero_grad()
        fused = torch.einsum("k,knc->nc", softplus(free), scaled)
        loss = cross_entropy(fused, labels, reduction="sum")
        loss.backward()
        total = context.sum(torch.stack([loss.detach(), loss.new_tensor(float(len(labels)))]))
        assert free.grad is not None
        context.sum(free.grad).div_(total[1])
        return total[0] / total[1]

    optimizer.step(mean_loss)
    weights = softplus(free.detach())
    return context.broadcast((weights / weights.sum()).to(scores.dtype))
