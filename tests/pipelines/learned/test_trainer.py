"""The training loop: resuming, several processes, early stopping and failing runs."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from harness.contract import UserError
from harness.engine.context import FileCheckpoint, RunContext, RunServices
from harness.engine.distributed import Processes
from pipelines.alexnet import build
from pipelines.learned import designs
from pipelines.learned.batch_noise import BatchNoise
from pipelines.learned.recipe import RECIPE_2012
from pipelines.learned.trainer import Trainer
from tests.pipelines.learned.synthetic_splits import striped_split


class Killed(Exception):
    pass


class DyingCheckpoint(FileCheckpoint):
    """Due after every update; raises instead of saving once `left` saves are done."""

    left = 0

    def due(self):
        return True

    def save(self, arrays):
        if self.left == 0:
            raise Killed
        self.left -= 1
        super().save(arrays)


def fit(context, **options):
    pipeline = build(**{"epochs": 3, **options})
    # Three updates per epoch, as in the short recipe.
    pipeline.design = replace(pipeline.design, published=replace(RECIPE_2012, batch_size=16))
    train, tune = (
        split.sharded(context.rank, context.world_size)
        for split in (striped_split(52), striped_split(12, seed=1))
    )
    pipeline.fit(train, tune, context)
    return pipeline


def assert_equal_states(one, other):
    a, b = one.state(), other.state()
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def learning_curves(context):
    """Return all curves but the times."""
    return {name: points for name, points in context.curves.items() if not name.startswith("time/")}


def fit_uninterrupted(**options):
    context = RunContext(seed=1)
    return fit(context, **options), context


def assert_resumes_bit_equal(uninterrupted, folder, saves, **options):
    """Compare a run that is killed after some saves and resumed with an uninterrupted one."""
    expected, expected_context = uninterrupted
    killed = RunContext(seed=1)
    killed.checkpoint = DyingCheckpoint(folder, killed)
    killed.checkpoint.left = saves
    with pytest.raises(Killed):
        fit(killed, **options)
    resumed = RunContext(seed=1, services=RunServices(checkpoint_folder=folder))
    assert_equal_states(fit(resumed, **options), expected)
    assert learning_curves(resumed) == learning_curves(expected_context)
    assert resumed.notes == expected_context.notes


SETUPS = {
    "short": {},
    "2012": {"recipe": "2012"},
    "adam": {"optimizer": "adam", "schedule": "cosine", "batch_norm": True, "color_scale": "code"},
    "sgd": {"optimizer": "sgd", "schedule": "step", "order": "code", "lrn_alpha": "code"},
    "updates": {"epochs": None, "updates": 8},
}


@pytest.fixture(scope="module", params=SETUPS)
def setup(request):
    """Options of a fit, and its pipeline and context without interruption."""
    options = SETUPS[request.param]
    return options, fit_uninterrupted(**options)


@pytest.mark.parametrize("saves", [1, pytest.param(4, marks=pytest.mark.slow), 5])
def test_a_killed_run_resumes_bit_equal(tmp_path, setup, saves):
    options, uninterrupted = setup
    assert_resumes_bit_equal(uninterrupted, tmp_path, saves, **options)


@pytest.mark.parametrize(("updates", "saves"), [(3, 2), (20, 13)])
def test_early_stopping_decides_alike_in_a_run_killed_within_an_epoch(
    tmp_path, monkeypatch, updates, saves
):
    """Kill a run in the first epoch, which has no best weights yet, and in the fifth, the best.

    An epoch has three saves.
    """
    monkeypatch.setattr(
        "pipelines.learned.trainer.Trainer._error",
        lambda self, split: [10, 20, 20, 20, 5, 6, 7][self.epoch],
    )
    options = {"epochs": None, "updates": updates}
    assert_resumes_bit_equal(fit_uninterrupted(**options), tmp_path, saves, **options)


def test_a_seed_determines_the_weights():
    one, again, other = (fit(RunContext(seed=seed), epochs=1) for seed in (2, 2, 3))
    assert_equal_states(one, again)
    assert not torch.equal(one.network.fc7.weight, other.network.fc7.weight)


def test_gradients_of_two_shares_add_up_to_that_of_the_batch():
    network = build().design.network(3, 32).double()
    network.initialize("he", torch.Generator().manual_seed(0))
    images = torch.randn(
        16, 3, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    labels = torch.arange(16) % 3

    def gradient(rank, world):
        noise = BatchNoise(torch.Generator().manual_seed(2), 16, rank=rank, world_size=world)
        loss = F.cross_entropy(
            network(images[rank::world], noise), labels[rank::world], reduction="sum"
        )
        return torch.cat(
            [g.flatten() for g in torch.autograd.grad(loss, list(network.parameters()))]
        )

    torch.testing.assert_close(
        gradient(0, 2) + gradient(1, 2), gradient(0, 1), rtol=1e-9, atol=1e-12
    )


def test_training_learns_and_logs_a_point_per_epoch():
    context = RunContext()
    train = striped_split(120)
    pipeline = build(epochs=4)
    pipeline.fit(train, striped_split(60, seed=1), context)
    assert {name: [step for step, _ in points] for name, points in context.curves.items()} == {
        key: [0, 1, 2, 3]
        for key in (
            "train/loss",
            "train/top1_error",
            "lr",
            "val/top1_error",
            "time/data",
            "time/exchange",
            "time/compute",
        )
    }
    assert {value for _, value in context.curves["time/exchange"]} == {0}  # with one process
    loss = [value for _, value in context.curves["train/loss"]]
    assert loss[-1] < 0.7 * loss[0]
    assert context.curves["val/top1_error"][-1][1] < 20


def test_recipe_2012_needs_a_tune_split():
    with pytest.raises(UserError, match="tune"):
        build(recipe="2012").fit(striped_split(12), None, RunContext())


def test_the_short_recipe_needs_no_tune_split():
    context = RunContext()
    build(epochs=1).fit(striped_split(12), None, context)
    assert "val/top1_error" not in context.curves


def test_updates_limit_training_and_keep_the_best_weights_on_tune():
    """With three updates per epoch the eighth is within the third epoch."""
    context, other = RunContext(seed=1), RunContext(seed=1)
    pipeline = fit(context, epochs=None, updates=8)
    assert context.notes[1] == "recipe short: 8 updates"
    assert [step for step, _ in context.curves["lr"]] == [0, 1, 2]
    errors = [error for _, error in context.curves["val/top1_error"]]
    kept = int(context.notes[-1].split()[3].rstrip(","))
    assert context.notes[-1] == f"weights of update {kept}, the best on tune"
    assert errors[-(-kept // 3) - 1] == min(errors)
    tune = striped_split(12, seed=1)
    wrong = (
        pipeline._center_logits(next(tune.batches(12)).images).argmax(1).numpy() != tune.labels
    ).mean()
    assert 100 * wrong == pytest.approx(min(errors))
    assert_equal_states(fit(other, epochs=None, updates=8), pipeline)


def test_updates_without_tune_keep_the_last_weights():
    by_updates, by_epochs = build(updates=4), build(epochs=2)
    for pipeline in (by_updates, by_epochs):
        pipeline.fit(striped_split(32), None, RunContext())  # two updates an epoch
    assert_equal_states(by_updates, by_epochs)


def test_training_stops_when_the_error_does_not_fall(monkeypatch):
    monkeypatch.setattr(Trainer, "_error", lambda self, split: 10.0 + self.epoch)  # rising
    context = RunContext()
    fit(context, epochs=None, updates=30)
    assert context.notes[-1] == "weights of update 3, the best on tune"
    # 18 updates: half of 30 after the best, which is the third.
    assert [step for step, _ in context.curves["lr"]] == list(range(6))


def test_epochs_and_updates_exclude_each_other():
    with pytest.raises(UserError, match=r"epochs=3 and updates=8 .* give one of the two"):
        build(epochs=3, updates=8)


def test_epochs_counts_the_share_of_an_epoch_that_updates_take():
    assert build(updates=8).epochs(52, (32, 32)) == pytest.approx(8 / 3)  # an epoch has 3 updates
    assert build(updates=1).epochs(52, (32, 32)) == pytest.approx(1 / 3)


def change_short_recipe(monkeypatch, **changes):
    original = designs.short_recipe
    monkeypatch.setattr(
        designs, "short_recipe", lambda n, side: replace(original(n, side), **changes)
    )


def test_divergence_is_reported_with_its_step(monkeypatch):
    change_short_recipe(monkeypatch, lr=1e6)
    with pytest.raises(UserError, match=r"loss was (nan|inf) at step \d+ of \d+ in epoch \d"):
        fit(RunContext())


def test_a_run_cannot_be_resumed_on_another_kind_of_device(tmp_path):
    context = RunContext(services=RunServices(checkpoint_folder=tmp_path))
    fit(context, epochs=1)
    saved = context.checkpoint.load()
    # As long as the state of a CUDA generator.
    context.checkpoint.save({**saved, "noise": saved["noise"][:16]})
    with pytest.raises(UserError, match="did not begin on a cpu: resume it"):
        fit(RunContext(services=RunServices(checkpoint_folder=tmp_path)), epochs=1)


def test_divergence_is_reported_within_a_long_epoch(monkeypatch):
    change_short_recipe(monkeypatch, lr=1e6, batch_size=2)
    monkeypatch.setattr("pipelines.learned.stalled_start.STALL_UPDATES", 8)
    monkeypatch.setattr("pipelines.learned.trainer.Trainer._finish_epoch", None)  # not reached
    with pytest.raises(UserError, match=r"at step \d of 26 in epoch 1"):
        fit(RunContext(), epochs=1)


def test_batch_norm_cannot_share_batches():
    context = RunContext(processes=Processes(0, 2, torch.device("cpu")))
    context.sum = lambda tensor: tensor
    with pytest.raises(UserError, match="batch_norm"):
        build(epochs=1, batch_norm=True).fit(striped_split(12), None, context)


def test_a_probe_counts_updates_and_a_third_per_tune_image(monkeypatch):
    """At 1 s per update 52 images take 3 s, and 12 tune images a quarter of a second."""
    monkeypatch.setattr(
        "pipelines.learned.trainer.Trainer._time_updates", lambda self, updates: updates
    )
    probe = build().probe(striped_split(52), striped_split(12, seed=1), RunContext())
    assert probe.seconds_per_epoch == pytest.approx(3 + 12 / 16 / 3)
    assert probe.preparation_seconds > 0
    assert probe.unseen_bytes == 0


def test_a_probe_of_a_sample_estimates_the_whole_split(monkeypatch):
    """It reads 32 of 320 images, uses the recipe for 320 and counts the memory of the others."""
    monkeypatch.setattr("pipelines.learned.network_pipeline.PROBE_IMAGES", 32)
    monkeypatch.setattr(
        "pipelines.learned.trainer.Trainer._time_updates", lambda self, updates: updates
    )
    pipeline, context = build(flip=True), RunContext()
    train = striped_split(320)
    read = []
    images = train.images
    read_images = images.read
    monkeypatch.setattr(images, "read", lambda rows: read.extend(rows) or read_images(rows))
    probe = pipeline.probe(train, striped_split(40, seed=1), context)
    assert probe.seconds_per_epoch == pytest.approx(20 + 40 / 16 / 3)
    assert len(set(read)) == 32
    assert max(read) == 319
    assert probe.unseen_bytes == (320 - 32 + 40 - 32) * 3 * 32 * 32
    assert context.notes[1].startswith(f"recipe short: {pipeline.epochs(320, (32, 32))} epochs of")


@pytest.mark.parametrize("length", [{"epochs": 1}, {"epochs": None, "updates": 3}])
def test_checkpoint_bytes_is_the_size_of_a_checkpoint(monkeypatch, length):
    monkeypatch.setattr("pipelines.learned.trainer.PROBE_SECONDS", 0.0)
    context = RunContext(seed=1)
    pipeline = fit(context, **length)
    saved = sum(array.nbytes for array in context.checkpoint.load().values())
    assert (
        pipeline.probe(
            striped_split(52), striped_split(12, seed=1), RunContext(seed=1)
        ).checkpoint_bytes
        == saved
    )


def test_a_probe_estimates_the_time_of_an_epoch(monkeypatch):
    monkeypatch.setattr("pipelines.learned.trainer.PROBE_SECONDS", 0.5)
    pipeline = build(epochs=2, views=1)
    expected = pipeline.probe(striped_split(320), None, RunContext()).seconds_per_epoch
    started = time.perf_counter()
    pipeline.fit(striped_split(320), None, RunContext())
    assert 0.2 < (time.perf_counter() - started) / 2 / expected < 5


def test_more_processes_than_images_per_batch_are_refused():
    context = RunContext(processes=Processes(0, 3, torch.device("cpu")))
    context.sum = lambda tensor: tensor
    with pytest.raises(UserError, match="processes"):
        build(epochs=1).fit(striped_split(2), None, context)
