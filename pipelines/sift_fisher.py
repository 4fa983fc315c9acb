"""Dense SIFT, Fisher vectors and a one-vs-rest linear SVM.

Source: Perronnin, Sanchez & Mensink, Improving the Fisher kernel for large-scale image
classification, ECCV 2010; settings of VLFeat 0.9.21, apps/recognition (experiments.m, "fv").

Settings: images taller than 480 pixels are shrunk; SIFT with bins of 8 pixels every 4 pixels at 7
scales from 1 to 1/8; PCA to 80 dimensions; a mixture of 256 Gaussians, fitted to 256,000
descriptors of at most 5,000 training images from a start at some of these, like vl_gmm's. The
vectors get a signed square root and then unit length for the terms of each Gaussian (not in VLFeat:
`intra_norm`), for each region and for the image. The SVM has the squared hinge loss (VLFeat: the
plain hinge) and C = 10.

Cost: 40,960 features (164 kB) per image and region, held in memory for all training images; while n
images are fewer than the features, the solver takes up to 36 n^2 bytes more. One core encodes about
a dozen images of 300 x 200 pixels per second.

Yardsticks, Caltech-101 with 30 training images per class: 73.0 % plain, 75.6 % with xy, 77.6 % with
pyramid=1x1+2x2.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"


def build(
    *,
    components: Annotated[int, Ge(1)] = 256,
    pca_dims: Annotated[int, Ge(1)] = 80,
    xy: bool = False,
    intra_norm: bool = True,
    pyramid: Literal["1x1", "1x1+2x2", "1x1+3x1"] = "1x1",
    solver: Literal["auto", "exact", "streamed"] = "auto",
    c: Annotated[float, Gt(0)] | None = 10.0,
    flip: bool | None = False,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """Return the pipeline.

    Parameters
    ----------
    components
        Gaussians of the mixture.
    pca_dims
        Dimensions that PCA keeps of a descriptor.
    xy
        Append the patch's position to its descriptor.
    intra_norm
        Scale the mean terms of each Gaussian, and its variance terms, to unit length
        (Arandjelovic & Zisserman, All about VLAD, CVPR 2013). This gains 2.3 points on
        Caltech-101's split seeds 101 and 102, which no yardstick scores; VLFeat does not do it.
    pyramid
        Regions with a Fisher vector of their own, as grids of rows x columns.
    solver
        "exact" holds all features in memory; "streamed" reads them from disk and solves the SVM to
        a duality gap of 1 % instead of 0.1 %; "auto" streams what does not fit in memory.
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
    from pipelines.handcrafted.classifiers.learners import SVM
    from pipelines.handcrafted.descriptors.sift import RECOGNITION_SIFT
    from pipelines.handcrafted.encodings import FisherEncoding

    bag = BagOfDescriptors(
        RECOGNITION_SIFT,
        FisherEncoding(components, start_from_rows=True, intra_norm=intra_norm),
        pca_dims=pca_dims,
        append_xy=xy,
        grids=parse_grids(pyramid),
    )
    return Chain(bag, learner=SVM(solver=solver), c=c, flip=flip, views=views)
