"""Test images as inline pictures."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

from harness.data.split import Split
from harness.report.thumbnail import picture


def pixels_of(html: str) -> np.ndarray:
    data = re.search(r"base64,([^\"]+)", html)
    assert data
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))


def test_small_pictures_are_exact_and_large_ones_are_reduced() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    split = Split.from_arrays(small, [0, 1])
    html = picture(split, 1, 'a "cat"', 96)
    assert 'class=small width="30" height="20"' in html
    assert 'alt="a &#34;cat&#34;"' in html
    np.testing.assert_array_equal(pixels_of(html), small[1])
    large = Split.from_arrays(np.kron(small, np.ones((1, 20, 20, 1), dtype=np.uint8)), [0, 1])
    html = picture(large, 0, "cat", 96)
    assert pixels_of(html).shape == (64, 96, 3)
    assert "image/jpeg" in html
    assert len(html) < 15_000
