"""The system of 2011: Fisher vectors of SIFT and color statistics, and a linear SVM on each.

Source: Sanchez & Perronnin, High-dimensional signature compression for large-scale image
classification, CVPR 2011 (45.7 % top-1 and 25.7 % top-5 error on ILSVRC-2010, Table 1 of Krizhevsky
et al. 2012); Perronnin, Sanchez & Mensink, ECCV 2010.

Settings: SIFT of patches of 24 pixels, every 4 pixels, at 5 scales a factor of sqrt(2) apart; color
statistics of patches of 24, 48 and 96 pixels. Each descriptor is reduced to 64 dimensions by PCA,
and the patch's position is appended. Fisher vectors of 64 Gaussians get a signed square root and
unit length. Each kind gets an SVM with the squared hinge loss, and the scores of the two are
averaged. C, the weights of the two kinds and whether to flip are chosen on tune. Images whose
longer side is below `min_side` are enlarged; images taller than 480 pixels are shrunk.

Cost: 8,448 features (34 kB) per image and kind, twice that with flips, held in memory for all
training images. The published system is larger, compresses its features and never holds them all:
see vgg2012.
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
    xy: bool = True,
    pyramid: Literal["1x1", "1x1+2x2", "1x1+3x1"] = "1x1",
    min_side: Annotated[int, Ge(8)] = 64,
    tune_weights: bool = True,
    solver: Literal["auto", "exact", "streamed"] = "auto",
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
    xy
        Append the patch's position to its descriptor.
    pyramid
        Regions with a Fisher vector of their own, as grids of rows x columns.
    min_side
        Longer side in pixels to which smaller images are enlarged.
    tune_weights
        Choose the weights of the two kinds on tune (as ISI did in 2012), else weigh them equally.
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
    from pipelines.handcrafted.descriptors.color import ColorStatistics
    from pipelines.handcrafted.descriptors.sift import DenseSift
    from pipelines.handcrafted.encodings import FisherEncoding

    sift = DenseSift(
        bins=(6,), step=4, scales=tuple(2 ** (-k / 2) for k in range(5)), smoothing=0.0, window=2.0
    )
    color = ColorStatistics(cells=(6, 12, 24), step=4)
    channels = [
        BagOfDescriptors(
            descriptor,
            FisherEncoding(components),
            pca_dims=pca_dims,
            append_xy=xy,
            grids=parse_grids(pyramid),
            min_side=min_side,
        )
        for descriptor in (sift, color)
    ]
    return Chain(
        *channels,
        learner=SVM(solver=solver),
        tune_weights=tune_weights,
        c=c,
        flip=flip,
        views=views,
    )
