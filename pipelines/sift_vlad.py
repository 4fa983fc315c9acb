"""Dense SIFT, vectors of locally aggregated descriptors (VLAD) and a one-vs-rest linear SVM.

Source: Jegou, Douze, Schmid & Perez, Aggregating local descriptors into a compact image representation, CVPR 2010; settings of
VLFeat 0.9.21, apps/recognition (experiments.m, "vlad-aug").

Settings: as sift-fisher, but PCA to 100 whitened dimensions, descriptors of unit length after it, the patch's position appended, 256
words by k-means, square-rooted sums of unit length a word, then a region, then the image.

Cost: 26,112 features (104 kB) an image, and memory for the solver as in sift-fisher; less than half of the time of sift-fisher.

Yardstick, Caltech-101 with 30 training images a class: 78.7 %.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"


def build(
    *,
    words: Annotated[int, Ge(1)] = 256,
    dims: Annotated[int, Ge(1)] = 100,
    xy: bool = True,
    pyramid: Literal["1x1", "1x1+2x2", "1x1+3x1"] = "1x1",
    c: Annotated[float, Gt(0)] | None = 10.0,
    flip: bool | None = False,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """What the keywords mean; None is the default that the data decide.

    words    of the codebook
    dims     that PCA keeps of a descriptor
    xy       append the patch's position to its descriptor
    pyramid  regions with a vector of their own: grids of rows x columns
    c        of the SVM, for rows of length 1; None: chosen on tune, 10 without tune
    flip     train on mirrored images as well; None: if tune says that they show the same
    views    of a test image, whose scores are averaged: the image, or it and four shifted ones, and where mirrored ones are trained on, theirs
    """
    from pipelines.handcrafted.bag import BagOfDescriptors, grids
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.codings import Vlad
    from pipelines.handcrafted.descriptors.sift import RECOGNITION

    bag = BagOfDescriptors(
        RECOGNITION,
        Vlad(words),
        dims=dims,
        whiten=0.01,
        renormalize=True,
        xy=xy,
        grids=grids(pyramid),
    )
    return Chain(bag, c=c, flip=flip, views=views)
