"""CIFAR-10: 50,000 training and 10,000 test images of 32x32 in 10 classes (Krizhevsky 2009), the official download."""

from __future__ import annotations

from pathlib import Path

from harness.data.split import Dataset


def build(root: Path) -> Dataset:
    """From `cifar10` in the data root. Raises UserError when it is neither there nor to be had."""
    from torchvision.datasets import CIFAR10

    from harness.data.datasets._cifar import cifar

    return cifar(CIFAR10, root / "cifar10", title="cifar10")
