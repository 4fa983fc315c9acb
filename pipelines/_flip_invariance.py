"""Test on the tune split whether flipped training images keep their class.

Both families ask here, so that a comparison does not depend on which of them guessed better. A
flipped photograph shows the same object; a flipped digit or letter shows another one or none. The
2012 paper flips because ImageNet consists of photographs. For an unknown dataset, a linear
classifier of thumbnails is fitted to train as it is and scored on tune, unflipped and flipped.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from harness.contract import Batch, Context, Split

# Side of a thumbnail: enough to tell 2 from 5, and a second for 50,000 images.
THUMBNAIL_PIXELS = 16
RIDGE = 1e-3  # relative to the mean squared norm of a thumbnail
BATCH = 64  # images at their full size at a time
# Share of the accuracy above chance that flipped images must keep: photographs keep almost all of
# it, digits a quarter.
KEPT_ACCURACY = 0.5


def is_flip_invariant(train: Split, tune: Split | None, context: Context) -> bool:
    """Return whether flipped tune images keep half of the accuracy above chance.

    The classifier is ridge regression on centered, normalized gray thumbnails.

    Returns
    -------
    bool
        True, as in the paper, also without a tune split and where the thumbnails are no better
        than chance.
    """
    if tune is None:
        return True
    weights = _fit_thumbnail_classifier(train, context)
    labels = torch.from_numpy(tune.labels)
    correct = torch.zeros(2, dtype=torch.float64, device=context.device)
    for batch in tune.batches(BATCH, device=context.device):
        batch_labels = labels[batch.index.cpu()].to(context.device)
        for flipped in (False, True):
            scores = _thumbnails(batch, flipped=flipped).double() @ weights
            correct[int(flipped)] += (scores.argmax(1) == batch_labels).sum()
    above_chance = context.sum(correct) / len(tune) - 1 / train.num_classes
    plain, flipped_accuracy = above_chance.tolist()
    return plain <= 0 or flipped_accuracy >= KEPT_ACCURACY * plain


def _fit_thumbnail_classifier(train: Split, context: Context) -> torch.Tensor:
    """Return the weights (thumbnail length, classes) float64 of a ridge regression."""
    size, labels = THUMBNAIL_PIXELS**2 + 1, torch.from_numpy(train.labels)
    gram = torch.zeros(size, size, dtype=torch.float64, device=context.device)
    moment = torch.zeros(size, train.num_classes, dtype=torch.float64, device=context.device)
    for batch in train.batches(BATCH, device=context.device):
        thumbnails = _thumbnails(batch).double()
        one_hot = F.one_hot(labels[batch.index.cpu()], train.num_classes)
        gram += thumbnails.T @ thumbnails
        moment += thumbnails.T @ one_hot.to(context.device, torch.float64)
    context.sum(gram)
    context.sum(moment)
    ridge = RIDGE * len(train) * torch.eye(size, dtype=torch.float64, device=context.device)
    return torch.linalg.solve(gram + ridge, moment)


def _thumbnails(batch: Batch, *, flipped: bool = False) -> torch.Tensor:
    """Return gray thumbnails, centered, of norm 1, with a constant 1 for the bias appended.

    Returns
    -------
    Tensor : (n, THUMBNAIL_PIXELS**2 + 1) float32
    """
    if isinstance(batch.images, torch.Tensor):
        small = _shrink_gray(batch.images)
    else:
        small = torch.cat([_shrink_gray(image[None]) for image in batch.images])
    flat = (small.flip(3) if flipped else small).flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return F.pad(flat / (flat.norm(dim=1, keepdim=True) + 1), (0, 1), value=1.0)


def _shrink_gray(images: torch.Tensor) -> torch.Tensor:
    """Return block means of gray images: (n, 3, h, w) -> (n, 1, THUMBNAIL_PIXELS, ...)."""
    return F.adaptive_avg_pool2d(images.float().mean(1, keepdim=True), THUMBNAIL_PIXELS)
