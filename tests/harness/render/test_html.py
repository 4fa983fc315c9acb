from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

from harness.data.split import Split
from harness.render.html import Html, chip, document, escaped, sentence, table
from harness.report.thumbnail import picture


def test_text_is_escaped_and_markup_is_not() -> None:
    assert escaped('<b> & "5 %"') == "&lt;b&gt; &amp; &quot;5\u00a0%&quot;"
    assert escaped(Html("<b>")) == "<b>"
    assert "<title>1 &lt; 2</title>" in document("1 < 2", "<main id=main></main>")


def test_a_table_has_headings_a_caption_and_whole_words() -> None:
    made = table(
        ["name", "top-1 error", ""],
        [["<a>", "5 %", Html("<i></i>")]],
        caption="What & why",
        numbers=[1],
    )
    assert made.count("<th scope=col") == 2
    assert "<th scope=row>&lt;a&gt;</th>" in made
    assert "<td class=n>5\u00a0%</td><td><i></i></td>" in made
    assert "<caption class=unseen>What &amp; why</caption>" in made
    assert "<span class=whole>top-1</span> error" in made
    assert "<thead>" not in table([], [["a", "b"]], caption="no heads")
    assert "whole" not in table(["x"], [["a-very-long-name-of-something"]], caption="c")


def pixels_of(made: str) -> np.ndarray:
    data = re.search(r"base64,([^\"]+)", made)
    assert data
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))


def test_small_pictures_are_kept_to_the_pixel_and_large_ones_small() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    split = Split.from_arrays(small, [0, 1])
    made = picture(split, 1, 'a "cat"', 96)
    assert 'class=small width="30" height="20"' in made
    assert 'alt="a &quot;cat&quot;"' in made
    np.testing.assert_array_equal(pixels_of(made), small[1])
    large = Split.from_arrays(np.kron(small, np.ones((1, 20, 20, 1), dtype=np.uint8)), [0, 1])
    made = picture(large, 0, "cat", 96)
    assert pixels_of(made).shape == (64, 96, 3)
    assert "image/jpeg" in made
    assert len(made) < 15_000


def test_rows_have_letters_and_remarks_are_sentences() -> None:
    assert chip(0) == '<i class="chip r0">A</i>'
    assert chip(7) == '<i class="chip r1">H</i>'
    assert sentence("a remark; 5 %") == "A remark; 5 %."
    assert sentence("Done.") == "Done."
