"""Which device a run computes on, and what is recorded of the machine."""

from __future__ import annotations

import pytest
import torch

from harness import UserError
from harness.engine.device import choose_device, describe_machine


def test_a_device_that_cannot_be_used_is_refused_with_those_that_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Apple's GPUs are among them, and `auto` passes over them."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(UserError, match="--device mps: Apple's GPUs have no float64"):
        choose_device("mps")
    with pytest.raises(
        UserError, match="--device cuda:7: not on this machine; available: auto, cpu"
    ):
        choose_device("cuda:7")


def test_every_gpu_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UserError, match="available: auto, cpu, cuda:0, cuda:1"):
        choose_device("cuda:2")


def test_convolutions_are_not_rounded_to_ten_bits() -> None:
    choose_device("cpu")
    assert not torch.backends.cudnn.allow_tf32


def test_the_machine_is_described_with_what_a_time_depends_on() -> None:
    machine = describe_machine(torch.device("cpu"), 2)
    assert set(machine) == {"cpu", "cores", "memory_gb", "device", "processes", "system"}
    assert (machine["device"], machine["processes"]) == ("cpu", 2)
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["memory_gb"] > 0.1
