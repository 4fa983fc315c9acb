"""What a run was asked to do, and when two runs are the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.runs.spec import IDENTITY_FIELDS, RunSpec, SeedGroup


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pipeline", "baseline,cell=4"), ("dataset", "digits,classes=2"), ("seed", 1), ("tune", 0),
        ("limit", 100), ("limit_test", 50), ("test", False), ("source_hash", "e" * 16),
        ("train_digest", "e" * 32), ("test_digest", "e" * 32),
    ],
)  # fmt: skip
def test_the_identity_changes_with_everything_that_changes_the_result(
    make_spec: Callable[..., RunSpec], name: str, value: Any
) -> None:
    assert name in IDENTITY_FIELDS
    changed = make_spec(**{name: value})
    assert changed.identity != make_spec().identity
    assert changed.identifying[name] == value


@pytest.mark.parametrize(
    "fields",
    [{"title": "the digits"}, {"plugins": ("a.py",)}, {"seed_group": SeedGroup("a-seeds", 3)}],
)
def test_the_identity_does_not_depend_on_names_and_places(
    make_spec: Callable[..., RunSpec], fields: dict[str, Any]
) -> None:
    spec = make_spec(**fields)
    assert spec.identity == make_spec().identity
    assert len(spec.identity) == 16


def test_a_spec_is_plain_data(make_spec: Callable[..., RunSpec]) -> None:
    spec = make_spec(seed_group=SeedGroup("a-seeds", 3), members=("a-1", "b-2"))
    plain = json.loads(json.dumps(spec.to_dict()))
    assert plain["seed_group"] == {"run_id": "a-seeds", "seeds": 3}
    assert plain["members"] == ["a-1", "b-2"]
    assert plain["kind"] == "fit"


@pytest.mark.parametrize("image_size", [(0, 8), (8, -1), (8, 2**40), (8, 8, 8), "8"], ids=str)
def test_an_image_has_a_size_that_images_have(
    make_spec: Callable[..., RunSpec], image_size: Any
) -> None:
    record = RunStore(Path("runs")).create("means", make_spec(image_size=image_size))
    with pytest.raises(UserError, match=r"spec\.json cannot be read .*image_size"):
        _ = Record(record.folder).spec
