"""Plans: arithmetic on a pipeline that says what it takes, published throughputs, and one real probe."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch

from harness.cli import main
from harness.engine.distributed import ALONE
from harness.engine.estimate import imagined, plan_here, plan_lines, plan_on, throughputs
from harness.engine.request import resolve
from harness.errors import UserError
from harness.registry import Registry

SLOW = '''"""Takes 10 s an epoch, so it says."""
FAMILY = "learned"

from harness.contract import Probe
import torch

class Slow:
    def __init__(self, epochs):
        self.given = epochs
    def epochs(self, images, image_size):
        assert tuple(image_size) == (32, 32)
        return self.given or images // 100
    def probe(self, train, tune, context):
        self.weight = torch.zeros(250)
        return Probe(preparation_seconds=5.0, seconds_per_epoch=10.0, checkpoint_bytes=3000, unseen_bytes=10**9)
    def scores(self, batch):
        return torch.zeros(len(batch), 10)
    def state(self):
        return {"weight": self.weight}
    fit = load = None

def build(*, epochs: int | None = None):
    return Slow(epochs)
'''


@pytest.fixture
def slow(workdir):
    path = workdir / "slow.py"
    path.write_text(SLOW)
    return str(path)


def test_a_plan_adds_up(slow):
    """digits: 1,167 train, 130 tune, 500 test; a label has 8 bytes, a score 4."""
    request = resolve("slow", "digits", plugins=[slow])
    plan = plan_here(request, ALONE)
    assert (plan.epochs, plan.images) == (11, 1167)
    assert plan.fit == (115.0, 115.0)
    assert plan.kept == 250 * 4 + (130 + 500) * (request.splits.test.keys.itemsize + 8 + 10 * 4)
    assert plan.running == plan.kept + 2 * 3000
    assert plan.memory > 10**9
    assert "10 ms an image" not in plan.throughput
    assert (
        f"{1000 * 10 / (1167 + 130 / 3):.3g} ms an image in training, timed here" in plan.throughput
    )
    lines = "\n".join(plan_lines(plan))
    assert "fit        about 1 min 55 s: 11 epochs of 1,167 images" in lines
    assert "not known" not in lines


def test_epochs_of_the_spec_count(slow):
    assert plan_here(resolve("slow,epochs=3", "digits", plugins=[slow]), ALONE).fit == (35.0, 35.0)


def network(spec):
    entry, build, values, _ = Registry().resolve("pipeline", spec)
    return build(**values), entry.name


def test_the_papers_training_on_the_papers_hardware_takes_five_to_six_days():
    plan = plan_on(
        "2x-gtx-580", *network("alexnet"), images=1_200_000, classes=1000, image_size=(256, 256)
    )
    assert [seconds / 86400 for seconds in plan.fit] == pytest.approx([5, 6])
    assert "about 120 h 00 min to 14" in plan_lines(plan)[1]
    assert (plan.score, plan.running, plan.kept, plan.memory) == (None, None, None, None)
    assert plan_lines(plan)[-1].startswith("not known  score, disk and memory")


@pytest.mark.parametrize("name", throughputs())
def test_published_throughputs_are_of_our_networks(name):
    entry = throughputs()[name]
    assert entry["source"]
    assert entry["counts"]
    low, high = entry["seconds_per_image"]
    assert 0 < low <= high < 0.01
    pipeline, _ = network(entry["pipeline"])
    assert (
        sum(layer["multiply_adds"] for layer in pipeline.layers(1000, (256, 256)))
        == entry["multiply_adds"]
    )


def test_one_weird_trick_scales_as_published():
    """Table 1: 1.95, 3.74 and 6.25 times as fast on 2, 4 and 8 GPUs; 98.05 hours for 90 epochs on one."""
    images = 1_281_167

    def hours(name):
        plan = plan_on(
            name, *network("alexnet-one-tower"), images=images, classes=1000, image_size=None
        )
        return plan.fit[0] / 3600 * 90 / plan.epochs

    assert hours("k20") == pytest.approx(98.05, rel=0.005)
    speedups = [hours("k20") / hours(f"{n}x-k20") for n in (2, 4, 8)]
    assert speedups == pytest.approx([1.95, 3.74, 6.25], rel=0.005)


@pytest.mark.parametrize(
    ("hardware", "spec", "size", "message"),
    [
        ("k40", "caffenet", 256, r"no throughput of 'k40' is on file.*k40-caffe"),
        ("k20", "alexnet", 256, "was measured with alexnet-one-tower at 714,188,480"),
        ("2x-gtx-580", "alexnet,columns=1", 256, "this is alexnet at 1,135"),
        ("2x-gtx-580", "alexnet", 32, "this is alexnet at"),
        ("2x-gtx-580", "hog-svm", 256, "does not learn in epochs"),
    ],
)
def test_no_number_without_a_source(hardware, spec, size, message):
    with pytest.raises(UserError, match=message):
        plan_on(hardware, *network(spec), images=1000, classes=1000, image_size=(size, size))


def test_what_cannot_be_probed():
    with pytest.raises(UserError, match="hog-svm does not learn in epochs"):
        plan_here(resolve("hog-svm", "digits"), ALONE)


def test_an_imagined_data_set_takes_no_place():
    whole = imagined(1_000_000, 1000, 100, 32)
    assert (len(whole.train), len(whole.test), whole.train.num_classes, whole.train.image_size) == (
        1_000_000,
        1000,
        100,
        (32, 32),
    )
    assert len({*whole.train.keys, *whole.test.keys}) == 1_001_000
    batch = next(whole.train.batches(4, order=np.array([0, 1, 256, 999_999])))
    assert batch.images.shape == (4, 3, 32, 32)
    assert batch.images.dtype == torch.uint8
    assert torch.equal(batch.images[0], batch.images[2])
    assert not torch.equal(batch.images[0], batch.images[1])


def harness(*arguments):
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        patch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
    return int(stop.value.code or 0), out.getvalue()


def test_the_command_probes_a_network(monkeypatch):
    monkeypatch.setattr("pipelines.learned.trainer.PROBE_SECONDS", 0.1)
    spec = ("--pipeline", "alexnet,epochs=7,views=1")
    code, output = harness("plan", *spec, "--images", "50000", "--classes", "10", "--image-size", "32", "--test-images", "10000", "--json")  # fmt: skip
    assert code == 0
    plan = json.loads(output.splitlines()[-1])
    assert (plan["epochs"], plan["images"]) == (7, 45_000)
    assert plan["fit"][0] > 7 * 351 * 0.001  # updates of a millisecond at the very least
    assert plan["kept"] > 4 * 900_000 + 10_000 * 10 * 4  # the weights and the scores
    assert (
        plan["running"] > plan["kept"] + 2 * 2 * 4 * 900_000
    )  # two checkpoints of weights and velocities
    assert "remark     random pixels in memory" in output
    assert harness("plan", *spec, "--images", "50000", "--dataset", "digits")[0] == 2
