"""Conversion of any image to RGB of 8 bits per channel, by a rule that keeps what there is to see.

- More than 8 bits per channel: the upper 8 of the significant bits. Their number is what the file
  states (sBIT of PNG, the maximum of PPM, 12-bit TIFF), else the smallest of SIGNIFICANT_BITS that
  holds the image's largest value: 12-bit pictures are commonly stored in 16 bits.
- Floating-point gray: 0 to 1 is stretched to 0 to 255, which stays as it is; up to 65,535 counts as
  integers do.
- Transparent pixels lie on white, instead of showing the colors that are hidden under them.

Profiles and gamma are not applied.
"""

from __future__ import annotations

import io
import re
import struct
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

# Sensors have 8 to 16 bits; sums and counts in 32 bits may end anywhere.
SIGNIFICANT_BITS = (8, 10, 12, 14, *range(16, 33))
WHITE_16 = 2**16 - 1
ON_WHITE = "transparency, laid on white"
OPAQUE = "alpha channel"  # which says that nothing is transparent
FLOATING_POINT = "floating-point gray"
DEEP_RAW_MODE = re.compile(r"(RGB|RGBX|RGBA|LA);16[BLN]")
BITS_PER_SAMPLE, PHOTOMETRIC, PLANAR_CONFIGURATION = 258, 262, 284  # tags of TIFF
IN_PLANES, WHITE_IS_ZERO = 2, 0  # their values
OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


class UnreadablePixels(Exception):
    """The pixels have no defined gray level or color; the message says why."""


def follows_rule(description: str) -> bool:
    """Return whether a description of `convert_to_rgb` says that the rule determined the pixels:
    that they are not what Pillow alone would give.
    """
    return description == ON_WHITE or description.startswith(
        (FLOATING_POINT, "32 bits per channel", "16 bits per channel, ")
    )


def convert_to_rgb(image: ImageFile.ImageFile, data: bytes) -> tuple[np.ndarray, list[str]]:
    """Convert an opened image that is not loaded yet.

    Parameters
    ----------
    image : PIL.ImageFile.ImageFile
    data : bytes
        The file.

    Returns
    -------
    pixels : (height, width, 3) uint8
    descriptions : list of str
        What was converted, such as "16 bits per channel, 12 significant".

    Raises
    ------
    UnreadablePixels
        Besides what Pillow raises.
    """
    raw_mode, decoder = _raw_mode(image), image.tile[0].codec_name if image.tile else ""
    if image.format == "PPM" and decoder.startswith("ppm") and image.mode != "1":
        return _convert_ppm(image, data)
    if image.mode == "F":
        return _convert_floats(image)
    if image.mode.startswith("I"):
        return _convert_deep_gray(image, data, raw_mode)
    if _is_deep_in_planes(image):
        raise UnreadablePixels(
            "16 bits per channel in separate planes are not read: save it with its channels "
            "together (PlanarConfiguration 1)"
        )
    if DEEP_RAW_MODE.fullmatch(raw_mode) and image.format in ("PNG", "TIFF"):
        return _convert_deep_color(image, data, raw_mode)
    if image.has_transparency_data:
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        return _lay_on_white(rgba.convert("RGB"), rgba.getchannel("A"))
    image.load()
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB")).copy(), []


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """Return how the file codes its pixels, such as `RGB;16B`."""
    arguments = image.tile[0].args if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _lay_on_white(color: Image.Image, alpha: Image.Image) -> tuple[np.ndarray, list[str]]:
    lowest, _ = alpha.getextrema()
    if lowest == 255:
        return np.asarray(color).copy(), [OPAQUE]
    white = Image.new("RGB", color.size, "white")
    white.paste(color, mask=alpha)
    return np.asarray(white).copy(), [ON_WHITE]


