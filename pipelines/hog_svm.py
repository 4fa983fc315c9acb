"""HOG descriptors of the whole image and a one-vs-rest linear SVM.

Source: Dalal & Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005.
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
    flip: bool = True,
    c: Annotated[float, Gt(0)] | None = None,
) -> Pipeline:
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.descriptors.hog import Hog

    def describe(working_size: int) -> Hog:
        side = cell or max(1, working_size // CELLS)
        if working_size < side * block:
            raise UserError(f"hog-svm: size must be at least cell * block = {side * block} pixels, got {working_size}")
        return Hog(side, orientations, block, directions)

    return Chain(describe, size=size, sizes=(32, 128), c=c, default_c=1.0, flip=flip)
