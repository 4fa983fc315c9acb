"""The published figures: the file is consistent, and the gaps that are quoted follow from it."""

from __future__ import annotations

import math
import re
import subprocess
import sys

import pytest

from harness.comparison.published import METRICS, gap, parse, published
from harness.errors import UserError
from harness.registry import open_registry
from harness.spec import parse_spec

ROW = '{ method = "a", top1 = 10.0 }'
MINIMAL = """
[dataset.pets]
title = "Pets"
[[group]]
source = "a paper"
mark = "S"
dataset = "pets"
split = "test"
measure = "error"
family = "learned"
rows = [ROW]
"""
VALID = MINIMAL.replace("ROW", ROW)


@pytest.mark.parametrize(
    ("before", "after", "metric", "points", "fewer"),
    [
        ("isi", "supervision-extra", "top5", 10.86, 41.5),
        ("isi", "supervision", "top5", 9.75, 37.3),
        ("sanchez-2010", "cnn-2010", "top5", 8.7, 33.9),
        ("sanchez-2010", "cnn-2010", "top1", 8.2, 17.9),
        ("nec-2010", "cnn-2010", "top5", 11.2, 39.7),
        ("cnn-2010-1-crop", "cnn-2010", "top1", 1.5, 3.8),
        ("cnn-2010-1-crop", "cnn-2010", "top5", 1.3, 7.1),
    ],
)
def test_the_gaps_follow_from_the_rows(before, after, metric, points, fewer) -> None:
    found = gap(published().figure(before), published().figure(after), metric)
    assert (round(found[0], 2), round(found[1], 1)) == (points, fewer)


def test_validation_and_test_never_share_a_difference() -> None:
    """26.172 -> 18.2, or 7.97 points, mixes an error on validation with one on test."""
    isi, cnn = published().figure("isi"), published().figure("cnn-2012")
    assert isi.top5 - cnn.top5 == pytest.approx(7.97, abs=5e-3)
    assert 100 * (1 - cnn.top5 / isi.top5) == pytest.approx(30.5, abs=0.05)
    with pytest.raises(UserError, match=r"ilsvrc2012, test.*ilsvrc2012, val.*no difference"):
        gap(isi, cnn, "top5")
    with pytest.raises(UserError, match="no top-1 figure"):
        gap(isi, published().figure("supervision"), "top1")


def test_pairs_that_are_not_quoted_are_like_for_like() -> None:
    known = published()
    for pair in known.pairs:
        before, after = known.figure(pair.before), known.figure(pair.after)
        assert (before.dataset, before.split) == (after.dataset, after.split)
        if not pair.quoted:
            assert not before.extra_data
            assert not after.extra_data
    assert {known.figure(pair.after).id for pair in known.pairs if pair.quoted} == {
        "supervision-extra",
        "cnn-2010",
    }


def test_the_paper_prints_the_official_results_rounded() -> None:
    known = published()
    for paper, official in (
        ("isi-paper", "isi"),
        ("5-cnns-test", "supervision"),
        ("7-cnns-test", "supervision-extra"),
    ):
        assert known.figure(paper).top5 == round(known.figure(official).top5, 1)
    assert known.figure("nec-2010").top5 == round(known.figure("nec-2010-official").top5, 1)


def test_single_changes_in_the_paper_follow_from_its_tables() -> None:
    known = published()
    ten, one = known.figure("cnn-2010"), known.figure("cnn-2010-1-crop")
    (effect,) = [effect for effect in known.effects if effect.change.startswith("10 crops")]
    assert effect.top1 == pytest.approx(ten.top1 - one.top1)
    assert effect.top5 == pytest.approx(ten.top5 - one.top5)


def test_published_intervals_are_normal_intervals() -> None:
    with_interval = [figure for figure in published().figures if figure.interval]
    assert {figure.id for figure in with_interval} == {"googlenet", "vgg-2014"}
    for figure in with_interval:
        assert (figure.confidence, figure.n) == (99.9, 100_000)
        assert figure.top5
        standard_error = math.sqrt(figure.top5 * (100 - figure.top5) / figure.n)
        low, high = (figure.top5 + sign * 3.2905 * standard_error for sign in (-1, 1))
        assert (round(low, 2), round(high, 2)) == figure.interval


