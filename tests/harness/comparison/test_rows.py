"""Rows as flat data, and their labels."""

from __future__ import annotations

from collections.abc import Callable

from harness.comparison.rows import (
    Delta,
    MeanClassDelta,
    Row,
    format_augmentation,
    format_averaging,
    row_labels,
)
from harness.runs.result import Interval

MakeRow = Callable[..., Row]


def test_a_flat_row_has_every_figure_by_name(make_row: MakeRow) -> None:
    delta = Delta(
        points=-2.5,
        interval=Interval(-4.0, -1.0),
        p=0.002,
        p_holm=0.004,
        min_detectable=1.2,
        seed_se=None,
        image_se=0.7,
    )
    by_class = MeanClassDelta(-3.0, Interval(-5.0, -2.0), Interval(-6.0, 0.0))
    flat = make_row(delta=delta, mean_class_delta=by_class).to_flat_dict()
    assert not {"delta", "cost", "exact_interval"} & set(flat)
    assert {
        "top1_error": 40.0,
        "top1_error_ci_low": 39.0,
        "top1_error_ci_high": 41.0,
        "top1_error_exact_low": 38.9,
        "top1_error_exact_high": 41.1,
        "top1_error_sd": None,
        "top1_error_se": 0.5,
        "fit_seconds": 139.0,
        "peak_memory_mb": 978.0,
        "top1_delta": -2.5,
        "top1_delta_low": -4.0,
        "top1_delta_high": -1.0,
        "top1_delta_seed_se": None,
        "top1_delta_image_se": 0.7,
        "p_value": 0.002,
        "p_holm": 0.004,
        "min_detectable": 1.2,
        "mean_class_delta": -3.0,
        "mean_class_delta_low": -5.0,
        "mean_class_delta_high": -2.0,
        "mean_class_delta_over_classes_low": -6.0,
        "mean_class_delta_over_classes_high": 0.0,
    }.items() <= flat.items()


def test_the_reference_has_the_same_names_without_values(make_row: MakeRow) -> None:
    delta = Delta(0.0, Interval(0.0, 0.0), 1.0, 1.0, None, None, 0.0)
    by_class = MeanClassDelta(0.0, Interval(0.0, 0.0), Interval(0.0, 0.0))
    reference = make_row().to_flat_dict()
    assert list(reference) == list(make_row(delta=delta, mean_class_delta=by_class).to_flat_dict())
    names = ("top1_delta", "p_value", "min_detectable", "mean_class_delta_low")
    assert all(reference[name] is None for name in names)


def test_only_equal_labels_show_run_ids() -> None:
    labels = ["hog-svm", "alexnet,lrn=false", "hog-svm"]
    run_ids = [("hog-svm-1",), ("alexnet-1",), ("hog-svm-2", "hog-svm-3")]
    assert row_labels(labels, run_ids) == [
        "hog-svm (hog-svm-1)",
        "alexnet,lrn=false",
        "hog-svm (hog-svm-2, hog-svm-3)",
    ]


def test_what_is_not_on_record_is_a_question_mark() -> None:
    assert (format_averaging(10, 2), format_averaging(None, 1)) == ("10 x 2", "? x 1")
    assert format_augmentation(None) == "?"
    assert format_augmentation(()) == "none"
    assert format_augmentation(("crops", "flips")) == "crops, flips"
