"""Our rows beside published figures: which are held against which, and what is said of the differences."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.comparison.literature import Beside, beside_published
from harness.comparison.published import published
from harness.comparison.table import Comparison, Row
from harness.report.literature import published_markdown, published_text
from harness.runs.result import Result, Scores
from harness.runs.run_store import RunStore

ROW = Row(
    pipeline="hog-svm,c=none,flip=false,views=1", name="hog-svm", label="hog-svm", family="hand-crafted", notes=(), run_ids=("hog-svm-1",), seeds=(0,),
    source_hashes=("0",), finished=("2026-01-01T00:00:00+00:00",), n_fit=50_000, n_labeled=50_000, classes=10, augmentation=(), views=1, models=1,
    test_evaluations=1, top1_error=45.0, top1_error_ci_low=44.0, top1_error_ci_high=46.0, top1_error_exact_low=44.0, top1_error_exact_high=46.0,
    top1_error_sd=None, top1_error_se=0.5, top5_error=10.0, mean_class_error=45.5, fit_seconds=1.0, score_seconds=1.0,
)  # fmt: skip
ALEXNET = replace(
    ROW, pipeline="alexnet,depth=5,init_from=none,views=10", name="alexnet", label="alexnet", family="learned", top1_error=42.0, top5_error=19.0,
    views=10, augmentation=("crops", "mirroring", "color"), n_fit=45_000,
)  # fmt: skip


def comparison(*rows: Row, dataset: str, title: str = "", n_test: int = 10_000) -> Comparison:
    title = title or dataset.partition(",")[0]
    return Comparison(title, dataset, "0" * 32, n_test, rows, (), (), None)


def held(lines: tuple[Beside, ...], method: str) -> Beside:
    (found,) = [line for line in lines if line.figure.method == method and line.row]
    return found


def test_a_copy_of_cifar10_is_held_against_it_and_said_to_be_one() -> None:
    found = beside_published(
        comparison(
            ROW,
            ALEXNET,
            dataset="folder,path=/x/cifar10-jpeg.tar.gz",
            title="cifar10-jpeg (folder)",
        )
    )
    assert (found.name, found.split) == ("cifar10", "test")
    assert all(
        "images of cifar10-jpeg (folder), not the original files" in line.differences
        for line in found.lines
    )
    hog = held(found.lines, "HOG and linear SVM")
    assert hog.deltas == {"top1": pytest.approx(45 - (100 - 49.99))}
    assert "augmentation none, theirs not said" in hog.differences
    network = held(found.lines, "network of the AlexNet paper")
    assert {"views 10, theirs not said", "models 1, theirs not said"} <= set(network.differences)
    assert "fitted on 45,000 of 50,000 labeled images" in network.differences
    few = replace(ROW, n_fit=5_000, n_labeled=5_000)
    limited = held(beside_published(comparison(few, dataset="cifar10")).lines, "HOG and linear SVM")
    assert "fitted on 5,000 of 50,000 labeled images" in limited.differences
    human = next(line for line in found.lines if line.figure.family == "human")
    assert human.row is None
    assert "10,000 test images, theirs 400" in human.differences
    original = beside_published(comparison(ROW, dataset="cifar10"))
    assert not original.copy
    assert not any(
        "not the original" in text for line in original.lines for text in line.differences
    )


@pytest.mark.parametrize(("n_test", "split"), [(50_000, "val"), (100_000, "test"), (777, "own")])
def test_validation_and_test_are_never_in_one_delta(n_test: int, split: str) -> None:
    found = beside_published(
        comparison(
            ROW,
            ALEXNET,
            dataset="prepared,name=ilsvrc2012-256",
            title="ilsvrc2012-256",
            n_test=n_test,
        )
    )
    assert (found.name, found.split) == ("ilsvrc2012", split)
    assert {line.figure.split for line in found.lines} == {"val", "test"}
    for line in found.lines:
        other = line.figure.split != split
        assert other == any("no delta" in text for text in line.differences)
        assert not (other and line.deltas)
    one_cnn = held(found.lines, "1 CNN")
    assert one_cnn.deltas == (
        {"top1": pytest.approx(1.3), "top5": pytest.approx(0.8)} if split == "val" else {}
    )


def test_caltech_by_the_mean_of_the_classes_and_the_training_images_a_class() -> None:
    row = replace(
        ROW,
        pipeline="sift-bow,words=600",
        name="sift-bow",
        label="sift-bow",
        mean_class_error=35.4,
        n_labeled=102 * 15,
        classes=102,
    )
    found = beside_published(
        comparison(row, dataset="caltech101,train_per_class=15,test_per_class=15")
    )
    assert held(found.lines, "phow_caltech101").deltas == {"mean_class": 0.0}  # inside 64 to 65
    other = held(found.lines, "bag of words with positions")
    assert not other.deltas
    assert "15 training images a class, theirs 30: no delta" in other.differences
    for error, delta in ((36.5, 0.5), (34.2, -0.8)):
        line = held(beside_published(replace(comparison(replace(row, mean_class_error=error), dataset="caltech101,train_per_class=15"))).lines, "phow_caltech101")  # fmt: skip
        assert line.deltas == {"mean_class": pytest.approx(delta)}


@pytest.mark.parametrize("dataset", ["caltech101", 'subset,of="caltech101,size=480",percent=10'])
def test_images_a_class_are_those_that_were_learned_from(dataset: str) -> None:
    """Of a limited run and of a subset the spec of the whole does not tell them."""
    few = replace(
        ROW,
        pipeline="sift-bow,words=600",
        name="sift-bow",
        label="sift-bow",
        n_labeled=102 * 3,
        classes=102,
    )
    found = beside_published(comparison(few, dataset=dataset))
    assert found.name == "caltech101"
    for method, theirs in {"phow_caltech101": 15, "bag of words with positions": 30}.items():
        line = held(found.lines, method)
        assert not line.deltas
        assert f"3 training images a class, theirs {theirs}: no delta" in line.differences


def test_a_subset_has_the_original_files() -> None:
    few = replace(ROW, n_fit=5_000, n_labeled=5_000)
    title = "cifar10, 10 % of train (subset seed 0)"
    found = beside_published(
        comparison(few, dataset="subset,of=cifar10,percent=10,seed=0", title=title)
    )
    assert (found.name, found.copy) == ("cifar10", "")
    assert (
        "fitted on 5,000 of 50,000 labeled images"
        in held(found.lines, "HOG and linear SVM").differences
    )


def test_a_subset_of_a_path_with_a_comma_is_of_no_published_set() -> None:
    found = beside_published(
        comparison(
            ROW, dataset='subset,of="/data/a,b",percent=10', title="a,b (folder), 10 % of train"
        )
    )
    assert found.name is None


def test_parameters_say_which_figure_a_pipeline_is_held_to() -> None:
    triangle = replace(
        ROW,
        pipeline="kmeans-triangle,k=4000,flip=false",
        name="kmeans-triangle",
        label="kmeans-triangle",
    )
    found = beside_published(comparison(triangle, dataset="cifar10"))
    assert [line.figure.method for line in found.lines if line.row] == ["k-means, triangle, 4000"]
    assert found.lines[0].row == triangle  # yardsticks come first
    tuned = replace(ALEXNET, pipeline="alexnet,init_from=alexnet-1a2b3c,views=10")
    line = held(
        beside_published(comparison(tuned, dataset="cifar10")).lines, "network of the AlexNet paper"
    )
    assert "extra data what run alexnet-1a2b3c learned from, theirs none" in line.differences


@pytest.mark.parametrize("dataset", ["digits", "cifar100", "prepared,name=my-cifar10"])
def test_other_data_sets_have_no_figures_and_are_told_which_have(dataset: str) -> None:
    found = beside_published(comparison(ROW, dataset=dataset))
    assert (found.name, found.lines) == (None, ())
    text = published_text(found)
    assert "nothing on this dataset" in text
    assert "cifar10, fashion-mnist, ilsvrc2010" in text
    assert "quoted (26.2 -> 15.3)" in text  # the history is shown all the same


def test_the_quoted_pairs_are_shown_for_what_they_are() -> None:
    found = beside_published(comparison(ROW, dataset="cifar10"))
    quoted, other_year, *fair = found.before_after
    assert (round(quoted.points, 2), round(quoted.fewer, 1)) == (10.86, 41.5)
    assert "models 4 -> 7" in quoted.differences
    assert any(
        text.startswith("extra data none -> 2 of 7 pre-trained") for text in quoted.differences
    )
    assert other_year.title == "ILSVRC-2010"
    text = " ".join(published_text(found).split())
    assert "top-5 26.172 % ISI" in text
    assert (
        "-> 16.422 % SuperVision, 5 CNNs, ILSVRC-2012 test: 9.75 points, 37.3 % fewer errors"
        in text
    )
    assert (
        "top-5 25.70 % SIFT + Fisher vectors (Sanchez & Perronnin 2011) -> 17.00 % AlexNet, 10 crops, ILSVRC-2010 test"
        in text
    )
    assert not any("extra data" in difference for pair in fair for difference in pair.differences)


def test_text_and_markdown_show_every_figure_with_its_source_and_how_sure_it_is() -> None:
    found = beside_published(comparison(ROW, ALEXNET, dataset="cifar10"))
    text, markdown = " ".join(published_text(found).split()), published_markdown(found)
    for line in found.lines:
        assert line.figure.method in text
        assert line.figure.source in text
        assert line.figure.source in markdown
    rows = [row for row in markdown.splitlines() if row.startswith("| ")]
    assert len(rows) == 2 + len(found.lines)
    assert len({row.count(" | ") for row in rows}) == 1
    assert (
        {line.figure.mark for line in found.lines}
        == {"S", "S2", "M", "D"}
        <= {row.split(" | ")[1] for row in rows}
    )
    assert "top-5 error" not in rows[0]  # nobody gives one


def test_compare_with_published_figures_imports_nothing_heavy(
    make_result: Callable[..., Result],
) -> None:
    scores = Scores(np.array(["0", "1"]), np.array([0, 1]), np.eye(2, 6, dtype=np.float32))
    made = []
    for name in ("a", "b"):
        record = RunStore(Path("runs")).create(name, {})
        record.save_scores(scores)
        machine = {"cpu": "x", "cores": 2, "memory_gb": 24.0, "device": "cpu"}
        record.finish(
            make_result(
                run_id=record.run_id, name=name, dataset="cifar10", title="cifar10", machine=machine
            )
        )
        made.append(record.run_id)
    code = (
        "import sys; sys.argv = ['harness', 'compare', '--published', *sys.argv[1:]]\n"
        "from harness.__main__ import main\n"
        "try: main()\n"
        "finally: print('HEAVY', [m for m in ('torch', 'mlflow', 'sklearn', 'skimage', 'pandas', 'scipy.stats') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *made], capture_output=True, text=True, check=False
    )
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr
    assert "published on CIFAR-10" in done.stdout
    assert len(published().figures) > 150
