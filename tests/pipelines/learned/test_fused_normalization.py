"""The Triton kernels of local response normalization, in Triton's interpreter and its compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="there is no Triton here")

# Rows, channels, window, alpha, beta and type. Channels of a column of the paper's network, then
# fewer channels than a tile or a window has, and more rows than a tile.
COMPARISON = """
import torch
from pipelines.learned.fused_normalization import FusedLocalResponse, works_on
from pipelines.learned.normalization import _LocalResponse

for rows, channels, n, alpha, beta, dtype in (
    (50, 48, 5, 1e-4, 0.75, torch.float32),
    (33, 128, 5, 0.01, 0.75, torch.bfloat16),
    (7, 10, 3, 0.5, 0.4, torch.float32),
    (5, 3, 9, 0.2, 0.75, torch.float32),
):
    generator = torch.Generator().manual_seed(0)
    values = (8 * torch.randn(rows, channels, generator=generator)).to(dtype)
    gradient = torch.randn(rows, channels, generator=generator).to(dtype)
    results = []
    for function in (_LocalResponse, FusedLocalResponse):
        inputs = values.clone().requires_grad_()
        normed = function.apply(inputs, 2.0, n, alpha, beta)
        normed.backward(gradient)
        results.append((normed.detach(), inputs.grad))
    rounding = 1e-5 if dtype == torch.float32 else 2**-6
    for fused, expected in zip(results[1], results[0]):
        torch.testing.assert_close(fused, expected, rtol=rounding, atol=rounding)
assert works_on(torch.device("cpu"))
"""


def test_the_kernels_compute_what_the_cpu_does():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}  # read when Triton is imported
    subprocess.run([sys.executable, "-c", COMPARISON], check=True, env=environment)


@pytest.mark.parametrize(
    ("architecture", "dtype"),
    [(90, "*bf16"), *(pytest.param(70, d, marks=pytest.mark.slow) for d in ("*fp32", "*bf16"))],
)
def test_the_kernels_can_be_compiled_for_gpus(architecture, dtype):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from pipelines.learned.fused_normalization import _backward_kernel, _forward_kernel

    if "TRITON_INTERPRET" in os.environ:
        pytest.skip("functions for the interpreter cannot be compiled")
    constants = {"formula": (2.0, 5, 1e-4, 0.75), "shape": (16, 64, 48)}
    arrays = {
        _forward_kernel: ("a", "b", "roots"),
        _backward_kernel: ("a", "roots", "gradient", "result"),
    }
    for kernel, names in arrays.items():
        signature = {**dict.fromkeys(names, dtype), "n_rows": "i32"}
        signature |= dict.fromkeys(constants, "constexpr")
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32))
        assert "ld.global" in compiled.asm["ptx"]


def test_without_a_compiler_the_function_of_the_cpu_is_used(monkeypatch, caplog):
    import torch

    from pipelines.learned import fused_normalization

    def fail(rows):
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(fused_normalization, "_tile_shape", fail)
    fused_normalization.works_on.cache_clear()
    assert not fused_normalization.works_on(torch.device("cpu"))
    fused_normalization.works_on.cache_clear()
    assert "not fused and slower: Failed to find C compiler" in caplog.text
