"""Generated images are reproducible, and codebook times are read from the cache."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from benchmarks.streamed_svm_memory import FitCost, GeneratedImages, codebook_seconds
from harness.files import save_arrays


def test_an_image_is_the_same_whenever_it_is_read() -> None:
    images = GeneratedImages(100)
    together, alone = images.read(np.array([3, 7])), images.read(np.array([7]))
    assert together.shape == (2, 3, 96, 96)
    assert together.dtype == torch.uint8
    assert torch.equal(together[1], alone[0])
    assert not torch.equal(together[0], together[1])
    assert len(images) == 100


def test_only_codebook_stages_count(workdir: Path) -> None:
    for name, stage, seconds in (("a", "codebook", 2.5), ("b", "codebook", 1.0), ("c", "rows", 9)):
        header = {"key": json.dumps({"stage": stage}), "seconds": str(seconds)}
        save_arrays(workdir / f"{name}.safetensors", {"x": torch.zeros(1)}, header)
    assert codebook_seconds(workdir) == 3.5
    assert FitCost(100, seconds=10, codebook_seconds=3.5).streamed_seconds == 6.5
