"""Starting from what another run has learned: pre-training on one dataset and fine-tuning on another."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from harness.contract import TrainedRun, UserError
from pipelines.learned.networks.network import Network


@torch.no_grad()
def start_from(
    network: Network, learned: TrainedRun, *, class_names: Sequence[str], pixel_scale: float
) -> list[str]:
    """Take over the layers whose arrays all have the same shapes, the last only where the classes are the same. Returns the names of those
    that stay as they are.

    pixel_scale  what gray levels are multiplied by here: where it was another there, the first layer's weights make up for it, so
                 that it answers the same pixels alike
    Raises UserError when no layer fits.
    """
    first, last = (list(network.outputs)[end] for end in (0, -1))
    new, taken = [], []
    for name, layer in network.named_children():
        own = layer.state_dict()
        theirs = {
            key: array
            for key in own
            if (array := learned.state.get(f"network.{name}.{key}")) is not None
        }
        if not own:
            continue
        fits = {key: array.shape for key, array in theirs.items()} == {
            key: array.shape for key, array in own.items()
        }
        if not fits or (name == last and tuple(class_names) != learned.class_names):
            new.append(name)
            continue
        layer.load_state_dict(theirs)
        taken.append(name)
        if name == first:
            layer.weight.mul_(float(learned.state["pixel_scale"]) / pixel_scale)  # type: ignore[operator]
    if not taken:
        raise UserError(
            f"init_from={learned.run_id}: no layer of that run has the shape of one here; take a run of this pipeline "
            f"with the same order, columns, depth and image size"
        )
    return new
