"""Dense SIFT, bags of visual words over a spatial pyramid, a chi2 kernel map and a linear SVM.

Source: Lazebnik, Schmid & Ponce, Beyond bags of features, CVPR 2006; Vedaldi & Zisserman, Efficient
additive kernels via explicit feature maps, PAMI 2012; settings of VLFeat 0.9.21,
apps/phow_caltech101.m with tinyProblem = false.

Settings: images taller than 480 pixels are shrunk; SIFT with bins of 4, 6, 8 and 10 pixels every 3
pixels; 600 words fitted to 100,000 descriptors; grids of 2 x 2 and 4 x 4; the homogeneous kernel
map of order 1 and gamma 0.5; one-vs-rest SVMs with the squared hinge loss (VLFeat: the plain hinge)
and C = 10. The words are fitted to as many descriptors as VLFeat's, from more than its 30 images.

Cost: 36,000 features (144 kB) per image, held in memory for all training images; the solver takes
up to 36 n^2 bytes more for n of them.

Yardstick, Caltech-101 with 15 training and 15 test images per class: 64 to 65 %.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"


def build(
    *,
    words: Annotated[int, Ge(1)] = 600,
    soft_assignment: bool = False,
    step: Annotated[int, Ge(1)] = 3,
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
    soft_assignment
        Divide a descriptor's vote among its nearest words.
    step
        Pixels between patches.
    solver
        "exact" holds all features in memory; "streamed" reads them from disk and solves the SVM to
        a duality gap of 1 % instead of 0.1 %; "auto" streams what does not fit in memory.
    c
        C of the SVM; None chooses it on tune, or 10 without tune.
    flip
        Train on flipped images as well; None decides on tune whether flips keep the class.
    views
        Views of a test image, whose scores are averaged: 1 is the image; 10 adds four shifted
        copies, and the flips of all five if flips are trained on.
    """
    from pipelines.handcrafted.bag import BagOfDescriptors
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.classifiers.learners import SVM
    from pipelines.handcrafted.descriptors.sift import DenseSift
    from pipelines.handcrafted.encodings import BagOfWordsEncoding

    bag = BagOfDescriptors(
        DenseSift(step=step),
        BagOfWordsEncoding(words, soft_assignment),
        grids=((2, 2), (4, 4)),
    )
    return Chain(bag, learner=SVM(solver=solver), c=c, flip=flip, views=views)
