"""Histograms of local binary patterns in cells of the whole image and a one-vs-rest linear SVM.

Source: Ahonen, Hadid & Pietikainen, Face Description with Local Binary Patterns, PAMI 2006; the
patterns are the uniform ones of Ojala, Pietikainen & Maenpaa, PAMI 2002, of 8 neighbors at distance
1.

Settings: an image is resized to a square working size, by default its own longer side within 32
and 128 pixels, and divided into 8 x 8 cells with 59 patterns each: 3,776 values. These are the
square roots of the patterns' shares of a cell's pixels, so that their products compare histograms
by the Bhattacharyya coefficient. The SVM has the squared hinge loss; its C and, unless `flip` is
set, whether to add flipped training images are chosen on tune.

Cost: one core describes about 30 million pixels per second. Features take 15 MB per 1,000 images,
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
    rotation_invariant: bool = False,
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
    rotation_invariant
        Count rotated patterns as one: 10 patterns instead of 59.
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
    from pipelines.handcrafted.descriptors.lbp import LbpCells

    def make_descriptor(working_size: int) -> LbpCells:
        cell_side = cell or max(1, working_size // DEFAULT_CELLS)
        if working_size < cell_side:
            raise UserError(
                f"lbp-svm: size must be at least cell = {cell_side} pixels, got {working_size}"
            )
        return LbpCells(cell_side, rotation_invariant)

    return Chain(
        WholeImage(make_descriptor, size, size_range=(32, 128)),
        learner=SVM(solver=solver, standardize=True),
        c=c,
        flip=flip,
        views=views,
    )
