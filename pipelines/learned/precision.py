"""Arithmetic of fewer bits, where a device gains from it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def mixes(device: torch.device) -> bool:
    """Whether training on this device multiplies in bfloat16: on GPUs that have it in hardware. Weights and updates stay float32."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """Within it, convolutions and matrix products are in bfloat16 where the device `mixes`."""
    return torch.autocast("cuda", torch.bfloat16) if mixes(device) else nullcontext()
