from __future__ import annotations

from types import SimpleNamespace

from harness.comparison.table import row_labels


def row(pipeline: str, *run_ids: str):
    return SimpleNamespace(
        pipeline=pipeline, name=pipeline.partition(",")[0], run_ids=run_ids or ("run-1",)
    )


def test_names_stand_alone_where_they_differ() -> None:
    assert row_labels([row("hog-svm,cell=8"), row("alexnet,lrn=true")]) == ["hog-svm", "alexnet"]


def test_rows_of_one_name_show_what_tells_them_apart() -> None:
    rows = [
        row("alexnet,lrn=true,dropout=0.5"),
        row("alexnet,lrn=false,dropout=0.5"),
        row("hog-svm,cell=8"),
    ]
    assert row_labels(rows) == ["alexnet,lrn=true", "alexnet,lrn=false", "hog-svm"]


def test_a_parameter_that_one_of_them_did_not_have_yet_tells_them_apart_too() -> None:
    assert row_labels([row("alexnet,lrn=true"), row("alexnet,lrn=true,side=64")]) == [
        "alexnet",
        "alexnet,side=64",
    ]


def test_none_goes_without_saying() -> None:
    rows = [row("alexnet,epochs=none"), row("alexnet,epochs=60,side=none")]
    assert row_labels(rows) == ["alexnet", "alexnet,epochs=60"]


def test_equal_specs_are_told_apart_by_run() -> None:
    assert row_labels([row("hog-svm", "hog-svm-1"), row("hog-svm", "hog-svm-2")]) == [
        "hog-svm (hog-svm-1)",
        "hog-svm (hog-svm-2)",
    ]
