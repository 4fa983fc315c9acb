from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.contract import Pipeline, Split
from harness.engine.context import RunContext
from pipelines import cuda_convnet
from pipelines.alexnet import build
from pipelines.learned.layers import Dropout
from pipelines.learned.normalization import BatchNorm, LocalResponseNorm
from pipelines.learned.recipe import RECIPE_2012


def split(n=24, size=(32, 32), classes=3, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (n, 3, *size), dtype=np.uint8)
    return Split.from_arrays(images, np.arange(n) % classes)


@pytest.fixture(scope="module")
def fitted():
    pipeline = build(epochs=1, flip=True)
    pipeline.fit(split(), split(seed=1), RunContext())
    return pipeline


def batch(n=5, seed=2):
    return next(split(n, seed=seed).batches(n))


def test_it_is_a_pipeline(fitted):
    assert isinstance(fitted, Pipeline)


def test_the_filters_of_two_columns_stand_apart(fitted):
    """The first half of conv1's maps is what the first group of conv2 sees."""
    weights = fitted.network.conv1.weight.detach().numpy()
    filters = fitted.filters()
    assert list(filters) == ["conv1, column 1", "conv1, column 2"]
    np.testing.assert_array_equal(np.concatenate(list(filters.values())), weights)
    assert fitted.network.conv2.groups == 2
    with torch.no_grad():  # without column 2 of conv1, column 1 of conv2 stays as it is
        maps = torch.randn(1, len(weights), 9, 9)
        halved = maps.clone()
        halved[:, len(weights) // 2 :] = 0
        first = fitted.network.conv2.weight.shape[0] // 2
        torch.testing.assert_close(
            fitted.network.conv2(halved)[:, :first], fitted.network.conv2(maps)[:, :first]
        )


def test_the_filters_of_one_column_are_one(fitted):
    assert list(build(columns=1).design.network(3, 32).filters()) == ["conv1"]


def test_scores_are_the_log_of_the_softmax_averaged_over_ten_crops(fitted):
    """Section 4.1, in numpy from the network's logits."""
    images = batch()
    x = (images.images.double().numpy() - fitted.pixels.mean.double().numpy()) * fitted.pixel_scale
    total = 0.0
    for top, left in ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)):
        for crop in (
            x[:, :, top : top + 28, left : left + 28],
            x[:, :, top : top + 28, left : left + 28][..., ::-1],
        ):
            with torch.no_grad():
                logits = fitted.network(torch.from_numpy(crop.copy()).float()).double().numpy()
            exponentials = np.exp(logits)
            total = total + exponentials / exponentials.sum(1, keepdims=True)
    scores = fitted.scores(images)
    assert scores.dtype == torch.float32
    assert fitted.views == 10
    np.testing.assert_allclose(scores.numpy(), np.log(total / 10), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"views": 1}, 1),
        ({"flip": False}, 5),
        ({"crops": False}, 2),
        ({"crops": False, "flip": False}, 1),
    ],
)
def test_views_follow_the_switches(options, count):
    assert build(**options).views == count


def test_large_images_of_several_sizes_train_the_small_variant_where_side_says_so():
    pixels = np.random.default_rng(3).integers(0, 256, (12, 3, 70, 90), dtype=np.uint8)
    sizes = [(3, 70, 90), (3, 80, 60)]

    class Several:
        image_size = None

        def __len__(self):
            return len(pixels)

        def read(self, rows):
            return [torch.from_numpy(np.resize(pixels[row], sizes[row % 2])) for row in rows]

    whole = split(12)
    several = Split(
        keys=whole.keys,
        labels=whole.labels,
        class_names=whole.class_names,
        images=Several(),
        preparation="none",
    )
    context = RunContext()
    pipeline = build(side=48, epochs=1, flip=False)
    pipeline.fit(several, None, context)
    assert (pipeline.pixels.side, pipeline.network.crop) == (48, 42)
    assert any(note.startswith("48 px variant") for note in context.notes)
    assert pipeline.scores(next(several.batches(12))).shape == (12, 3)
    assert pipeline.layers(3, None) == build().layers(3, (48, 48))


def test_augmentation_follows_the_switches():
    assert build().augmentation == ("crops", "mirroring by tune", "color")
    assert build(crops=False, flip=True, color=False).augmentation == ("mirroring",)
    assert cuda_convnet.build(layers="80sec").augmentation == ()
    assert cuda_convnet.build(layers="11pct").augmentation == ("crops", "mirroring by tune")


