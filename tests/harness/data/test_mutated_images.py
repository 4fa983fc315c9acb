"""An attack: hundreds of damaged files of every format in one dataset, which is prepared and run.

Each is decoded or listed, in one line that says what is wrong; nothing hangs, warns or crashes.
"""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.prepared_dataset import PreparedDataset, open_prepared
from harness.registry import ROOT

MUTANTS_PER_FILE = 30
SECONDS = 60  # for each command
RNG = np.random.default_rng(7)
COLOR = Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8))
ALPHA = Image.fromarray(RNG.integers(0, 256, (20, 30, 4), dtype=np.uint8))
DEEP = Image.fromarray(RNG.integers(0, 4096, (20, 30), dtype=np.uint16))
FLOATS = Image.fromarray(RNG.random((20, 30), dtype=np.float32))
ANIMATION: dict[str, Any] = {"save_all": True, "append_images": [COLOR.rotate(90), COLOR]}


def encode(image: Image.Image, format_name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def plain_ppm() -> bytes:
    values = RNG.integers(0, 1000, 20 * 30 * 3).tolist()
    return b"P3 30 20 999\n" + b" ".join(b"%d" % value for value in values)


def good_files() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera"
    return {
        "color.jpg": encode(COLOR, "JPEG", exif=exif),
        "progressive.jpg": encode(COLOR, "JPEG", progressive=True),
        "cmyk.jpg": encode(COLOR.convert("CMYK"), "JPEG"),
        "color.png": encode(COLOR, "PNG", exif=exif),
        "palette.png": encode(COLOR.quantize(16), "PNG", transparency=3),
        "deep.png": encode(DEEP, "PNG"),
        "animated.png": encode(COLOR, "PNG", **ANIMATION),
        "animated.gif": encode(COLOR, "GIF", **ANIMATION),
        "palette.gif": encode(COLOR.quantize(16), "GIF", transparency=3),
        "color.bmp": encode(COLOR, "BMP"),
        "palette.bmp": encode(COLOR.quantize(16), "BMP"),
        "color.tif": encode(COLOR, "TIFF"),
        "compressed.tif": encode(COLOR, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": encode(COLOR, "TIFF", compression="jpeg"),
        "fax.tif": encode(COLOR.convert("1"), "TIFF", compression="group4"),
        "deep.tif": encode(DEEP, "TIFF", compression="tiff_deflate"),
        "floats.tif": encode(FLOATS, "TIFF"),
        "pages.tif": encode(COLOR, "TIFF", **ANIMATION),
        "color.webp": encode(COLOR, "WEBP"),
        "lossless.webp": encode(ALPHA, "WEBP", lossless=True),
        "animated.webp": encode(COLOR, "WEBP", **ANIMATION),
        "color.ppm": encode(COLOR, "PPM"),
        "deep.pgm": encode(DEEP, "PPM"),
        "plain.ppm": plain_ppm(),
    }


def mutate(data: bytes, generator: random.Random) -> bytes:
    """Return the file with one kind of damage."""
    changed = bytearray(data)
    header = min(len(data), 128)
    kind = generator.choice(["bits", "header bits", "cut", "header byte", "zeros", "twice", "lost"])
    start = generator.randrange(len(data))
    if kind in ("bits", "header bits"):
        for _ in range(generator.choice([1, 3, 30])):
            position = generator.randrange(header if kind == "header bits" else len(data))
            changed[position] ^= 1 << generator.randrange(8)
    elif kind == "cut":
        del changed[start:]
    elif kind == "header byte":
        changed[generator.randrange(header)] = generator.choice([0, 1, 127, 128, 255])
    elif kind == "zeros":
        changed[start : start + 40] = bytes(len(changed[start : start + 40]))
    elif kind == "twice":
        changed[start:start] = data[start : start + 50]
    else:
        del changed[start : start + generator.randrange(1, 20)]
    return bytes(changed)


def write_mutants(root: Path, seed: int) -> int:
    """Write class folders with two good images per class and part, and damaged ones; count all."""
    generator, written = random.Random(seed), 0
    for part in ("train", "test"):
        for class_name in ("cat", "dog"):
            folder = root / part / class_name
            folder.mkdir(parents=True)
            for i in range(6):
                pixels = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"good{i}.png")
                written += 1
    for name, data in good_files().items():
        for i in range(MUTANTS_PER_FILE):
            folder = root / generator.choice(["train", "test"]) / generator.choice(["cat", "dog"])
            (folder / f"{i}-{name}").write_bytes(mutate(data, generator))
            written += 1
    return written


def run_harness(*arguments: str) -> str:
    """Run a command to its end and return what it printed; nothing on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HARNESS_DATA": "root"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert " at 0x" not in done.stdout
    return done.stdout


def check_listed(prepared: PreparedDataset, written: int) -> int:
    """Check that each image is decoded or listed with a reason; return how many are listed."""
    rows = {part: prepared.split(part).rows for part in prepared.parts}
    listed = prepared.undecodable
    in_train = sum(part == "train" for part, *_ in listed)
    assert (rows["test"] < 0).sum() == len(listed) - in_train
    assert len(rows["train"]) + in_train + len(rows["test"]) == written
    for _, name, reason in [*listed, *prepared.unusual]:
        assert reason, name
        assert "\n" not in reason, name
        for noise in ("0x", "Error", "object at", "NoneType", "expected", "unpack"):
            assert noise not in reason, (name, reason)
    return len(listed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_damaged_files_are_decoded_or_listed_and_nothing_else_happens(
    workdir: Path, seed: int
) -> None:
    written = write_mutants(workdir / "photos", seed)
    run_harness("prepare", "photos", "--name", "mutants")
    listed = check_listed(open_prepared(workdir / "root", "mutants"), written)
    assert written / 4 < listed < written  # the attack does damage
    output = run_harness("run", "--pipeline", "raw-linear", "--dataset", "photos")
    assert "top-1" in output
    assert output.count("cannot be decoded") <= 6
