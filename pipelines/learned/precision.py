"""Arithmetic of fewer bits, where a device gains from it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["auto", "float32"]


def mixes(device: torch.device, precision: Precision) -> bool:
    """Whether training on this device multiplies in bfloat16: where that is in the hardware, on GPUs as on CPUs, unless `precision` says
    float32. Weights, their updates and the normalizations stay float32.
    """
    if precision == "float32":
        return False
    if device.type == "cuda":
        with torch.cuda.device(device):  # else it speaks of the current one
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and any(
        torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16")
    )


def mixed_precision(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Within it, convolutions and matrix products are in bfloat16 where the device `mixes`."""
    return (
        torch.autocast(device.type, torch.bfloat16) if mixes(device, precision) else nullcontext()
    )


def wide(values: torch.Tensor) -> torch.Tensor:
    """As float32 at least, for sums and powers that eight bits of a number are too few for."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