def test_mirroring_is_off_where_a_mirrored_image_is_of_another_class():
    images = np.random.default_rng(0).integers(0, 60, (80, 3, 32, 32))
    labels = np.arange(80) % 2
    images[labels == 0, :, :, :10] += 190  # a bright left or a bright right edge
    images[labels == 1, :, :, -10:] += 190
    sided = Split.from_arrays(images.astype(np.uint8), labels)
    pipeline, context = build(epochs=1), RunContext()
    pipeline.fit(sided.take(np.arange(60)), sided.take(np.arange(60, 80)), context)
    assert pipeline.views == 5
    assert any(note.startswith("no mirroring") for note in context.notes)
    other = build()
    other.load(pipeline.state())
    assert other.views == 5


def test_state_restores_the_scores(fitted):
    other = build()
    other.load(fitted.state())
    assert torch.equal(other.scores(batch()), fitted.scores(batch()))


def test_scores_of_an_image_do_not_depend_on_its_batch(fitted):
    images = batch(6)
    alone = torch.cat([fitted.scores(b) for b in split(6, seed=2).batches(1)])
    torch.testing.assert_close(fitted.scores(images), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("image_size", "side", "crop"),
    [
        ((32, 32), 32, 28),
        ((8, 8), 32, 28),
        ((64, 96), 64, 56),
        ((127, 300), 127, 111),
        ((128, 128), 256, 224),
        ((500, 375), 256, 224),
        (None, 256, 224),
    ],
)
def test_geometry_by_image_size(image_size, side, crop):
    design = build().design
    assert design.side(image_size) == side
    with torch.device("meta"):
        assert design.network(10, side).crop == crop


def test_layers_by_image_size():
    assert sum(row["parameters"] for row in build().layers(1000, (256, 256))) == 60_965_224
    assert sum(row["parameters"] for row in build().layers(10, (32, 32))) < 2e6
    ungrouped = sum(row["multiply_adds"] for row in build(columns=1).layers(10, (32, 32)))
    assert ungrouped > sum(row["multiply_adds"] for row in build().layers(10, (32, 32)))


@pytest.mark.parametrize(
    ("image_size", "expected"), [((32, 32), "short"), ((127, 127), "short"), ((128, 128), "2012")]
)
def test_auto_recipe_by_image_size(image_size, expected):
    design = build().design
    assert design.recipe(1000, design.side(image_size)).name == expected
    assert build(recipe="2012").design.recipe(1000, 32) == RECIPE_2012


def test_notes_name_variant_recipe_and_what_is_younger_than_2012():
    short, paper = RunContext(), RunContext()
    build(epochs=1, precision="float32").fit(split(), None, short)
    build(recipe="2012", epochs=1, precision="float32").fit(split(), split(seed=1), paper)
    assert short.notes[1:] == [
        "recipe short with precision=float32: 1 epochs of 1 updates",
        "post-2012: one-cycle schedule, He init",
    ]
    assert short.notes[0].startswith("32 px variant, ")
    assert paper.notes[1:] == ["recipe 2012 with precision=float32: 1 epochs of 1 updates"]


def test_notes_name_what_was_changed():
    context = RunContext()
    changes = {"optimizer": "adam", "schedule": "cosine", "precision": "float32"}
    build(recipe="2012", epochs=1, batch_norm=True, **changes).fit(split(), None, context)
    assert context.notes[1:] == [
        "recipe 2012 with optimizer=adam, schedule=cosine, precision=float32: 1 epochs of 1 updates",
        "post-2012: batch normalization, Adam, cosine schedule",
    ]


@pytest.mark.parametrize("size", [(16, 16), (40, 33)])
def test_images_of_other_small_sizes(size):
    pipeline = build(epochs=1)
    train = split(size=size)
    pipeline.fit(train, None, RunContext())
    scores = pipeline.scores(next(train.batches(24)))
    assert scores.shape == (24, 3)
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize(
    "options",
    [
        {
            "crops": False,
            "flip": False,
            "color": False,
            "dropout": 0.0,
            "lrn": False,
            "pool": "plain",
            "activation": "tanh",
            "columns": 1,
        },
        {"columns": "half", "depth": 3, "activation": "sigmoid", "order": "code"},
        {
            "batch_norm": True,
            "depth": 6,
            "lrn_alpha": "code",
            "color_scale": "code",
            "optimizer": "adamw",
        },
    ],
    ids=["off", "small", "more"],
)
def test_switches(options):
    pipeline = build(epochs=1, **options)
    pipeline.fit(split(), None, RunContext())
    assert pipeline.scores(batch()).shape == (5, 3)


def network(**options):
    with torch.device("meta"):
        return build(**options).design.network(1000, 256)


