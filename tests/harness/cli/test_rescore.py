"""`harness rescore`: the run at one view that compare asks for."""

from __future__ import annotations

import json
from collections.abc import Callable

Harness = Callable[..., str]


def test_a_run_at_many_views_is_rescored_for_the_table_at_one_view(
    harness: Harness, published: list[str]
) -> None:
    def run(pipeline: str) -> str:
        few = ("--limit", "100", "--limit-test", "50", "--json")
        output = harness("run", "--pipeline", pipeline, *few)
        return str(json.loads(output.splitlines()[-1])["run_id"])

    first, second = run("hog-svm,flip=false,c=1,views=10"), run("raw-linear,c=1,flip=false")
    hint = f"harness rescore {first}"
    assert hint in harness("compare", second, first)
    rescored = harness(*hint.split()[1:])
    assert f"weights    of {first}" in rescored
    assert len(published) == 3
    table = harness("compare", second, first, "--details")
    assert hint not in table
    assert "at one view" in table
