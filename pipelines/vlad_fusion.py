"""Three kinds of local descriptors as VLAD, a linear SVM on each, a weighted mean of their scores: our strongest hand-crafted pipeline.

Source: the parts are those of sift-vlad (Jegou et al., CVPR 2010; VLFeat's apps/recognition), C-SIFT (van de Sande, Gevers & Snoek, PAMI
2010) and the color statistics of Sanchez & Perronnin (CVPR 2011); weighing kinds of descriptors by held-out images is what the teams of
ILSVRC-2012 did. Joining these three is ours.

Settings: SIFT as in sift-vlad; C-SIFT of patches of 32 pixels every 6 pixels at 5 scales, a factor of sqrt(2) apart; color statistics of
patches of 24, 48 and 96 pixels every 6 pixels. SIFT and C-SIFT are reduced to `dims` whitened dimensions, color to 64; vectors of length 1, the
patch's position appended; 256 words; SIFT and C-SIFT of the image and of its quarters, color of the image. The channels and their settings were chosen on Caltech-101's split seeds 101 and 102, which no yardstick scores.

Cost: 130,560 features each for SIFT and C-SIFT and 16,896 for color (1.1 MB in all) an image, held in memory for all training images; three
times the time of sift-vlad. A fifth of that memory without the quarters, `pyramid=1x1`.

Yardstick, Caltech-101 with 30 training images a class: the best of VLFeat's apps/recognition, 78.7 %.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"
COLOR_DIMS = 64


def build(
    *,
    words: Annotated[int, Ge(1)] = 256,
    dims: Annotated[int, Ge(1)] = 100,
    pyramid: Literal["1x1", "1x1+2x2"] = "1x1+2x2",
    smallest: Annotated[int, Ge(8)] = 64,
    weigh: bool = True,
    c: Annotated[float, Gt(0)] | None = 10.0,
    flip: bool | None = False,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """What the keywords mean; None is the default that the data decide.

    words     of each codebook
    dims      that PCA keeps of a descriptor; of color statistics 64 at most
    pyramid   regions with vectors of their own, of SIFT and C-SIFT: grids of rows x columns
    smallest  longer side in pixels to which smaller images are enlarged
    weigh     choose the weights of the kinds on tune, else all count the same
    c         of the SVMs, for rows of length 1; None: chosen on tune, 10 without tune
    flip      train on mirrored images as well; None: if tune says that they show the same
    views     of a test image, whose scores are averaged: the image, or it and four shifted ones, and where mirrored ones are trained on, theirs
    """
    from pipelines.handcrafted.bag import BagOfDescriptors, grids
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.codings import Vlad
    from pipelines.handcrafted.descriptors.color import ColorStatistics
    from pipelines.handcrafted.descriptors.sift import RECOGNITION, ColorSift

    scales = tuple(2 ** (-k / 2) for k in range(5))
    kinds = (
        (RECOGNITION, dims, pyramid),
        (ColorSift(bins=(8,), step=6, scales=scales, smoothing=0.0, window=2.0), dims, pyramid),
        (ColorStatistics(cells=(6, 12, 24), step=6), min(dims, COLOR_DIMS), "1x1"),
    )
    bags = [
        BagOfDescriptors(
            kind,
            Vlad(words),
            dims=kept,
            whiten=0.01,
            renormalize=True,
            xy=True,
            grids=grids(regions),
            sides=(smallest, 480),
        )
        for kind, kept, regions in kinds
    ]
    return Chain(*bags, weigh=weigh, c=c, flip=flip, views=views)
