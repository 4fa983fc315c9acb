"""VLAD of SIFT, C-SIFT and color statistics, fused: our strongest hand-crafted pipeline.

Source: the parts are those of sift-vlad (Jegou et al., CVPR 2010; VLFeat's apps/recognition),
C-SIFT (van de Sande, Gevers & Snoek, PAMI 2010) and the color statistics of Sanchez & Perronnin
(CVPR 2011). The teams of ILSVRC-2012 weighted kinds of descriptors on held-out images. The
combination of these three is ours.

Settings: SIFT as in sift-vlad; C-SIFT of patches of 32 pixels, every 6 pixels, at 5 scales a factor
of sqrt(2) apart; color statistics of patches of 24, 48 and 96 pixels, every 6 pixels. SIFT and
C-SIFT are reduced to `pca_dims` whitened dimensions, color to 64 at most; the vectors get unit
length and the patch's position appended. Codebooks have 256 words. SIFT and C-SIFT are encoded for
the image and its quarters, color for the image. Each kind has a linear SVM, and the scores are
averaged with weights. The channels and their settings were chosen on Caltech-101's split seeds 101
and 102, which no yardstick scores.

Cost: 130,560 features each for SIFT and C-SIFT and 16,896 for color (1.1 MB in all) per image, held
in memory for all training images; three times the time of sift-vlad. Without the quarters,
`pyramid=1x1`, the memory is a fifth of that.

Yardstick, Caltech-101 with 30 training images per class: the best of VLFeat's apps/recognition,
78.7 %.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"
MAX_COLOR_DIMS = 64


def build(
    *,
    words: Annotated[int, Ge(1)] = 256,
    pca_dims: Annotated[int, Ge(1)] = 100,
    pyramid: Literal["1x1", "1x1+2x2"] = "1x1+2x2",
    min_side: Annotated[int, Ge(8)] = 64,
    tune_weights: bool = True,
    solver: Literal["auto", "exact", "streamed"] = "auto",
    c: Annotated[float, Gt(0)] | None = 10.0,
    flip: bool | None = False,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """Return the pipeline.

    Parameters
    ----------
    words
        Visual words of each codebook.
    pca_dims
        Dimensions that PCA keeps of a descriptor; of color statistics at most 64.
    pyramid
        Regions with vectors of their own for SIFT and C-SIFT, as grids of rows x columns.
    min_side
        Longer side in pixels to which smaller images are enlarged.
    tune_weights
        Choose the weights of the kinds on tune, else weigh them equally.
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
    from pipelines.handcrafted.descriptors.sift import RECOGNITION_SIFT, ColorSift
    from pipelines.handcrafted.encodings import VladEncoding

    scales = tuple(2 ** (-k / 2) for k in range(5))
    color_sift = ColorSift(bins=(8,), step=6, scales=scales, smoothing=0.0, window=2.0)
    color = ColorStatistics(cells=(6, 12, 24), step=6)
    kinds = (
        (RECOGNITION_SIFT, pca_dims, pyramid),
        (color_sift, pca_dims, pyramid),
        (color, min(pca_dims, MAX_COLOR_DIMS), "1x1"),
    )
    bags = [
        BagOfDescriptors(
            descriptor,
            VladEncoding(words),
            pca_dims=dims,
            whiten=0.01,
            renormalize=True,
            append_xy=True,
            grids=parse_grids(regions),
            min_side=min_side,
        )
        for descriptor, dims, regions in kinds
    ]
    return Chain(
        *bags, learner=SVM(solver=solver), tune_weights=tune_weights, c=c, flip=flip, views=views
    )
