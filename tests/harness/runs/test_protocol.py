"""What a record tells of augmentation, views and models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.runs.protocol import Protocol, protocol
from harness.runs.record import Record
from harness.runs.result import Result
from harness.runs.run_store import RunStore


@pytest.fixture
def recorded(make_result: Callable[..., Result]) -> Callable[..., Record]:
    def make(pipeline: str, spec: dict[str, Any] | None = None, **fields: Any) -> Record:
        record = RunStore(Path("runs")).create("x", spec or {})
        record.finish(make_result(run_id=record.run_id, pipeline=pipeline, **fields))
        return Record(record.folder)

    return make


@pytest.mark.parametrize(
    ("pipeline", "notes", "views", "expected"),
    [
        (
            "alexnet,crops=true,flip=true,color=true,views=10",
            (),
            10,
            Protocol(("crops", "mirroring", "color"), 10),
        ),
        (
            "alexnet,crops=true,flip=none,color=false,views=10",
            (),
            10,
            Protocol(("crops", "mirroring by tune"), 10),
        ),
        (
            "alexnet,crops=true,flip=none,views=10",
            ("no flips: on tune they change the class",),
            5,
            Protocol(("crops",), 5),
        ),
        ("alexnet,crops=false,flip=false,color=false,views=1", (), 1, Protocol((), 1)),
        (
            "alexnet,crops=true,views=10",
            (),
            None,
            Protocol(("crops",), None),
        ),  # recorded before views were: ten or five
        ("hog-svm,flip=false,views=1", (), None, Protocol((), 1)),
        ("nearest-mean,shrink=0.0", (), None, Protocol(None, 1)),
        (
            "cuda-convnet,layers=80sec,views=10",
            (),
            1,
            Protocol(None, 1),
        ),  # it sees the whole image once, whatever was asked
    ],
)
def test_of_a_run(
    recorded, pipeline: str, notes: tuple[str, ...], views: int | None, expected: Protocol
) -> None:
    assert protocol(recorded(pipeline, notes=notes, views=views)) == expected


def test_what_a_pipeline_says_of_its_augmentation_comes_before_what_its_parameters_tell(
    recorded,
) -> None:
    run = recorded("cuda-convnet,layers=80sec,views=10", views=1, augmentation=())
    assert protocol(run) == Protocol((), 1)
    assert protocol(recorded("mine,flip=true", views=1, augmentation=("crops",))) == Protocol(
        ("crops",), 1
    )


def test_an_ensemble_has_what_its_members_have_in_common(recorded) -> None:
    a = recorded("alexnet,crops=true,flip=true,views=10", views=10)
    b = recorded("alexnet,crops=true,flip=true,views=1", views=1)

    def ensemble(*members: Record) -> Record:
        return recorded(
            "ensemble", {"members": [m.run_id for m in members], "models": len(members)}
        )

    assert protocol(ensemble(a, a)) == Protocol(("crops", "mirroring"), 10, 2)
    assert protocol(ensemble(a, b)) == Protocol(("crops", "mirroring"), None, 2)
    missing = recorded("ensemble", {"members": [a.run_id, "gone-123456"], "models": 2})
    assert protocol(missing) == Protocol(None, None, 2)
