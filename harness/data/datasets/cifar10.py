"""CIFAR-10: 50,000 training and 10,000 test images, 32x32, 10 classes (Krizhevsky 2009)."""

from __future__ import annotations

from pathlib import Path

from harness.data.split import Dataset


def build(root: Path) -> Dataset:
    """Load the official archive from `cifar10` in the data root, or download it there.

    Raises
    ------
    UserError
        If it is missing and cannot be downloaded.
    """
    from torchvision.datasets import CIFAR10

    from harness.data.datasets._cifar import load_cifar

    return load_cifar(CIFAR10, root / "cifar10", title="cifar10")
