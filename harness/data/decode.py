"""Decoding of image files to pixels, and the one resize that every prepared dataset is made with.

Pillow decodes; the resize is torch's antialiased bilinear one, whose integer arithmetic gives the
same bytes on every machine.
"""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

# Pillow's own limit, above which it suspects a decompression bomb
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
# Pixels; JPEG files allow no longer side, and a dataset must hold the same images in either codec.
MAX_SIDE = 65_500
EXIF_ORIENTATION = 0x0112
FORMAT_OF_SUFFIX = {
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".pbm": "PPM",
    ".pgm": "PPM",
    ".png": "PNG",
    ".pnm": "PPM",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
UNUSUAL_MODES = {
    "1": "black and white",
    "L": "grayscale",
    "LA": "grayscale",
    "P": "palette",
    "CMYK": "CMYK",
    "RGBA": "transparency",
}
SYSTEM_NAMES = ("__MACOSX", "Thumbs.db", "desktop.ini")


class Undecodable(Exception):
    """Pillow cannot read an image from these bytes; the message says why."""


def decode(data: bytes) -> torch.Tensor:
    """Decode an image of any mode to RGB.

    Returns
    -------
    image : (3, height, width) uint8, channels last in memory

    Raises
    ------
    Undecodable
    """
    return _load_rgb(_open(data))


def decode_and_inspect(data: bytes, name: str = "") -> tuple[torch.Tensor, list[str]]:
    """Decode an image and describe what is unusual about its file.

    EXIF rotation is not applied, as in most readers of ILSVRC; TIFF is the exception, which Pillow
    turns itself. Animations give their first frame, 16-bit channels their upper 8 bits.

    Parameters
    ----------
    data : bytes
    name : str
        The file name, whose suffix is compared with the actual format.

    Returns
    -------
    image : (3, height, width) uint8
    unusual : list of str
        Such as "CMYK" or "PNG inside .JPEG"; empty for an ordinary file.

    Raises
    ------
    Undecodable
    """
    image = _open(data)
    try:
        frames = getattr(image, "n_frames", 1)
    except Exception:
        # Pillow seeks to the end of a truncated file and leaves the image there, so open it again.
        image, frames = _open(data), 1
    unusual = _describe_unusual(image, name, frames)  # before loading, which drops the raw mode
    return _load_rgb(image), unusual


def image_shape(data: bytes) -> tuple[int, int]:
    """Return (height, width) in pixels, from the header alone. Raises Undecodable."""
    return _open(data).size[::-1]


def _open(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise Undecodable(f"decompression bomb: {error}") from error
    except Exception as error:  # Pillow's parsers raise exceptions of many types
        reason = f"{type(error).__name__}: {error}" if data else "the file is empty"
        raise Undecodable(reason) from error
    size = f"{image.width} x {image.height} pixels"
    if image.width * image.height > MAX_PIXELS:
        raise Undecodable(f"decompression bomb: {size}, more than {MAX_PIXELS:,} in all")
    if max(image.size) > MAX_SIDE:
        raise Undecodable(f"{size}: a side is longer than {MAX_SIDE:,}")
    return image


def _load_rgb(image: Image.Image) -> torch.Tensor:
    if image.mode == "F":
        raise Undecodable("its pixels are floating-point numbers without a defined white level")
    try:
        if image.mode.startswith("I"):  # 16-bit gray, which Pillow would clip at 255
            gray = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
            array = np.repeat(gray[:, :, None], 3, axis=2)
        else:
            image.load()
            array = np.asarray(image if image.mode == "RGB" else image.convert("RGB")).copy()
        return torch.from_numpy(array).permute(2, 0, 1)
    except Exception as error:
        raise Undecodable(f"{type(error).__name__}: {error}") from error


def _describe_unusual(image: Image.Image, name: str, frames: int) -> list[str]:
    unusual = []
    suffix = PurePosixPath(name).suffix
    expected = FORMAT_OF_SUFFIX.get(suffix.lower())
    if expected and image.format not in (expected, "MPO"):
        unusual.append(f"{image.format} inside {suffix}")
    raw_modes = [_raw_mode(tile.args) for tile in getattr(image, "tile", ())]
    if image.mode.startswith("I") or any("16" in mode for mode in raw_modes):
        unusual.append("16 bits per channel")
    elif image.mode in UNUSUAL_MODES:
        unusual.append(UNUSUAL_MODES[image.mode])
    if frames > 1 and image.format != "MPO":
        unusual.append(f"animated: the first of {frames} frames")
    orientation = 1
    with suppress(Exception):  # the metadata may be damaged even if the pixels are not
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    if orientation not in (0, 1):
        treatment = "applied" if image.format == "TIFF" else "not applied"
        unusual.append(f"EXIF rotation (orientation {orientation}) {treatment}")
    return unusual


def _raw_mode(decoder_args: object) -> str:
    """Return how the file codes its pixels, such as `RGB;16B`."""
    if isinstance(decoder_args, tuple) and decoder_args:
        return str(decoder_args[0])
    return str(decoder_args)


def resized_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """Return the shape whose shorter side is at most `size`, with the same aspect ratio."""
    short = min(height, width)
    if short <= size:
        return height, width
    return round(height * size / short), round(width * size / short)


def shrink(image: torch.Tensor, size: int) -> torch.Tensor:
    """Resize a (3, height, width) image so that its shorter side is at most `size` pixels."""
    return resize(image, resized_shape(image.shape[1], image.shape[2], size))


def resize(images: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Resize by antialiased bilinear interpolation, in integers.

    The pixels equal those of torchvision's `transforms.v2` resize, which is not used because
    importing it takes 170 MB of memory.

    Parameters
    ----------
    images : (3, height, width) or (n, 3, height, width) uint8
    shape : tuple of int
        (height, width) in pixels.
    """
    if shape == tuple(images.shape[-2:]):
        return images
    # A batch of one with channels-last strides (images[None] lacks them) avoids a copy.
    batch = images if images.ndim == 4 else images.permute(1, 2, 0)[None].permute(0, 3, 1, 2)
    resized = functional.interpolate(batch, shape, mode="bilinear", antialias=True)
    return resized.reshape(*images.shape[:-2], *shape)


def encode_jpeg(image: torch.Tensor, quality: int) -> bytes:
    """Encode a (3, height, width) uint8 image as JPEG, without chroma subsampling."""
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def decode_crop(data: bytes, out: np.ndarray, top: float, left: float, *, flip: bool) -> None:
    """Decode an RGB JPEG and copy a crop of it, without an array of the full image in between.

    Parameters
    ----------
    data : bytes
    out : (3, height, width) uint8
        Filled with the crop.
    top, left : float in [0, 1)
        Position of the crop, as a fraction of the possible offsets.
    flip : bool
        Whether to mirror the crop left to right.

    Raises
    ------
    Undecodable
    """
    import pyarrow as pa

    image = _open(data)
    try:
        image.load()
    except Exception as error:
        raise Undecodable(f"{type(error).__name__}: {error}") from error
    try:
        # Up to 16 MB, Pillow shares its memory, which has four bytes per pixel.
        pixels = pa.array(image).flatten().to_numpy().reshape(image.height, image.width, 4)
    except ValueError:
        pixels = np.asarray(image)
    height, width = out.shape[1:]
    y, x = int(top * (image.height - height + 1)), int(left * (image.width - width + 1))
    crop = pixels[y : y + height, x : x + width, :3].transpose(2, 0, 1)
    out[:] = crop[:, :, ::-1] if flip else crop


def is_system_file(name: str) -> bool:
    """Return whether a path is or lies in something hidden or left by an operating system,
    such as `__MACOSX`, `.ipynb_checkpoints` or `._1.jpg`.
    """
    return any(
        (part.startswith(".") and part not in (".", "..")) or part in SYSTEM_NAMES
        for part in name.split("/")
    )


def is_image(name: str) -> bool:
    """Return whether a path has an image's suffix and is not a system file."""
    return has_image_suffix(name) and not is_system_file(name)


def has_image_suffix(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in FORMAT_OF_SUFFIX


def printable(name: str) -> str:
    """Escape the bytes of a file name that are not UTF-8, so that it can be stored and shown."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")
