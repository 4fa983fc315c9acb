"""ISI's system of 2012: Fisher vectors of SIFT, LBP, GIST and C-SIFT, passive-aggressive learning.

Source: the abstract of ISI's entry to ILSVRC-2012 (Gunji et al.; 26.2 % top-5 error, the figure
that AlexNet's 15.3 % is compared with): Fisher vectors of four local descriptors, an averaged
multiclass passive-aggressive classifier (Crammer et al., JMLR 2006) for each, a weighted sum of
their scores.

Settings: SIFT and C-SIFT of patches of 24 pixels at 5 scales a factor of sqrt(2) apart, LBP of 16,
24 and 40 pixels, GIST of 32 pixels, every `step` pixels; 64 dimensions after PCA; a mixture of
`components` Gaussians; grids of 1 x 1 and 2 x 2; weights chosen on tune. The abstract does not give
sizes and counts; these are ours.

Cost: 5 * 2 * 64 * 4 bytes per image, Gaussian and kind, 656 kB per image by default, streamed from
the stage cache.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"


def build(
    *,
    components: Annotated[int, Ge(1)] = 64,
    pca_dims: Annotated[int, Ge(1)] = 64,
    step: Annotated[int, Ge(1)] = 4,
    pyramid: Literal["1x1", "1x1+2x2", "1x1+3x1"] = "1x1+2x2",
    min_side: Annotated[int, Ge(8)] = 64,
    one_vs_rest: bool = False,
    epochs: Annotated[int, Ge(1)] = 10,
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
    pyramid
        Regions with a Fisher vector of their own, as grids of rows x columns.
    min_side
        Longer side in pixels to which smaller images are enlarged.
    one_vs_rest
        Separate each class from all others; otherwise an image's class from the highest-scoring
        other class.
    epochs
        Passes over the training images.
    c
        Aggressiveness: the largest multiple of an image that an update may add to the weights.
        None chooses it on tune, or 0.01 without tune.
    flip
        Train on flipped images as well; None decides on tune whether flips keep the class.
    views
        Views of a test image, whose scores are averaged: 1 is the image; 10 adds four shifted
        copies, and the flips of all five if flips are trained on.
    """
    from pipelines.handcrafted.bag import BagOfDescriptors, parse_grids
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.classifiers.learners import AveragedPassiveAggressive
    from pipelines.handcrafted.descriptors.gist import LocalGist
    from pipelines.handcrafted.descriptors.lbp import LocalPatterns
    from pipelines.handcrafted.descriptors.sift import ColorSift, DenseSift
    from pipelines.handcrafted.encodings import FisherEncoding

    scales = tuple(2 ** (-k / 2) for k in range(5))
    bags = [
        BagOfDescriptors(
            descriptor,
            FisherEncoding(components),
            pca_dims=pca_dims,
            grids=parse_grids(pyramid),
            min_side=min_side,
        )
        for descriptor in (
            DenseSift(bins=(6,), step=step, scales=scales, smoothing=0.0, window=2.0),
            LocalPatterns(cells=(4, 6, 10), step=step),
            LocalGist(cells=(8,), step=step),
            ColorSift(bins=(6,), step=step, scales=scales, smoothing=0.0, window=2.0),
        )
    ]
    learner = AveragedPassiveAggressive(one_vs_rest=one_vs_rest, epochs=epochs)
    return Chain(*bags, learner=learner, tune_weights=True, c=c, flip=flip, views=views)