def test_wrong_figures_in_circulation_are_absent() -> None:
    """AlexNet: top-5 of 17.5, and 39.7 / 18.9 of the submission. Fisher vectors: 28.2 and 26.0."""
    known = published().figures
    assert not [
        f
        for f in known
        if f.dataset.startswith("ilsvrc") and (f.top5 in (17.5, 18.9) or f.top1 == 39.7)
    ]
    assert {f.top5 for f in known if "Sanchez" in f.method and f.dataset == "ilsvrc2010"} == {25.7}


def test_yardsticks_name_pipelines_and_parameters_that_exist() -> None:
    registry = open_registry()
    specs = {spec for figure in published().figures for spec in figure.yardstick_of}
    assert len(specs) > 20
    for spec in specs:
        _, values = parse_spec(spec)
        assert set(values) <= set(registry.resolve("pipeline", spec).values)


@pytest.mark.parametrize(
    ("spec", "least"),
    [
        ("ilsvrc2010", 7),
        ("ilsvrc2012", 40),
        ("caltech101", 25),
        ("cifar10", 45),
        ("fashion-mnist", 10),
    ],
)
def test_every_dataset_has_figures(spec: str, least: int) -> None:
    figures = [figure for figure in published().figures if figure.dataset == spec]
    assert len(figures) >= least
    assert all(
        0 < low <= high < 100
        for f in figures
        for metric in METRICS
        for low, high in [f.error(metric) or (1, 1)]
    )


def test_accuracies_and_ranges_become_errors() -> None:
    figure = parse(VALID.replace('measure = "error"', 'measure = "accuracy"')).figures[0]
    assert figure.error("top1") == (90, 90)
    assert figure.error("top5") is None
    (phow,) = [figure for figure in published().figures if figure.id == "phow"]
    assert phow.error("mean_class") == (35, 36)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{ method = "a", top1 = 10.0, veiws = 10 }', r"a paper: a: veiws: .*given 10"),
        ('{ method = "a", top1 = 101.0 }', r"top1: .*less than or equal to 100, given 101"),
        ("{ top1 = 10.0 }", "method: .*required"),
        ('{ method = "a" }', "no figure; give one of top1, top5, mean_class"),
        ('{ method = "a", top1 = 1.0, mean_ap = 1.0 }', "mean_ap is for measure mAP"),
        ('{ method = "a", top1 = 1.0, interval = [0.5, 1.5] }', "needs its confidence and n"),
        (f"{ROW[:-1]}, id = 'x' }}, {ROW[:-1]}, id = 'x' }}", "id x is given to two"),
    ],
)
def test_a_wrong_row_is_reported_with_its_field(row: str, message: str) -> None:
    with pytest.raises(UserError, match=re.compile(message, re.DOTALL)):
        parse(MINIMAL.replace("ROW", row))


PAIR = '[[pair]]\nbefore = "x"\nafter = "y"\nmeasure = "top1"'


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (VALID.replace('"pets"', '"dogs"', 1), "unknown dataset 'dogs'; there are: pets"),
        (VALID.replace('"test"', '"tset"'), "split: .*'val', 'test' or 'own'"),
        (f"{VALID}{PAIR}", "no published figure is called 'x'"),
        (f"{VALID}[extra]\n", "unknown table extra; allowed: dataset, group, pair, effect"),
    ],
)
def test_a_wrong_file_is_reported_with_its_entry(wrong: str, message: str) -> None:
    with pytest.raises(UserError, match=re.compile(message, re.DOTALL)):
        parse(wrong)


def test_reading_the_file_imports_nothing_heavy() -> None:
    code = (
        "import sys, harness.comparison.published as p; p.published(); "
        "print([m for m in ('torch', 'mlflow', 'sklearn', 'scipy') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_new_images_keep_the_order_of_hand_crafted_and_learned() -> None:
    """Recht et al. 2019: one model each, on the old validation images and on new ones."""
    known = published()
    (old, _), (new, _) = (
        gap(known.figure(f"fv-64k-{of}"), known.figure(f"alexnet-{of}"), "top1")
        for of in ("val", "v2")
    )
    assert math.isclose(old, 21.4, abs_tol=1e-9)
    assert math.isclose(new, 19.9, abs_tol=1e-9)
