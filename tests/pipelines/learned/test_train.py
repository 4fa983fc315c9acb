"""The training loop: resuming, many processes, and what it says when training fails."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from harness.context import MemoryCheckpoint, RunContext
from harness.contract import Split, UserError
from harness.distributed import Processes
from pipelines.alexnet import build
from pipelines.learned import classifier


def stripes(n, seed=0, side=32):
    """Three classes of striped images: across, down, and none."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    wave = 80 * np.sin(np.arange(side) * 0.8 + rng.uniform(0, 6, (n, 1)))
    across, down = np.broadcast_to(wave[:, None, :], (n, side, side)), np.broadcast_to(wave[:, :, None], (n, side, side))
    pattern = np.where((labels == 0)[:, None, None], across, np.where((labels == 1)[:, None, None], down, 0))
    images = 128 + pattern[:, None] + rng.normal(0, 20, (n, 3, side, side))
    return Split.from_arrays(images.clip(0, 255).astype(np.uint8), labels)


class Killed(Exception):
    pass


class DyingCheckpoint(MemoryCheckpoint):
    """Due at every step; raises in place of save number `last` + 1."""

    def __init__(self, last):
        super().__init__()
        self.left = last

    def due(self):
        return True

    def save(self, arrays):
        if self.left == 0:
            raise Killed
        self.left -= 1
        super().save(arrays)


def fitted(context, **options):
    pipeline = build(**{"epochs": 3, **options})
    pipeline.fit(stripes(52), stripes(12, seed=1), context)
    return pipeline


def assert_equal_states(one, other):
    a, b = one.state(), other.state()
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize("recipe", ["short", "2012"])
@pytest.mark.parametrize("saves", [1, 4, 5])
def test_a_killed_run_resumes_bit_equal(recipe, saves):
    undisturbed = RunContext(seed=1)
    expected = fitted(undisturbed, recipe=recipe)

    killed = RunContext(seed=1)
    killed.checkpoint = DyingCheckpoint(saves)
    with pytest.raises(Killed):
        fitted(killed, recipe=recipe)
    resumed = RunContext(seed=1)
    resumed.checkpoint = MemoryCheckpoint()
    resumed.checkpoint.arrays = killed.checkpoint.arrays
    resumed.curves = {name: points for name, points in killed.curves.items() if name}
    assert_equal_states(fitted(resumed, recipe=recipe), expected)
    last = {name: points[-1] for name, points in undisturbed.curves.items()}
    assert {name: points[-1] for name, points in resumed.curves.items()} == last
