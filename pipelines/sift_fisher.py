"""Dense SIFT, Fisher vectors and a one-vs-rest linear SVM.

Source: Perronnin, Sanchez & Mensink, Improving the Fisher kernel for large-scale image classification, ECCV 2010; settings of
VLFeat 0.9.21, apps/recognition (experiments.m, "fv").

Settings: images higher than 480 pixels are shrunk to that; SIFT with bins of 8 pixels every 4 pixels at 7 scales from 1 to 1/8; PCA
to 80 dimensions; a mixture of 256 Gaussians learned from 256,000 descriptors of at most 5,000 training images, from a start at some of
these, as vl_gmm's; signed root, then unit length of each Gaussian's terms (not VLFeat's: `intra`), of each region's vector and of the
whole; SVM with the squared hinge loss (VLFeat: the plain one), C = 10.

Cost: 40,960 features (164 kB) an image and region, held in memory for all training images, and to solve for n of them up to 36 n^2
bytes more while n is less than the features; a processor core encodes about a dozen images of 300 x 200 pixels a second.

Yardsticks, Caltech-101 with 30 training images a class: 73.0 % plain, 75.6 % with xy, 77.6 % with pyramid=1x1+2x2.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"


def build(
    *,
    components: Annotated[int, Ge(1)] = 256,
    dims: Annotated[int, Ge(1)] = 80,
    xy: bool = False,
    intra: bool = True,
    pyramid: Literal["1x1", "1x1+2x2", "1x1+3x1"] = "1x1",
    c: Annotated[float, Gt(0)] | None = 10.0,
    flip: bool | None = False,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """What the keywords mean; None is the default that the data decide.

    components  Gaussians of the mixture
    dims        that PCA keeps of a descriptor
    xy          append the patch's position to its descriptor
    intra       the mean terms of each Gaussian, and its variance terms, count for the same (Arandjelovic & Zisserman, All about VLAD, CVPR
                2013): on Caltech-101's split seeds 101 and 102, which no yardstick scores, 2.3 points; false: as VLFeat
    pyramid     regions with a Fisher vector of their own: grids of rows x columns
    c           of the SVM, for rows of length 1; None: chosen on tune, 10 without tune
    flip        train on mirrored images as well; None: if tune says that they show the same
    views       of a test image, whose scores are averaged: the image, or it and four shifted ones, and where mirrored ones are trained on, theirs
    """
    from pipelines.handcrafted.bag import BagOfDescriptors, grids
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.codings import Fisher
    from pipelines.handcrafted.descriptors.sift import RECOGNITION

    bag = BagOfDescriptors(
        RECOGNITION,
        Fisher(components, from_rows=True, intra=intra),
        dims=dims,
        xy=xy,
        grids=grids(pyramid),
    )
    return Chain(bag, c=c, flip=flip, views=views)
