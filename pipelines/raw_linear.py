"""Raw pixels and a one-vs-rest linear SVM: the floor under every other pipeline.

Method: each pixel's three values, standardized, before a linear SVM with the squared hinge loss; no other feature. Linear
classifiers of CIFAR-10's pixels are mostly published at 59 to 71 percent error.

Settings: images are resized to a square working size, by default their own longer side within 8 and 32 pixels: at 32 a row
has 3,072 values already. C and, unless `flip` says, mirrored copies are chosen on tune.

Cost: 3 x size x size x 4 bytes of memory an image (12 MB a thousand at 32 pixels); the SVM passes over them 20 to 100 times
for each value of C that is tried, 3 to 7.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"


def build(
    *,
    size: Annotated[int, Ge(1)] | None = None,
    flip: bool | None = None,
    c: Annotated[float, Gt(0)] | None = None,
) -> Pipeline:
    """What the keywords mean; None is the default that the data decide.

    size  side of the working images, in pixels; None: the images' longer side, within 8 and 32
    flip  train on mirrored images as well; None: if tune says that they show the same
    c     of the SVM, for rows of mean squared length 1; None: chosen on tune, 1 without tune
    """
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.channel import WholeImage
    from pipelines.handcrafted.classifiers.learners import ExactSVM
    from pipelines.handcrafted.descriptors.pixels import Pixels

    return Chain(
        WholeImage(lambda working_size: Pixels(), size, (8, 32)),
        learner=ExactSVM(standardize=True),
        c=c,
        flip=flip,
    )
