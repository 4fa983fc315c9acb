"""Conversion to RGB of 8 bits: the same picture in any container gives the same pixels."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from harness.data.conversion import follows_rule
from harness.data.decode import Undecodable, decode, decode_and_inspect

RNG = np.random.default_rng(3)
GRAY = RNG.integers(
    64, 256, (20, 30), dtype=np.uint8
)  # more than 6 bits, so that 8 are significant
GRAY[0, 0] = 255
COLOR = RNG.integers(64, 256, (20, 30, 3), dtype=np.uint8)
COLOR[0, 0] = 255
PNG_COLOR_TYPES = {1: 0, 3: 2, 2: 4, 4: 6}  # by number of channels


def encode(image: Image.Image, format_name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png16(values: np.ndarray, *chunks: bytes) -> bytes:
    """Write a PNG file of 16 bits per channel, with chunks before the pixels."""
    height, width = values.shape[:2]
    color_type = PNG_COLOR_TYPES[values.size // (height * width)]
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    parts = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + png_chunk(b"IEND", b"")


def tiff(values: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    photometric = options.pop("photometric", "rgb" if values.ndim == 3 else "minisblack")
    tifffile.imwrite(buffer, values, photometric=photometric, **options)
    return buffer.getvalue()


def ppm(values: np.ndarray, maximum: int, *, plain: bool = False) -> bytes:
    height, width = values.shape[:2]
    kind = (5 if values.ndim == 2 else 6) - 3 * plain
    head = f"P{kind}\n# made here\n{width} {height}\n{maximum}\n".encode()
    if plain:
        return head + b" # inside\n".join(b" %d" % value for value in values.ravel().tolist())
    return head + values.astype("u1" if maximum < 256 else ">u2").tobytes()


def to_pixels(data: bytes) -> np.ndarray:
    return decode(data).permute(1, 2, 0).numpy()


CONTAINERS: dict[str, Callable[[np.ndarray], bytes]] = {
    "PNG": png16,
    "TIFF": tiff,
    "big-endian TIFF": lambda values: tiff(values, byteorder=">"),
    "compressed TIFF": lambda values: tiff(values, compression="zlib"),
    "tiled TIFF": lambda values: tiff(values, tile=(16, 16)),
    "PPM": lambda values: ppm(values, 65535),
    "plain PPM": lambda values: ppm(values, 65535, plain=True),
}


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("picture", [GRAY, COLOR], ids=["gray", "color"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_the_upper_8_of_the_significant_bits_are_kept(
    container: str, picture: np.ndarray, bits: int
) -> None:
    values = picture.astype(np.uint16) << (bits - 8)
    pixels, unusual = decode_and_inspect(CONTAINERS[container](values))
    expected = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    assert np.array_equal(pixels.permute(1, 2, 0), expected)
    description = "16 bits per channel"
    if bits < 16:
        description += f", {bits} significant"
    assert description in unusual
    assert follows_rule(description) == (bits < 16)


def test_a_png_may_state_its_significant_bits() -> None:
    dim = np.full((4, 4), 500, dtype=np.uint16)
    for bits, expected in {12: 500 >> 4, 16: 500 >> 8, 10: 500 >> 2}.items():
        assert to_pixels(png16(dim, png_chunk(b"sBIT", bytes([bits])))).max() == expected
    # the standard has 12 significant bits first
    bright = np.full((4, 4), 40_000, dtype=np.uint16)
    assert to_pixels(png16(bright, png_chunk(b"sBIT", b"\x0c"))).max() == 40_000 >> 8
    broken = png16(bright, png_chunk(b"sBIT", b"\xff"))
    assert to_pixels(broken).max() == 40_000 >> 8


@pytest.mark.parametrize("plain", [False, True])
def test_the_maximum_of_a_ppm_file_is_white(plain: bool) -> None:
    for maximum in (4095, 1000, 255, 100, 1):
        values = np.array([[0, maximum // 2, maximum]])
        for picture in (values, np.repeat(values[..., None], 3, axis=2)):
            pixels = to_pixels(ppm(picture, maximum, plain=plain))
            middle = maximum // 2 * 255 / maximum
            assert pixels[0, 0].max() == 0
            assert abs(pixels[0, 1].astype(float) - middle).max() <= 1
            assert pixels[0, 2].min() == 255


def test_ppm_files_of_8_bits_or_less_have_the_pixels_that_pillow_reads() -> None:
    for maximum in (255, 200, 15):
        values = RNG.integers(0, maximum + 1, (9, 7, 3))
        data = ppm(values, maximum)
        assert np.array_equal(to_pixels(data), np.asarray(Image.open(io.BytesIO(data))))
        assert decode_and_inspect(data)[1] == []


@pytest.mark.parametrize("damage", ["cut", "letters"])
@pytest.mark.parametrize("plain", [False, True])
def test_a_damaged_ppm_file_is_undecodable(plain: bool, damage: str) -> None:
    data = ppm(COLOR, 200, plain=plain)
    harmed = data[:-300] if damage == "cut" else data[:400] + b"xyz" + data[-300:]
    with pytest.raises(Undecodable, match="the PPM file is truncated"):
        decode(harmed)


@pytest.mark.parametrize(
    ("values", "expected", "description"),
    [
        (GRAY.astype(np.uint32) << 24, GRAY, "32 bits per channel, 32 significant"),
        (GRAY.astype(np.uint32) << 10, GRAY, "32 bits per channel, 18 significant"),
        (GRAY.astype(np.uint32) << 4, GRAY, "32 bits per channel, 12 significant"),
        (GRAY.astype(np.int32), GRAY, "32 bits per channel, 8 significant"),
        (GRAY.astype(np.int16) << 4, GRAY, "16 bits per channel, 12 significant"),
        (GRAY.astype(np.float32), GRAY, "floating-point gray, 0 to 255"),
        (GRAY.astype(np.float32) / 255, GRAY, "floating-point gray, 0 to 1"),
        (GRAY.astype(np.float32) * 16, GRAY, "floating-point gray, 12 bits"),
    ],
    ids=str,
)
def test_gray_of_other_types_keeps_what_there_is_to_see(
    values: np.ndarray, expected: np.ndarray, description: str
) -> None:
    pixels, unusual = decode_and_inspect(tiff(values))
    assert np.array_equal(pixels[0], expected)
    assert description in unusual
    assert follows_rule(description)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([[0.5, np.nan]], dtype=np.float32), "infinite or no numbers"),
        (np.array([[0.5, np.inf]], dtype=np.float32), "infinite or no numbers"),
        (np.array([[0.5, -1]], dtype=np.float32), "negative pixel values"),
        (np.array([[0.5, 1e6]], dtype=np.float32), "above 65,535 have no defined white level"),
        (np.array([[-1024, 3000]], dtype=np.int16), "negative pixel values"),
        (np.array([[-1, 3]], dtype=np.int32), "negative pixel values"),
    ],
    ids=str,
)
def test_pixels_without_a_gray_level_are_undecodable(values: np.ndarray, reason: str) -> None:
    with pytest.raises(Undecodable, match=reason):
        decode(tiff(values))


def test_white_may_be_zero_in_a_tiff_file() -> None:
    pixels, unusual = decode_and_inspect(
        tiff(GRAY.astype(np.uint16) << 8, photometric="miniswhite")
    )
    assert np.array_equal(pixels[0], 255 - GRAY)
    assert "16 bits per channel, white is zero" in unusual


def test_deep_color_in_separate_planes_is_undecodable() -> None:
    """Pillow reads such a file as if it had 8 bits, and gives half of it."""
    planes = COLOR.transpose(2, 0, 1).astype(np.uint16) << 8
    with pytest.raises(Undecodable, match="separate planes are not read"):
        decode(tiff(planes, photometric="rgb", planarconfig="separate"))


HALF = np.linspace(0, 255, 20 * 30).astype(np.uint8).reshape(20, 30)  # transparency


def on_white(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return color * share + 255 * (1 - share)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "WEBP"])
def test_transparent_pixels_lie_on_white(format_name: str) -> None:
    options = {"lossless": True, "exact": True} if format_name == "WEBP" else {}
    image = Image.fromarray(np.dstack([COLOR, HALF]))
    pixels, unusual = decode_and_inspect(encode(image, format_name, **options))
    assert np.abs(pixels.permute(1, 2, 0).numpy() - on_white(COLOR, HALF)).max() <= 1
    assert "transparency, laid on white" in unusual
    assert follows_rule("transparency, laid on white")


def test_gray_with_transparency_lies_on_white() -> None:
    image = Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(HALF)])
    expected = on_white(np.dstack([GRAY] * 3), HALF)
    assert np.abs(to_pixels(encode(image, "PNG")) - expected).max() <= 1
    deep = np.dstack([GRAY, HALF]).astype(np.uint16)
    for bits in (12, 16):
        pixels = to_pixels(png16(deep << (bits - 8)))
        assert np.abs(pixels - expected).max() <= 1


def test_deep_color_with_transparency_lies_on_white() -> None:
    values = np.dstack([COLOR, HALF]).astype(np.uint16)
    expected = on_white(COLOR, HALF)
    for data in (png16(values << 4), png16(values << 8), tiff(values << 4, extrasamples=[2])):
        assert np.abs(to_pixels(data) - expected).max() <= 1
    opaque_alpha = np.dstack(
        [COLOR.astype(np.uint16) << 4, np.full_like(GRAY, 0) + np.uint16(65535)]
    )
    pixels, unusual = decode_and_inspect(png16(opaque_alpha))
    assert np.array_equal(pixels.permute(1, 2, 0), COLOR)
    assert unusual == ["16 bits per channel, 12 significant", "alpha channel"]


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "I;16"])
def test_one_color_of_an_image_may_be_transparent(mode: str) -> None:
    color = Image.fromarray(COLOR)
    if mode == "I;16":
        values = GRAY.astype(np.uint16) << 8
        data = png16(values, png_chunk(b"tRNS", struct.pack(">H", int(values[3, 4]))))
    else:
        image = color.convert(mode)
        transparent = image.getpixel((4, 3))
        data = encode(image, "PNG", transparency=transparent)
    pixels, unusual = decode_and_inspect(data)
    assert pixels[:, 3, 4].tolist() == [255, 255, 255]
    assert "transparency, laid on white" in unusual
    if mode in ("L", "RGB"):
        assert pixels.float().mean() < 250  # the others stay


def test_one_deep_color_may_be_transparent() -> None:
    values = COLOR.astype(np.uint16) << 8 | 7
    key = png_chunk(b"tRNS", values[3, 4].astype(">u2").tobytes())
    pixels = to_pixels(png16(values, key))
    assert pixels[3, 4].tolist() == [255, 255, 255]
    assert np.array_equal(pixels[4:], COLOR[4:])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_an_opaque_alpha_channel_changes_nothing(mode: str) -> None:
    image = Image.fromarray(COLOR).convert("L" if mode == "LA" else "RGB").convert(mode)
    data = encode(image, "TIFF" if mode == "PA" else "PNG")
    pixels, unusual = decode_and_inspect(data)
    assert np.array_equal(pixels.permute(1, 2, 0), np.asarray(image.convert("RGB")))
    assert not any(map(follows_rule, unusual))


def test_a_gif_with_transparent_pixels_lies_on_white() -> None:
    image = Image.fromarray(COLOR).quantize(16)
    transparent = image.getpixel((4, 3))
    pixels, unusual = decode_and_inspect(encode(image, "GIF", transparency=transparent))
    assert pixels[:, 3, 4].tolist() == [255, 255, 255]
    assert unusual == ["palette", "transparency, laid on white"]
