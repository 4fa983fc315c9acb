from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.contract import Pipeline, Split
from harness.engine.context import RunContext
from pipelines import cuda_convnet
from pipelines.alexnet import build
from pipelines.learned.augmentation import ColorNoise
from pipelines.learned.batch_noise import BatchNoise
from tests.pipelines.learned.synthetic_splits import noise_split


@pytest.fixture(scope="module")
def fitted():
    pipeline = build(epochs=1, flip=True)
    pipeline.fit(noise_split(), noise_split(seed=1), RunContext())
    return pipeline


def batch(n=5, seed=2):
    return next(noise_split(n, seed=seed).batches(n))


def test_it_fulfills_the_contract(fitted):
    assert isinstance(fitted, Pipeline)


def test_filters_are_listed_by_column(fitted):
    """The first group of conv2 sees the first half of conv1's maps."""
    weights = fitted.network.conv1.weight.detach().numpy()
    filters = fitted.filters()
    assert list(filters) == ["conv1, column 1", "conv1, column 2"]
    np.testing.assert_array_equal(np.concatenate(list(filters.values())), weights)
    assert fitted.network.conv2.groups == 2
    with torch.no_grad():  # column 1 of conv2 does not depend on column 2 of conv1
        maps = torch.randn(1, len(weights), 9, 9)
        halved = maps.clone()
        halved[:, len(weights) // 2 :] = 0
        first = fitted.network.conv2.weight.shape[0] // 2
        torch.testing.assert_close(
            fitted.network.conv2(halved)[:, :first], fitted.network.conv2(maps)[:, :first]
        )


def test_filters_of_one_column_are_not_divided():
    assert list(build(columns=1).design.network(3, 32).filters()) == ["conv1"]


def crops_of(x):
    for top, left in ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)):
        crop = x[:, :, top : top + 28, left : left + 28]
        yield from (crop, crop[..., ::-1])


def log_mean_softmax(network, crops):
    """Compute section 4.1 in numpy from the network's logits."""
    softmax = []
    for crop in crops:
        with torch.no_grad():
            logits = network(torch.from_numpy(crop.copy()).float()).double().numpy()
        exponentials = np.exp(logits)
        softmax.append(exponentials / exponentials.sum(1, keepdims=True))
    return np.log(np.mean(softmax, axis=0))


def test_scores_are_the_log_of_the_softmax_averaged_over_ten_crops(fitted):
    images = batch()
    x = (images.images.double().numpy() - fitted.pixels.mean.double().numpy()) * fitted.pixel_scale
    scores = fitted.scores(images)
    assert scores.dtype == torch.float32
    assert fitted.views == 10
    expected = log_mean_softmax(fitted.network, crops_of(x))
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def fitted_by_code():
    pipeline = build(recipe="code", epochs=1, flip=True, color=False)
    pipeline.fit(noise_split(), noise_split(seed=1), RunContext())
    return pipeline


def test_the_authors_code_subtracts_the_middle_of_the_mean_image_after_flips(fitted_by_code):
    """`__trim_borders` and `subtract_mean` of convdata_jpeg.py, in tests and in training."""
    images, pipeline = batch(), fitted_by_code
    mean = pipeline.pixels.mean.double().numpy()[:, 2:30, 2:30]
    crops = (crop - mean for crop in crops_of(images.images.double().numpy()))
    expected = log_mean_softmax(pipeline.network, crops)
    np.testing.assert_allclose(pipeline.scores(images).numpy(), expected, rtol=1e-4, atol=1e-5)

    inputs, noise = images.images, BatchNoise(torch.Generator().manual_seed(0), 5)
    for step in pipeline._augmentation_steps():
        inputs = step(inputs, noise)
    restored = inputs + torch.from_numpy(mean).float()
    assert torch.allclose(restored, restored.round(), atol=1e-4)  # gray levels at any position


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"views": 1}, 1),
        ({"flip": False}, 5),
        ({"crops": False}, 2),
        ({"crops": False, "flip": False}, 1),
    ],
)
def test_number_of_views(options, count):
    assert build(**options).views == count


def test_side_trains_the_small_variant_on_large_images_of_several_sizes():
    pixels = np.random.default_rng(3).integers(0, 256, (12, 3, 70, 90), dtype=np.uint8)
    sizes = [(3, 70, 90), (3, 80, 60)]

    class ImagesOfTwoSizes:
        image_size = None

        def __len__(self):
            return len(pixels)

        def read(self, rows):
            return [torch.from_numpy(np.resize(pixels[row], sizes[row % 2])) for row in rows]

    reference = noise_split(12)
    split = Split(
        keys=reference.keys,
        labels=reference.labels,
        class_names=reference.class_names,
        images=ImagesOfTwoSizes(),
        preparation="none",
    )
    context = RunContext()
    pipeline = build(side=48, epochs=1, flip=False)
    pipeline.fit(split, None, context)
    assert (pipeline.pixels.side, pipeline.network.crop) == (48, 42)
    assert any(note.startswith("48 px variant") for note in context.notes)
    assert pipeline.scores(next(split.batches(12))).shape == (12, 3)
    assert pipeline.layers(3, None) == build().layers(3, (48, 48))


def test_augmentation_lists_the_kinds_in_use():
    assert build().augmentation == ("crops", "flips by tune", "color")
    assert build(crops=False, flip=True, color=False).augmentation == ("flips",)
    assert cuda_convnet.build(layers="80sec").augmentation == ()
    assert cuda_convnet.build(layers="11pct").augmentation == ("crops", "flips by tune")


