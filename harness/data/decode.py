"""Encoded image bytes to pixels, and the one resize that every store is made with."""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from PIL import Image


class Undecodable(Exception):
    """These bytes are no image that Pillow reads; says why."""


def image_shape(data: bytes) -> tuple[int, int]:
    """(height, width) in pixels from the header alone. Raises Undecodable."""
    return _open(data).size[::-1]


def decode(data: bytes) -> torch.Tensor:
    """uint8 (3, height, width), any mode converted to RGB. Raises Undecodable."""
    image = _open(data)
    try:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    except Exception as error:  # Pillow's plugins raise whatever their format's parser trips over
        raise Undecodable(f"{type(error).__name__}: {error}") from error


def _open(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data))
    except Exception as error:
        raise Undecodable(f"{type(error).__name__}: {error}" if data else "the file is empty") from error


def resized_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """The shape with the shorter side brought down to `size`, aspect kept; smaller images stay as they are."""
    short = min(height, width)
    return (height, width) if short <= size else (round(height * size / short), round(width * size / short))


def shrink(image: torch.Tensor, size: int) -> torch.Tensor:
    """(3, h, w) with the shorter side at most `size`: bilinear with antialias on uint8."""
    from torchvision.transforms.v2 import functional

    shape = resized_shape(image.shape[1], image.shape[2], size)
    return image if shape == tuple(image.shape[1:]) else functional.resize(image, list(shape), antialias=True)


def encode_jpeg(image: torch.Tensor, quality: int) -> bytes:
    """(3, h, w) uint8 as a JPEG file, chroma at full resolution."""
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()
