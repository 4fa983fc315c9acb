"""ISI's system of 2012: SIFT, LBP, GIST and C-SIFT as Fisher vectors, passive-aggressive classifiers, their scores weighted on tune.

Source: the abstract of ISI's entry to ILSVRC-2012 (Gunji et al.; 26.2 % top-5 error, the figure that AlexNet's 15.3 % is set against):
Fisher vectors of four local descriptors, an averaged multiclass passive-aggressive classifier (Crammer et al., JMLR 2006) for each,
a weighted sum of their scores.

Settings: SIFT and C-SIFT of patches of 24 pixels at 5 scales, a factor of sqrt(2) apart, LBP of 16, 24 and 40 pixels, GIST of 32 pixels,
every `step` pixels; 64 dimensions after PCA; a mixture of `components` Gaussians; grids of 1 x 1 and 2 x 2. Sizes and counts are ours: the
abstract does not tell them.

Cost: 5 x 2 x 64 x 4 bytes an image, Gaussian and kind: 656 kB an image by default, streamed from the stage cache.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"


def build(
    *,
    components: Annotated[int, Ge(1)] = 64,
    dims: Annotated[int, Ge(1)] = 64,
    step: Annotated[int, Ge(1)] = 4,
    pyramid: Literal["1x1", "1x1+2x2", "1x1+3x1"] = "1x1+2x2",
    smallest: Annotated[int, Ge(8)] = 64,
    one_vs_rest: bool = False,
    epochs: Annotated[int, Ge(1)] = 10,
    c: Annotated[float, Gt(0)] | None = None,
    flip: bool | None = None,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """What the keywords mean; None is the default that the data decide.

    components   Gaussians of a mixture
    dims         that PCA keeps of a descriptor
    step         pixels between patches
    pyramid      regions with a Fisher vector of their own: grids of rows x columns
    smallest     longer side in pixels to which smaller images are enlarged
    one_vs_rest  each class is told from all others, else an image's class from the most likely other one
    epochs       passes over the training images
    c            aggressiveness: how much of an image may be added to the weights; None: chosen on tune, 0.01 without tune
    flip         train on mirrored images as well; None: if tune says that they show the same
    views        of a test image, whose scores are averaged: the image, or it and four shifted ones, and where mirrored ones are trained on, theirs
    """
    from pipelines.handcrafted.bag import BagOfDescriptors, grids
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.classifiers.learners import AveragedPassiveAggressive
    from pipelines.handcrafted.codings import Fisher
    from pipelines.handcrafted.descriptors.gist import LocalGist
    from pipelines.handcrafted.descriptors.lbp import LocalPatterns
    from pipelines.handcrafted.descriptors.sift import ColorSift, DenseSift

    scales = tuple(2 ** (-k / 2) for k in range(5))
    kinds = (
        DenseSift(bins=(6,), step=step, scales=scales, smoothing=0.0, window=2.0),
        LocalPatterns(cells=(4, 6, 10), step=step),
        LocalGist(cells=(8,), step=step),
        ColorSift(bins=(6,), step=step, scales=scales, smoothing=0.0, window=2.0),
    )
    bags = [
        BagOfDescriptors(
            kind, Fisher(components), dims=dims, grids=grids(pyramid), sides=(smallest, 480)
        )
        for kind in kinds
    ]
    learner = AveragedPassiveAggressive(one_vs_rest=one_vs_rest, epochs=epochs)
    return Chain(*bags, learner=learner, weigh=True, c=c, flip=flip, views=views)
