"""The device that a run computes on, and the machine that its figures were measured on."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch

from harness.errors import UserError


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` is a GPU where there is one, else the CPU.

    Raises
    ------
    UserError
        If the machine has no such device.
    """
    # Where a recipe says float32, convolutions on a GPU must not round to 10 bits either.
    torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    available = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if name in available or (name == "cuda" and torch.cuda.is_available()):
        return torch.device(name)
    reason = "not on this machine"
    if name == "mps":
        reason = "Apple's GPUs have no float64, in which sums are accumulated"
    raise UserError(f"--device {name}: {reason}; available: auto, {', '.join(available)}")


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its queued work, so that a clock may be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe_machine(device: torch.device, world_size: int) -> dict[str, Any]:
    """Return what is recorded beside every time: processor, cores, memory, accelerator, system."""
    import psutil

    cores = os.cpu_count()
    if hasattr(os, "sched_getaffinity"):  # the cores that this process may use
        cores = len(os.sched_getaffinity(0))
    return {
        "cpu": _cpu_name(),
        "cores": cores,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": world_size,
        "system": platform.system(),
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123 (a system file)
            names = [
                line.partition(":")[2].strip() for line in file if line.startswith("model name")
            ]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
