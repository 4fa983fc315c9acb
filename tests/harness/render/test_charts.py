"""Charts draw values where their axes say, and describe in words what they draw."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from harness.render.charts import (
    LETTER,
    Axis,
    Curve,
    Dot,
    _label_places,
    bars,
    curves,
    frontier,
    intervals,
    ticks,
)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 87.3), (12.2, 12.9), (0, 0.004), (-6, 2), (0, 100000)]
)
def test_ticks_are_round_few_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
    steps = {round(b - a, 9) for a, b in pairwise(found)}
    assert len(steps) == 1
    assert f"{steps.pop():e}"[0] in "125"


def test_an_axis_is_linear_or_logarithmic() -> None:
    assert Axis(0, 10, 100, 200)(5) == 150
    assert Axis(1, 100, 100, 200, log=True)(10) == pytest.approx(150)


def numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"-?\d+\.?\d*", text)]


def test_a_curve_goes_through_its_points() -> None:
    drawn = curves(
        "Title <1>",
        [Curve("a & b", 0, [(1, 80), (2, 40), (3, 20)]), Curve("flat", 1, [(1, 40)], "dashed")],
        x="epoch",
        y="error",
    )
    line, flat = re.findall(r'<polyline class="curve [^"]*" points="([^"]+)"', drawn)
    points = [tuple(map(float, pair.split(","))) for pair in line.split()]
    assert points[1][0] == pytest.approx((points[0][0] + points[2][0]) / 2, abs=0.1)
    assert (points[1][1] - points[0][1]) == pytest.approx(
        2 * (points[2][1] - points[1][1]), abs=0.2
    )
    across = [tuple(map(float, pair.split(","))) for pair in flat.split()]
    assert across[0][1] == across[1][1] == pytest.approx(points[1][1])
    assert (across[0][0], across[1][0]) == (points[0][0], points[2][0])
    assert "a &amp; b ends at 20.00" in drawn
    assert "Title &lt;1&gt;" in drawn


def test_curves_skip_values_that_are_not_finite() -> None:
    drawn = curves(
        "t", [Curve("a", 0, [(1, 80), (2, float("nan")), (3, 20)])], x="epoch", y="error"
    )
    assert "nan" not in re.findall(r'points="([^"]+)"', drawn)[0]


def test_the_frontier_steps_from_the_cheapest_to_the_most_accurate() -> None:
    dots = [
        Dot("a", 0, 10, 40, 38, 42, True),
        Dot("b", 1, 100, 50, 48, 52),
        Dot("c", 2, 1000, 20, 18, 22, True),
    ]
    drawn = frontier("t", dots, x="seconds", y="error", x_ticks=[(10, "10 s"), (1, "1 s")])
    path = re.search(r'class="frontier" d="([^"]+)"', drawn)
    start, _, first, step, last, _ = numbers(path[1])
    assert start < step  # the first is cheaper,
    assert first < last  # and its error is higher
    assert "10 s" in drawn
    assert ">1 s<" not in drawn
    words = "a 40.00.?%, on the frontier; b 50.00.?%; c 20.00.?%, on the frontier"
    assert re.search(rf"<desc[^>]*>[^<]*{words}</desc>", drawn)


def test_intervals_share_one_axis() -> None:
    drawn = intervals("t", [Dot("a", 0, 0, 10, 8, 12), Dot("b", 1, 0, 20, 16, 24)], x="error, %")
    (a_low, _, a_high), (b_low, _, b_high) = (
        numbers(d) for d in re.findall(r'class="whisker" d="([^"]+)"', drawn)
    )
    assert (b_high - b_low) == pytest.approx(2 * (a_high - a_low), abs=0.3)
    assert a_high < b_low


def test_bars_point_to_the_left_for_fewer_errors() -> None:
    drawn = bars(
        "t",
        [("gain", -10.0), ("none", 0.0), ("a name that is far too long for it", 5.0)],
        x="points",
    )
    gain, none, loss = (
        tuple(map(float, found))
        for found in re.findall(
            r'<rect class="\w+" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', drawn
        )
    )
    zero = gain[0] + gain[1]
    assert loss[0] == pytest.approx(zero, abs=0.2)
    assert gain[1] == pytest.approx(2 * loss[1], abs=0.2)
    assert none[1] == 0
    assert "a name that is…" in drawn
    for values in ([("a", 3.0)], [("a", -3.0), ("b", -1.0)], [("a", 0.0)]):
        assert "nan" not in bars("t", values, x="points")


def test_labels_of_near_dots_do_not_overlap() -> None:
    labels, centers = (
        ["kmeans-triangle", "cuda-convnet", "baseline", "alexnet"],
        [(150.0, 120.0), (163.0, 123.0), (250.0, 138.0), (215.0, 160.0)],
    )
    boxes = [(x - 6, y - 6, x + 6, y + 6) for x, y in centers]
    for label, (x, _), (start, base) in zip(
        labels, centers, _label_places(labels, centers), strict=True
    ):
        length = LETTER * len(label)
        box = (
            (start, base - 11, start + length, base + 2)
            if start > x
            else (start - length, base - 11, start, base + 2)
        )
        assert not any(
            box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in boxes
        )
        boxes.append(box)
