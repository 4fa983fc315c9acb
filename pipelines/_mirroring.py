"""May training images be mirrored? Both families ask here, so that a comparison does not hang on who guessed better.

A mirrored photograph shows the same thing; a mirrored digit or letter shows another or none. The paper mirrors because ImageNet
is of the first kind. For an unknown set of images the tune split is asked: a linear classifier of thumbnails, fitted on train as
it is, is scored on tune as it is and mirrored.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from harness.contract import Batch, Context, Split

SIDE = 16  # pixels of a thumbnail: enough to tell 2 from 5, little enough to take a second for 50,000 images
RIDGE = 1e-3  # of the mean squared norm of a thumbnail
BATCH = 64  # images, each at its whole size, at a time
KEEP = 0.5  # of the accuracy above chance: photographs keep about all of it, digits a quarter


def may_mirror(train: Split, tune: Split | None, context: Context) -> bool:
    """Whether mirrored tune images keep at least half of the accuracy above chance that plain ones have.

    True, as in the paper, when there is no tune split, or the thumbnails say nothing either way. Mirrored and plain tune images
    are scored by the same weights, ridge regression on centerd, normalized gray thumbnails of SIDE x SIDE pixels.
    """
    if tune is None:
        return True
    size, labels = SIDE * SIDE + 1, torch.from_numpy(train.labels)
    gram = torch.zeros(size, size, dtype=torch.float64, device=context.device)
    moment = torch.zeros(size, train.num_classes, dtype=torch.float64, device=context.device)
    for batch in train.batches(BATCH, device=context.device):
        thumbnails = _thumbnails(batch).double()
        targets = F.one_hot(labels[batch.index.cpu()], train.num_classes).to(
            context.device, torch.float64
        )
        gram += thumbnails.T @ thumbnails
        moment += thumbnails.T @ targets
    context.sum(gram)
    context.sum(moment)
    ridge = RIDGE * len(train) * torch.eye(size, dtype=torch.float64, device=context.device)
    weights = torch.linalg.solve(gram + ridge, moment)
    right = torch.zeros(2, dtype=torch.float64, device=context.device)
    truth = torch.from_numpy(tune.labels)
    for batch in tune.batches(BATCH, device=context.device):
        wanted = truth[batch.index.cpu()].to(context.device)
        for mirrored in (0, 1):
            scores = _thumbnails(batch, mirrored=bool(mirrored)).double() @ weights
            right[mirrored] += (scores.argmax(1) == wanted).sum()
    plain, mirror = (context.sum(right) / len(tune) - 1 / train.num_classes).tolist()
    return plain <= 0 or mirror >= KEEP * plain


def _thumbnails(batch: Batch, *, mirrored: bool = False) -> torch.Tensor:
    """(n, SIDE * SIDE + 1) float32: gray, centerd, of norm 1, then a constant 1 for the bias."""
    if isinstance(batch.images, torch.Tensor):
        small = F.adaptive_avg_pool2d(batch.images.float().mean(1, keepdim=True), SIDE)
    else:
        small = torch.cat(
            [
                F.adaptive_avg_pool2d(image[None].float().mean(1, keepdim=True), SIDE)
                for image in batch.images
            ]
        )
    flat = (small.flip(3) if mirrored else small).flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return F.pad(flat / (flat.norm(dim=1, keepdim=True) + 1), (0, 1), value=1.0)
