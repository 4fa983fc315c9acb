"""A result as one flat row, as a data frame and as HTML."""

from __future__ import annotations

from collections.abc import Callable

from harness.runs.result import Result, results_frame


def test_a_flat_result_has_every_figure_by_name(make_result: Callable[..., Result]) -> None:
    result = make_result(top1_error=20.0, top1_error_ci_low=18.0, top1_error_ci_high=22.0)
    flat = result.to_flat_dict()
    assert (flat["top1_error"], flat["top1_error_ci_low"], flat["top1_error_ci_high"]) == (
        20,
        18,
        22,
    )
    assert flat["fit_seconds"] == result.cost.fit_seconds
    assert flat["peak_memory_mb"] == result.cost.peak_memory_mb
    assert flat["run_id"] == result.run_id
    assert "cost" not in flat


def test_a_flat_result_has_none_for_what_was_not_measured(
    make_result: Callable[..., Result],
) -> None:
    flat = make_result(top5_error=None).to_flat_dict()
    names = ("top5_error", "top5_error_ci_low", "top5_error_ci_high", "params_millions")
    assert [flat[name] for name in names] == [None] * 4


def test_a_frame_has_one_row_per_result(make_result: Callable[..., Result]) -> None:
    frame = results_frame([make_result(run_id="a"), make_result(run_id="b", top1_error=None)])
    assert list(frame.run_id) == ["a", "b"]
    assert frame.top1_error.isna().tolist() == [False, True]
    assert not {"curves", "machine", "versions", "missing_reasons"} & set(frame.columns)
    assert make_result(run_id="a").to_frame().loc[0, "run_id"] == "a"


def test_a_notebook_shows_a_table(make_result: Callable[..., Result]) -> None:
    html = make_result(run_id="baseline-1")._repr_html_()
    assert "<table" in html
    assert "baseline-1" in html
    assert "top1_error_ci_low" in html
