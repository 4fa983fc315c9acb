"""The training loop: resuming, many processes, and what it says when training fails."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from harness.contract import Split, UserError
from harness.engine.context import FileCheckpoint, RunContext
from harness.engine.distributed import Processes
from pipelines.alexnet import build
from pipelines.learned import designs
from pipelines.learned.noise import BatchNoise
from pipelines.learned.recipe import RECIPE_2012


def stripes(n, seed=0, side=32):
    """Three classes of striped images: across, down, and none."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    wave = 80 * np.sin(np.arange(side) * 0.8 + rng.uniform(0, 6, (n, 1)))
    across, down = (
        np.broadcast_to(wave[:, None, :], (n, side, side)),
        np.broadcast_to(wave[:, :, None], (n, side, side)),
    )
    pattern = np.where(
        (labels == 0)[:, None, None], across, np.where((labels == 1)[:, None, None], down, 0)
    )
    images = 128 + pattern[:, None] + rng.normal(0, 20, (n, 3, side, side))
    return Split.from_arrays(images.clip(0, 255).astype(np.uint8), labels)


class Killed(Exception):
    pass


class DyingCheckpoint(FileCheckpoint):
    """Due at every step; raises in place of save number `left` + 1."""

    left = 0

    def due(self):
        return True

    def save(self, arrays):
        if self.left == 0:
            raise Killed
        self.left -= 1
        super().save(arrays)


def fitted(context, **options):
    pipeline = build(**{"epochs": 3, **options})
    pipeline.design = replace(
        pipeline.design, published=replace(RECIPE_2012, batch=16)
    )  # three steps an epoch, as in the short recipe
    train, tune = (
        split.sharded(context.rank, context.world_size)
        for split in (stripes(52), stripes(12, seed=1))
    )
    pipeline.fit(train, tune, context)
    return pipeline


def assert_equal_states(one, other):
    a, b = one.state(), other.state()
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def learning_curves(context):
    """All but the times."""
    return {name: points for name, points in context.curves.items() if not name.startswith("time/")}


def assert_resumes_bit_equal(folder, saves, **options):
    """A run killed after so many saves, to one that nobody disturbed."""
    undisturbed = RunContext(seed=1)
    expected = fitted(undisturbed, **options)

    killed = RunContext(seed=1)
    killed.checkpoint = DyingCheckpoint(folder, killed)
    killed.checkpoint.left = saves
    with pytest.raises(Killed):
        fitted(killed, **options)
    resumed = RunContext(seed=1, checkpoint_folder=folder)
    assert_equal_states(fitted(resumed, **options), expected)
    assert learning_curves(resumed) == learning_curves(undisturbed)
    assert resumed.notes == undisturbed.notes


