"""Raw pixels and a one-vs-rest linear SVM: the floor under every other pipeline.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt

from harness.contract import Pipeline

FAMILY = "hand-crafted"


def build(*, size: Annotated[int, Ge(1)] | None = None, flip: bool = True, c: Annotated[float, Gt(0)] | None = None) -> Pipeline:
    from pipelines.handcrafted.chain import Chain
    from pipelines.handcrafted.descriptors.pixels import Pixels

    return Chain(lambda working_size: Pixels(), size=size, sizes=(8, 32), c=c, default_c=1.0, flip=flip)