def _convert_deep_gray(
    image: ImageFile.ImageFile, data: bytes, raw_mode: str
) -> tuple[np.ndarray, list[str]]:
    key = image.info.get("transparency")
    values = np.asarray(image)
    if values.dtype == np.int32 and ";32" in raw_mode and "S" not in raw_mode:
        values = values.view(np.uint32)  # Pillow has no unsigned 32 bits
    if values.min() < 0:
        raise UnreadablePixels("negative pixel values have no gray level: save it as 8-bit gray")
    white = 4095 if raw_mode == "I;12" else _white_level(image, data, int(values.max()))
    pixels = _to_8_bits(values, white)
    description = _describe_bits(white, 32 if ";32" in raw_mode else 16)
    if _is_white_zero(image):
        pixels, description = 255 - pixels, f"{description}, white is zero"
    if key is None:
        return _copy_to_three_channels(pixels), [description]
    alpha = Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))
    on_white, transparency = _lay_on_white(Image.fromarray(pixels).convert("RGB"), alpha)
    return on_white, [description, *transparency]


def _convert_deep_color(
    image: ImageFile.ImageFile, data: bytes, raw_mode: str
) -> tuple[np.ndarray, list[str]]:
    key = image.info.get("transparency")
    values = _read_16_bits(image, data, raw_mode)
    alpha = None
    if values.shape[2] in (2, 4):
        values, alpha = values[..., :-1], values[..., -1]
    elif key is not None:
        alpha = np.where((values == np.array(key)).all(2), 0, WHITE_16)
    white = _white_level(image, data, int(values.max()))
    description = _describe_bits(white, 16)
    pixels = np.broadcast_to(_to_8_bits(values, white), (*values.shape[:2], 3)).copy()
    if alpha is None:
        return pixels, [description]
    opaque = white if alpha.max() <= white else WHITE_16
    opacity = Image.fromarray(_to_8_bits(alpha, opaque))
    on_white, transparency = _lay_on_white(Image.fromarray(pixels), opacity)
    return on_white, [description, *transparency]


def _read_16_bits(image: ImageFile.ImageFile, data: bytes, raw_mode: str) -> np.ndarray:
    """Return all 16 bits of color channels, of which Pillow keeps the upper 8.

    The file is read twice, the second time as if its bytes had the other order, so that Pillow
    takes the lower byte for the upper one.

    Returns
    -------
    values : (height, width, channels) uint16
    """
    if raw_mode.startswith("LA"):  # Pillow copies the gray; read it as four channels of 8 bits
        _change_raw_mode(image, "RGBA")
        return np.asarray(image).copy().view(">u2")
    twin = Image.open(io.BytesIO(data), formats=[str(image.format)])
    _change_raw_mode(twin, raw_mode[:-1] + OTHER_ORDER[raw_mode[-1]])
    upper, lower = np.asarray(image), np.asarray(twin)
    return upper.astype(np.uint16) << 8 | lower


def _change_raw_mode(image: ImageFile.ImageFile, raw_mode: str) -> None:
    """Have an image that is not loaded yet decoded as if it were coded in another way."""
    tiles = []
    for tile in image.tile:
        rest = tile.args[1:] if isinstance(tile.args, tuple) else None
        tiles.append(tile._replace(args=raw_mode if rest is None else (raw_mode, *rest)))
    image.tile = tiles


def _convert_ppm(image: ImageFile.ImageFile, data: bytes) -> tuple[np.ndarray, list[str]]:
    """Convert a PPM or PGM file with decimal numbers, or with a maximum other than 255.

    Pillow's decoders for these take a second per million numbers.
    """
    tile = image.tile[0]
    assert isinstance(tile.args, tuple)  # (raw mode, maximum)
    maximum = int(tile.args[1])
    shape = (image.height, image.width, len(image.getbands()))
    count = int(np.prod(shape))
    try:
        if tile.codec_name == "ppm_plain":
            text = re.sub(rb"#[^\r\n]*", b"", data[tile.offset :])
            with warnings.catch_warnings():
                warnings.simplefilter("error", DeprecationWarning)  # text that is no number
                values = np.fromstring(text, np.int32, sep=" ")[:count]
        else:
            dtype = np.uint8 if maximum < 256 else np.dtype(">u2")
            values = np.frombuffer(data, dtype, count, tile.offset)
    except (ValueError, DeprecationWarning) as error:
        raise UnreadablePixels("the PPM file is truncated or damaged") from error
    if len(values) < count:
        raise UnreadablePixels("the PPM file is truncated")
    values, levels = values.clip(0, maximum), np.arange(maximum + 1)
    if maximum < 256:
        table, descriptions = np.rint(levels / maximum * 255).astype(np.uint8), []
    else:
        white = maximum if maximum < WHITE_16 else _white_level(image, data, int(values.max()))
        table, descriptions = _to_8_bits(levels, white), [_describe_bits(white, 16)]
    pixels = table[values].reshape(shape)
    return np.broadcast_to(pixels, (*shape[:2], 3)).copy(), descriptions


