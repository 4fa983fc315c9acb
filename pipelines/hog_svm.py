"""HOG descriptors of the whole image and a one-vs-rest linear SVM.

Source: Dalal & Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005; histograms of unsigned and of signed
directions together as in Felzenszwalb et al., PAMI 2010, section 6.

Settings: an image is resized to a square working size, by default its own longer side within 32 and 128 pixels, and covered by
8 x 8 cells, so the descriptor's length does not hang on the size: 49 overlapping blocks of 2 x 2 cells, 27 directions a cell, 5,292
values. The directions were chosen on held-out training images of digits and of CIFAR-10, the cells on those of digits alone
(4 x 4 cells did as well). The SVM has the squared hinge loss; its C and, unless `flip` says, whether mirrored copies of the images
are added are chosen on tune.

Cost: a processor core describes about 20 million pixels a second. Features take 21 MB a thousand images, twice that with mirrored
copies, and the SVM passes over them 20 to 100 times for each value of C that is tried, 3 to 7.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline, UserError

FAMILY = "hand-crafted"
CELLS = 8  # cells along an image's side, unless `cell` says otherwise


def build(
    *,
    size: Annotated[int, Ge(8)] | None = None,
    cell: Annotated[int, Ge(1)] | None = None,
    orientations: Annotated[int, Ge(1)] = 9,
    block: Annotated[int, Ge(1)] = 2,
    directions: Literal["unsigned", "signed", "both"] = "both",
    flip: bool | None = None,
    c: Annotated[float, Gt(0)] | None = None,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """What the keywords mean; None is the default that the data decide.

    size          side of the working images, in pixels; None: the images' longer side, within 32 and 128
    cell          side of a cell, in pixels; None: an eighth of the working size
    orientations  bins over 180 degrees
    block         cells along the side of a block
    directions    of gradients: opposite ones in one bin, apart, or both histograms
    flip          train on mirrored images as well; None: if tune says that they show the same
    c             of the SVM, for rows of mean squared length 1; None: chosen on tune, 1 without tune
    views         of a test image, whose scores are averaged: the image, or it and four shifted ones, and where mirrored ones are trained on, theirs
    """
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.channel import WholeImage
    from pipelines.handcrafted.classifiers.learners import ExactSVM
    from pipelines.handcrafted.descriptors.hog import Hog

    def describe(working_size: int) -> Hog:
        side = cell or max(1, working_size // CELLS)
        if working_size < side * block:
            raise UserError(
                f"hog-svm: size must be at least cell * block = {side * block} pixels, got {working_size}"
            )
        return Hog(side, orientations, block, directions)

    return Chain(
        WholeImage(describe, size, (32, 128)),
        learner=ExactSVM(standardize=True),
        c=c,
        flip=flip,
        views=views,
    )
