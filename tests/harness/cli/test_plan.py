"""`harness plan`: hours, disk and memory, probed here or from a published throughput."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

Harness = Callable[..., str]


def test_a_network_is_probed(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.learned.trainer.PROBE_SECONDS", 0.1)
    images = ("--images", "20000", "--classes", "10", "--image-size", "32")
    output = harness(
        "plan",
        "--pipeline",
        "alexnet,epochs=7,views=1",
        *images,
        "--test-images",
        "10000",
        "--json",
    )
    plan = json.loads(output.splitlines()[-1])
    assert (plan["epochs"], plan["images"]) == (7, 18_000)
    updates = 18_000 / 128
    assert plan["fit_seconds"][0] > 7 * updates * 0.001  # a millisecond each at the very least
    parameters = 900_000
    assert plan["kept_bytes"] > 4 * parameters + 10_000 * 10 * 4  # the weights and the scores
    # Two checkpoints of weights and velocities.
    assert plan["running_bytes"] > plan["kept_bytes"] + 2 * 2 * 4 * parameters
    assert "7 epochs of 18,000 images" in output
    assert "note       random pixels in memory" in output


def test_published_hardware_needs_no_probe(harness: Harness) -> None:
    small = ("--images", "20000", "--test-images", "1000")
    output = harness("plan", "--pipeline", "alexnet", *small, "--on", "2x-gtx-580", "--json")
    assert "throughput 4 to 4.8 ms per image on 2 GTX 580 of 3 GB" in output
    assert "unknown    score, disk and memory" in output
    assert json.loads(output.splitlines()[-1])["kept_bytes"] is None
