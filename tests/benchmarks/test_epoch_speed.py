"""The bare loop runs between the epochs, and its time is not part of theirs."""

from __future__ import annotations

import pytest

from benchmarks.epoch_speed import EpochTimer, make_bare_step, training_split


def test_epochs_and_bare_loops_are_timed_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]

    def step() -> None:
        clock[0] += 1

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    timer = EpochTimer(step)
    for _ in range(2):
        batches = list(timer.progress(range(3), label="epoch", total=3))
        clock[0] += 5 * len(batches)
    timer.end_epoch()
    assert timer.bare_seconds == [3.0, 3.0]
    assert timer.epoch_seconds == [15.0, 15.0]
    assert "epoch 15.00 s, bare loop 3.00 s" in capsys.readouterr().out


def test_the_bare_step_trains_on_a_batch_like_the_recipe() -> None:
    split = training_split(None, 60)
    assert split.image_size == (32, 32)
    assert split.num_classes == 10
    make_bare_step(split)()
