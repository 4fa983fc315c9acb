"""The machine that a figure was measured on: what it is, and how much memory a run took on it."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch

from harness.errors import UserError


def choose_device(name: str) -> torch.device:
    """`auto` takes a GPU where there is one. Raises UserError for a device that is not here."""
    torch.backends.cudnn.allow_tf32 = (
        False  # where the recipe says float32, a GPU's convolutions are not of 10 bits either
    )
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if name not in here and not (name == "cuda" and torch.cuda.is_available()):
        why = (
            "Apple's GPUs have no float64, in which sums are taken here"
            if name == "mps"
            else "not on this machine"
        )
        raise UserError(f"--device {name}: {why}; there are: auto, {', '.join(here)}")
    return torch.device(name)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given, so that a clock may be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe_machine(device: torch.device, world: int) -> dict[str, Any]:
    """Processor, cores usable by this process, memory in GB, accelerator, system: what stands beside every time."""
    import psutil

    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": world,
        "system": platform.system(),
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123 (not a file of ours)
            names = [
                line.partition(":")[2].strip() for line in file if line.startswith("model name")
            ]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
