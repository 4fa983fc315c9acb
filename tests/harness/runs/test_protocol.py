"""What a record tells about augmentation, views and models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.runs.protocol import Protocol, protocol
from harness.runs.record import Record
from harness.runs.run_store import new_run_id


@pytest.fixture
def recorded(make_run: Callable[..., Any]) -> Callable[..., Record]:
    def make(pipeline: str, spec: dict[str, Any] | None = None, **fields: Any) -> Record:
        _, folder = make_run(
            Path(), run_id=new_run_id("x"), pipeline=pipeline, spec=spec, n_test=40, **fields
        )
        return Record(folder)

    return make


@pytest.mark.parametrize(
    ("parameters", "notes", "views", "augmentation"),
    [
        ("crops=true,flip=true,color=true,views=10", (), 10, ("crops", "flips", "color")),
        ("crops=true,flip=none,color=false,views=10", (), 10, ("crops", "flips by tune")),
        (
            "crops=true,flip=none,views=10",
            ("no flips: on tune they change the class",),
            5,
            ("crops",),
        ),
        ("crops=false,flip=false,color=false,views=1", (), 1, ()),
        ("crops=true,views=10", (), None, ("crops",)),
    ],
)
def test_augmentation_is_read_from_the_parameters_and_views_from_the_result(
    recorded: Callable[..., Record],
    parameters: str,
    notes: tuple[str, ...],
    views: int | None,
    augmentation: tuple[str, ...],
) -> None:
    run = recorded(f"alexnet,{parameters}", notes=notes, views=views)
    assert protocol(run) == Protocol(augmentation, views)


@pytest.mark.parametrize(
    ("pipeline", "augmentation"),
    [
        ("hog-svm,flip=false,views=1", ()),
        ("nearest-mean,shrink=0.0", None),
        # Sees the whole image once, whatever the parameter says.
        ("cuda-convnet,layers=80sec,views=10", None),
    ],
)
def test_augmentation_is_unknown_without_parameters_for_it(
    recorded: Callable[..., Record], pipeline: str, augmentation: tuple[str, ...] | None
) -> None:
    assert protocol(recorded(pipeline, views=1)) == Protocol(augmentation, 1)


def test_augmentation_that_the_pipeline_reports_takes_precedence(
    recorded: Callable[..., Record],
) -> None:
    run = recorded("cuda-convnet,layers=80sec,views=10", views=1, augmentation=())
    assert protocol(run) == Protocol((), 1)
    mine = recorded("mine,flip=true", views=1, augmentation=("crops",))
    assert protocol(mine) == Protocol(("crops",), 1)


def test_an_ensemble_has_what_its_members_have_in_common(recorded: Callable[..., Record]) -> None:
    ten = recorded("alexnet,crops=true,flip=true,views=10", views=10)
    one = recorded("alexnet,crops=true,flip=true,views=1", views=1)

    def ensemble(*run_ids: str) -> Protocol:
        spec = {"kind": "ensemble", "members": run_ids, "models": len(run_ids)}
        return protocol(recorded("ensemble", spec))

    assert ensemble(ten.run_id, ten.run_id) == Protocol(("crops", "flips"), 10, 2)
    assert ensemble(ten.run_id, one.run_id) == Protocol(("crops", "flips"), None, 2)
    assert ensemble(ten.run_id, "gone-123456") == Protocol(None, None, 2)
