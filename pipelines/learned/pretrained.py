"""Fine-tuning: a network that starts from the layers of an earlier run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from harness.contract import State, TrainedRun, UserError
from pipelines.learned.networks.network import Network


@torch.no_grad()
def load_pretrained_layers(
    network: Network, run: TrainedRun, *, class_names: Sequence[str], pixel_scale: float
) -> list[str]:
    """Copy the layers of a run whose arrays all have the same shapes.

    The last layer is copied only if the classes are the same.

    Parameters
    ----------
    network : Network
    run : TrainedRun
    class_names : sequence of str
        Of the dataset that the network will be trained on.
    pixel_scale : float
        Factor for gray levels in this network. If the run's factor was another, the weights of the
        first layer are scaled so that it gives the same output for the same pixels.

    Returns
    -------
    list of str
        The names of the layers that were not copied.

    Raises
    ------
    UserError
        If no layer fits.
    """
    layer_names = list(network.outputs)
    first, last = layer_names[0], layer_names[-1]
    new, copied = [], []
    for name, layer in network.named_children():
        if not layer.state_dict():
            continue
        arrays = _matching_arrays(run, name, layer)
        if arrays is None or (name == last and tuple(class_names) != run.class_names):
            new.append(name)
            continue
        layer.load_state_dict(arrays)
        copied.append(name)
        if name == first:
            ratio = float(run.state["pixel_scale"]) / pixel_scale
            layer.weight.mul_(ratio)  # type: ignore[operator]
    if not copied:
        raise UserError(
            f"init_from={run.run_id}: no layer of that run has the shape of a layer here; take a "
            "run of this pipeline with the same order, columns, depth and image size"
        )
    return new


def _matching_arrays(run: TrainedRun, name: str, layer: nn.Module) -> State | None:
    """Return the run's arrays for a layer, or None if a name or shape differs."""
    arrays = {}
    for key, array in layer.state_dict().items():
        trained = run.state.get(f"network.{name}.{key}")
        if trained is None or trained.shape != array.shape:
            return None
        arrays[key] = trained
    return arrays
