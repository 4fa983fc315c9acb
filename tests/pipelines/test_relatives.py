"""The networks related to AlexNet have the values of their authors' files."""

from __future__ import annotations

import pytest
import torch

from harness.engine.context import RunContext
from pipelines import alexnet_one_tower, caffenet, cuda_convnet
from pipelines.learned.normalization import LocalResponseNorm
from tests.pipelines.learned.synthetic_splits import noise_split


def full_network(module, **options):
    with torch.device("meta"):
        return module.build(**options).design.network(1000, 256)


def output_shapes(network):
    return {row["name"]: row["output"] for row in network.layers()}


def norms(network):
    return [
        (m.k, m.n, m.alpha, m.beta, m.columns)
        for m in network.children()
        if isinstance(m, LocalResponseNorm)
    ]


def layers_before_conv3(network):
    return [name for name, _ in network.named_children()][
        : list(dict(network.named_children())).index("conv3")
    ]


def test_one_tower_is_that_of_its_layer_files():
    network = full_network(alexnet_one_tower)
    assert sum(p.numel() for p in network.parameters()) == 61_100_840
    assert (network.crop, output_shapes(network)["conv1"], output_shapes(network)["pool5"]) == (
        224,
        (64, 55, 55),
        (256, 6, 6),
    )
    assert layers_before_conv3(network) == [
        "conv1",
        "norm1",
        "pool1",
        "act1",
        "conv2",
        "act2",
        "norm2",
        "pool2",
    ]
    assert norms(network) == [(2.0, 5, pytest.approx(1e-4 / 5), 0.75, 1)] * 2
    assert not norms(full_network(alexnet_one_tower, lrn=False))
    # initW and initB of layers-imagenet-1gpu.cfg
    inits = {name: (init.std, init.bias) for name, init in network.inits.items()}
    assert inits == {
        "conv1": (0.01, 0), "conv2": (0.01, 1), "conv3": (0.03, 0),
        "conv4": (0.03, 1), "conv5": (0.03, 1),
        "fc6": (0.01, 1), "fc7": (0.01, 1), "fc8": (0.01, -7),
    }  # fmt: skip


def test_caffenet_is_that_of_its_prototxt():
    network = full_network(caffenet)
    assert sum(p.numel() for p in network.parameters()) == 60_965_224
    assert (network.crop, output_shapes(network)["conv1"], output_shapes(network)["norm1"]) == (
        227,
        (96, 55, 55),
        (96, 27, 27),
    )
    assert layers_before_conv3(network) == [
        "conv1",
        "act1",
        "pool1",
        "norm1",
        "conv2",
        "act2",
        "pool2",
        "norm2",
    ]
    assert norms(network) == [(1.0, 5, pytest.approx(1e-4 / 5), 0.75, 1)] * 2
    # the weight and bias fillers of train_val.prototxt
    inits = {name: (init.std, init.bias) for name, init in network.inits.items()}
    assert inits == {
        "conv1": (0.01, 0), "conv2": (0.01, 1), "conv3": (0.01, 0),
        "conv4": (0.01, 1), "conv5": (0.01, 1),
        "fc6": (0.005, 1), "fc7": (0.005, 1), "fc8": (0.01, 0),
    }  # fmt: skip
    for init in network.inits.values():  # lr_mult 2, decay_mult 1
        assert (init.bias_lr_factor, init.weight_decay_factor) == (2, 1)


@pytest.mark.parametrize(("image_size", "name"), [((32, 32), "short"), ((256, 256), "2014")])
def test_the_recipe_of_one_tower_depends_on_the_image_size(image_size, name):
    design = alexnet_one_tower.build().design
    assert design.recipe(1000, design.square_side(image_size)).name == name


@pytest.mark.parametrize(
    ("module", "options", "post_2012"),
    [
        (alexnet_one_tower, {}, "one-tower network (2014), one-cycle schedule, He init"),
        (caffenet, {}, "CaffeNet (2014), one-cycle schedule, He init"),
        (cuda_convnet, {"init": "he"}, "He init"),
        (cuda_convnet, {}, None),
    ],
)
def test_notes_list_what_is_more_recent_than_2012(module, options, post_2012):
    context = RunContext()
    module.build(epochs=1, **options).fit(noise_split(), None, context)
    assert [note for note in context.notes if note.startswith("post-2012")] == (
        [f"post-2012: {post_2012}"] if post_2012 else []
    )


@pytest.mark.parametrize(
    ("layers", "views", "crop"), [("80sec", 1, 32), ("18pct", 1, 32), ("11pct", 10, 24)]
)
def test_cuda_convnet_has_the_crops_and_views_of_its_files(layers, views, crop):
    """80sec and 18pct see whole images without augmentation, 11pct crops of 24 and their flips."""
    pipeline = cuda_convnet.build(layers=layers, epochs=1)
    pipeline.fit(noise_split(), None, RunContext())
    assert (pipeline.views, pipeline.network.crop, pipeline.pixel_scale) == (views, crop, 1.0)
    assert [type(step).__name__ for step in pipeline._augmentation_steps()] == (
        ["SubtractMean", "RandomCrop", "RandomFlip", "Scale"]
        if views == 10
        else ["SubtractMean", "CenterCrop", "Scale"]
    )
    other = cuda_convnet.build(layers=layers)
    other.load(pipeline.state())
    batch = next(noise_split(5, seed=1).batches(5))
    assert torch.equal(other.scores(batch), pipeline.scores(batch))