def _convert_floats(image: ImageFile.ImageFile) -> tuple[np.ndarray, list[str]]:
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise UnreadablePixels("some of its floating-point pixels are infinite or no numbers")
    if values.min() < 0:
        raise UnreadablePixels("negative pixel values have no gray level: save it as 8-bit gray")
    highest = float(values.max())
    if highest > WHITE_16:
        raise UnreadablePixels(
            f"floating-point pixels above {WHITE_16:,} have no defined white level: "
            "save it as 8-bit gray"
        )
    if highest <= 1:
        pixels, levels = np.rint(values * np.float32(255)), "0 to 1"
    elif highest <= 255:
        pixels, levels = np.rint(values), "0 to 255"
    else:
        bits = _significant_bits(int(highest))
        pixels, levels = _to_8_bits(values.astype(np.uint32), 2**bits - 1), f"{bits} bits"
    gray = pixels.astype(np.uint8)
    if _is_white_zero(image):
        gray = 255 - gray
    return _copy_to_three_channels(gray), [f"{FLOATING_POINT}, {levels}"]


def _white_level(image: ImageFile.ImageFile, data: bytes, highest: int) -> int:
    """Return the value that is white: what the file states, else by its highest value."""
    stated = _stated_bits(data) if image.format == "PNG" else 0
    if not stated:
        return 2 ** _significant_bits(highest) - 1
    # The standard has the significant bits first; files with values so small have them last.
    return 2**stated - 1 if highest < 2**stated else WHITE_16


def _describe_bits(white: int, container_bits: int) -> str:
    is_full = white == WHITE_16 and container_bits == 16
    significant = "" if is_full else f", {white.bit_length()} significant"
    return f"{container_bits} bits per channel{significant}"


def _significant_bits(highest: int) -> int:
    return next(bits for bits in SIGNIFICANT_BITS if highest < 2**bits)


def _stated_bits(data: bytes) -> int:
    """Return the largest number of bits in the sBIT chunk of a PNG file; 0 without one."""
    position = 8
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"sBIT":
            bits = max(data[position + 8 : position + 8 + min(length, 3)], default=0)
            return bits if bits <= 16 else 0
        if kind == b"IDAT":
            break
        position += length + 12
    return 0


def _to_8_bits(values: np.ndarray, white: int) -> np.ndarray:
    """Return the upper 8 bits, if `white` is a power of two less one; else the nearest to it."""
    wide = values.astype(np.uint32 if white <= WHITE_16 else np.uint64)
    return (wide * 256 // (white + 1)).astype(np.uint8)


def _is_deep_in_planes(image: ImageFile.ImageFile) -> bool:
    """Return whether a TIFF file has planes of 16 bits, which Pillow reads as planes of 8."""
    tags = _tiff_tags(image)
    return tags.get(PLANAR_CONFIGURATION) == IN_PLANES and max(tags.get(BITS_PER_SAMPLE, (1,))) > 8


def _is_white_zero(image: ImageFile.ImageFile) -> bool:
    """Return whether a TIFF file has white at zero, which Pillow ignores beyond 8 bits."""
    return _tiff_tags(image).get(PHOTOMETRIC) == WHITE_IS_ZERO


def _tiff_tags(image: ImageFile.ImageFile) -> Mapping[int, Any]:
    """Return the tags by number; none of a file that is no TIFF."""
    return image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}


def _copy_to_three_channels(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[:, :, None], 3, axis=2)
