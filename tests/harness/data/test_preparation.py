"""Every kind of bad image in one test set: each is listed, none is lost or replaced, and a run finishes over all of them."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import harness
from harness.data.decode import MAX_PIXELS, Undecodable, decode, decode_and_inspect
from harness.data.prepared_dataset import PreparedDataset

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def png(width: int, height: int, bits: int, color: int, rows: bytes) -> bytes:
    """A PNG file from its rows, each led by its filter byte."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.fromarray(PIXELS), "JPEG", exif=exif)


GRAY16 = RNG.integers(0, 65536, (20, 30), dtype=np.uint16)
GOOD = Image.fromarray(PIXELS)
# name in the archive -> (bytes, what the list says of it)
READABLE = {
    "png.JPEG": (encoded(GOOD, "PNG"), "PNG inside .JPEG"),
    "cmyk.JPEG": (encoded(GOOD.convert("CMYK"), "JPEG"), "CMYK"),
    "gray.JPEG": (encoded(GOOD.convert("L"), "JPEG"), "grayscale"),
    "gray16.png": (encoded(Image.fromarray(GRAY16), "PNG"), "16 bits a channel"),
    "rgb16.png": (
        png(30, 20, 16, 2, b"".join(b"\0" + RNG.bytes(180) for _ in range(20))),
        "16 bits a channel",
    ),
    "animated.gif": (
        encoded(GOOD, "GIF", save_all=True, append_images=[Image.fromarray(255 - PIXELS)]),
        "animated: the first of 2 frames",
    ),
    "rotated.JPEG": (rotated(), "EXIF-rotated (orientation 6): left as stored"),
    "transparent.png": (encoded(GOOD.convert("RGBA"), "PNG"), "transparency"),
    "palette.png": (encoded(GOOD.convert("P"), "PNG"), "palette"),
}
UNREADABLE = {
    "truncated.JPEG": (encoded(GOOD, "JPEG")[:-200], "image file is truncated"),
    "empty.JPEG": (b"", "the file is empty"),
    "text.JPEG": (b"<html>not found</html>", "cannot identify image file"),
    "bomb.png": (png(20_000, 20_000, 8, 2, b""), "decompression bomb"),
    "suspect.png": (png(10_000, 10_000, 8, 2, b""), "decompression bomb: 10000 x 10000"),
}


@pytest.fixture
def archive(workdir: Path) -> Path:
    """A tar whose test part holds all of them, and members and links that lead out of it."""
    secret = workdir / "secret.png"
    GOOD.save(secret)
    path = workdir / "photos.tar"
    with tarfile.open(path, "w") as tar:

        def add(name: str, data: bytes = b"", link: str = "") -> None:
            member = tarfile.TarInfo(name)
            member.size, member.linkname = len(data), link
            member.type = tarfile.SYMTYPE if link else tarfile.REGTYPE
            tar.addfile(member, io.BytesIO(data))

        for i in range(12):
            for part in ("train", "test"):
                image = Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8))
                add(f"{part}/{'cat' if i % 2 else 'dog'}/{i}.png", encoded(image, "PNG"))
        for name, (data, _) in {**READABLE, **UNREADABLE}.items():
            add(f"test/cat/{name}", data)
        add("train/dog/truncated.JPEG", UNREADABLE["truncated.JPEG"][0])
        add("test/dog/link.png", link=str(secret))
        add("test/dog/up.png", link="../../../secret.png")
        add("test/dog/inside.png", link="../cat/1.png")
        add("test/dog/nowhere.png", link="nothing.png")
        add("test/dog/../../../escaped.png", encoded(GOOD, "PNG"))
    return path


OUTSIDE = {
    "test/dog/link.png": "leads out of the archive",
    "test/dog/up.png": "leads out of the archive",
    "test/dog/nowhere.png": "not in the archive",
    "test/dog/../../../escaped.png": "its path leads out of the archive",
}


