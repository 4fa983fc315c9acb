"""Decoding and resizing: pixels as in Pillow and torchvision, and what is unusual about a file."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from harness.data.decode import (
    MAX_PIXELS,
    Undecodable,
    decode,
    decode_and_inspect,
    ignore_pillow_warnings,
    image_shape,
    is_image,
    resize,
    shrink,
)

PIXELS = np.random.default_rng(5).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encode(image: Image.Image, format_name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(100, 75), (33, 500), (64, 64), (7, 9)])
@pytest.mark.parametrize("wanted", [(32, 48), (50, 20)])
def test_resized_pixels_equal_those_of_torchvision(
    shape: tuple[int, int], wanted: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = torch.randint(0, 256, (3, 3, *shape), dtype=torch.uint8, generator=generator)
    expected = functional.resize(batch, list(wanted), antialias=True)
    assert torch.equal(resize(batch, wanted), expected)
    assert torch.equal(resize(batch[0], wanted), expected[0])
    channels_last = batch[0].permute(1, 2, 0).contiguous().permute(2, 0, 1)
    resized = resize(channels_last, wanted)
    assert torch.equal(resized, expected[0])
    assert resized.permute(1, 2, 0).is_contiguous()  # so that an encoder needs no copy


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((100, 75), (43, 32)), ((33, 500), (32, 485)), ((32, 90), (32, 90)), ((7, 9), (7, 9))],
)
def test_shrinking_never_enlarges(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert shrink(torch.zeros(3, *shape, dtype=torch.uint8), 32).shape == (3, *expected)


def test_a_side_longer_than_jpeg_allows_is_undecodable() -> None:
    data = encode(Image.new("L", (70_000, 2)), "PNG")
    with pytest.raises(Undecodable, match="70000 x 2 pixels: a side is longer than 65,500"):
        decode(data)


def test_a_large_photograph_is_not_a_decompression_bomb() -> None:
    side = 1000
    assert side * side < MAX_PIXELS
    assert decode(encode(Image.new("RGB", (side, side)), "JPEG")).shape == (3, side, side)


def test_an_empty_file_is_undecodable() -> None:
    with pytest.raises(Undecodable, match="the file is empty"):
        decode_and_inspect(b"")


@pytest.mark.parametrize(("format_name", "name"), [("JPEG", "a.jpeg"), ("BMP", "a.bmp")])
def test_an_ordinary_file_has_nothing_unusual(format_name: str, name: str) -> None:
    """Rows of BMP files are padded, and their decoder's arguments contain a 16."""
    data = encode(Image.fromarray(PIXELS[:7, :5]), format_name)
    assert decode_and_inspect(data, name)[1] == []


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("format_name", ["GIF", "TIFF"])
def test_a_truncated_animation_gives_its_first_frame_or_is_undecodable(format_name: str) -> None:
    frames = [
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (20, 30, 3), dtype=np.uint8))
        for i in range(4)
    ]
    data = encode(frames[0], format_name, save_all=True, append_images=frames[1:])
    first = decode(data)
    decoded = 0
    for end in range(100, len(data), 97):
        try:
            pixels, _ = decode_and_inspect(data[:end], f"a.{format_name.lower()}")
        except Undecodable:
            continue
        decoded += 1
        assert torch.equal(pixels, first) or end < len(data) / 4
    assert decoded or format_name == "TIFF"  # whose directory of frames is at the end


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train/cat/1.JPG", True),
        ("../photos/cat/1.png", True),
        ("train/cat/1.txt", False),
        ("train/cat/._1.jpg", False),
        ("__MACOSX/cat/1.jpg", False),
    ],
)
def test_images_are_known_by_their_suffix_unless_a_system_left_them(
    name: str, expected: bool
) -> None:
    assert is_image(name) == expected


@pytest.mark.parametrize("format_name", ["ICO", "TGA", "PCX", "EPS", "JPEG2000", "PDF", "AVIF"])
def test_no_other_format_is_read(format_name: str) -> None:
    """An EPS file would start Ghostscript."""
    data = encode(Image.fromarray(PIXELS), format_name)
    for read in (decode, decode_and_inspect, image_shape):
        with pytest.raises(Undecodable, match=r"which is not read|is none of BMP"):
            read(data)


def test_jpeg_in_unusual_shapes_is_read() -> None:
    image = Image.fromarray(PIXELS)
    for options in (
        {"progressive": True},
        {"subsampling": 2, "quality": 1},
        {"restart_marker_rows": 1},
    ):
        data = encode(image, "JPEG", **options)
        # as cameras and editors leave them: bytes after the end, comments, a second picture
        for shape in (data, data + bytes(100), data[:2] + b"\xff\xfe\0\6note" + data[2:], data * 2):
            assert torch.equal(decode(shape), decode(data))
    assert decode(encode(image, "MPO", save_all=True, append_images=[image])).shape == (3, 20, 30)


def with_text_chunk(text: bytes) -> bytes:
    """Return a PNG file with a compressed text."""
    chunk = b"zTXt" + b"note\0\0" + zlib.compress(text)
    data = encode(Image.fromarray(PIXELS), "PNG")
    length, checksum = struct.pack(">I", len(chunk) - 4), struct.pack(">I", zlib.crc32(chunk))
    return data[:33] + length + chunk + checksum + data[33:]


def test_metadata_cannot_fill_the_memory() -> None:
    assert torch.equal(decode(with_text_chunk(b"x" * 1000)).permute(1, 2, 0), torch.tensor(PIXELS))
    with pytest.raises(Undecodable, match=r"a PNG file, .*: Decompressed data too large"):
        decode(with_text_chunk(bytes(10**7)))


def test_a_jpeg_of_very_many_scans_is_undecodable() -> None:
    data = encode(Image.fromarray(PIXELS), "JPEG", progressive=True)
    with pytest.raises(Undecodable, match="more than 500 scans"):
        decode_and_inspect(data + b"\xff\xda" * 501)


def test_a_file_that_is_too_large_is_undecodable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.data.decode.MAX_FILE_BYTES", 100)
    with pytest.raises(Undecodable, match=r"it has .*, more than "):
        decode(encode(Image.fromarray(PIXELS), "PNG"))


def test_a_lack_of_memory_says_how_much_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    data = encode(Image.new("L", (5000, 2000)), "PNG")
    monkeypatch.setattr("harness.data.decode.convert_to_rgb", fail)
    message = "its 5000 x 2000 pixels takes about 134 MiB of memory, more than is free"
    with pytest.raises(Undecodable, match=message):
        decode(data)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"])
def test_an_image_of_one_pixel_is_read(format_name: str) -> None:
    assert decode(encode(Image.new("RGB", (1, 1)), format_name)).shape == (3, 1, 1)


def test_pillow_is_silent_about_a_damaged_file(capfd: pytest.CaptureFixture[str]) -> None:
    data = encode(Image.fromarray(PIXELS), "TIFF", compression="tiff_lzw")
    with ignore_pillow_warnings(), pytest.raises(Undecodable, match="the TIFF file is damaged"):
        decode(data.replace(data[8:60], bytes(52)))
    assert capfd.readouterr() == ("", "")
