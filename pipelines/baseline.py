"""The system of 2011: SIFT and local color statistics as Fisher vectors, a linear SVM on each, a weighted mean of their scores.

Source: Sanchez & Perronnin, High-dimensional signature compression for large-scale image classification, CVPR 2011 (the 45.7 %
top-1 and 25.7 % top-5 error of ILSVRC-2010 in Krizhevsky et al. 2012, Table 1); Perronnin, Sanchez & Mensink, ECCV 2010.

Settings: patches of 24 pixels every 4 pixels at 5 scales, a factor of sqrt(2) apart, for SIFT, and of 24, 48 and 96 pixels for color;
each descriptor reduced to 64 dimensions by PCA; the patch's position appended; a mixture of 64 Gaussians; signed root and unit
length; an SVM with the squared hinge loss for each kind. C, the weights of the two kinds and whether to mirror are chosen on tune. Images
with a longer side below `smallest` are enlarged to it, those higher than 480 pixels shrunk.

Cost: 8,448 features (34 kB) an image and kind, twice that with mirrored copies, held in memory for all training images. What was
published is larger, compresses its features and never holds them all: see vgg2012.
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
    xy: bool = True,
    pyramid: Literal["1x1", "1x1+2x2", "1x1+3x1"] = "1x1",
    smallest: Annotated[int, Ge(8)] = 64,
    weigh: bool = True,
    c: Annotated[float, Gt(0)] | None = None,
    flip: bool | None = None,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """What the keywords mean; None is the default that the data decide.

    components  Gaussians of a mixture
    dims        that PCA keeps of a descriptor
    xy          append the patch's position to its descriptor
    pyramid     regions with a Fisher vector of their own: grids of rows x columns
    smallest    longer side in pixels to which smaller images are enlarged
    weigh       choose the weights of the two kinds on tune (as ISI did in 2012), else both count the same
    c           of the SVMs, for rows of length 1; None: chosen on tune, 10 without tune
    flip        train on mirrored images as well; None: if tune says that they show the same
    views       of a test image, whose scores are averaged: the image, or it and four shifted ones, and where mirrored ones are trained on, theirs
    """
    from pipelines.handcrafted.bag import BagOfDescriptors, grids
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.codings import Fisher
    from pipelines.handcrafted.descriptors.color import ColorStatistics
    from pipelines.handcrafted.descriptors.sift import DenseSift

    sift = DenseSift(
        bins=(6,), step=4, scales=tuple(2 ** (-k / 2) for k in range(5)), smoothing=0.0, window=2.0
    )
    color = ColorStatistics(cells=(6, 12, 24), step=4)
    channels = [
        BagOfDescriptors(
            kind, Fisher(components), dims=dims, xy=xy, grids=grids(pyramid), sides=(smallest, 480)
        )
        for kind in (sift, color)
    ]
    return Chain(*channels, weigh=weigh, c=c, flip=flip, views=views)
