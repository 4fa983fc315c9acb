"""Encoded image bytes to pixels, and the one resize that every store is made with."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

MAX_PIXELS = (
    Image.MAX_IMAGE_PIXELS or 89_478_485
)  # Pillow's own bound, above which it suspects a decompression bomb
# Pixels: the JPEG library writes no longer sides, and a store of JPEG files is to hold what one of raw pixels does.
MAX_SIDE = 65_500
ORIENTATION = 0x0112  # the EXIF tag
FORMAT_OF = {
    ".bmp": "BMP", ".gif": "GIF", ".jfif": "JPEG", ".jpe": "JPEG", ".jpeg": "JPEG", ".jpg": "JPEG", ".pbm": "PPM", ".pgm": "PPM",
    ".png": "PNG", ".pnm": "PPM", ".ppm": "PPM", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP",
}  # fmt: skip
IMAGE_SUFFIXES = frozenset(FORMAT_OF)
MODES = {
    "1": "black and white",
    "L": "grayscale",
    "LA": "grayscale",
    "P": "palette",
    "CMYK": "CMYK",
    "RGBA": "transparency",
}


class Undecodable(Exception):
    """These bytes are no image that Pillow reads; says why."""


def decode(data: bytes) -> torch.Tensor:
    """uint8 (3, height, width), channels last in memory, any mode converted to RGB. Raises Undecodable."""
    return _pixels(_open(data))


def decode_noted(data: bytes, name: str = "") -> tuple[torch.Tensor, list[str]]:
    """(`decode`'s pixels, what is unusual about the file called `name`). Raises Undecodable.

    Pixels stay as the file has them where EXIF asks for a rotation, as readers of ILSVRC leave them, but for TIFF, which Pillow turns;
    an animation gives its first frame, 16 bits a channel become 8.
    """
    image = _open(data)
    try:
        frames = getattr(image, "n_frames", 1)
    except (
        Exception
    ):  # Pillow looks for frames to the end of a file that is cut off, and does not come back
        image, frames = _open(data), 1
    notes = _notes(
        image, name, frames
    )  # first, since loading the pixels forgets how they were coded
    return _pixels(image), notes


def image_shape(data: bytes) -> tuple[int, int]:
    """(height, width) in pixels from the header alone. Raises Undecodable."""
    return _open(data).size[::-1]


def _open(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise Undecodable(f"decompression bomb: {error}") from error
    except Exception as error:  # Pillow's plugins raise whatever their format's parser trips over
        raise Undecodable(
            f"{type(error).__name__}: {error}" if data else "the file is empty"
        ) from error
    if image.width * image.height > MAX_PIXELS:
        raise Undecodable(
            f"decompression bomb: {image.width} x {image.height} pixels, more than {MAX_PIXELS:,} in all"
        )
    if max(image.size) > MAX_SIDE:
        raise Undecodable(
            f"{image.width} x {image.height} pixels: a side is longer than {MAX_SIDE:,}"
        )
    return image


def _pixels(image: Image.Image) -> torch.Tensor:
    if image.mode == "F":
        raise Undecodable(
            "its pixels are floating-point numbers, and nothing tells which of them is white"
        )
    try:
        if image.mode.startswith("I"):  # 16 bits of gray, which Pillow would clip at 255
            gray = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
            array = np.repeat(gray[:, :, None], 3, axis=2)
        else:
            image.load()
            array = np.asarray(image if image.mode == "RGB" else image.convert("RGB")).copy()
        return torch.from_numpy(array).permute(2, 0, 1)
    except Exception as error:
        raise Undecodable(f"{type(error).__name__}: {error}") from error


def _notes(image: Image.Image, name: str, frames: int) -> list[str]:
    notes = []
    expected = FORMAT_OF.get(PurePosixPath(name).suffix.lower())
    if expected and image.format not in (expected, "MPO"):
        notes.append(f"{image.format} inside {PurePosixPath(name).suffix}")
    if image.mode.startswith("I") or any(
        "16" in _raw_mode(tile.args) for tile in getattr(image, "tile", ())
    ):
        notes.append("16 bits a channel")
    elif image.mode in MODES:
        notes.append(MODES[image.mode])
    if frames > 1 and image.format != "MPO":
        notes.append(f"animated: the first of {frames} frames")
    orientation = 1
    with suppress(Exception):  # damaged metadata around sound pixels
        orientation = image.getexif().get(ORIENTATION, 1)
    if orientation not in (0, 1):
        notes.append(
            f"EXIF-rotated (orientation {orientation}): {'turned' if image.format == 'TIFF' else 'left as stored'}"
        )
    return notes


def _raw_mode(args: object) -> str:
    """How pixels are coded, such as `RGB;16B`: what a decoder of Pillow is given first."""
    return str(args[0] if isinstance(args, tuple) and args else args)


def resized_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """The shape with the shorter side brought down to `size`, aspect kept; smaller images stay as they are."""
    short = min(height, width)
    return (
        (height, width)
        if short <= size
        else (round(height * size / short), round(width * size / short))
    )


def shrink(image: torch.Tensor, size: int) -> torch.Tensor:
    """(3, h, w) with the shorter side at most `size`."""
    return resize(image, resized_shape(image.shape[1], image.shape[2], size))


def resize(images: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """(3, h, w) or (n, 3, h, w) uint8 brought to `shape` (height, width): bilinear with antialias, in integers, so alike on every machine.

    The pixels of torchvision's `transforms.v2` resize, without the 170 MB that importing it takes.
    """
    if shape == tuple(images.shape[-2:]):
        return images
    # An image alone as a batch with the strides of channels-last, which `images[None]` would not have: no copy is then made.
    batch = images if images.ndim == 4 else images.permute(1, 2, 0)[None].permute(0, 3, 1, 2)
    return functional.interpolate(batch, shape, mode="bilinear", antialias=True).reshape(
        *images.shape[:-2], *shape
    )


def encode_jpeg(image: torch.Tensor, quality: int) -> bytes:
    """(3, h, w) uint8 as a JPEG file, chroma at full resolution."""
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(
        buffer, "JPEG", quality=quality, subsampling=0
    )
    return buffer.getvalue()


def decode_crop(data: bytes, out: np.ndarray, top: float, left: float, *, mirror: bool) -> None:
    """Decode an RGB JPEG and copy a crop of it into `out`, uint8 (3, height, width), without building the whole array first.

    `top` and `left` in [0, 1) choose among the places that fit. Raises Undecodable.
    """
    import pyarrow as pa

    image = _open(data)
    try:
        image.load()
    except Exception as error:
        raise Undecodable(f"{type(error).__name__}: {error}") from error
    try:
        # Pillow lends its memory, four bytes a pixel, where the image is in one block of it: up to 16 MB.
        pixels = pa.array(image).flatten().to_numpy().reshape(image.height, image.width, 4)
    except ValueError:
        pixels = np.asarray(image)
    height, width = out.shape[1:]
    y, x = int(top * (image.height - height + 1)), int(left * (image.width - width + 1))
    crop = pixels[y : y + height, x : x + width, :3].transpose(2, 0, 1)
    out[:] = crop[:, :, ::-1] if mirror else crop


def is_debris(name: str) -> bool:
    """Whether it is or lies in what a system left there (`__MACOSX`, `.ipynb_checkpoints`, `._1.jpg`), which shows no class."""
    left = ("__MACOSX", "Thumbs.db", "desktop.ini")
    return any(
        (part.startswith(".") and part not in (".", "..")) or part in left
        for part in name.split("/")
    )


def is_image(name: str) -> bool:
    return has_image_suffix(name) and not is_debris(name)


def has_image_suffix(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def printable(name: str) -> str:
    """Bytes that are no UTF-8 written out: the name can then be kept and shown."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")