KINDS = {
    "short": {},
    "2012": {"recipe": "2012"},
    "adam": {"optimizer": "adam", "schedule": "cosine", "batch_norm": True, "color_scale": "code"},
    "sgd": {"optimizer": "sgd", "schedule": "step", "order": "code", "lrn_alpha": "code"},
    "updates": {"epochs": None, "updates": 8},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("saves", [1, 4, 5])
def test_a_killed_run_resumes_bit_equal(tmp_path, kind, saves):
    assert_resumes_bit_equal(tmp_path, saves, **KINDS[kind])


@pytest.mark.parametrize(("updates", "saves"), [(3, 2), (20, 13)])
def test_a_run_of_updates_killed_within_an_epoch_is_judged_at_the_end_of_epochs(
    tmp_path, monkeypatch, updates, saves
):
    """In the first epoch, when no weights are the best yet; and in the fifth, whose error is the lowest. An epoch has three saves."""
    monkeypatch.setattr(
        "pipelines.learned.train.Trainer._error",
        lambda self, split: [10, 20, 20, 20, 5, 6, 7][self.epoch],
    )
    assert_resumes_bit_equal(tmp_path, saves, epochs=None, updates=updates)


def test_the_seed_decides():
    assert_equal_states(fitted(RunContext(seed=2)), fitted(RunContext(seed=2)))
    one, other = fitted(RunContext(seed=2)).state(), fitted(RunContext(seed=3)).state()
    assert not torch.equal(one["network.fc7.weight"], other["network.fc7.weight"])


def test_gradients_of_two_shares_of_a_batch_add_up_to_its_own():
    network = build().design.network(classes=3, side=32).double()
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


def test_it_learns_and_logs_a_point_an_epoch():
    context = RunContext()
    train = stripes(120)
    pipeline = build(epochs=4)
    pipeline.fit(train, stripes(60, seed=1), context)
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
    assert {value for _, value in context.curves["time/exchange"]} == {0}  # with nobody
    loss = [value for _, value in context.curves["train/loss"]]
    assert loss[-1] < 0.7 * loss[0]
    assert context.curves["val/top1_error"][-1][1] < 20


def test_recipe_2012_needs_tune():
    with pytest.raises(UserError, match="tune"):
        build(recipe="2012").fit(stripes(12), None, RunContext())


def test_short_recipe_runs_without_tune():
    context = RunContext()
    build(epochs=1).fit(stripes(12), None, context)
    assert "val/top1_error" not in context.curves


def test_so_many_updates_and_the_best_weights_on_tune():
    """Three updates an epoch, of which eight end within the third."""
    context, other = RunContext(seed=1), RunContext(seed=1)
    pipeline = fitted(context, epochs=None, updates=8)
    assert context.notes[1] == "recipe short: 8 updates"
    assert [step for step, _ in context.curves["lr"]] == [0, 1, 2]
    errors = [error for _, error in context.curves["val/top1_error"]]
    kept = int(context.notes[-1].split()[3].rstrip(","))
    assert context.notes[-1] == f"weights of update {kept}, the best on tune"
    assert errors[-(-kept // 3) - 1] == min(errors)
    tune = stripes(12, seed=1)
    wrong = (
        pipeline._center_logits(next(tune.batches(12)).images).argmax(1).numpy() != tune.labels
    ).mean()
    assert 100 * wrong == pytest.approx(min(errors))
    assert_equal_states(fitted(other, epochs=None, updates=8), pipeline)


def test_updates_without_tune_keep_the_last_weights():
    by_updates, by_epochs = build(updates=4), build(epochs=2)
    for pipeline in (by_updates, by_epochs):
        pipeline.fit(stripes(32), None, RunContext())  # two updates an epoch
    assert_equal_states(by_updates, by_epochs)


def test_training_ends_when_it_is_hopeless(monkeypatch):
    monkeypatch.setattr(
        "pipelines.learned.train.Trainer._error", lambda self, split: 10.0 + self.epoch
    )  # worse and worse
    context = RunContext()
    fitted(context, epochs=None, updates=30)
    assert context.notes[-1] == "weights of update 3, the best on tune"
    assert [step for step, _ in context.curves["lr"]] == [
        0,
        1,
        2,
        3,
        4,
        5,
    ]  # 18 updates: 15 after the best


def test_epochs_and_updates_exclude_each_other():
    with pytest.raises(UserError, match=r"epochs=3 and updates=8 .* give one of the two"):
        build(epochs=3, updates=8)


def test_a_plan_counts_the_part_of_an_epoch_that_updates_take():
    assert build(updates=8).epochs(52, (32, 32)) == pytest.approx(8 / 3)  # of 3 updates
    assert build(updates=1).epochs(52, (32, 32)) == pytest.approx(1 / 3)


def with_recipe(monkeypatch, **changes):
    original = designs.short
    monkeypatch.setattr(designs, "short", lambda n, side: replace(original(n, side), **changes))


def test_divergence_names_the_step(monkeypatch):
    with_recipe(monkeypatch, rate=1e6)
    with pytest.raises(UserError, match=r"loss was (nan|inf) at step \d+ of \d+ in epoch \d"):
        fitted(RunContext())


def test_a_stalled_start_is_reported(monkeypatch, caplog):
    with_recipe(monkeypatch, rate=1e-9)
    monkeypatch.setattr("pipelines.learned.train.STALL_STEPS", 4)
    context = RunContext()
    fitted(context, epochs=2)
    assert context.notes[-1].startswith("stalled start")
    assert f"{math.log(3):.3f}" in caplog.text
    assert len(caplog.records) == 1


def test_no_rate_is_lowered_before_a_network_has_had_time_to_start(monkeypatch):
    """Of few images 400 updates are many epochs, in which the tune error of equal guesses stays what it is."""
    with_recipe(monkeypatch, rate=1e-9, schedule="plateau", patience=1)
    context = RunContext()
    fitted(context, epochs=5)
    assert len({rate for _, rate in context.curves["lr"]}) == 1
    assert not any("stalled" in note for note in context.notes)


def test_one_class_is_no_stalled_start(monkeypatch, caplog):
    monkeypatch.setattr("pipelines.learned.train.STALL_STEPS", 1)
    context = RunContext()
    build(epochs=1).fit(
        Split.from_arrays(
            np.zeros((12, 32, 32, 3), np.uint8), np.zeros(12, int), class_names=("one",)
        ),
        None,
        context,
    )
    assert not any("stalled" in note for note in context.notes)
    assert not caplog.records


def test_a_run_of_another_kind_of_device_is_told_where_to_go_on(tmp_path):
    context = RunContext(checkpoint_folder=tmp_path)
    fitted(context, epochs=1)
    saved = context.checkpoint.load()
    context.checkpoint.save(
        {**saved, "noise": saved["noise"][:16]}
    )  # as long as a CUDA generator's
    with pytest.raises(UserError, match="did not begin on a cpu; resume it"):
        fitted(RunContext(checkpoint_folder=tmp_path), epochs=1)


def test_a_stalled_start_is_told_within_a_long_epoch(monkeypatch, caplog):
    with_recipe(
        monkeypatch, rate=1e-9, batch=2, init="published"
    )  # 26 updates an epoch from weights that say next to nothing
    monkeypatch.setattr("pipelines.learned.train.STALL_STEPS", 8)
    fitted(RunContext(), epochs=1)
    assert "after 8 updates" in caplog.text


def test_divergence_is_told_within_a_long_epoch(monkeypatch):
    with_recipe(monkeypatch, rate=1e6, batch=2)
    monkeypatch.setattr("pipelines.learned.train.STALL_STEPS", 8)
    monkeypatch.setattr("pipelines.learned.train.Trainer._finish_epoch", None)  # not reached
    with pytest.raises(UserError, match=r"at step \d of 26 in epoch 1"):
        fitted(RunContext(), epochs=1)


def test_batch_norm_refuses_to_share_batches():
    context = RunContext(processes=Processes(0, 2, torch.device("cpu")))
    context.sum = lambda tensor: tensor
    with pytest.raises(UserError, match="batch_norm"):
        build(epochs=1, batch_norm=True).fit(stripes(12), None, context)


def test_a_probe_counts_updates_and_a_third_for_tune(monkeypatch):
    """Timed at 1 s an update: 52 images in batches of 16 are three, and 12 tune images a quarter more."""
    monkeypatch.setattr("pipelines.learned.train.Trainer._timed", lambda self, updates: updates)
    probe = build().probe(stripes(52), stripes(12, seed=1), RunContext())
    assert probe.seconds_per_epoch == pytest.approx(3 + 12 / 16 / 3)
    assert probe.preparation_seconds > 0
    assert probe.unseen_bytes == 0


def test_a_probe_of_a_sample_speaks_for_the_whole(monkeypatch):
    """32 of 320 images are looked at; the recipe is the one for 320, and the rest would be kept in memory."""
    monkeypatch.setattr("pipelines.learned.classifier.PROBE_IMAGES", 32)
    monkeypatch.setattr("pipelines.learned.train.Trainer._timed", lambda self, updates: updates)
    pipeline, context = build(flip=True), RunContext()
    train = stripes(320)
    read = []
    images = train.images
    whole = images.read
    monkeypatch.setattr(images, "read", lambda rows: read.extend(rows) or whole(rows))
    probe = pipeline.probe(train, stripes(40, seed=1), context)
    assert probe.seconds_per_epoch == pytest.approx(20 + 40 / 16 / 3)
    assert len(set(read)) == 32
    assert max(read) == 319
    assert probe.unseen_bytes == (320 - 32 + 40 - 32) * 3 * 32 * 32
    assert context.notes[1].startswith(f"recipe short: {pipeline.epochs(320, (32, 32))} epochs of")


@pytest.mark.parametrize("length", [{"epochs": 1}, {"epochs": None, "updates": 3}])
def test_checkpoint_bytes_are_those_of_a_checkpoint(monkeypatch, length):
    monkeypatch.setattr("pipelines.learned.train.PROBE_SECONDS", 0.0)
    context = RunContext(seed=1)
    pipeline = fitted(context, **length)
    saved = sum(array.nbytes for array in context.checkpoint.load().values())
    assert (
        pipeline.probe(stripes(52), stripes(12, seed=1), RunContext(seed=1)).checkpoint_bytes
        == saved
    )


def test_an_epoch_is_timed_about_right(monkeypatch):
    monkeypatch.setattr("pipelines.learned.train.PROBE_SECONDS", 2.0)
    pipeline = build(epochs=2, views=1)
    expected = pipeline.probe(stripes(320), None, RunContext()).seconds_per_epoch
    started = time.perf_counter()
    pipeline.fit(stripes(320), None, RunContext())
    assert 0.2 < (time.perf_counter() - started) / 2 / expected < 5


def test_a_network_that_moves_is_not_reported(monkeypatch, caplog):
    monkeypatch.setattr("pipelines.learned.train.STALL_STEPS", 20)
    context = RunContext()
    build(epochs=4).fit(stripes(120), None, context)
    assert not any("stalled" in note for note in context.notes)
    assert not caplog.records


def test_more_processes_than_images_a_batch():
    context = RunContext(processes=Processes(0, 3, torch.device("cpu")))
    context.sum = lambda tensor: tensor
    with pytest.raises(UserError, match="processes"):
        build(epochs=1).fit(stripes(2), None, context)
