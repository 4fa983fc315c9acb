"""Several processes over gloo train the network of one, in each of the three modes."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn import functional as F

from harness.contract import Split, UserError
from harness.engine.context import FileCheckpoint, RunContext, RunServices
from harness.engine.distributed import Processes
from pipelines.alexnet import build
from pipelines.learned import precision, trainer
from pipelines.learned.batch_noise import BatchNoise
from pipelines.learned.collectives import Collectives
from pipelines.learned.parallel import shard_network, unshard
from pipelines.learned.recipe import RECIPE_2012
from tests.pipelines.learned.synthetic_splits import tinted_split

IMAGES = 18  # of the batch whose gradient is compared; not a multiple of 4 processes
# recipe=2012 updates weights so little that float32 stays close, and its schedule depends on the
# tune error of the whole network.
FIT = {"recipe": "2012", "epochs": 2, "views": 1, "flip": True}
# Long enough that every process count learns the three classes: an error of two thirds is chance.
BFLOAT16_FIT = {"recipe": "short", "epochs": 8, "precision": "auto"}
OTHERS = {
    "model": {"batch_norm": True, "depth": 6, "order": "code"},
    "hybrid": {"columns": 1, "activation": "tanh"},
    "data": {"columns": "half"},
}


def fitted(context, *, precision="float32", **options):
    pipeline = build(**{**FIT, **options})
    pipeline.design = replace(
        pipeline.design,
        published=replace(RECIPE_2012, batch_size=16),
        overrides=replace(pipeline.design.overrides, precision=precision),
    )
    train, tune = (
        split.sharded(context.rank, context.world_size)
        for split in (tinted_split(52), tinted_split(13, seed=1))
    )
    pipeline.fit(train, tune, context)
    return pipeline


def gradient(context, mode, **options):
    """Return the float64 gradient of every parameter, in shares as `Trainer._update` does."""
    network = build(**options).design.network(3, 32).double()
    network.initialize("he", torch.Generator().manual_seed(0))
    images = torch.randn(
        IMAGES, 3, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    labels = torch.arange(IMAGES) % 3
    collectives = Collectives(context)
    shard = shard_network(network, mode, collectives, IMAGES)
    rank, world = context.rank, context.world_size
    noise = torch.Generator().manual_seed(2)
    if mode == "model":
        logits = shard(images, BatchNoise(noise, IMAGES))
    else:
        logits = shard(images[rank::world], BatchNoise(noise, IMAGES, rank=rank, world_size=world))
    F.cross_entropy(logits, labels[rank::world], reduction="sum").backward()
    gradients = {f"network.{name}": parameter.grad for name, parameter in shard.named_parameters()}
    for name, array in gradients.items():
        if name.removeprefix("network.") not in shard.shard_dims:
            context.sum(array)
    return unshard(gradients, shard.shard_dims, collectives)


def bfloat16_gradient(context, **options):
    """Return the gradient of one update with products in bfloat16, summed over processes."""
    network = build(**options).design.network(3, 32)
    network.initialize("he", torch.Generator().manual_seed(0))
    rank, world = context.rank, context.world_size
    images = torch.randn(IMAGES, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(IMAGES) % 3
    noise = BatchNoise(torch.Generator().manual_seed(2), IMAGES, rank=rank, world_size=world)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images[rank::world], noise).float()
    F.cross_entropy(logits, labels[rank::world], reduction="sum").backward()
    return {name: context.sum(weights.grad) for name, weights in network.named_parameters()}


def always_bfloat16(device, chosen):
    """Stand in for `uses_bfloat16` on machines where bfloat16 is only in software."""
    return chosen == "auto"


def worker(rank, world, mode, folder):
    torch.set_num_threads(1)
    trainer.CHECKPOINT_UPDATES = 1
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world
    )
    processes = Processes(rank, world, torch.device("cpu"))

    def context(**options):
        return RunContext(seed=1, processes=processes, **options)

    results = {
        "gradient": gradient(context(), mode),
        "other gradient": gradient(context(), mode, **OTHERS[mode]),
    }
    uninterrupted = context()
    pipeline = fitted(uninterrupted, parallel=mode)
    results |= {"state": pipeline.state(), "curves": uninterrupted.curves}
    if mode == "data":
        precision.uses_bfloat16 = always_bfloat16
        results["bfloat16 gradient"] = bfloat16_gradient(context())
        bfloat16_pipeline = fitted(context(), **BFLOAT16_FIT)
        results["bfloat16 scores"] = bfloat16_pipeline.scores(
            next(tinted_split(60, seed=2).batches(60))
        )
    if world == 2:
        killed = context(checkpoint_folder=folder / "killed")
        killed.checkpoint = DyingCheckpoint(folder / "killed", killed)
        with pytest.raises(Killed):
            fitted(killed, parallel=mode)
        shutil.copytree(folder / "killed", folder / f"killed-{rank}")
        results["resumed"] = fitted(
            context(checkpoint_folder=folder / f"killed-{rank}"), parallel=mode
        ).state()
    if rank == 0:
        torch.save(results, folder / "results.pt")
    dist.barrier()  # as harness.engine.distributed does
    dist.destroy_process_group()
    os._exit(0)  # a gloo thread may abort an interpreter that is exiting


class Killed(Exception):
    pass


class DyingCheckpoint(FileCheckpoint):
    """Due in the middle of the second epoch; raises instead of the save after that one."""

    saves = 0

    def due(self):
        return self.saves == 1

    def save(self, arrays):
        if self.saves == 2:
            dist.barrier()  # process 0 has written the previous one
            raise Killed
        self.saves += 1
        super().save(arrays)


@pytest.fixture(scope="module")
def single_process():
    context = RunContext(seed=1)
    return fitted(context).state(), context.curves


CASES = [("data", 2), ("data", 4), ("model", 2), ("hybrid", 2), ("hybrid", 4)]


@pytest.mark.parametrize(("mode", "world"), CASES, ids=[f"{mode}-{world}" for mode, world in CASES])
def test_several_processes_train_the_network_of_one(tmp_path, single_process, mode, world):
    mp.start_processes(
        worker, args=(world, mode, tmp_path), nprocs=world, start_method="forkserver"
    )
    results = torch.load(tmp_path / "results.pt")

    for name, options in (("gradient", {}), ("other gradient", OTHERS[mode])):
        expected = gradient(RunContext(), "data", **options)
        assert results[name].keys() == expected.keys()
        for parameter, array in expected.items():
            torch.testing.assert_close(
                results[name][parameter], array, rtol=1e-9, atol=1e-12, msg=f"{name} of {parameter}"
            )

    state, curves = single_process
    assert results["state"].keys() == state.keys()
    for name, array in state.items():
        torch.testing.assert_close(
            results["state"][name], array, rtol=1e-3, atol=1e-5
        )  # six updates in float32
    for name in ("train/loss", "train/top1_error", "val/top1_error", "lr"):
        assert [value for _, value in results["curves"][name]] == pytest.approx(
            [value for _, value in curves[name]], rel=1e-4
        )

    if world == 2:
        for name, array in results["state"].items():
            assert torch.equal(results["resumed"][name], array), name
        # A checkpoint has the whole network, so one process can resume what two began.
        resumed = fitted(
            RunContext(seed=1, services=RunServices(checkpoint_folder=tmp_path / "killed")),
            parallel=mode,
        ).state()
        for name, array in state.items():
            torch.testing.assert_close(resumed[name], array, rtol=1e-3, atol=1e-5)

    if mode == "data":
        check_bfloat16(results, world)

    shares = [
        [value for _, value in results["curves"][f"time/{part}"]]
        for part in ("data", "exchange", "compute")
    ]
    assert np.sum(shares, axis=0) == pytest.approx(1)
    assert min(map(min, shares)) > 0


def check_bfloat16(results, world):
    """Check that N processes differ from one only by the rounding of parameter gradients.

    bfloat16 has 8 significant bits, so rounding changes a number by at most 2^-8 of it. Each
    process rounds the gradient of its own images, one process rounds that of all images once.
    """
    shares = [bfloat16_gradient(pretended_context(rank, world)) for rank in range(world)]
    single = bfloat16_gradient(RunContext())
    for name, gradient in results["bfloat16 gradient"].items():
        parts = [share[name] for share in shares]
        torch.testing.assert_close(gradient, sum(parts), rtol=1e-5, atol=1e-7)
        rounded = sum(part.norm() for part in parts) + single[name].norm()
        assert (gradient - single[name]).norm() <= 2**-8 * rounded, name

    test = tinted_split(60, seed=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "uses_bfloat16", always_bfloat16)
        scores = fitted(RunContext(seed=1), **BFLOAT16_FIT).scores(next(test.batches(60)))
    for class_scores in (results["bfloat16 scores"], scores):
        assert 100 * (class_scores.argmax(1).numpy() != test.labels).mean() <= 5


def pretended_context(rank, world):
    context = RunContext(processes=Processes(rank, world, torch.device("cpu")))
    context.sum = lambda tensor: tensor
    return context


@pytest.mark.parametrize(
    ("options", "world", "message"),
    [
        ({"parallel": "model"}, 3, "one column on each of 2 processes, and there are 3"),
        ({"parallel": "model", "columns": 1}, 2, "needs columns=2"),
        ({"parallel": "hybrid"}, 3, "the 512 units of fc6 cannot be divided evenly among 3"),
        ({"parallel": "hybrid", "batch_norm": True}, 2, "parallel=model"),
        ({}, 13, "13 processes cannot share batches of 12 images"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_an_image_is_read(
    options, world, message, monkeypatch
):
    monkeypatch.setattr(Split, "batches", lambda *_, **__: pytest.fail("an image was read"))
    with pytest.raises(UserError, match=message):
        build(epochs=1, **options).fit(tinted_split(12), None, pretended_context(0, world))


@pytest.mark.parametrize("mode", ["data", "model", "hybrid"])
def test_with_one_process_all_modes_are_the_same(mode, single_process):
    state = fitted(RunContext(seed=1), parallel=mode).state()
    assert all(torch.equal(state[name], array) for name, array in single_process[0].items())


def test_columns_are_exchanged_only_before_layers_that_see_both():
    """Section 3.2: "the kernels of layer 3 take input from all kernel maps in layer 2"."""
    network = build().design.network(10, 32)
    names = [
        name
        for name, _ in shard_network(
            network, "model", Collectives(pretended_context(0, 2)), 16
        ).named_children()
    ]
    assert [name for name in names if name.startswith("units_of")] == [
        "units_of_conv3",
        "units_of_fc6",
        "units_of_fc7",
    ]
    assert names.index("units_of_conv3") + 1 == names.index("conv3")
    weights = sum(p.numel() for p in network.parameters())
    part = sum(
        p.numel()
        for p in shard_network(
            network, "model", Collectives(pretended_context(0, 2)), 16
        ).parameters()
    )
    assert part == pytest.approx(weights / 2, abs=10)  # the biases of the last layer are on both
