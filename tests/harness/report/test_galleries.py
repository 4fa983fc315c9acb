"""Pictures are those of the images that they are about, with what each run predicts."""

from __future__ import annotations

import base64
import io
import re
from html import unescape

import numpy as np
import pytest
from PIL import Image

from harness.comparison.disagreement import contingency
from harness.data.split import Split
from harness.report.evidence import Evidence
from harness.report.galleries import Pictures, gallery, legend, likely_classes, neighbor_strips
from harness.report.neighbors import Neighbors


@pytest.fixture
def pictures(pair: tuple[Evidence, str]) -> Pictures:
    evidence = pair[0]
    rows = list(zip(evidence.labels, evidence.predictions, strict=True))
    return Pictures(evidence.test, evidence.class_names, rows)


def test_a_picture_is_that_of_its_image_pixel_by_pixel(pictures: Pictures) -> None:
    (_, a), (_, b) = pictures.rows
    position = int(contingency(a, b).only_b[0])
    html = gallery(pictures, [position], [0, 1])
    source = re.search(r'src="data:image/png;base64,([^"]+)" alt="([^"]+)"', html)
    assert source
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(source[1]))))
    test = pictures.split
    assert test
    index = int(np.flatnonzero(test.keys == a.keys[position])[0])
    pixels = test.images.read(test.rows[[index]])[0].permute(1, 2, 0)
    np.testing.assert_array_equal(shown, pixels)
    wrong, label = a.predicted[position], test.labels[index]
    assert unescape(source[2]) == f"{label}; nearest-mean,step=7 says {wrong}, ridge says {label}"
    assert html.count("✓") == html.count("✗") == 1


def test_the_first_row_may_show_its_probability(pictures: Pictures) -> None:
    share = 100 * pictures.rows[1][1].probability[3, 0]
    html = gallery(pictures, [3], [1, 0], with_probability=True)
    assert html.count("\u00a0%") == 1
    assert f"{share:.1f}\u00a0%" in html


def test_the_right_class_is_marked_among_the_likeliest(pictures: Pictures) -> None:
    html = likely_classes(pictures, [0, 1])
    assert html.count("<li style=") + html.count('<li class="true"') == 2 * 2 * 5
    right = sum(
        int(pictures.labels[i]) in run.top[i].tolist() for _, run in pictures.rows for i in (0, 1)
    )
    assert html.count('class="true"') == right


def test_neighbors_are_marked_by_their_class(pictures: Pictures) -> None:
    images = np.zeros((3, 4, 4, 3), dtype=np.uint8)
    split = Split.from_arrays(images, [0, 1, 0])
    html = neighbor_strips(pictures, split, split, Neighbors(np.array([0]), np.array([[2, 1]]), 3))
    assert html.count("<figure>") == 3
    assert html.index("✓") < html.index("✗")


def test_an_image_that_cannot_be_decoded_has_a_box(pictures: Pictures) -> None:
    test = pictures.split
    assert test
    broken = test.take(np.arange(len(test)))
    broken.rows[:] = -1
    html = gallery(Pictures(broken, pictures.class_names, pictures.rows), [0], [0])
    assert "cannot be decoded" in html
    assert "<img" not in html


def test_the_legend_names_the_rows(pictures: Pictures) -> None:
    assert ">A</i>nearest-mean,step=7" in legend(pictures, [0, 1])
