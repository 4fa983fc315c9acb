"""Frames are counted without decoding them, and only up to a limit."""

from __future__ import annotations

import io
import struct
import time
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from harness.data.decode import decode_and_inspect
from harness.data.frames import MAX_FRAMES, count_frames

FRAMES = [
    Image.fromarray(np.random.default_rng(i).integers(0, 256, (9, 7, 3), dtype=np.uint8))
    for i in range(5)
]


def encode(format_name: str, frames: list[Image.Image], **options: Any) -> bytes:
    buffer = io.BytesIO()
    first, *others = frames
    first.save(buffer, format_name, save_all=True, append_images=others, **options)
    return buffer.getvalue()


def count(data: bytes) -> int:
    return count_frames(Image.open(io.BytesIO(data)), data)


@pytest.mark.parametrize("format_name", ["GIF", "TIFF", "WEBP", "PNG"])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_count_is_that_of_pillow(format_name: str, n: int) -> None:
    data = encode(format_name, FRAMES[:n])
    assert count(data) == n == getattr(Image.open(io.BytesIO(data)), "n_frames", 1)


def test_pages_of_every_kind_of_tiff_are_counted() -> None:
    pages = np.zeros((3, 8, 8), dtype=np.uint8)
    for options in ({"byteorder": ">"}, {"bigtiff": True}):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pages, photometric="minisblack", **options)
        assert count(buffer.getvalue()) == 3


def test_the_two_pictures_of_a_camera_count_as_one() -> None:
    data = encode("MPO", FRAMES[:2])
    assert decode_and_inspect(data, "a.jpg")[1] == []


def gif_of(frames: int) -> bytes:
    """Write a GIF file of one pixel per frame."""
    one = encode("GIF", [Image.new("P", (1, 1))])
    start = one.index(b"\x2c")
    return one[:start] + one[start:-1] * frames + b";"


def tiff_of(directories: int) -> bytes:
    """Write a TIFF file whose directories have one entry each, except for the first."""
    data = encode("TIFF", [Image.new("L", (1, 1))])
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    end = first + 2 + 12 * entries
    chain = b"".join(
        struct.pack("<HHHIII", 1, 254, 4, 1, 0, len(data) + 18 * (i + 1))
        for i in range(directories)
    )
    return data[:end] + struct.pack("<I", len(data)) + data[end + 4 :] + chain


@pytest.mark.parametrize("make", [gif_of, tiff_of])
def test_a_file_of_very_many_frames_is_listed_at_once(make: Any) -> None:
    data = make(200_000)
    started = time.perf_counter()
    pixels, unusual = decode_and_inspect(data)
    assert time.perf_counter() - started < 5  # Pillow takes minutes
    assert pixels.shape == (3, 1, 1)
    assert f"animated: the first of more than {MAX_FRAMES:,} frames" in unusual


def test_a_chain_of_directories_that_returns_ends() -> None:
    data = bytearray(encode("TIFF", FRAMES[:1]))
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    assert count(bytes(data)) == 1
