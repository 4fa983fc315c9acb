"""NEC-UIUC's system of 2010: local HOG and LBP, super-vector coding, a spatial pyramid, averaged stochastic gradient descent.

Source: Lin, Lv, Zhu, Yang, Cour, Yu, Cao & Huang, Large-scale image classification: fast feature extraction and SVM training, CVPR
2011 (the winner of ILSVRC-2010, 28.2 % top-5 error as an average of six models); Zhou, Yu, Zhang & Huang, ECCV 2010, for the coding.

Settings: patches of 16, 24 and 32 pixels every `step` pixels, HOG (4 x 4 cells, 9 directions) and LBP (10 rotation-invariant uniform
patterns); PCA to 80 dimensions; super vectors of `words` words over grids of 1 x 1 and 2 x 2 (theirs: 3 x 1 too); hinge loss, the
gradient's step as in Xu (2011), 5 epochs, weights averaged from the second on. The other coding of theirs, local coordinate coding, and
the averages of six models are left out; dimensions and words are ours.

Cost: 5 x 81 x 4 bytes an image and word and kind, 415 kB by default, streamed from the stage cache.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"


def build(
    *,
    words: Annotated[int, Ge(1)] = 128,
    dims: Annotated[int, Ge(1)] = 80,
    step: Annotated[int, Ge(1)] = 4,
    pyramid: Literal["1x1", "1x1+2x2", "1x1+2x2+3x1"] = "1x1+2x2",
    smallest: Annotated[int, Ge(8)] = 64,
    epochs: Annotated[int, Ge(1)] = 5,
    c: Annotated[float, Gt(0)] | None = None,
    flip: bool | None = None,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """What the keywords mean; None is the default that the data decide.

    words     of each kind's codebook
    dims      that PCA keeps of a descriptor
    step      pixels between patches
    pyramid   regions with a super vector of their own: grids of rows x columns
    smallest  longer side in pixels to which smaller images are enlarged
    epochs    of the gradient descent
    c         of the SVM, for rows of length 1; None: chosen on tune, 10 without tune
    flip      train on mirrored images as well; None: if tune says that they show the same
    views     of a test image, whose scores are averaged: the image, or it and four shifted ones, and where mirrored ones are trained on, theirs
    """
    from pipelines.handcrafted.bag import BagOfDescriptors, grids
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.channel import Joined
    from pipelines.handcrafted.classifiers.learners import AveragedSGD
    from pipelines.handcrafted.codings import SuperVectors
    from pipelines.handcrafted.descriptors.hog import LocalHog
    from pipelines.handcrafted.descriptors.lbp import LocalPatterns

    kinds = LocalHog(cells=(4, 6, 8), step=step), LocalPatterns(cells=(4, 6, 8), step=step)
    bags = [
        BagOfDescriptors(
            kind, SuperVectors(words), dims=dims, grids=grids(pyramid), sides=(smallest, 480)
        )
        for kind in kinds
    ]
    return Chain(Joined(bags), learner=AveragedSGD(epochs=epochs), c=c, flip=flip, views=views)
