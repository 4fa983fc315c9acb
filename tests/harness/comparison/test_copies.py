"""A comparison counts test images that are copies and shows every row without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from harness.comparison.compare import compare_records
from harness.comparison.table import comparison_text
from harness.runs.record import Record
from harness.runs.result import Scores


def mark(in_train: list[int] | None, repeats: int = 0) -> Callable[[Scores], Scores]:
    """Say which images are in train, and make the last `repeats` copies of the one before."""

    def edit(scores: Scores) -> Scores:
        keys = scores.keys.astype("U24")
        for number in range(1, repeats + 1):
            keys[-number] = f"{keys[-repeats - 1]}-{number}"
        flags = None if in_train is None else np.isin(np.arange(len(keys)), in_train)
        return replace(scores, keys=keys, in_train=flags)

    return edit


def test_errors_and_delta_are_over_the_images_that_are_no_copies(
    make_record: Callable[..., Record],
) -> None:
    # Images 0 to 9 are wrong for a, 0 to 29 for b; 0 to 4 are in train, the last two are repeats.
    groups = [
        [make_record(name, wrong, edit=mark([*range(5)], 2))]
        for name, wrong in (("a", 10), ("b", 30))
    ]
    comparison = compare_records(groups)
    a, b = (row.deduplicated for row in comparison.rows)
    assert a
    assert b
    assert (a.n, a.top1_error, a.delta) == (93, pytest.approx(100 * 5 / 93), None)
    assert b.top1_error == pytest.approx(100 * 25 / 93)
    assert b.delta == pytest.approx(100 * 20 / 93)
    assert b.interval
    assert b.interval.low < b.delta < b.interval.high
    warning = comparison.warnings[0]
    assert warning.startswith(
        "copies: 5 test images are also in train or tune, 2 repeat another test image; without "
        "them, n = 93: a 5.38 %; b 26.88 %, delta +21.51 ["
    )
    assert warning in " ".join(comparison_text(comparison, width=500).split())
    assert comparison.rows[1].to_flat_dict()["top1_delta_deduplicated"] == b.delta


def test_an_image_in_train_of_any_row_is_left_out_of_all(
    make_record: Callable[..., Record],
) -> None:
    comparison = compare_records(
        [[make_record("a", 10, edit=mark([0]))], [make_record("b", 10, edit=mark([1]))]]
    )
    assert [row.deduplicated.n for row in comparison.rows if row.deduplicated] == [98, 98]


def test_nothing_is_said_without_copies_or_without_a_record_of_them(
    make_record: Callable[..., Record],
) -> None:
    for flags in ([], None):
        groups = [[make_record("a", 1, edit=mark(flags))], [make_record("b", 2, edit=mark([]))]]
        comparison = compare_records(groups)
        assert comparison.copies is None
        assert comparison.rows[0].to_flat_dict()["n_test_deduplicated"] is None
        assert not any("copies" in warning for warning in comparison.warnings)


def test_nothing_is_left_where_every_test_image_is_in_train(
    make_record: Callable[..., Record],
) -> None:
    groups = [[make_record(name, 1, edit=mark([*range(100)]))] for name in "ab"]
    comparison = compare_records(groups)
    assert str(comparison.copies).endswith(
        "0 repeat another test image; without them nothing is left"
    )
