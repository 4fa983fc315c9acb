"""HOG descriptors of the whole image and a one-vs-rest linear SVM.

Source: Dalal & Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005; histograms
of unsigned and of signed directions together as in Felzenszwalb et al., PAMI 2010, section 6.

Settings: an image is resized to a square working size, by default its own longer side within 32
and 128 pixels, and divided into 8 x 8 cells, so the descriptor's length does not depend on the
size: 49 overlapping blocks of 2 x 2 cells with 27 directions per cell, 5,292 values. The directions
were chosen on held-out training images of digits and CIFAR-10, the cells on those of digits alone
(4 x 4 cells were as good). The SVM has the squared hinge loss; its C and, unless `flip` is set,
whether to add flipped training images are chosen on tune.

Cost: one core describes about 20 million pixels per second. Features take 21 MB per 1,000 images,
twice that with flips. The SVM passes over them 20 to 100 times for each value of C, of which 3 to 7
are tried.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline, UserError

FAMILY = "hand-crafted"
DEFAULT_CELLS = 8  # along an image's side


def build(
    *,
    size: Annotated[int, Ge(8)] | None = None,
    cell: Annotated[int, Ge(1)] | None = None,
    orientations: Annotated[int, Ge(1)] = 9,
    block: Annotated[int, Ge(1)] = 2,
    directions: Literal["unsigned", "signed", "both"] = "both",
    flip: bool | None = None,
    solver: Literal["auto", "exact", "streamed"] = "auto",
    c: Annotated[float, Gt(0)] | None = None,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """Return the pipeline.

    Parameters
    ----------
    size
        Side of the working images in pixels; None is the images' longer side within 32 and 128.
    cell
        Side of a cell in pixels; None is an eighth of the working size.
    orientations
        Bins over 180 degrees.
    block
        Cells along the side of a block.
    directions
        "unsigned" puts opposite gradients in one bin, "signed" in two; "both" joins the two
        histograms.
    flip
        Train on flipped images as well; None decides on tune whether flips keep the class.
    solver
        "exact" holds all features in memory; "streamed" reads them from disk and solves the SVM to
        a duality gap of 1 % instead of 0.1 %; "auto" streams what does not fit in memory.
    c
        C of the SVM, for rows of mean squared length 1; None chooses it on tune, or 1 without tune.
    views
        Views of a test image, whose scores are averaged: 1 is the image; 10 adds four shifted
        copies, and the flips of all five if flips are trained on.
    """
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.channel import WholeImage
    from pipelines.handcrafted.classifiers.learners import SVM
    from pipelines.handcrafted.descriptors.hog import Hog

    def make_descriptor(working_size: int) -> Hog:
        cell_side = cell or max(1, working_size // DEFAULT_CELLS)
        smallest = cell_side * block
        if working_size < smallest:
            raise UserError(
                f"hog-svm: size must be at least cell * block = {smallest} pixels, "
                f"got {working_size}"
            )
        return Hog(cell_side, orientations, block, directions)

    return Chain(
        WholeImage(make_descriptor, size, size_range=(32, 128)),
        learner=SVM(solver=solver, standardize=True),
        c=c,
        flip=flip,
        views=views,
    )
