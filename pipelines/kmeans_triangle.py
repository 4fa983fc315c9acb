"""Features that k-means learns from patches without labels, and a one-vs-rest linear SVM: between hand-made and learned.

Source: Coates, Lee & Ng, An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS 2011, "k-means (triangle)".

Settings: images at a square working size, by default their own longer side within 32 and 64 pixels; patches of 6 x 6 pixels, one
at each pixel, brought to mean 0 and variance 1 (with 10 squared gray levels added to the variance) and whitened (ZCA, 0.1 added);
k centroids learned from 400,000 patches; the triangle response max(0, mean distance - distance) to each, averaged over the four
quadrants; each feature standardized; an SVM with the squared hinge loss, its C chosen on tune. No mirrored images: the
published figures have none.

Cost: 4 k features (16 k bytes) an image, held in memory for all training images: 1.3 GB for 50,000 images and k = 1600. Describing an
image of 32 x 32 pixels takes 160 k multiply-adds, twice over, for each of 729 patches a thousand centroids.

Yardsticks, CIFAR-10: 75.7 to 76.2 % with k = 800, 77.9 % with 1600, 79.6 % with 4000. `flip=true,views=10,c=100`, chosen on tune, brings
three points beyond the published recipe (docs/results/published.md).
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "unsupervised"


def build(
    *,
    k: Annotated[int, Ge(1)] = 1600,
    patch: Annotated[int, Ge(1)] = 6,
    stride: Annotated[int, Ge(1)] = 1,
    size: Annotated[int, Ge(1)] | None = None,
    flip: bool | None = False,
    views: Literal[1, 10] = 1,
    c: Annotated[float, Gt(0)] | None = None,
) -> Pipeline:
    """What the keywords mean; None is the default that the data decide.

    k       centroids; fewer where the training images have less than ten patches for each
    patch   side of a patch in pixels
    stride  pixels from one patch to the next
    size    side of the working images in pixels; None: the images' longer side, within 32 and 64
    flip    train on mirrored images as well; None: if tune says that they show the same
    views   of a test image, whose scores are averaged: the image, or it and four shifted ones, and where mirrored ones are trained on, theirs
    c       of the SVM, for rows of mean squared length 1; None: chosen on tune, 10 without tune
    """
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.classifiers.learners import CGrid, ExactSVM
    from pipelines.unsupervised.single_layer import SingleLayer

    # The authors' C of 100, for the mean loss of 50,000 rows of mean squared length 4 k, is 12.8 here at k = 1600.
    grid = CGrid((3.0, 10.0, 30.0, 100.0, 300.0), 10.0)
    return Chain(
        SingleLayer(k, patch, stride, size),
        learner=ExactSVM(standardize=True, own_grid=grid),
        c=c,
        flip=flip,
        views=views,
    )
