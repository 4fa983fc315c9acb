"""Published figures as text, Markdown and a section of the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.comparison.compare import compare_records
from harness.comparison.literature import PublishedComparison, compare_with_literature
from harness.report.literature import published_html, published_markdown, published_text
from harness.runs.record import Record


@pytest.fixture
def on_digits(groups: Callable[..., list[list[Record]]]) -> PublishedComparison:
    return compare_with_literature(compare_records(groups("few", "ridge")))


@pytest.fixture
def on_cifar10(groups: Callable[..., list[list[Record]]]) -> PublishedComparison:
    comparison = compare_records(groups("few", "ridge"))
    first, second = comparison.rows
    rows = (first, replace(second, pipeline="hog-svm,c=none", label="hog-svm"))
    return compare_with_literature(
        replace(comparison, rows=rows, dataset="cifar10", title="cifar10", n_test=10_000)
    )


def test_every_figure_has_its_source_and_certainty(on_cifar10: PublishedComparison) -> None:
    text = " ".join(published_text(on_cifar10).split())
    for row in on_cifar10.rows:
        assert row.figure.method in text
        assert row.figure.source in text
    markdown = published_markdown(on_cifar10).splitlines()
    lines = [line for line in markdown if line.startswith("| ")]
    assert len(lines) == 2 + len(on_cifar10.rows)
    assert len({line.count(" | ") for line in lines}) == 1
    certainties = {row.figure.mark for row in on_cifar10.rows}
    assert certainties == {"S", "S2", "M", "D"} <= {line.split(" | ")[1] for line in lines}
    assert "top-5 error" not in lines[0]  # no source gives one


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_is_longer_than_the_terminal(on_cifar10: PublishedComparison, width: int) -> None:
    assert max(map(len, published_text(on_cifar10, width).splitlines())) <= width


def test_a_dataset_without_figures_names_those_with(on_digits: PublishedComparison) -> None:
    text = published_text(on_digits)
    assert "nothing on this dataset; there are figures on" in text
    assert "cifar10, fashion-mnist, ilsvrc2010" in " ".join(text.split())


def test_the_before_and_after_says_what_is_quoted_and_what_is_like_for_like(
    on_digits: PublishedComparison,
) -> None:
    text = " ".join(published_text(on_digits).split())
    assert "quoted (26.2 -> 15.3): top-5 26.172 % ISI" in text
    assert (
        "-> 16.422 % SuperVision, 5 CNNs, ILSVRC-2012 test: 9.75 points, 37.3 % fewer errors"
    ) in text
    assert (
        "like for like: top-5 25.70 % SIFT + Fisher vectors (Sanchez & Perronnin 2011) -> 17.00 % "
        "AlexNet, 10 crops, ILSVRC-2010 test"
    ) in text


def test_the_page_folds_what_is_no_yardstick_of_ours(
    on_cifar10: PublishedComparison, on_digits: PublishedComparison
) -> None:
    html = published_html(on_cifar10)
    others = sum(row.row is None for row in on_cifar10.rows)
    assert f"<summary>{others} other published figures</summary>" in html
    assert html.index("HOG and linear SVM") < html.index("<details>")
    assert "<table>" not in published_html(on_digits)
