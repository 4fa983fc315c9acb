"""The networks that have a file of their own beside AlexNet, against the files of their authors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.contract import Split
from harness.engine.context import RunContext
from pipelines import alexnet_one_tower, caffenet, cuda_convnet
from pipelines.learned.normalization import LocalResponseNorm


def full_network(module, **options):
    with torch.device("meta"):
        return module.build(**options).design.network(1000, 256)


def sizes(network):
    return {row["name"]: row["output"] for row in network.layers()}


def norms(network):
    return [
        (m.k, m.n, m.alpha, m.beta, m.columns)
        for m in network.children()
        if isinstance(m, LocalResponseNorm)
    ]


def order(network):
    return [name for name, _ in network.named_children()][
        : list(dict(network.named_children())).index("conv3")
    ]


def test_one_tower():
    network = full_network(alexnet_one_tower)
    assert sum(p.numel() for p in network.parameters()) == 61_100_840
    assert (network.crop, sizes(network)["conv1"], sizes(network)["pool5"]) == (
        224,
        (64, 55, 55),
        (256, 6, 6),
    )
    assert order(network) == ["conv1", "norm1", "pool1", "act1", "conv2", "act2", "norm2", "pool2"]
    assert norms(network) == [(2.0, 5, pytest.approx(1e-4 / 5), 0.75, 1)] * 2
    assert not norms(full_network(alexnet_one_tower, lrn=False))
    # initW and initB of layers-imagenet-1gpu.cfg
    found = {name: (start.deviation, start.bias) for name, start in network.starts.items()}
    assert found == {
        "conv1": (0.01, 0), "conv2": (0.01, 1), "conv3": (0.03, 0), "conv4": (0.03, 1), "conv5": (0.03, 1),
        "fc6": (0.01, 1), "fc7": (0.01, 1), "fc8": (0.01, -7),
    }  # fmt: skip


def test_caffenet():
    network = full_network(caffenet)
    assert sum(p.numel() for p in network.parameters()) == 60_965_224
    assert (network.crop, sizes(network)["conv1"], sizes(network)["norm1"]) == (
        227,
        (96, 55, 55),
        (96, 27, 27),
    )
    assert order(network) == ["conv1", "act1", "pool1", "norm1", "conv2", "act2", "pool2", "norm2"]
    assert norms(network) == [(1.0, 5, pytest.approx(1e-4 / 5), 0.75, 1)] * 2
    # the weight and bias fillers of train_val.prototxt
    found = {name: (start.deviation, start.bias) for name, start in network.starts.items()}
    assert found == {
        "conv1": (0.01, 0), "conv2": (0.01, 1), "conv3": (0.01, 0), "conv4": (0.01, 1), "conv5": (0.01, 1),
        "fc6": (0.005, 1), "fc7": (0.005, 1), "fc8": (0.01, 0),
    }  # fmt: skip
    assert all(
        (start.bias_rate, start.decay) == (2, 1) for start in network.starts.values()
    )  # lr_mult 2, decay_mult 1


@pytest.mark.parametrize(("image_size", "name"), [((32, 32), "short"), ((256, 256), "2014")])
def test_recipes_by_image_size(image_size, name):
    design = alexnet_one_tower.build().design
    assert design.recipe(1000, design.side(image_size)).name == name


def split(n=24, seed=0):
    return Split.from_arrays(
        np.random.default_rng(seed).integers(0, 256, (n, 3, 32, 32), dtype=np.uint8),
        np.arange(n) % 3,
    )


@pytest.mark.parametrize(
    ("module", "options", "later"),
    [
        (alexnet_one_tower, {}, "one-tower network (2014), one-cycle schedule, He init"),
        (caffenet, {}, "CaffeNet (2014), one-cycle schedule, He init"),
        (cuda_convnet, {"init": "he"}, "He init"),
        (cuda_convnet, {}, None),
    ],
)
def test_notes_say_what_is_younger_than_2012(module, options, later):
    context = RunContext()
    module.build(epochs=1, **options).fit(split(), None, context)
    assert [note for note in context.notes if note.startswith("post-2012")] == (
        [f"post-2012: {later}"] if later else []
    )


@pytest.mark.parametrize(
    ("layers", "views", "crop"), [("80sec", 1, 32), ("18pct", 1, 32), ("11pct", 10, 24)]
)
def test_cuda_convnet_sees_what_its_files_say(layers, views, crop):
    """Gray levels less the mean image, whole images without changes, or crops of 24 and their mirror images."""
    pipeline = cuda_convnet.build(layers=layers, epochs=1)
    pipeline.fit(split(), None, RunContext())
    assert (pipeline.views, pipeline.network.crop, pipeline.pixel_scale) == (views, crop, 1.0)
    assert [type(step).__name__ for step in pipeline._augmentation()] == (
        ["Center", "RandomCrop", "RandomFlip", "Scale"]
        if views == 10
        else ["Center", "CenterCrop", "Scale"]
    )
    other = cuda_convnet.build(layers=layers)
    other.load(pipeline.state())
    batch = next(split(5, seed=1).batches(5))
    assert torch.equal(other.scores(batch), pipeline.scores(batch))
