"""Copies are found, whatever was done to them, and strangers are not."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_sample_images

from harness import Split
from harness.cli import cli
from harness.data.audit import audit
from harness.data.duplicates import (
    BITS_APART,
    THUMBNAIL,
    _candidates,
    near_pairs,
    perceptual_hashes,
)
from harness.report.audit_page import audit_page

PHOTO = Image.fromarray(load_sample_images().images[0])


def tiles() -> list[Image.Image]:
    """Different pictures: parts of a photograph, 64 pixels square, without the plain sky (which has nothing to tell it by)."""
    parts = [
        PHOTO.crop((x, y, x + 64, y + 64)) for y in range(0, 360, 64) for x in range(0, 576, 64)
    ]
    return [part for part in parts if np.asarray(part).std() > 40]


def thumbnail(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((THUMBNAIL, THUMBNAIL)))).permute(2, 0, 1)


def recoded(image: Image.Image, quality: int = 60) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


@pytest.mark.parametrize(
    "retouch",
    [
        lambda image: image,
        recoded,
        lambda image: image.resize((50, 50)),
        lambda image: image.point(lambda v: min(255, v + 6)),
        lambda image: image.point(lambda v: v // 2),
        lambda image: recoded(image.resize((32, 32)), quality=20),
    ],
    ids=["equal", "recoded", "resized", "brighter", "half as bright", "small and coarsely coded"],
)
def test_a_copy_is_found_and_nothing_else(retouch: Callable[[Image.Image], Image.Image]) -> None:
    originals = tiles()
    copied = [retouch(image) for image in originals[::7]]
    pairs = near_pairs(torch.stack([thumbnail(image) for image in originals + copied]))
    assert {(7 * k, len(originals) + k) for k in range(len(copied))} <= {
        (int(i), int(j)) for i, j in pairs
    }
    assert len(pairs) == len(copied)


def test_two_things_before_one_sky_are_no_copies() -> None:
    """So little of them differs that their gray levels are nearer than those of a photograph and its coarse JPEG."""
    skies = torch.full((2, 3, THUMBNAIL, THUMBNAIL), 180, dtype=torch.uint8)
    skies[0, :, 8:14, 4:12] = 120
    skies[1, :, 18:24, 18:26] = 120
    assert (skies[0].float() - skies[1].float()).square().mean().sqrt() < 20
    plain = torch.full((2, 3, THUMBNAIL, THUMBNAIL), 90, dtype=torch.uint8)
    assert near_pairs(torch.cat([skies, plain])).shape == (0, 2)


def test_bands_miss_no_pair() -> None:
    """Against all pairs."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 63, 300, dtype=np.uint64)
    flips = [
        np.bitwise_or.reduce(
            np.uint64(1) << rng.choice(64, k % (BITS_APART + 3), replace=False).astype(np.uint64)
        )
        for k in range(300)
    ]
    hashes = np.concatenate([hashes, hashes ^ np.array(flips, dtype=np.uint64)])
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = np.argwhere(np.triu(apart <= BITS_APART, 1))
    found = np.unique(np.concatenate(list(_candidates(hashes))))
    assert found.tolist() == (expected[:, 0] * 600 + expected[:, 1]).tolist()


def test_a_hash_is_that_of_the_cosine_transform() -> None:
    from scipy.fft import dctn

    small = torch.stack([thumbnail(image) for image in tiles()[:5]])
    for image, value in zip(
        small.float().mean(1).numpy(), perceptual_hashes(small).tolist(), strict=True
    ):
        # scipy scales all coefficients but those of the constant alike.
        coefficients = dctn(image, type=2)[1:9, 1:9].ravel()
        bits = coefficients > np.sort(coefficients)[31]  # torch's median is the lower one
        assert value == int("".join("01"[int(bit)] for bit in bits), 2)


def test_no_images_alike_is_no_pair() -> None:
    assert near_pairs(torch.stack([thumbnail(image) for image in tiles()[::9][:2]])).shape == (0, 2)


def test_the_page(workdir: Path) -> None:
    root = workdir / "photos"
    for i, tile in enumerate(tiles()[:28]):
        folder = root / ("test" if i % 4 == 0 else "train") / ("sky" if i % 2 else "roof")
        folder.mkdir(parents=True, exist_ok=True)
        tile.save(folder / f"{i}.png")
    shutil.copy(root / "test/roof/20.png", root / "train/sky/equal.png")
    Image.open(root / "test/roof/24.png").resize((60, 60)).save(root / "train/roof/near.png")
    (root / "test/roof/bad<1>.png").write_bytes(b"")
    run = CliRunner()

    def call(*arguments: str) -> str:
        done = run.invoke(
            cli, [*arguments, "--data-root", str(workdir / "root")], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        return done.output

    call("prepare", str(root), "--name", "tiles")
    found = json.loads(call("data", "audit", "tiles", "--json").splitlines()[-1])
    assert found["pairs"]["exact"]["train and test"] == 1
    assert found["pairs"]["near"]["train and test"] >= 1
    page = (workdir / "audit.html").read_text()
    assert "test/roof/24.png" in page
    assert "train/roof/near.png" in page
    assert "different classes" in page
    assert "bad&lt;1&gt;.png" in page
    assert "http" not in page

    seen = Page(page)
    assert seen.unclosed == []
    assert seen.of("meta", "name", "viewport")["content"].startswith("width=device-width")
    assert len(seen.pictures) >= 4
    assert all(picture["src"].startswith("data:image/png;base64,") for picture in seen.pictures)
    assert {"test: test/roof/20.png (roof)", "train: train/sky/equal.png (sky)"} <= {
        picture["alt"] for picture in seen.pictures
    }


class Page(HTMLParser):
    """The elements of a page, and those that were opened and never closed."""

    ALONE = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.unclosed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.ALONE:
            self.unclosed.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    @property
    def pictures(self) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag == "img"]

    def of(self, tag: str, name: str, value: str) -> dict[str, str]:
        return next(
            attributes
            for kind, attributes in self.elements
            if kind == tag and attributes.get(name) == value
        )


def test_many_classes_are_folded_and_large_pictures_small_files() -> None:
    """A page of a thousand classes opens on its copies."""
    large = np.asarray(PHOTO.resize((400, 300)))
    images = np.stack([large, large // 2, *(large[::-1, :, ::-1] // k for k in (1, 3))])
    train = Split.from_arrays(
        images[:2], np.array([0, 1]), class_names=[f"class {i}" for i in range(40)]
    )
    test = Split.from_arrays(images[2:], np.array([2, 2]), class_names=train.class_names)
    found = audit("made", train, test)
    assert found.near == [(0, 1), (2, 3)]
    assert found.counts()["near"] == {
        "train": 1,
        "test": 1,
        "train and test": 0,
        "test images with a copy in train": 0,
    }
    page = audit_page(found)
    assert Page(page).unclosed == []
    assert "<summary>All 40 classes</summary>" in page
    assert all(
        picture["src"].startswith("data:image/jpeg;base64,") for picture in Page(page).pictures
    )
    assert len(page) < 100_000
