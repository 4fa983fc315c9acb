"""What a pipeline returns is converted where that changes nothing, and refused elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import UserError
from harness.contract import Batch
from harness.engine.outputs import batch_scores, count_nan_rows, plugin_errors, require_pipeline

ROWS = torch.tensor([[0.5, 2.0, -1.0], [3.0, 0.25, 0.0]])


class Returns:
    """A pipeline whose scores are `returned`."""

    def __init__(self, returned: Any) -> None:
        self.returned = returned

    def fit(self, train: Any, tune: Any, context: Any) -> None: ...

    def scores(self, batch: Batch) -> Any:
        return self.returned

    def state(self) -> dict[str, torch.Tensor]:
        return {}

    def load(self, state: Any) -> None: ...


def scores_of(returned: Any) -> torch.Tensor:
    batch = Batch(np.array(["a", "b"]), torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.arange(2))
    return batch_scores(Returns(returned), batch, 3)


@pytest.mark.parametrize(
    "returned",
    [
        ROWS,
        ROWS.numpy(),
        ROWS.double().numpy()[:, ::-1][:, ::-1],  # with strides that torch refuses
        ROWS.tolist(),
        ROWS.bfloat16(),
        torch.nn.Parameter(ROWS),
        ROWS.clone().requires_grad_() * 1,
        ROWS.t().contiguous().t(),
        ROWS.numpy().astype(">f8"),
    ],
)
def test_scores_of_every_harmless_kind_are_accepted(returned: Any) -> None:
    scores = scores_of(returned)
    assert scores.dtype == torch.float32
    assert not scores.requires_grad
    assert torch.equal(scores, ROWS)


@pytest.mark.parametrize("kind", [torch.int64, torch.uint8, torch.bool])
def test_whole_numbers_are_accepted_as_scores(kind: torch.dtype) -> None:
    counts = ROWS.clamp(min=0).to(kind)
    for returned in (counts, counts.numpy()):
        assert torch.equal(scores_of(returned), counts.float())


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (ROWS[0], r"scores are \(3,\) for 2 images, not \(2, 3\)"),
        (ROWS.t(), r"scores are \(3, 2\) for 2 images"),
        (ROWS[None], r"scores are \(1, 2, 3\)"),
        (ROWS[:1], r"scores are \(1, 3\) for 2 images"),
        (None, "scores are of type NoneType; return a torch.Tensor of float32"),
        ([[1, 2, 3], [1, 2]], "scores are of type list; return"),
        ({"a": 1}, "scores are of type dict; return"),
        (np.array([["a"] * 3] * 2), "scores are of type ndarray; return"),
        (ROWS * 1j, "scores are torch.complex64"),
        (ROWS.to_sparse(), "scores are torch.float32, torch.sparse_coo on cpu; return a dense"),
        (ROWS.to("meta"), "on meta; return a dense"),
        (ROWS.double() * 1e300, "scores are torch.float64 and too large for torch.float32"),
    ],
)  # fmt: skip
def test_other_scores_are_refused_with_what_they_are(returned: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        scores_of(returned)


def test_infinite_scores_stay_and_rows_with_nan_are_counted() -> None:
    rows = ROWS.double()
    rows[0, 0], rows[1, 2] = -torch.inf, torch.nan
    scores = scores_of(rows)
    assert scores[0, 0] == -torch.inf
    assert count_nan_rows(scores) == count_nan_rows(scores.numpy()) == 1


def test_what_build_returned_is_named() -> None:
    require_pipeline(Returns(None), "mine")
    with pytest.raises(UserError, match=r"^mine: build returned NoneType without the methods fit"):
        require_pipeline(None, "mine")
    half = Returns(None)
    half.load = 3  # type: ignore[method-assign,assignment]
    with pytest.raises(UserError, match="returned Returns without the method load"):
        require_pipeline(half, "mine")


def test_an_error_in_a_plugin_says_where(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text("def fit(x):\n    return x.bit_lenght()\n")
    scope: dict[str, Any] = {}
    exec(compile(plugin.read_text(), str(plugin), "exec"), scope)
    where = rf"^mine \({plugin}, line 2, in fit\): AttributeError: 'int' object has no attribute"
    with pytest.raises(UserError, match=where), plugin_errors("mine", plugin):
        scope["fit"](1)
    with pytest.raises(AttributeError), plugin_errors("mine", None):
        scope["fit"](1)
    with pytest.raises(ZeroDivisionError), plugin_errors("mine", plugin):
        raise ZeroDivisionError  # not in that file
    raising = compile("raise raised", str(plugin), "exec")
    for error in (UserError("mine"), OSError(28, "full"), MemoryError()):
        with pytest.raises(type(error)), plugin_errors("mine", plugin):
            exec(raising, {"raised": error})
