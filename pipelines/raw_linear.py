"""Raw pixels and a one-vs-rest linear SVM: the floor under every other pipeline.

Method: the three values of each pixel, standardized, are the only features of a linear SVM with the
squared hinge loss. Most published linear classifiers of CIFAR-10's pixels have 59 to 71 % error.

Settings: images are resized to a square working size, by default their own longer side within 8
and 32 pixels: at 32 pixels a row already has 3,072 values. C and, unless `flip` is set, whether to
add flipped training images are chosen on tune.

Cost: 3 * size * size * 4 bytes of memory per image (12 MB per 1,000 at 32 pixels). The SVM passes
over them 20 to 100 times for each value of C, of which 3 to 7 are tried.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"


def build(
    *,
    size: Annotated[int, Ge(1)] | None = None,
    flip: bool | None = None,
    solver: Literal["auto", "exact", "streamed"] = "auto",
    c: Annotated[float, Gt(0)] | None = None,
) -> Pipeline:
    """Return the pipeline.

    Parameters
    ----------
    size
        Side of the working images in pixels; None is the images' longer side within 8 and 32.
    flip
        Train on flipped images as well; None decides on tune whether flips keep the class.
    solver
        "exact" holds all features in memory; "streamed" reads them from disk and solves the SVM to
        a duality gap of 1 % instead of 0.1 %; "auto" streams what does not fit in memory.
    c
        C of the SVM, for rows of mean squared length 1; None chooses it on tune, or 1 without tune.
    """
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.channel import WholeImage
    from pipelines.handcrafted.classifiers.learners import SVM
    from pipelines.handcrafted.descriptors.pixels import Pixels

    return Chain(
        WholeImage(lambda working_size: Pixels(), size, size_range=(8, 32)),
        learner=SVM(solver=solver, standardize=True),
        c=c,
        flip=flip,
    )
