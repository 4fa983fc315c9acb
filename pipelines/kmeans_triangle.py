"""Features that k-means fits to unlabeled patches, and a one-vs-rest linear SVM.

Source: Coates, Lee & Ng, An Analysis of Single-Layer Networks in Unsupervised Feature Learning,
AISTATS 2011, "k-means (triangle)". It stands between hand-crafted and learned features.

Settings: images at a square working size, by default their own longer side within 32 and 64
pixels; patches of 6 x 6 pixels, one at each pixel, normalized to mean 0 and variance 1 (with 10
squared gray levels added to the variance) and whitened (ZCA, 0.1 added); k centroids fitted to
400,000 patches; the triangle response max(0, mean distance - distance) to each centroid, averaged
over the four quadrants of the image; each feature standardized; an SVM with the squared hinge loss,
its C chosen on tune. Training images are not flipped, as in the published figures.

Cost: 4 k features (16 k bytes) per image, held in memory for all training images: 1.3 GB for 50,000
images and k = 1600. Describing an image of 32 x 32 pixels takes, for 1,000 centroids, 160 k
multiply-adds, twice, for each of 729 patches.

Yardsticks, CIFAR-10: 75.7 to 76.2 % with k = 800, 77.9 % with 1600, 79.6 % with 4000.
`flip=true,views=10,c=100`, chosen on tune, adds three points to the published recipe
(docs/results/kmeans.md).
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
    solver: Literal["auto", "exact", "streamed"] = "auto",
    c: Annotated[float, Gt(0)] | None = None,
) -> Pipeline:
    """Return the pipeline.

    Parameters
    ----------
    k
        Centroids; fewer where the training images have less than ten patches for each.
    patch
        Side of a patch in pixels.
    stride
        Pixels between patches.
    size
        Side of the working images in pixels; None is the images' longer side within 32 and 64.
    flip
        Train on flipped images as well; None decides on tune whether flips keep the class.
    views
        Views of a test image, whose scores are averaged: 1 is the image; 10 adds four shifted
        copies, and the flips of all five if flips are trained on.
    solver
        "exact" holds all features in memory; "streamed" reads them from disk and solves the SVM to
        a duality gap of 1 % instead of 0.1 %; "auto" streams what does not fit in memory.
    c
        C of the SVM, for rows of mean squared length 1; None chooses it on tune, or 10 without
        tune.
    """
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.classifiers.learners import SVM, CGrid
    from pipelines.unsupervised.single_layer import SingleLayer

    # The authors' C of 100, for the mean loss of 50,000 rows of mean squared length 4 k, is 12.8
    # here at k = 1600.
    grid = CGrid((3.0, 10.0, 30.0, 100.0, 300.0), 10.0)
    return Chain(
        SingleLayer(k, patch, stride, size),
        learner=SVM(solver=solver, standardize=True, custom_grid=grid),
        c=c,
        flip=flip,
        views=views,
    )
