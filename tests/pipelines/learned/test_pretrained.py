"""Fine-tuning: which layers are copied, and that they give the same output as before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import harness
from harness.contract import TrainedRun, UserError
from harness.engine.context import RunContext
from harness.runs.run_store import RunStore
from pipelines.alexnet import build
from pipelines.learned.pretrained import load_pretrained_layers
from tests.pipelines.learned.synthetic_splits import noise_split


@pytest.fixture(scope="module")
def donor():
    pipeline = build(epochs=1, flip=True, views=1)
    pipeline.fit(noise_split(), None, RunContext())
    return pipeline


def trained_run(pipeline, class_names=("0", "1", "2")):
    return TrainedRun("alexnet-123456", "many photographs", tuple(class_names), pipeline.state())


def new_network(classes=3, **options):
    network = build(**options).design.network(classes, 32)
    network.initialize("he", torch.Generator().manual_seed(7))
    return network


def test_all_layers_are_copied_if_the_classes_are_the_same(donor):
    network = new_network()
    assert (
        load_pretrained_layers(
            network, trained_run(donor), class_names=["0", "1", "2"], pixel_scale=donor.pixel_scale
        )
        == []
    )
    for name, array in donor.network.state_dict().items():
        assert torch.equal(network.state_dict()[name], array), name


@pytest.mark.parametrize(
    ("classes", "class_names"), [(5, "vwxyz"), (3, "xyz")], ids=["more", "others"]
)
def test_the_last_layer_is_new_if_the_classes_differ(donor, classes, class_names):
    network = new_network(classes)
    before = network.fc8.weight.clone()
    assert load_pretrained_layers(
        network, trained_run(donor), class_names=class_names, pixel_scale=donor.pixel_scale
    ) == ["fc8"]
    assert torch.equal(network.fc8.weight, before)
    assert torch.equal(network.fc7.weight, donor.network.fc7.weight)


def test_layers_with_another_shape_or_name_are_new(donor):
    network = new_network(depth=6, columns=1)  # ungrouped, and with conv6
    new = load_pretrained_layers(
        network, trained_run(donor), class_names=["0", "1", "2"], pixel_scale=donor.pixel_scale
    )
    assert new == ["conv2", "conv4", "conv5", "conv6"]


def test_another_pixel_scale_gives_the_same_output(donor):
    """The run multiplies gray levels by 1/64, the new network by 1."""
    network = new_network()
    load_pretrained_layers(
        network, trained_run(donor), class_names=["0", "1", "2"], pixel_scale=1.0
    )
    assert donor.pixel_scale != 1.0
    pixels = 60 * torch.randn(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        network(pixels), donor.network(pixels * donor.pixel_scale), rtol=1e-4, atol=1e-5
    )


def test_a_run_without_a_fitting_layer_is_refused(donor):
    with pytest.raises(UserError, match="init_from=means-1: no layer"):
        load_pretrained_layers(
            new_network(),
            TrainedRun("means-1", "digits", (), {"means": torch.zeros(3)}),
            class_names="xyz",
            pixel_scale=1.0,
        )


def test_an_unknown_run_is_refused():
    with pytest.raises(UserError, match="none called 'alexnet-1'"):
        build(epochs=1, init_from="alexnet-1").fit(noise_split(), None, RunContext())


def test_a_run_starts_from_another_and_notes_it():
    """With a tiny learning rate the fine-tuned layers stay those of the first run."""
    options = {"track": False}
    first = harness.run(
        "alexnet,epochs=1,views=1,flip=true", (noise_split(), noise_split(9, seed=1)), **options
    )
    second = harness.run(
        f"alexnet,epochs=1,views=1,flip=true,lr=1e-12,init_from={first.run_id}",
        (noise_split(classes=2, seed=2), noise_split(8, classes=2, seed=3)),
        **options,
    )
    assert second.notes[0] == f"pre-trained on splits in memory ({first.run_id}); new layers: fc8"
    states = [state_of(run.run_id) for run in (first, second)]
    torch.testing.assert_close(
        states[1]["network.conv3.weight"], states[0]["network.conv3.weight"], rtol=1e-3, atol=1e-6
    )
    assert states[1]["network.fc8.weight"].shape[0] == 2
    with pytest.raises(UserError, match="no run is called 'nothing'"):
        harness.run(
            "alexnet,epochs=1,init_from=nothing", (noise_split(), noise_split(9, seed=1)), **options
        )


def state_of(run_id):
    return RunStore(Path("runs")).find(run_id).trained_run().state
