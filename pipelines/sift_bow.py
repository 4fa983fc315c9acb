"""Dense SIFT, a bag of visual words over a spatial pyramid, a chi2 kernel map and a one-vs-rest linear SVM.

Source: Lazebnik, Schmid & Ponce, Beyond bags of features, CVPR 2006; Vedaldi & Zisserman, Efficient additive kernels via explicit
feature maps, PAMI 2012; settings of VLFeat 0.9.21, apps/phow_caltech101.m with tinyProblem = false.

Settings: images higher than 480 pixels are shrunk to that; SIFT with bins of 4, 6, 8 and 10 pixels every 3 pixels; 600 words learned
from 100,000 descriptors; grids of 2 x 2 and 4 x 4; the homogeneous kernel map of order 1 and gamma 0.5; SVM with the squared hinge
loss (VLFeat: the plain one), C = 10. The words are learned from more images than the 30 of VLFeat, but from as many descriptors.

Cost: 36,000 features (144 kB) an image, held in memory for all training images; solving for n of them takes up to 36 n^2 bytes more.

Yardstick, Caltech-101 with 15 training and 15 test images a class: 64 to 65 %.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"


def build(
    *,
    words: Annotated[int, Ge(1)] = 600,
    soft: bool = False,
    step: Annotated[int, Ge(1)] = 3,
    c: Annotated[float, Gt(0)] | None = 10.0,
    flip: bool | None = False,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """What the keywords mean; None is the default that the data decide.

    words  of the codebook
    soft   a descriptor's vote is shared among its nearest words
    step   pixels between patches
    c      of the SVM; None: chosen on tune, 10 without tune
    flip   train on mirrored images as well; None: if tune says that they show the same
    views  of a test image, whose scores are averaged: the image, or it and four shifted ones, and where mirrored ones are trained on, theirs
    """
    from pipelines.handcrafted.bag import BagOfDescriptors
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.codings import Words
    from pipelines.handcrafted.descriptors.sift import DenseSift

    bag = BagOfDescriptors(DenseSift(step=step), Words(words, soft), grids=((2, 2), (4, 4)))
    return Chain(bag, c=c, flip=flip, views=views)
