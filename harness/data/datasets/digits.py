"""1,797 handwritten digits scanned at 8x8, included in scikit-learn; shown at 32x32."""

from __future__ import annotations

from pathlib import Path

from harness.data.split import Dataset, Split

N_TRAIN = 1297


def build(root: Path) -> Dataset:
    """Take the first 1,297 images for training and the last 500 for testing.

    The images are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and
    Kaynak 1998, UCI). Values 0..16 become 0..255; bilinear upscaling to 32x32, gray copied to
    three channels.
    """
    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from torchvision.transforms.v2 import functional

    digits = load_digits()
    small = torch.from_numpy((digits.images * (255 / 16)).round().astype(np.uint8))[:, None]
    images = functional.resize(small, [32, 32], antialias=True).expand(-1, 3, -1, -1)
    sources = [image.astype(np.uint8).tobytes() for image in digits.images]

    def make_split(rows: slice) -> Split:
        return Split.from_arrays(
            images[rows],
            digits.target[rows],
            class_names=[str(name) for name in digits.target_names],
            sources=sources[rows],
            preparation="size=32 resize=bilinear-from-8 codec=raw quality=lossless",
        )

    return Dataset(
        title="digits",
        train=make_split(slice(0, N_TRAIN)),
        test=make_split(slice(N_TRAIN, None)),
        dataset_notes=(
            "digits: the order of writers is not documented, so train and test may share some",
        ),
    )
