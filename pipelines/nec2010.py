"""NEC-UIUC's system of 2010: super vectors of local HOG and LBP, a spatial pyramid, averaged SGD.

Source: Lin, Lv, Zhu, Yang, Cour, Yu, Cao & Huang, Large-scale image classification: fast feature
extraction and SVM training, CVPR 2011 (the winner of ILSVRC-2010, 28.2 % top-5 error as an average
of six models); Zhou, Yu, Zhang & Huang, ECCV 2010, for the coding.

Settings: patches of 16, 24 and 32 pixels every `step` pixels, described by HOG (4 x 4 cells, 9
directions) and LBP (10 rotation-invariant uniform patterns); PCA to 80 dimensions; super vectors of
`words` words over grids of 1 x 1 and 2 x 2 (theirs: 3 x 1 too); SVMs with the hinge loss by
stochastic gradient descent with the step sizes of Xu (2011), 5 epochs, weights averaged from the
second on. Their other coding, local coordinate coding, and the average of six models are left out.
The dimensions and the number of words are ours.

Cost: 5 * 81 * 4 bytes per image, word and kind, 415 kB per image by default, streamed from the
stage cache.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"


def build(
    *,
    words: Annotated[int, Ge(1)] = 128,
    pca_dims: Annotated[int, Ge(1)] = 80,
    step: Annotated[int, Ge(1)] = 4,
    pyramid: Literal["1x1", "1x1+2x2", "1x1+2x2+3x1"] = "1x1+2x2",
    min_side: Annotated[int, Ge(8)] = 64,
    epochs: Annotated[int, Ge(1)] = 5,
    c: Annotated[float, Gt(0)] | None = None,
    flip: bool | None = None,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """Return the pipeline.

    Parameters
    ----------
    words
        Visual words of each kind's codebook.
    pca_dims
        Dimensions that PCA keeps of a descriptor.
    step
        Pixels between patches.
    pyramid
        Regions with a super vector of their own, as grids of rows x columns.
    min_side
        Longer side in pixels to which smaller images are enlarged.
    epochs
        Passes of gradient descent over the training images.
    c
        C of the SVM, for rows of length 1; None chooses it on tune, or 10 without tune.
    flip
        Train on flipped images as well; None decides on tune whether flips keep the class.
    views
        Views of a test image, whose scores are averaged: 1 is the image; 10 adds four shifted
        copies, and the flips of all five if flips are trained on.
    """
    from pipelines.handcrafted.bag import BagOfDescriptors, parse_grids
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.channel import Concatenation
    from pipelines.handcrafted.classifiers.learners import AveragedSGD
    from pipelines.handcrafted.descriptors.hog import LocalHog
    from pipelines.handcrafted.descriptors.lbp import LocalPatterns
    from pipelines.handcrafted.encodings import SuperVectorEncoding

    bags = [
        BagOfDescriptors(
            descriptor,
            SuperVectorEncoding(words),
            pca_dims=pca_dims,
            grids=parse_grids(pyramid),
            min_side=min_side,
        )
        for descriptor in (
            LocalHog(cells=(4, 6, 8), step=step),
            LocalPatterns(cells=(4, 6, 8), step=step),
        )
    ]
    return Chain(
        Concatenation(bags), learner=AveragedSGD(epochs=epochs), c=c, flip=flip, views=views
    )
