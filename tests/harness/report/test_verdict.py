from __future__ import annotations

from dataclasses import replace

import pytest

from harness.comparison.compare import compare_records
from harness.comparison.table import Row
from harness.report.verdict import outcome, verdict


@pytest.fixture
def rows(groups) -> tuple[Row, Row]:
    a, b = compare_records(groups("few", "ridge")).rows
    a = replace(a, label="old", top1_error=12.0, seeds=(0,))
    return a, replace(
        b, label="new", top1_error=9.5, top1_delta=-2.5, top1_delta_low=-4.0, top1_delta_high=-1.0, p_value=0.002, p_holm=0.002, smallest_detectable=1.2
    )  # fmt: skip


def test_who_won_by_how_much(rows) -> None:
    a, b = rows
    assert verdict(b, a, 500) == (
        "new errs less than old: 9.50 % top-1 error against 12.00 % on 500 test images, 2.50 points fewer "
        "(95 % interval 1.00 to 4.00 fewer; exact McNemar p = 0.002)."
    )
    worse = replace(b, top1_error=14.5, top1_delta=2.5, top1_delta_low=1.0, top1_delta_high=4.0)
    assert outcome(worse) == "worse"
    assert "new errs more than old: 14.50 % top-1 error against 12.00 %" in verdict(worse, a, 500)
    assert "2.50 points more (95 % interval 1.00 to 4.00 more" in verdict(worse, a, 500)


def test_what_so_many_images_cannot_tell(rows) -> None:
    a, b = rows
    unclear = replace(b, p_value=0.3, p_holm=0.3, top1_delta_high=0.5)
    assert verdict(unclear, a, 500) == (
        "500 test images cannot tell new from old: 9.50 % top-1 error against 12.00 %, 2.50 points fewer (95 % interval from 4.00 fewer "
        "to 0.50 more; exact McNemar p = 0.300); on as many as the two disagree on a difference below 1.20 points cannot show."
    )
    same = replace(
        b,
        top1_delta=0.0,
        top1_delta_low=0.0,
        top1_delta_high=0.0,
        p_value=1.0,
        p_holm=1.0,
        smallest_detectable=None,
    )
    assert "no difference (95 % interval of nothing but 0" in verdict(same, a, 500)
    assert verdict(same, a, 500).endswith(
        "the two disagree on too few of them for any difference to show."
    )


def test_of_several_rows_the_adjusted_p_decides(rows) -> None:
    a, b = rows
    adjusted = replace(b, p_value=0.03, p_holm=0.06)
    assert outcome(adjusted) == "open"
    assert "exact McNemar p = 0.030, = 0.060 adjusted for all rows (Holm)" in verdict(
        adjusted, a, 500
    )
    assert verdict(adjusted, a, 500).endswith(
        "; by its own p it could, but not among so many rows tested."
    )
