"""Dense SIFT, vectors of locally aggregated descriptors (VLAD) and a one-vs-rest linear SVM.

Source: Jegou, Douze, Schmid & Perez, Aggregating local descriptors into a compact image
representation, CVPR 2010; settings of VLFeat 0.9.21, apps/recognition (experiments.m, "vlad-aug").

Settings: as sift-fisher, but PCA to 100 whitened dimensions, then descriptors of unit length with
the patch's position appended; 256 words fitted by k-means; the sums get a signed square root and
unit length per word, then per region, then per image.

Cost: 26,112 features (104 kB) per image, and memory for the solver as in sift-fisher; less than
half the time of sift-fisher.

Yardstick, Caltech-101 with 30 training images per class: 78.7 %.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"


def build(
    *,
    words: Annotated[int, Ge(1)] = 256,
    pca_dims: Annotated[int, Ge(1)] = 100,
    xy: bool = True,
    pyramid: Literal["1x1", "1x1+2x2", "1x1+3x1"] = "1x1",
    solver: Literal["auto", "exact", "streamed"] = "auto",
    c: Annotated[float, Gt(0)] | None = 10.0,
    flip: bool | None = False,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """Return the pipeline.

    Parameters
    ----------
    words
        Visual words of the codebook.
    pca_dims
        Dimensions that PCA keeps of a descriptor.
    xy
        Append the patch's position to its descriptor.
    pyramid
        Regions with a vector of their own, as grids of rows x columns.
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
    from pipelines.handcrafted.encodings import VladEncoding

    bag = BagOfDescriptors(
        RECOGNITION_SIFT,
        VladEncoding(words),
        pca_dims=pca_dims,
        whiten=0.01,
        renormalize=True,
        append_xy=xy,
        grids=parse_grids(pyramid),
    )
    return Chain(bag, learner=SVM(solver=solver), c=c, flip=flip, views=views)
