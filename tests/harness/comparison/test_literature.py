"""Our rows and published figures: which are compared, and how differences are described."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.comparison.literature import (
    PublishedComparison,
    PublishedRow,
    compare_with_literature,
)
from harness.comparison.rows import Row
from harness.comparison.table import Comparison
from harness.runs.result import Cost, Estimate, Interval

ROW = Row(
    pipeline="hog-svm,c=none,flip=false,views=1",
    name="hog-svm",
    label="hog-svm",
    family="hand-crafted",
    notes=(),
    run_ids=("hog-svm-1",),
    seeds=(0,),
    source_hashes=("0",),
    finished=("2026-01-01T00:00:00+00:00",),
    n_fit=50_000,
    n_labeled=50_000,
    classes=10,
    augmentation=(),
    views=1,
    models=1,
    test_evaluations=1,
    top1_error=Estimate(45.0, Interval(44.0, 46.0)),
    exact_interval=Interval(44.0, 46.0),
    seed_sd=None,
    image_se=0.5,
    top5_error=10.0,
    mean_class_error=45.5,
    cost=Cost(fit_seconds=1.0, peak_memory_mb=1.0),
)
ALEXNET = replace(
    ROW,
    pipeline="alexnet,depth=5,init_from=none,views=10",
    name="alexnet",
    label="alexnet",
    family="learned",
    top1_error=Estimate(42.0, Interval(41.0, 43.0)),
    top5_error=19.0,
    views=10,
    augmentation=("crops", "flips", "color"),
    n_fit=45_000,
)
SIFT = replace(ROW, pipeline="sift-bow,words=600", name="sift-bow", label="sift-bow", classes=102)


def comparison(*rows: Row, dataset: str, title: str = "", n_test: int = 10_000) -> Comparison:
    title = title or dataset.partition(",")[0]
    return Comparison(title, dataset, "0" * 32, n_test, rows, (), ())


def yardstick(published: PublishedComparison, method: str) -> PublishedRow:
    """Return the published figure of a method with the row of ours that it is compared with."""
    (row,) = [row for row in published.rows if row.figure.method == method and row.row]
    return row


def test_a_copy_of_cifar10_is_compared_with_it_and_called_a_copy() -> None:
    copy = comparison(
        ROW, ALEXNET, dataset="folder,path=/x/cifar10-jpeg.tar.gz", title="cifar10-jpeg (folder)"
    )
    published = compare_with_literature(copy)
    assert (published.name, published.split) == ("cifar10", "test")
    note = "images of cifar10-jpeg (folder), not the original files"
    assert all(note in row.differences for row in published.rows)
    hog = yardstick(published, "HOG and linear SVM")
    assert hog.deltas == {"top1": pytest.approx(45 - (100 - 49.99))}
    assert "augmentation none, theirs unknown" in hog.differences
    network = yardstick(published, "network of the AlexNet paper")
    assert {"views 10, theirs unknown", "models 1, theirs unknown"} <= set(network.differences)
    assert "fitted on 45,000 of 50,000 labeled images" in network.differences
    human = next(row for row in published.rows if row.figure.family == "human")
    assert human.row is None
    assert "10,000 test images, theirs 400" in human.differences


def test_the_original_files_are_no_copy() -> None:
    published = compare_with_literature(comparison(ROW, dataset="cifar10"))
    assert not published.copy_note
    differences = [text for row in published.rows for text in row.differences]
    assert not any("not the original" in text for text in differences)


@pytest.mark.parametrize(("n_test", "split"), [(50_000, "val"), (100_000, "test"), (777, "own")])
def test_validation_and_test_never_share_a_delta(n_test: int, split: str) -> None:
    prepared = {"dataset": "prepared,name=ilsvrc2012-256", "title": "ilsvrc2012-256"}
    published = compare_with_literature(comparison(ROW, ALEXNET, n_test=n_test, **prepared))
    assert (published.name, published.split) == ("ilsvrc2012", split)
    assert {row.figure.split for row in published.rows} == {"val", "test"}
    for row in published.rows:
        other = row.figure.split != split
        assert other == any("no delta" in text for text in row.differences)
        assert not (other and row.deltas)
    expected = {"top1": pytest.approx(1.3), "top5": pytest.approx(0.8)} if split == "val" else {}
    assert yardstick(published, "1 CNN").deltas == expected


def test_caltech_is_compared_by_mean_class_error_and_training_images_per_class() -> None:
    def on_caltech(error: float) -> PublishedComparison:
        row = replace(SIFT, mean_class_error=error, n_labeled=102 * 15)
        dataset = "caltech101,train_per_class=15,test_per_class=15"
        return compare_with_literature(comparison(row, dataset=dataset))

    published = on_caltech(35.4)  # inside 64 to 65 % accuracy
    assert yardstick(published, "phow_caltech101").deltas == {"mean_class": 0.0}
    other = yardstick(published, "bag of words with positions")
    assert not other.deltas
    assert "15 training images per class, theirs 30: no delta" in other.differences
    for error, delta in ((36.5, 0.5), (34.2, -0.8)):
        row = yardstick(on_caltech(error), "phow_caltech101")
        assert row.deltas == {"mean_class": pytest.approx(delta)}


@pytest.mark.parametrize("dataset", ["caltech101", 'subset,of="caltech101,size=480",percent=10'])
def test_images_per_class_are_those_that_were_fitted_on(dataset: str) -> None:
    """A limited run and a subset have fewer than the spec of the whole dataset says."""
    few = replace(SIFT, n_labeled=102 * 3)
    published = compare_with_literature(comparison(few, dataset=dataset))
    assert published.name == "caltech101"
    for method, theirs in {"phow_caltech101": 15, "bag of words with positions": 30}.items():
        row = yardstick(published, method)
        assert not row.deltas
        assert f"3 training images per class, theirs {theirs}: no delta" in row.differences


def test_a_subset_has_the_original_files_but_fewer_of_them() -> None:
    few = replace(ROW, n_fit=5_000, n_labeled=5_000)
    title = "cifar10, 10 % of train (subset seed 0)"
    published = compare_with_literature(
        comparison(few, dataset="subset,of=cifar10,percent=10,seed=0", title=title)
    )
    assert (published.name, published.copy_note) == ("cifar10", "")
    row = yardstick(published, "HOG and linear SVM")
    assert "fitted on 5,000 of 50,000 labeled images" in row.differences


def test_a_path_with_a_comma_is_no_published_dataset() -> None:
    dataset, title = 'subset,of="/data/a,b",percent=10', "a,b (folder), 10 % of train"
    assert compare_with_literature(comparison(ROW, dataset=dataset, title=title)).name is None


def test_parameters_decide_which_figure_a_pipeline_is_compared_with() -> None:
    triangle = replace(ROW, pipeline="kmeans-triangle,k=4000,flip=false", label="kmeans-triangle")
    published = compare_with_literature(comparison(triangle, dataset="cifar10"))
    methods = [row.figure.method for row in published.rows if row.row]
    assert methods == ["k-means, triangle, 4000"]
    assert published.rows[0].row == triangle  # yardsticks come first


def test_weights_of_another_run_are_extra_data() -> None:
    tuned = replace(ALEXNET, pipeline="alexnet,init_from=alexnet-1a2b3c,views=10")
    published = compare_with_literature(comparison(tuned, dataset="cifar10"))
    row = yardstick(published, "network of the AlexNet paper")
    extra = "extra data the training images of run alexnet-1a2b3c, theirs none"
    assert extra in row.differences


@pytest.mark.parametrize("dataset", ["digits", "cifar100", "prepared,name=my-cifar10"])
def test_other_datasets_have_no_figures(dataset: str) -> None:
    published = compare_with_literature(comparison(ROW, dataset=dataset))
    assert (published.name, published.rows) == (None, ())
    assert set(published.known) >= {"cifar10", "fashion-mnist", "ilsvrc2010"}
    assert published.before_after  # the history does not depend on the dataset


def test_pairs_that_are_quoted_say_how_they_differ() -> None:
    published = compare_with_literature(comparison(ROW, dataset="cifar10"))
    quoted, other_year, *fair = published.before_after
    assert (round(quoted.points, 2), round(quoted.fewer, 1)) == (10.86, 41.5)
    assert "models 4 -> 7" in quoted.differences
    extra = "extra data none -> 2 of 7 pre-trained"
    assert any(text.startswith(extra) for text in quoted.differences)
    assert other_year.title == "ILSVRC-2010"
    assert not any("extra data" in text for pair in fair for text in pair.differences)


def test_a_comparison_with_the_literature_is_plain_data() -> None:
    published = compare_with_literature(comparison(ROW, dataset="cifar10"))
    data = json.loads(json.dumps(published.to_dict()))
    first = data["rows"][0]
    assert (first["row"], first["deltas"]) == ("hog-svm", {"top1": pytest.approx(-5.01)})
    assert first["figure"]["dataset"] == data["name"] == "cifar10"
    assert data["rows"][-1]["row"] is None
