"""OXFORD_VGG's system of 2012: product-quantized SIFT and color Fisher vectors, streamed SVMs.

Source: the abstract of OXFORD_VGG's entry to ILSVRC-2012 (27.3 % top-5 error for its baseline):
dense SIFT and color statistics, patch coordinates appended, Fisher vectors of 1024 Gaussians, no
pyramid, product quantization (8 values per byte: Sanchez & Perronnin, CVPR 2011), linear SVMs by a
stochastic solver.

Settings: patches as in `baseline`; both kinds' vectors side by side before one SVM. Features are
kept as bytes in the stage cache and decompressed chunk by chunk while the SVM is fitted, so that
memory holds 2 bytes per image and class, or 4 with flips, divided among the processes. Their
solver was Pegasos with the hinge loss; ours is dual coordinate ascent with the squared hinge loss,
to a duality gap of 1 %. The abstract does not give all settings. Ours are 64 dimensions after PCA,
and 256 Gaussians by default, which suits fewer than a million images.

Cost: 4 * 66 * 4 bytes per image and Gaussian before compression, 1/32 of that on disk (8.4 kB per
image by default). Each epoch of the solver passes over them once; one core processes some 5,000
images of 10 classes per second.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"


def build(
    *,
    components: Annotated[int, Ge(1)] = 256,
    pca_dims: Annotated[int, Ge(1)] = 64,
    step: Annotated[int, Ge(1)] = 4,
    min_side: Annotated[int, Ge(8)] = 64,
    solver: Literal["auto", "exact", "streamed"] = "streamed",
    quantize: bool = True,
    loss: Literal["squared_hinge", "hinge"] = "squared_hinge",
    positive_weight: Annotated[float, Gt(0)] | None = 1.0,
    c: Annotated[float, Gt(0)] | None = None,
    flip: bool | None = None,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """Return the pipeline.

    Parameters
    ----------
    components
        Gaussians of each mixture.
    pca_dims
        Dimensions that PCA keeps of a descriptor.
    step
        Pixels between patches.
    min_side
        Longer side in pixels to which smaller images are enlarged.
    solver
        "exact" holds all features in memory and solves the SVM to a duality gap of 0.1 % instead
        of 1 %; "auto" does so where that fits in memory.
    quantize
        Keep features as one byte per 8 values.
    loss
        Of the SVM.
    positive_weight
        Weight of an image's loss for its own class; None chooses it on tune.
    c
        C of the SVM, for rows of length 1; None chooses it on tune, or 10 without tune.
    flip
        Train on flipped images as well; None decides on tune whether flips keep the class.
    views
        Views of a test image, whose scores are averaged: 1 is the image; 10 adds four shifted
        copies, and the flips of all five if flips are trained on.
    """
    from pipelines.handcrafted.bag import BagOfDescriptors
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.channel import Concatenation
    from pipelines.handcrafted.classifiers.learners import SVM
    from pipelines.handcrafted.descriptors.color import ColorStatistics
    from pipelines.handcrafted.descriptors.sift import DenseSift
    from pipelines.handcrafted.encodings import FisherEncoding

    scales = tuple(2 ** (-k / 2) for k in range(5))
    sift = DenseSift(bins=(6,), step=step, scales=scales, smoothing=0.0, window=2.0)
    color = ColorStatistics(cells=(6, 12, 24), step=step)
    bags = [
        BagOfDescriptors(
            descriptor,
            FisherEncoding(components),
            pca_dims=pca_dims,
            append_xy=True,
            min_side=min_side,
        )
        for descriptor in (sift, color)
    ]
    return Chain(
        Concatenation(bags),
        learner=SVM(solver=solver, loss=loss, quantize=quantize),
        positive_weight=positive_weight,
        c=c,
        flip=flip,
        views=views,
    )