def of_type(made, kind):
    return [layer for layer in made.modules() if isinstance(layer, kind)]


@pytest.mark.parametrize(
    ("switch", "look", "off", "on"),
    [
        ({"lrn": False}, lambda made: len(of_type(made, LocalResponseNorm)), 2, 0),
        ({"lrn_alpha": "code"}, lambda made: round(of_type(made, LocalResponseNorm)[0].alpha * 1e5), 10, 2),
        ({"pool": "plain"}, lambda made: [pool.kernel_size for pool in of_type(made, torch.nn.MaxPool2d)], [3, 3, 3], [2, 2, 2]),
        ({"activation": "tanh"}, lambda made: len(of_type(made, torch.nn.Tanh)), 0, 7),
        ({"activation": "sigmoid"}, lambda made: len(of_type(made, torch.nn.Sigmoid)), 0, 7),
        ({"dropout": 0.3}, lambda made: [layer.p for layer in of_type(made, Dropout)], [0.5, 0.5], [0.3, 0.3]),
        ({"batch_norm": True}, lambda made: len(of_type(made, BatchNorm)), 0, 7),
        ({"columns": 1}, lambda made: [conv.groups for conv in of_type(made, torch.nn.Conv2d)], [1, 2, 1, 2, 2], [1, 1, 1, 1, 1]),
        ({"columns": "half"}, lambda made: [conv.out_channels for conv in of_type(made, torch.nn.Conv2d)], [96, 256, 384, 384, 256], [48, 128, 192, 192, 256]),
        ({"depth": 3}, lambda made: len(of_type(made, torch.nn.Conv2d)), 5, 3),
        ({"order": "code"}, lambda made: [name for name, _ in made.named_children()][:4], ["conv1", "act1", "norm1", "pool1"], ["conv1", "norm1", "pool1", "act1"]),
    ],
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_switch_changes_the_network_as_it_says(switch, look, off, on):
    assert (look(network()), look(network(**switch))) == (off, on)


@pytest.mark.parametrize(
    ("switch", "value"),
    [("optimizer", "adamw"), ("optimizer", "sgd"), ("schedule", "cosine"), ("schedule", "step"), ("rate", 0.5), ("weight_decay", 0.25), ("epochs", 7)],
)  # fmt: skip
def test_a_switch_changes_the_recipe_as_it_says(switch, value):
    plain, changed = (
        build(**options).design.recipe(1000, 256) for options in ({}, {switch: value})
    )
    assert getattr(changed, switch) == value != getattr(plain, switch)


@pytest.mark.parametrize(
    ("switch", "steps"),
    [
        ({}, ["Center", "RandomCrop", "RandomFlip", "ColorNoise", "Scale"]),
        ({"crops": False}, ["Center", "CenterCrop", "RandomFlip", "ColorNoise", "Scale"]),
        ({"color": False}, ["Center", "RandomCrop", "RandomFlip", "Scale"]),
        ({"color_scale": "code"}, ["Center", "RandomCrop", "RandomFlip", "ColorNoise / 1.1", "Scale"]),
    ],
)  # fmt: skip
def test_a_switch_changes_the_augmentation_as_it_says(fitted, switch, steps):
    pipeline = build(**{"epochs": 1, "flip": True, **switch})
    pipeline.load(fitted.state())
    shrinks = [
        f" / {step.shrink}" if getattr(step, "shrink", 1.0) != 1 else ""
        for step in pipeline._augmentation()
    ]
    assert [
        type(step).__name__ + shrink
        for step, shrink in zip(pipeline._augmentation(), shrinks, strict=True)
    ] == steps


def test_the_embedding_is_what_the_logits_are_made_of(fitted):
    """At one view, the last layer of it gives the scores; nothing of it depends on the rest of the batch."""
    images = batch()
    one_view = build(epochs=1, flip=True, views=1)
    one_view.load(fitted.state())
    features = one_view.embed(images)
    assert features.shape[0] == 5
    *_, last = one_view.network.children()
    with torch.inference_mode():
        torch.testing.assert_close(last(features).log_softmax(1), one_view.scores(images))
    torch.testing.assert_close(one_view.embed(next(split(5, seed=2).batches(2))), features[:2])
    assert torch.equal(fitted.embed(images), features)  # whatever scores averages


def test_a_network_without_a_layer_of_units_embeds_its_last_maps():
    pipeline = cuda_convnet.build(epochs=1)
    pipeline.fit(split(), split(seed=1), RunContext())
    features = pipeline.embed(batch())
    *_, last = pipeline.network.children()
    assert features.shape == (5, last.in_features)
