"""CIFAR-100: 50,000 training and 10,000 test images, 32x32, 100 classes (Krizhevsky 2009)."""

from __future__ import annotations

from pathlib import Path

from harness.data.split import Dataset


def build(root: Path) -> Dataset:
    """Load the official archive from `cifar100` in the data root, or download it there.

    The labels are the 100 fine ones.

    Raises
    ------
    UserError
        If it is missing and cannot be downloaded.
    """
    from torchvision.datasets import CIFAR100

    from harness.data.datasets._cifar import load_cifar

    return load_cifar(CIFAR100, root / "cifar100", title="cifar100")