def test_images_are_not_flipped_if_that_changes_the_class_on_tune():
    images = np.random.default_rng(0).integers(0, 60, (80, 3, 32, 32))
    labels = np.arange(80) % 2
    images[labels == 0, :, :, :10] += 190  # a bright left or a bright right edge
    images[labels == 1, :, :, -10:] += 190
    sided = Split.from_arrays(images.astype(np.uint8), labels)
    pipeline, context = build(epochs=1), RunContext()
    pipeline.fit(sided.take(np.arange(60)), sided.take(np.arange(60, 80)), context)
    assert pipeline.views == 5
    assert any(note.startswith("no flips") for note in context.notes)
    other = build()
    other.load(pipeline.state())
    assert other.views == 5


def test_state_and_load_restore_the_scores(fitted):
    other = build()
    other.load(fitted.state())
    assert torch.equal(other.scores(batch()), fitted.scores(batch()))


def test_scores_of_an_image_do_not_depend_on_its_batch(fitted):
    images = batch(6)
    alone = torch.cat([fitted.scores(b) for b in noise_split(6, seed=2).batches(1)])
    torch.testing.assert_close(fitted.scores(images), alone, rtol=1e-4, atol=1e-5)


def test_layers_by_image_size():
    assert sum(row["parameters"] for row in build().layers(1000, (256, 256))) == 60_965_224
    assert sum(row["parameters"] for row in build().layers(10, (32, 32))) < 2e6
    ungrouped = sum(row["multiply_adds"] for row in build(columns=1).layers(10, (32, 32)))
    assert ungrouped > sum(row["multiply_adds"] for row in build().layers(10, (32, 32)))


def test_notes_list_variant_recipe_and_what_is_more_recent_than_2012():
    short, paper = RunContext(), RunContext()
    build(epochs=1, precision="float32").fit(noise_split(), None, short)
    build(recipe="2012", epochs=1, precision="float32").fit(
        noise_split(), noise_split(seed=1), paper
    )
    assert short.notes[1:] == [
        "recipe short with precision=float32: 1 epochs of 1 updates",
        "post-2012: one-cycle schedule, He init",
    ]
    assert short.notes[0].startswith("32 px variant, ")
    assert paper.notes[1:] == ["recipe 2012 with precision=float32: 1 epochs of 1 updates"]


def test_notes_list_overrides():
    context = RunContext()
    overrides = {"optimizer": "adam", "schedule": "cosine", "precision": "float32"}
    build(recipe="2012", epochs=1, batch_norm=True, **overrides).fit(noise_split(), None, context)
    assert context.notes[1:] == [
        "recipe 2012 with optimizer=adam, schedule=cosine, precision=float32: "
        "1 epochs of 1 updates",
        "post-2012: batch normalization, Adam, cosine schedule",
    ]


@pytest.mark.parametrize("size", [(16, 16), (40, 33)])
def test_other_small_sizes_fit(size):
    pipeline = build(epochs=1)
    train = noise_split(size=size)
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
def test_combinations_of_options_fit(options):
    pipeline = build(epochs=1, **options)
    pipeline.fit(noise_split(), None, RunContext())
    assert pipeline.scores(batch()).shape == (5, 3)


@pytest.mark.parametrize(
    ("options", "steps", "shrink"),
    [
        ({}, ["SubtractMean", "RandomCrop", "RandomFlip", "ColorNoise", "Scale"], 1),
        ({"crops": False}, ["SubtractMean", "CenterCrop", "RandomFlip", "ColorNoise", "Scale"], 1),
        ({"color": False}, ["SubtractMean", "RandomCrop", "RandomFlip", "Scale"], None),
        (
            {"color_scale": "code"},
            ["SubtractMean", "RandomCrop", "RandomFlip", "ColorNoise", "Scale"],
            1.1,
        ),
    ],
)
def test_an_option_changes_the_augmentation(fitted, options, steps, shrink):
    pipeline = build(**{"epochs": 1, "flip": True, **options})
    pipeline.load(fitted.state())
    augmentation = pipeline._augmentation_steps()
    assert [type(step).__name__ for step in augmentation] == steps
    assert [step.shrink for step in augmentation if isinstance(step, ColorNoise)] == (
        [shrink] if shrink else []
    )


def test_the_embedding_is_the_input_of_the_last_layer(fitted):
    """With one view the last layer turns it into the scores; it does not depend on the batch."""
    images = batch()
    one_view = build(epochs=1, flip=True, views=1)
    one_view.load(fitted.state())
    features = one_view.embed(images)
    assert features.shape[0] == 5
    *_, last = one_view.network.children()
    with torch.inference_mode():
        torch.testing.assert_close(last(features).log_softmax(1), one_view.scores(images))
    torch.testing.assert_close(
        one_view.embed(next(noise_split(5, seed=2).batches(2))), features[:2]
    )
    assert torch.equal(fitted.embed(images), features)  # `views` does not matter


def test_without_a_hidden_layer_the_embedding_is_the_last_maps():
    pipeline = cuda_convnet.build(epochs=1)
    pipeline.fit(noise_split(), noise_split(seed=1), RunContext())
    features = pipeline.embed(batch())
    *_, last = pipeline.network.children()
    assert features.shape == (5, last.in_features)