def test_each_kind_is_listed_and_counted(archive: Path, store_of: Callable[..., PreparedDataset]) -> None:
    store = store_of(archive, name="bad")
    noted = {name: what for part, name, what in store.noted if part == "test"}
    assert noted == {f"test/cat/{name}": words for name, (_, words) in READABLE.items()}
    undecodable = {name: why for part, name, why in store.undecodable if part == "test"}
    expected = {f"test/cat/{name}": words for name, (_, words) in UNREADABLE.items()} | OUTSIDE
    assert undecodable.keys() == expected.keys()
    for name, words in expected.items():
        assert words in undecodable[name]
    assert [name for part, name, _ in store.undecodable if part == "train"] == [
        "train/dog/truncated.JPEG"
    ]
    test = store.split("test")
    assert len(test) == 12 + len(READABLE) + len(UNREADABLE) + len(OUTSIDE) + 1
    assert (test.rows < 0).sum() == len(undecodable)
    assert len(store.split("train")) == 12


def test_readable_ones_keep_their_pixels(archive: Path, store_of: Callable[..., PreparedDataset]) -> None:
    test = store_of(archive, name="bad").split("test")
    assert test.names is not None
    row = {
        Path(name).name: row
        for name, row in zip(test.names, test.rows, strict=True)
        if "/cat/" in name
    }

    def stored(name: str) -> np.ndarray:
        return test.images.read(np.array([row[name]]))[0].permute(1, 2, 0).numpy()

    assert np.array_equal(stored("png.JPEG"), PIXELS)
    assert np.array_equal(stored("gray16.png")[..., 0], GRAY16 >> 8)
    assert stored("rotated.JPEG").shape == (20, 30, 3)
    for name in ("cmyk.JPEG", "gray.JPEG", "animated.gif", "palette.png"):
        assert np.array_equal(
            stored(name), np.asarray(Image.open(io.BytesIO(READABLE[name][0])).convert("RGB"))
        )


def test_a_run_finishes_and_counts_every_image(
    archive: Path, store_of: Callable[..., PreparedDataset], workdir: Path, plugin: str
) -> None:
    store = store_of(archive, name="bad")
    result = harness.run(
        plugin_name(plugin), dataset="bad", data_root=workdir / "root", tune=1, plugins=[plugin]
    )
    undecodable = sum(part == "test" for part, *_ in store.undecodable)
    assert result.n_test == store.facts["parts"]["test"]["n"] == 31
    assert result.top1_error is not None
    assert result.top1_error >= 100 * undecodable / 31
    assert any(
        "cannot be decoded: test/cat/truncated.JPEG" in remark for remark in result.dataset_notes
    )


def plugin_name(path: str) -> str:
    return Path(path).stem.replace("_", "-")


def test_a_large_photograph_is_no_bomb() -> None:
    side = 1000
    assert side * side < MAX_PIXELS
    assert decode(encoded(Image.new("RGB", (side, side)), "JPEG")).shape == (3, side, side)


def test_a_plain_image_has_nothing_to_note() -> None:
    assert decode_and_inspect(encoded(GOOD, "JPEG"), "a.jpeg")[1] == []
    with pytest.raises(Undecodable, match="the file is empty"):
        decode_and_inspect(b"")


@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_an_animation_that_is_cut_off_is_its_first_frame_or_undecodable(kind: str) -> None:
    frames = [
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (20, 30, 3), dtype=np.uint8))
        for i in range(4)
    ]
    whole = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    first = decode(whole)
    decoded = 0
    for end in range(100, len(whole), 97):
        try:
            pixels, _ = decode_and_inspect(whole[:end], f"a.{kind.lower()}")
        except Undecodable:
            continue
        decoded += 1
        assert torch.equal(pixels, first) or end < len(whole) / 4
    assert decoded or kind == "TIFF"  # whose directory of frames is at its end


def test_notes_are_of_the_pixels() -> None:
    assert (
        decode_and_inspect(encoded(Image.new("RGB", (5, 7)), "BMP"), "a.bmp")[1] == []
    )  # rows of 16 bytes, and 8 bits
    with pytest.raises(Undecodable, match="floating-point"):
        decode(encoded(Image.new("F", (5, 7), 0.5), "TIFF"))
