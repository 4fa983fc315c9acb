"""Plans: arithmetic on a pipeline that says what it takes, and published throughputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import harness
from harness import Workspace
from harness.engine.distributed import SINGLE_PROCESS
from harness.engine.estimate import (
    Plan,
    expected_time,
    plan_here,
    plan_on,
    synthetic_dataset,
    throughputs,
)
from harness.engine.observer import RunObserver
from harness.engine.request import Request
from harness.errors import UserError

SLOW = '''"""Says that it takes 10 s per epoch."""
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
        return Probe(
            preparation_seconds=5.0,
            seconds_per_epoch=10.0,
            checkpoint_bytes=3000,
            unseen_bytes=10**9,
        )
    def scores(self, batch):
        return torch.zeros(len(batch), 10)
    def state(self):
        return {"weight": self.weight}
    def fit(self, train, tune, context): ...
    def load(self, state): ...

def build(*, epochs: int | None = None):
    return Slow(epochs)
'''


@pytest.fixture
def slow(workdir: Path, look_up: Callable[..., Request]) -> Callable[..., Request]:
    """Return a function that looks up a run of a pipeline that takes 10 s per epoch."""
    path = workdir / "slow.py"
    path.write_text(SLOW)
    return lambda spec, **options: look_up(spec, plugins=[str(path)], **options)


def plan(request: Request) -> Plan:
    return plan_here(request, SINGLE_PROCESS, RunObserver())


def test_a_plan_adds_up(slow: Callable[..., Request]) -> None:
    """digits: 1,167 train, 130 tune, 500 test; a label has 8 bytes, a score 4."""
    request = slow("slow")
    planned = plan(request)
    assert (planned.epochs, planned.images) == (11, 1167)
    assert planned.fit_seconds == (115.0, 115.0)
    assert planned.score_seconds > 0
    bytes_per_image = request.splits.test.keys.itemsize + 8 + 10 * 4
    assert planned.kept_bytes == 250 * 4 + (130 + 500) * bytes_per_image
    assert planned.running_bytes == planned.kept_bytes + 2 * 3000
    assert planned.memory_bytes > 10**9
    milliseconds = 1000 * 10 / (1167 + 130 / 3)
    assert planned.throughput.startswith(f"{milliseconds:.3g} ms per training image, timed here")


def test_without_test_nothing_is_scored_or_kept_of_it(slow: Callable[..., Request]) -> None:
    tested, tuned = plan(slow("slow")), plan(slow("slow", test=False))
    assert tuned.score_seconds == 0
    assert tuned.kept_bytes < tested.kept_bytes


def test_epochs_of_the_spec_count(slow: Callable[..., Request]) -> None:
    assert plan(slow("slow,epochs=3")).fit_seconds == (35.0, 35.0)


def test_a_pipeline_that_does_not_learn_in_epochs_cannot_be_probed(
    look_up: Callable[..., Request],
) -> None:
    with pytest.raises(UserError, match="hog-svm does not learn in epochs"):
        plan(look_up("hog-svm"))


class Images:
    """Stands for a training split of this size, of which a published throughput needs no pixels."""

    num_classes = 1000

    def __init__(self, n: int, side: int | None) -> None:
        self.n = n
        self.image_size = (side, side) if side else None

    def __len__(self) -> int:
        return self.n


def network_request(spec: str, *, images: int = 1000, side: int | None = 256) -> Any:
    resolved = Workspace.open().resolve("pipeline", spec)
    splits = SimpleNamespace(train=Images(images, side))
    return SimpleNamespace(name=resolved.entry.name, build=resolved.make, splits=splits)


def test_the_papers_training_on_the_papers_hardware_takes_five_to_six_days() -> None:
    planned = plan_on("2x-gtx-580", network_request("alexnet", images=1_200_000))
    assert [seconds / 86400 for seconds in planned.fit_seconds] == pytest.approx([5, 6])
    assert "4 to 4.8 ms per image on 2 GTX 580" in planned.throughput
    assert planned.score_seconds is None
    assert (planned.running_bytes, planned.kept_bytes, planned.memory_bytes) == (None, None, None)


@pytest.mark.parametrize("name", throughputs())
def test_published_throughputs_are_of_our_networks(name: str) -> None:
    entry = throughputs()[name]
    assert entry["source"]
    assert entry["counts"]
    low, high = entry["seconds_per_image"]
    assert 0 < low <= high < 0.01
    layers = network_request(entry["pipeline"]).build().layers(1000, (256, 256))
    assert sum(layer["multiply_adds"] for layer in layers) == entry["multiply_adds"]


def test_one_weird_trick_scales_as_published() -> None:
    """Table 1: 98.05 hours on one GPU; 1.95, 3.74 and 6.25 times as fast on 2, 4 and 8."""
    request = network_request("alexnet-one-tower", images=1_281_167, side=None)

    def hours(hardware: str) -> float:
        planned = plan_on(hardware, request)
        return planned.fit_seconds[0] / 3600 * 90 / planned.epochs

    assert hours("k20") == pytest.approx(98.05, rel=0.005)
    speedups = [hours("k20") / hours(f"{n}x-k20") for n in (2, 4, 8)]
    assert speedups == pytest.approx([1.95, 3.74, 6.25], rel=0.005)


@pytest.mark.parametrize(
    ("hardware", "spec", "side", "message"),
    [
        ("k40", "caffenet", 256, r"no published throughput of 'k40'.*k40-caffe"),
        ("k20", "alexnet", 256, "was measured with alexnet-one-tower at 714,188,480"),
        ("2x-gtx-580", "alexnet,columns=1", 256, "this is alexnet at 1,135"),
        ("2x-gtx-580", "alexnet", 32, "this is alexnet at"),
        ("2x-gtx-580", "hog-svm", 256, "does not learn in epochs"),
    ],
)
def test_there_is_no_number_without_a_source(
    hardware: str, spec: str, side: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        plan_on(hardware, network_request(spec, side=side))


def test_a_synthetic_dataset_takes_no_space() -> None:
    dataset = synthetic_dataset(100_000, test_images=1000, classes=100, side=32)
    train, test = dataset.train, dataset.test
    assert (len(train), len(test), train.num_classes) == (100_000, 1000, 100)
    assert train.image_size == (32, 32)
    assert len({*train.keys, *test.keys}) == 101_000
    batch = next(train.batches(4, order=np.array([0, 1, 256, 99_999])))
    assert batch.images.shape == (4, 3, 32, 32)
    assert batch.images.dtype == torch.uint8
    assert torch.equal(batch.images[0], batch.images[2])
    assert not torch.equal(batch.images[0], batch.images[1])


def test_a_synthetic_dataset_needs_two_images_per_class() -> None:
    with pytest.raises(UserError, match="images=199 is too few for classes=100"):
        synthetic_dataset(199, classes=100)


def test_a_first_run_has_the_time_that_it_took_on_another_machine(
    look_up: Callable[..., Request],
) -> None:
    """Only the pipeline and the dataset that `benchmarks/reference_times.toml` names."""
    assert "this machine may differ" in expected_time(look_up("hog-svm"))
    for spec, options in {"hog-svm,c=3": {}, "hog-svm": {"limit": 100}, "lbp-svm": {}}.items():
        assert "no earlier run" in expected_time(look_up(spec, **options))


def test_a_second_run_is_judged_by_the_first(look_up: Callable[..., Request], plugin: str) -> None:
    first = harness.run("nearest-mean", "digits", plugins=[plugin], track=False)
    request = look_up("nearest-mean", plugins=[plugin])
    assert expected_time(request).endswith(f"judged by {first.run_id}")
    assert expected_time(request, fitted=True).endswith(f"judged by {first.run_id}")
