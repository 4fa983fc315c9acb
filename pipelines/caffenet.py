"""CaffeNet, Caffe's AlexNet: pooling before normalization, crops of 227 pixels, no color noise.

`models/bvlc_reference_caffenet` of Caffe (Jia et al., "Caffe: Convolutional architecture for fast
feature embedding", 2014). Normalization reaches across the two groups. Images below 128 pixels get
a narrower network, as in `alexnet`. Two things follow the paper of 2012 instead of Caffe: dropout
does not scale up what it keeps, so fc7 and fc8 see half of the signal in training; and images that
are not square are cropped to the middle square, where Caffe's files were made by warping.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Lt

if TYPE_CHECKING:
    from harness.contract import Pipeline

FAMILY = "learned"


def build(
    *,
    recipe: Literal["auto", "caffe", "short"] = "auto",
    side: Annotated[int, Ge(32), Lt(128)] | None = None,
    lrn: bool = True,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
    crops: bool = True,
    flip: bool | None = None,
    views: Literal[1, 10] = 1,
    epochs: Annotated[int, Ge(1)] | None = None,
) -> Pipeline:
    """Build the network; parameters are those of `alexnet`. Caffe publishes center-crop errors.

    Parameters
    ----------
    recipe
        caffe: 90 epochs in batches of 256, the learning rate divided by 10 every 100,000 of 450,000
        updates; short: fewer epochs; auto: caffe from 128 pixels up, short below.
    """
    from functools import partial

    from pipelines.learned.designs import AlexNetDesign
    from pipelines.learned.network_pipeline import NetworkPipeline, ViewConfig
    from pipelines.learned.networks.alexnet import CAFFE_INITS, AlexNetConfig
    from pipelines.learned.normalization import LocalResponseNorm
    from pipelines.learned.recipe import RECIPE_CAFFE, RecipeOverrides

    norm = partial(LocalResponseNorm, k=1.0, alpha=1e-4 / 5) if lrn else None
    design = AlexNetDesign(
        AlexNetConfig(order="caffe", norm=norm, dropout=dropout, inits=CAFFE_INITS),
        recipe_name=recipe,
        overrides=RecipeOverrides(epochs=epochs),
        post_2012=("CaffeNet (2014)",),
        published=RECIPE_CAFFE,
        full_crop=227,
        small_side=side,
    )
    view_config = ViewConfig(crops=crops, flip=flip, color=False, views=views)
    return NetworkPipeline(design, view_config)
