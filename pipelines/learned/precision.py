"""Mixed precision: bfloat16 products in training where the device has them in hardware.

bfloat16 has 8 significant bits: rounding changes a number by up to 2^-8 of its size. Weights, their
updates and the normalizations stay float32. So do the products for tune and test images, unless
`precision=bfloat16` asks otherwise. `pipelines.learned.parallel` says what the precision
means for training with several processes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]


def uses_bfloat16(device: torch.device, precision: Precision) -> bool:
    """Return whether training on a device has its products in bfloat16.

    Parameters
    ----------
    device : torch.device
    precision : {"auto", "float32", "bfloat16"}
        "auto" chooses bfloat16 on GPUs and CPUs that have it in hardware, otherwise float32.
    """
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        with torch.cuda.device(device):  # the question below is about the current device
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def mixed_precision(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return a context in which products are in bfloat16 if `uses_bfloat16` says so."""
    if uses_bfloat16(device, precision):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def evaluation_precision(
    device: torch.device, precision: Precision
) -> AbstractContextManager[object]:
    """Return the context for test images, in bfloat16 only if "bfloat16" asks for it."""
    return mixed_precision(device, precision if precision == "bfloat16" else "float32")


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """Convert narrower types to float32, for sums and powers that need more than 8 bits."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
