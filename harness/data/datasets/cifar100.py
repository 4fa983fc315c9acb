"""CIFAR-100: 50,000 training and 10,000 test images of 32x32 in 100 classes (Krizhevsky 2009), the official download."""

from __future__ import annotations

from pathlib import Path

from harness.data.split import Dataset


def build(root: Path) -> Dataset:
    """The fine labels; from `cifar100` in the data root. Raises UserError when it is neither there nor to be had."""
    from torchvision.datasets import CIFAR100

    from harness.data.datasets._cifar import cifar

    return cifar(CIFAR100, root / "cifar100", title="cifar100")
