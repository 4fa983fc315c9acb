"""Histograms of local binary patterns in the cells of the whole image and a one-vs-rest linear SVM.

Source: Ahonen, Hadid & Pietikainen, Face Description with Local Binary Patterns, PAMI 2006; the patterns are the uniform ones of
Ojala, Pietikainen & Maenpaa, PAMI 2002, of 8 neighbors at a distance of 1.

Settings: an image is resized to a square working size, by default its own longer side within 32 and 128 pixels, and covered by
8 x 8 cells with 59 patterns each: 3,776 values, the square roots of the patterns' shares of a cell's pixels, so that their products
compare histograms by the Bhattacharyya coefficient. The SVM has the squared hinge loss; its C and, unless `flip` says, whether
mirrored copies of the images are added are chosen on tune.

Cost: a processor core describes about 30 million pixels a second. Features take 15 MB a thousand images, twice that with mirrored
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
    directed: bool = True,
    flip: bool | None = None,
    c: Annotated[float, Gt(0)] | None = None,
    views: Literal[1, 10] = 1,
) -> Pipeline:
    """What the keywords mean; None is the default that the data decide.

    size      side of the working images, in pixels; None: the images' longer side, within 32 and 128
    cell      side of a cell, in pixels; None: an eighth of the working size
    directed  59 patterns, else the 10 that are left when turned patterns count as one
    flip      train on mirrored images as well; None: if tune says that they show the same
    c         of the SVM, for rows of mean squared length 1; None: chosen on tune, 1 without tune
    views     of a test image, whose scores are averaged: the image, or it and four shifted ones, and where mirrored ones are trained on, theirs
    """
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.channel import WholeImage
    from pipelines.handcrafted.classifiers.learners import ExactSVM
    from pipelines.handcrafted.descriptors.lbp import LbpCells

    def describe(working_size: int) -> LbpCells:
        side = cell or max(1, working_size // CELLS)
        if working_size < side:
            raise UserError(
                f"lbp-svm: size must be at least cell = {side} pixels, got {working_size}"
            )
        return LbpCells(side, directed)

    return Chain(
        WholeImage(describe, size, (32, 128)),
        learner=ExactSVM(standardize=True),
        c=c,
        flip=flip,
        views=views,
    )
