"""Pre-training and fine-tuning: which layers are taken over, and that those answer as they did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import harness
from harness.contract import Split, TrainedRun, UserError
from harness.engine.context import RunContext
from harness.runs.run_store import RunStore
from pipelines.alexnet import build
from pipelines.learned.pretrained import start_from


def split(n=24, size=32, classes=3, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (n, 3, size, size), dtype=np.uint8)
    return Split.from_arrays(images, np.arange(n) % classes)


@pytest.fixture(scope="module")
def donor():
    pipeline = build(epochs=1, flip=True, views=1)
    pipeline.fit(split(), None, RunContext())
    return pipeline


def learned(pipeline, class_names=("0", "1", "2")):
    return TrainedRun("alexnet-123456", "many photographs", tuple(class_names), pipeline.state())


def fresh(classes=3, **options):
    network = build(**options).design.network(classes, 32)
    network.initialize("he", torch.Generator().manual_seed(7))
    return network


def test_all_layers_are_taken_where_the_classes_are_the_same(donor):
    network = fresh()
    assert (
        start_from(
            network, learned(donor), class_names=["0", "1", "2"], pixel_scale=donor.pixel_scale
        )
        == []
    )
    for name, array in donor.network.state_dict().items():
        assert torch.equal(network.state_dict()[name], array), name


@pytest.mark.parametrize(
    ("classes", "class_names"), [(5, "vwxyz"), (3, "xyz")], ids=["more", "others"]
)
def test_the_last_layer_is_new_where_the_classes_differ(donor, classes, class_names):
    network = fresh(classes)
    before = network.fc8.weight.clone()
    assert start_from(
        network, learned(donor), class_names=class_names, pixel_scale=donor.pixel_scale
    ) == ["fc8"]
    assert torch.equal(network.fc8.weight, before)
    assert torch.equal(network.fc7.weight, donor.network.fc7.weight)


def test_layers_of_another_shape_or_name_are_new(donor):
    network = fresh(depth=6, columns=1)  # ungrouped, and with conv6
    new = start_from(
        network, learned(donor), class_names=["0", "1", "2"], pixel_scale=donor.pixel_scale
    )
    assert new == ["conv2", "conv4", "conv5", "conv6"]


def test_pixels_on_another_scale_give_the_same_answers(donor):
    """Gray levels times 1/64 there, times 1 here."""
    network = fresh()
    start_from(network, learned(donor), class_names=["0", "1", "2"], pixel_scale=1.0)
    assert donor.pixel_scale != 1.0
    pixels = 60 * torch.randn(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        network(pixels), donor.network(pixels * donor.pixel_scale), rtol=1e-4, atol=1e-5
    )


def test_nothing_fits(donor):
    with pytest.raises(UserError, match="init_from=means-1: no layer"):
        start_from(
            fresh(),
            TrainedRun("means-1", "digits", (), {"means": torch.zeros(3)}),
            class_names="xyz",
            pixel_scale=1.0,
        )


def test_without_runs_on_record():
    with pytest.raises(UserError, match="none called 'alexnet-1'"):
        build(epochs=1, init_from="alexnet-1").fit(split(), None, RunContext())


def test_a_run_starts_from_another_and_its_table_says_so():
    """Three classes of one set of pictures, then two others: the fine-tuned network is the pre-trained one after no step to speak of."""
    options = {"track": False}
    first = harness.run(
        "alexnet,epochs=1,views=1,flip=true", (split(), split(9, seed=1)), **options
    )
    second = harness.run(
        f"alexnet,epochs=1,views=1,flip=true,rate=1e-12,init_from={first.run_id}", (split(classes=2, seed=2), split(8, classes=2, seed=3)), **options
    )  # fmt: skip
    assert second.notes[0] == f"pre-trained on splits in memory ({first.run_id}); new layers: fc8"
    states = [torch_state(run.run_id) for run in (first, second)]
    torch.testing.assert_close(
        states[1]["network.conv3.weight"], states[0]["network.conv3.weight"], rtol=1e-3, atol=1e-6
    )
    assert states[1]["network.fc8.weight"].shape[0] == 2
    with pytest.raises(UserError, match="no run is called 'nothing'"):
        harness.run("alexnet,epochs=1,init_from=nothing", (split(), split(9, seed=1)), **options)


def torch_state(run_id):
    return RunStore(Path("runs")).find(run_id).trained_run().state
