"""Decoding of image files to pixels, and the one resize that every prepared dataset is made with.

Pillow decodes, and reads no formats but those of FORMATS: to read others it would start a program
such as Ghostscript. The resize is torch's antialiased bilinear one, whose integer arithmetic gives
the same bytes on every machine.
"""

from __future__ import annotations

import ctypes
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import cast

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError
from torch.nn import functional

from harness.data.conversion import UnreadablePixels, convert_to_rgb
from harness.data.frames import MAX_FRAMES, count_frames
from harness.data.undecodable import Undecodable, describe_file
from harness.render import text
from harness.render.text import printable as printable  # of names that are stored

# Pillow logs errors about TIFF, which would be printed; they are listed with the image.
logging.getLogger("PIL").addHandler(logging.NullHandler())
# Pillow's own limit, above which it suspects a decompression bomb
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
MAX_FILE_BYTES = 10**9  # a TIFF of MAX_PIXELS with four channels of 16 bits takes 0.7 GB
# Pixels; JPEG files allow no longer side, and a dataset must hold the same images in either codec.
MAX_SIDE = 65_500
# A progressive JPEG has about ten; each takes as long as a whole image.
START_OF_SCAN, MAX_SCANS = b"\xff\xda", 500
# while an image is converted: 4 as Pillow has it, 3 as an array, as much again for transparency
BYTES_PER_PIXEL = 14
WORDS = re.compile(r"[A-Za-z]+( [A-Za-z._]+)+")  # no numbers, quoted bytes or memory addresses
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
# in the order in which they are tried; JPEG covers MPO, which cameras write as .jpg
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP")
UNUSUAL_MODES = {
    "1": "black and white",
    "L": "grayscale",
    "LA": "grayscale",
    "P": "palette",
    "CMYK": "CMYK",
}
# What file systems, servers and cameras leave behind, in lower case
SYSTEM_NAMES = frozenset(
    (
        "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "network trash folder",
        "temporary items", "$recycle.bin", "recycler", "system volume information", "found.000",
        "lost+found", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot",
        "@__thumb", "@tmp", "__pycache__",
    )
)  # fmt: skip


def decode(data: bytes) -> torch.Tensor:
    """Decode an image of any mode to RGB.

    Returns
    -------
    image : (3, height, width) uint8, channels last in memory

    Raises
    ------
    Undecodable
    """
    return _load_rgb(_open(data), data)[0]


