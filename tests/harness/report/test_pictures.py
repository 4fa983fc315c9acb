"""The pictures of a run, read from the figures of matplotlib and from the files."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

import harness
from harness.report.lettering import Lettering
from harness.report.pictures import (
    CLASSES_SHOWN,
    draw_confusion,
    draw_curves,
    draw_filters,
    draw_pictures,
    tile_filters,
)
from harness.runs.record import Record
from harness.runs.result import Result, Scores
from harness.runs.run_store import RunStore
from harness.workspace import Workspace

CURVES = {
    "train/loss": [(0, 2.3), (1, 1.1)],
    "train/top1_error": [(0, 80.0), (1, 40.0)],
    "val/top1_error": [(0, 60.0), (1, 30.0)],
}


@pytest.fixture
def record(
    workdir: Path, make_result: Callable[..., Result], write_record: Callable[..., Record]
) -> Callable[..., Record]:
    """Write a finished run; `taken` lists, by class, what each of its images was taken for."""

    def make(taken: dict[int, list[int]], classes: int = 3, **fields: Any) -> Record:
        labels = np.array([label for label, predicted in taken.items() for _ in predicted])
        scores = np.eye(classes, dtype=np.float32)[np.concatenate(list(taken.values()))]
        keys = np.array([f"{i:016x}" for i in range(len(labels))])
        test = Scores(keys, labels, scores)
        if "top1_error" in fields:
            test = None
        draft = make_result(classes=classes, **fields)
        names = tuple(f"class {i}" for i in range(classes))
        return write_record(workdir / "runs", draft, test, spec={"class_names": names})

    return make


def test_the_confusion_matrix_counts_every_image(record: Callable[..., Record]) -> None:
    figure = draw_confusion(record({0: [0, 0, 0, 1], 1: [1, 1], 2: [0, 2, 2, 2, 2]}))
    axes = figure.axes[0]
    # (true class, taken for) -> count
    cells = {tuple(map(int, text.get_position()[::-1])): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "3", (0, 1): "1", (1, 1): "2", (2, 0): "1", (2, 2): "4"}
    np.testing.assert_allclose(
        np.asarray(axes.images[0].get_array()) ** 2, [[75, 25, 0], [0, 100, 0], [20, 0, 80]]
    )
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["class 0", "class 1", "class 2"]


def test_with_very_many_classes_the_most_confused_pairs_are_drawn(
    record: Callable[..., Record],
) -> None:
    classes = CLASSES_SHOWN + 1
    taken = {label: [label] for label in range(classes)}
    taken |= {0: [1, 1, 1, 0], 5: [6, 6, 5, 5], 9: [9, 9]}
    axes = draw_confusion(record(taken, classes)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "class 0 taken for class 1",
        "class 5 taken for class 6",
    ]
    assert [bar.get_width() for bar in axes.patches] == [75.0, 50.0]


def test_curves_show_error_loss_and_rate(make_result: Callable[..., Result]) -> None:
    error, loss, rate = draw_curves(
        make_result(curves={**CURVES, "lr": [(0, 0.1), (1, 0.01)]})
    ).axes
    assert [list(line.get_ydata()) for line in error.lines] == [[80.0, 40.0], [60.0, 30.0]]
    assert list(loss.lines[0].get_xdata()) == [1, 2]
    assert rate.get_yscale() == "log"
    without_tune = {name: CURVES[name] for name in ("train/loss", "train/top1_error")}
    assert len(draw_curves(make_result(curves=without_tune)).axes) == 2
    assert draw_curves(make_result(curves={})) is None


def test_each_filter_is_scaled_by_itself_around_gray() -> None:
    weights = np.zeros((17, 3, 2, 2), dtype=np.float32)
    weights[0, 0, 0, 0], weights[1, 2, 1, 1] = 5.0, -0.01
    picture = tile_filters(weights)
    assert picture.shape == (2 * 3 - 1, 16 * 3 - 1, 3)
    assert picture[0, 0].tolist() == [255, 128, 128]  # the largest weight of its filter, red
    assert picture[1, 4].tolist() == [128, 128, 0]  # the largest of its own, negative, blue
    assert picture[0, 2].tolist() == picture[2, 0].tolist() == [255, 255, 255]  # between filters
    assert picture[3, 0].tolist() == [128, 128, 128]  # the 17th starts a row
    assert draw_filters({}) is None
    assert len(draw_filters({"column 1": weights, "column 2": weights}).axes) == 2


class Filtered:
    """A pipeline that learns nothing and has filters to show."""

    FAMILY = "learned"

    def fit(self, train: Any, tune: Any, context: Any) -> None:
        for epoch in range(3):
            context.log("train/loss", 1 / (epoch + 1), epoch)
            context.log("train/top1_error", 50.0, epoch)

    def scores(self, batch: Any) -> torch.Tensor:
        return torch.arange(10.0).expand(len(batch), 10)

    def state(self) -> dict[str, torch.Tensor]:
        return {}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        pass

    def filters(self) -> dict[str, np.ndarray]:
        return {"conv1": np.random.default_rng(0).normal(size=(8, 3, 5, 5))}


def test_the_pictures_of_a_run_are_in_its_folder_and_in_mlflow(store: None) -> None:
    result = harness.run(Filtered(), "digits", tune=0)
    pictures = RunStore(Path("runs")).find(result.run_id).folder / "pictures"
    names = sorted(file.name for file in pictures.iterdir())
    assert names == ["confusion.png", "curves.png", "filters.png"]
    for file in pictures.iterdir():
        with Image.open(file) as picture:
            assert 500 < picture.width < 1000
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    settings = Workspace.open().settings
    client = MlflowClient(tracking_uri=settings.server.tracking_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("before-after").experiment_id])
    shown = {item.path for item in client.list_artifacts(run.info.run_id, "pictures")}
    assert shown == {f"pictures/{name}.png" for name in ("confusion", "curves", "filters")}


def test_a_picture_that_cannot_be_drawn_does_not_fail_the_run(store: None) -> None:
    pipeline = Filtered()
    not_filters = {"conv1": np.zeros((8, 3))}
    pipeline.filters = lambda: not_filters
    result = harness.run(pipeline, "digits", tune=0)
    record = RunStore(Path("runs")).find(result.run_id)
    assert record.state == "finished"
    assert record.links
    assert "pictures   not drawn: ValueError" in (record.folder / "log.txt").read_text()


def test_a_run_without_a_test_has_no_confusion(record: Callable[..., Record]) -> None:
    run = record({0: [0]}, top1_error=None)
    draw_pictures(run)
    assert not list((run.folder / "pictures").iterdir())


def test_class_names_in_any_script_and_with_formulas_are_drawn_without_a_warning(
    record: Callable[..., Record],
) -> None:
    names = ("寿司", "🍕", "हिन्दी", "عربى", r"$x^2$~\\", "$\\frac{", "\U000323b0 no font has it")
    run = record({label: [label, (label + 1) % 7] for label in range(7)}, classes=7)
    result = run.result
    run.save_spec(replace(run.spec, class_names=names))
    run.finish(result)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_pictures(Record(run.folder))
    assert (run.folder / "pictures" / "confusion.png").stat().st_size > 5000
    drawn = Lettering.for_texts(names)
    title = draw_confusion(Record(run.folder), drawn).get_suptitle()
    assert "no font on this machine" in title


def test_an_unwritable_home_is_nothing_to_talk_about() -> None:
    command = [sys.executable, "-c", "import harness.report.pictures, matplotlib"]
    environment = {**os.environ, "MPLCONFIGDIR": "/proc/none"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
