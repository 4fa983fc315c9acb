"""Every kind of bad image in one test part: each is listed, and a run finishes over all of them."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import harness
from harness.data.prepare import prepare
from harness.data.prepared_dataset import PreparedDataset
from harness.data.sources import open_source

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GRAY16 = RNG.integers(0, 65536, (20, 30), dtype=np.uint16)
GOOD = Image.fromarray(PIXELS)


def encode(image: Image.Image, format_name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def encode_png(width: int, height: int, bits: int, color: int, rows: bytes) -> bytes:
    """Make a PNG file from its rows, each preceded by its filter byte."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def encode_rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(GOOD, "JPEG", exif=exif)


RGB16_ROWS = b"".join(b"\0" + RNG.bytes(180) for _ in range(20))
ANIMATED = encode(GOOD, "GIF", save_all=True, append_images=[Image.fromarray(255 - PIXELS)])
# name in the archive -> (bytes, what is unusual)
UNUSUAL = {
    "png.JPEG": (encode(GOOD, "PNG"), "PNG inside .JPEG"),
    "cmyk.JPEG": (encode(GOOD.convert("CMYK"), "JPEG"), "CMYK"),
    "gray.JPEG": (encode(GOOD.convert("L"), "JPEG"), "grayscale"),
    "gray16.png": (encode(Image.fromarray(GRAY16), "PNG"), "16 bits per channel"),
    "rgb16.png": (encode_png(30, 20, 16, 2, RGB16_ROWS), "16 bits per channel"),
    "animated.gif": (ANIMATED, "animated: the first of 2 frames"),
    "rotated.JPEG": (encode_rotated(), "EXIF rotation (orientation 6) not applied"),
    "transparent.png": (encode(GOOD.convert("RGBA"), "PNG"), "alpha channel"),
    "palette.png": (encode(GOOD.convert("P"), "PNG"), "palette"),
}
# name in the archive -> (bytes, the reason given)
UNDECODABLE = {
    "truncated.JPEG": (encode(GOOD, "JPEG")[:-200], "image file is truncated"),
    "empty.JPEG": (b"", "the file is empty"),
    "text.JPEG": (b"<html>not found</html>", "it is a web page (HTML)"),
    "bomb.png": (encode_png(20_000, 20_000, 8, 2, b""), "decompression bomb"),
    "large.png": (encode_png(10_000, 10_000, 8, 2, b""), "decompression bomb: 10000 x 10000"),
}
LEADING_OUT = {
    "test/dog/link.png": "leads out of the archive",
    "test/dog/up.png": "leads out of the archive",
    "test/dog/nowhere.png": "not in the archive",
    "test/dog/../../../escaped.png": "its path leads out of the archive",
}


def add_member(tar: tarfile.TarFile, name: str, data: bytes = b"", link: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.size, member.linkname = len(data), link
    member.type = tarfile.SYMTYPE if link else tarfile.REGTYPE
    tar.addfile(member, io.BytesIO(data))


def write_archive(folder: Path) -> Path:
    """Write a tar whose test part holds every bad image, and members that lead out of it."""
    secret = folder / "secret.png"
    GOOD.save(secret)
    path = folder / "photos.tar"
    with tarfile.open(path, "w") as tar:
        for i in range(12):
            for part in ("train", "test"):
                image = Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8))
                class_name = "cat" if i % 2 else "dog"
                add_member(tar, f"{part}/{class_name}/{i}.png", encode(image, "PNG"))
        for name, (data, _) in {**UNUSUAL, **UNDECODABLE}.items():
            add_member(tar, f"test/cat/{name}", data)
        add_member(tar, "train/dog/truncated.JPEG", UNDECODABLE["truncated.JPEG"][0])
        add_member(tar, "test/dog/link.png", link=str(secret))
        add_member(tar, "test/dog/up.png", link="../../../secret.png")
        add_member(tar, "test/dog/inside.png", link="../cat/1.png")
        add_member(tar, "test/dog/nowhere.png", link="nothing.png")
        add_member(tar, "test/dog/../../../escaped.png", encode(GOOD, "PNG"))
    return path


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad-images")


@pytest.fixture(scope="module")
def prepared(data_root: Path) -> PreparedDataset:
    source = open_source(write_archive(data_root))
    return prepare(source, data_root, name="bad", progress=lambda items, **_: iter(items))


def test_each_bad_image_is_listed_and_counted(prepared: PreparedDataset) -> None:
    unusual = {name: text for part, name, text in prepared.unusual if part == "test"}
    assert unusual == {f"test/cat/{name}": text for name, (_, text) in UNUSUAL.items()}
    undecodable = {name: reason for part, name, reason in prepared.undecodable if part == "test"}
    expected = {f"test/cat/{name}": reason for name, (_, reason) in UNDECODABLE.items()}
    expected |= LEADING_OUT
    assert undecodable.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in undecodable[name]
    in_train = [name for part, name, _ in prepared.undecodable if part == "train"]
    assert in_train == ["train/dog/truncated.JPEG"]
    test = prepared.split("test")
    assert len(test) == 12 + len(UNUSUAL) + len(UNDECODABLE) + len(LEADING_OUT) + 1
    assert (test.rows < 0).sum() == len(undecodable)
    assert len(prepared.split("train")) == 12


def test_unusual_images_have_the_pixels_that_pillow_reads(prepared: PreparedDataset) -> None:
    test = prepared.split("test")
    assert test.names is not None
    rows = {
        Path(name).name: row
        for name, row in zip(test.names, test.rows, strict=True)
        if "/cat/" in name
    }

    def stored(name: str) -> np.ndarray:
        return test.images.read(np.array([rows[name]]))[0].permute(1, 2, 0).numpy()

    assert np.array_equal(stored("png.JPEG"), PIXELS)
    assert np.array_equal(stored("gray16.png")[..., 0], GRAY16 >> 8)
    assert stored("rotated.JPEG").shape == (20, 30, 3)
    for name in ("cmyk.JPEG", "gray.JPEG", "animated.gif", "palette.png"):
        expected = Image.open(io.BytesIO(UNUSUAL[name][0])).convert("RGB")
        assert np.array_equal(stored(name), np.asarray(expected))


def test_a_run_finishes_and_counts_every_image(
    prepared: PreparedDataset, data_root: Path, plugin: str
) -> None:
    pipeline = Path(plugin).stem.replace("_", "-")
    result = harness.run(
        pipeline, dataset="bad", data_root=data_root, tune=1, plugins=[plugin], track=False
    )
    undecodable = sum(part == "test" for part, *_ in prepared.undecodable)
    assert result.n_test == prepared.manifest["parts"]["test"]["n"] == 31
    assert result.top1_error is not None
    assert result.top1_error.value >= 100 * undecodable / 31
    note = "cannot be decoded: test/cat/truncated.JPEG"
    assert any(note in dataset_note for dataset_note in result.dataset_notes)