def decode_and_inspect(data: bytes, name: str = "") -> tuple[torch.Tensor, list[str]]:
    """Decode an image and describe what is unusual about its file.

    EXIF rotation is not applied, as in most readers of ILSVRC; TIFF is the exception, which Pillow
    turns itself. Animations give their first frame; what has more than 8 bits or is transparent is
    converted as conversion.py says.

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
    if image.info.get("progressive") and data.count(START_OF_SCAN) > MAX_SCANS:
        raise Undecodable(f"a JPEG file of more than {MAX_SCANS:,} scans, which would take hours")
    unusual = _describe_unusual(image, data, name)
    # The metadata of PNG may follow the pixels; loading TIFF rotates it.
    is_png = image.format == "PNG"
    rotation = [] if is_png else _describe_rotation(image)
    pixels, conversions = _load_rgb(image, data)
    if is_png:
        rotation = _describe_rotation(image)
    return pixels, [*unusual, *conversions, *rotation]


def image_shape(data: bytes) -> tuple[int, int]:
    """Return (height, width) in pixels, from the header alone. Raises Undecodable."""
    return _open(data).size[::-1]


def check_size(file_bytes: int) -> None:
    """Raise Undecodable for a file that is too large to be one image."""
    if file_bytes > MAX_FILE_BYTES:
        raise Undecodable(f"it has {text.size(file_bytes)}, more than {text.size(MAX_FILE_BYTES)}")


@contextmanager
def ignore_pillow_warnings() -> Iterator[None]:
    """Silence Pillow's warnings about large images and damaged metadata, and libtiff's errors.

    What matters of it is listed with the image. One thread may do this, for all of them.
    """
    set_handler = _libtiff_error_handler()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        handler = set_handler(None)
        try:
            yield
        finally:
            set_handler(handler)


def _libtiff_error_handler() -> Callable[[int | None], int | None]:
    """Return the function that sets where the libtiff in Pillow writes: by default, to stderr."""
    try:
        # found among the libraries that the extension module is linked to
        set_handler = ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        return lambda handler: handler  # linked in a way that hides it
    set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
    return cast("Callable[[int | None], int | None]", set_handler)


def _open(data: bytes) -> ImageFile.ImageFile:
    check_size(len(data))
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise Undecodable(describe_file(bytes(data))) from error
    except Image.DecompressionBombError as error:
        raise Undecodable(f"decompression bomb: more than {2 * MAX_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow's parsers raise exceptions of many types
        raise Undecodable(_explain(error, describe_file(bytes(data)))) from error
    size = f"{image.width} x {image.height} pixels"
    if image.width * image.height > MAX_PIXELS:
        raise Undecodable(f"decompression bomb: {size}, more than {MAX_PIXELS:,} in all")
    if max(image.size) > MAX_SIDE:
        raise Undecodable(f"{size}: a side is longer than {MAX_SIDE:,}")
    if min(image.size) < 1:
        raise Undecodable(f"{size}: the image is empty")
    return image


def _load_rgb(image: ImageFile.ImageFile, data: bytes) -> tuple[torch.Tensor, list[str]]:
    size, format_name = image.size, image.format
    try:
        pixels, conversions = convert_to_rgb(image, data)
        return torch.from_numpy(pixels).permute(2, 0, 1), conversions
    except UnreadablePixels as error:
        raise Undecodable(str(error)) from error
    except MemoryError as error:
        needed = f"{size[0] * size[1] * BYTES_PER_PIXEL / 2**20:,.0f} MiB"
        raise Undecodable(
            f"decoding its {size[0]} x {size[1]} pixels takes about {needed} of memory, "
            "more than is free"
        ) from error
    except Exception as error:
        raise Undecodable(_explain(error, f"the {format_name} file is damaged")) from error


def _explain(error: Exception, description: str) -> str:
    """Return a description with Pillow's reason, if that is written for people.

    Remarks in brackets are left out, so that equal reasons are equal texts.
    """
    reason = re.sub(r"\s*\(.*?\)", "", str(error))
    is_readable = isinstance(error, OSError | SyntaxError | ValueError)
    return f"{description}: {reason}" if is_readable and WORDS.fullmatch(reason) else description


def _describe_unusual(image: ImageFile.ImageFile, data: bytes, name: str) -> list[str]:
    unusual = []
    suffix = PurePosixPath(name).suffix
    expected = FORMAT_OF_SUFFIX.get(suffix.lower())
    if expected and image.format not in (expected, "MPO"):
        unusual.append(f"{image.format} inside {suffix}")
    if image.mode in UNUSUAL_MODES:
        unusual.append(UNUSUAL_MODES[image.mode])
    frames = 1
    with suppress(Exception):
        frames = count_frames(image, data)
    if frames > 1:
        count = frames if frames <= MAX_FRAMES else f"more than {MAX_FRAMES:,}"
        unusual.append(f"animated: the first of {count} frames")
    return unusual


def _describe_rotation(image: ImageFile.ImageFile) -> list[str]:
    orientation = 1
    with suppress(Exception):  # the metadata may be damaged even if the pixels are not
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    if orientation not in range(2, 9):
        return []
    treatment = "applied" if image.format == "TIFF" else "not applied"
    return [f"EXIF rotation (orientation {orientation}) {treatment}"]


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
        raise Undecodable(_explain(error, f"the {image.format} file is damaged")) from error
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
    return system_part(name) is not None


def system_part(name: str) -> str | None:
    """Return the first component of a path for which it is a system file, if any."""
    return next((part for part in name.split("/") if _is_system_name(part)), None)


def _is_system_name(part: str) -> bool:
    hidden = part.startswith(".") and part not in (".", "..")
    return hidden or part.lower() in SYSTEM_NAMES


def is_image(name: str) -> bool:
    """Return whether a path has an image's suffix and is not a system file."""
    return has_image_suffix(name) and not is_system_file(name)


def has_image_suffix(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in FORMAT_OF_SUFFIX
