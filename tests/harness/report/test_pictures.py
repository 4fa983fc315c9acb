"""The pictures that a run leaves: what is in them, read from matplotlib's figures and from the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

import harness
from harness.report.pictures import (
    CLASSES_SHOWN,
    draw_confusion,
    draw_curves,
    draw_filters,
    draw_pictures,
    tiled,
)
from harness.runs.record import Record
from harness.runs.result import Result, Scores
from harness.runs.run_store import RunStore
from harness.settings import load_settings

CURVES = {
    "train/loss": [(0, 2.3), (1, 1.1)],
    "train/top1_error": [(0, 80.0), (1, 40.0)],
    "val/top1_error": [(0, 60.0), (1, 30.0)],
}


@pytest.fixture
def record(make_result: Callable[..., Result]) -> Callable[..., Record]:
    """A finished run in which `taken` lists what each image of a class was taken for."""

    def make(taken: dict[int, list[int]], classes: int = 3, **fields: Any) -> Record:
        labels = np.array([label for label, answers in taken.items() for _ in answers])
        scores = np.eye(classes, dtype=np.float32)[np.concatenate(list(taken.values()))]
        made = RunStore(Path("runs")).create(
            "hog-svm", {"class_names": [f"class {i}" for i in range(classes)]}
        )
        made.save_scores(
            Scores(np.array([f"{i:016x}" for i in range(len(labels))]), labels, scores)
        )
        made.finish(make_result(run_id=made.run_id, n_test=len(labels), **fields))
        return made

    return make


def test_the_confusion_matrix_counts_every_image(record: Callable[..., Record]) -> None:
    figure = draw_confusion(record({0: [0, 0, 0, 1], 1: [1, 1], 2: [0, 2, 2, 2, 2]}))
    axes = figure.axes[0]
    cells = {
        tuple(map(int, text.get_position()[::-1])): text.get_text() for text in axes.texts
    }  # (true, taken for)
    assert cells == {(0, 0): "3", (0, 1): "1", (1, 1): "2", (2, 0): "1", (2, 2): "4"}
    np.testing.assert_allclose(
        np.asarray(axes.images[0].get_array()) ** 2, [[75, 25, 0], [0, 100, 0], [20, 0, 80]]
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "class 0",
        "class 1",
        "class 2",
    ]


def test_of_very_many_classes_the_most_confused_pairs_are_shown(
    record: Callable[..., Record],
) -> None:
    classes = CLASSES_SHOWN + 1
    taken = {label: [label] for label in range(classes)} | {
        0: [1, 1, 1, 0],
        5: [6, 6, 5, 5],
        9: [9, 9],
    }
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
    assert (
        len(
            draw_curves(
                make_result(
                    curves={name: CURVES[name] for name in ("train/loss", "train/top1_error")}
                )
            ).axes
        )
        == 2
    )  # --tune 0
    assert draw_curves(make_result(curves={})) is None


def test_filters_are_scaled_one_by_one_around_gray() -> None:
    weights = np.zeros((17, 3, 2, 2), dtype=np.float32)
    weights[0, 0, 0, 0], weights[1, 2, 1, 1] = 5.0, -0.01
    picture = tiled(weights)
    assert picture.shape == (2 * 3 - 1, 16 * 3 - 1, 3)
    assert picture[0, 0].tolist() == [255, 128, 128]  # red, the largest of its filter
    assert picture[1, 4].tolist() == [128, 128, 0]  # as large in its own, below 0 in blue
    assert picture[0, 2].tolist() == picture[2, 0].tolist() == [255, 255, 255]  # between filters
    assert picture[3, 0].tolist() == [128, 128, 128]  # the 17th begins a row
    assert draw_filters({}) is None
    assert len(draw_filters({"column 1": weights, "column 2": weights}).axes) == 2


class Filtered:
    FAMILY = "learned"

    def fit(self, train: Any, tune: Any, context: Any) -> None:
        for epoch in range(3):
            (
                context.log("train/loss", 1 / (epoch + 1), epoch),
                context.log("train/top1_error", 50.0, epoch),
            )

    def scores(self, batch: Any) -> torch.Tensor:
        return torch.arange(10.0).expand(len(batch), 10)

    def state(self) -> dict[str, torch.Tensor]:
        return {}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        pass

    def filters(self) -> dict[str, np.ndarray]:
        return {"conv1": np.random.default_rng(0).normal(size=(8, 3, 5, 5))}


def test_a_run_leaves_its_pictures_in_its_folder_and_in_mlflow(store: None) -> None:
    result = harness.run(Filtered(), "digits", tune=0)
    pictures = RunStore(Path("runs")).find(result.run_id).folder / "pictures"
    assert sorted(file.name for file in pictures.iterdir()) == [
        "confusion.png",
        "curves.png",
        "filters.png",
    ]
    for file in pictures.iterdir():
        with Image.open(file) as picture:
            assert 500 < picture.width < 1000
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    client = MlflowClient(tracking_uri=load_settings().server.tracking_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("before-after").experiment_id])
    shown = {item.path for item in client.list_artifacts(run.info.run_id, "pictures")}
    assert shown == {f"pictures/{name}.png" for name in ("confusion", "curves", "filters")}


def test_a_picture_that_cannot_be_drawn_costs_nothing_but_itself(store: None) -> None:
    pipeline = Filtered()
    pipeline.filters = lambda: {"conv1": np.zeros((8, 3))}  # type: ignore[method-assign]  # no filters at all
    result = harness.run(pipeline, "digits", tune=0)
    record = RunStore(Path("runs")).find(result.run_id)
    assert record.state == "finished"
    assert record.links
    assert "pictures   not drawn: ValueError" in (record.folder / "log.txt").read_text()


def test_a_run_without_a_test_has_no_confusion(record: Callable[..., Record]) -> None:
    made = record({0: [0]}, top1_error=None)
    draw_pictures(made)
    assert not list((made.folder / "pictures").iterdir())
