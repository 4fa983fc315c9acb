from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from torch import Tensor
from torch.nn.functional import linear

from harness.engine.context import RunContext
from harness.engine.distributed import SINGLE_PROCESS, Processes
from pipelines.handcrafted.classifiers.feature_rows import FeatureRows
from pipelines.handcrafted.classifiers.learners import Solver
from pipelines.handcrafted.classifiers.linear_svm import UNSEEN_CLASS_MARGIN, LinearSVM
from pipelines.handcrafted.classifiers.loss import Loss, LossName
from pipelines.handcrafted.classifiers.row_stream import RowStream
from pipelines.handcrafted.classifiers.streamed_solvers import (
    StreamedDualAscent,
    StreamedPassiveAggressive,
    StreamedSGD,
)

CHUNK_ROWS = 300
Data = tuple[Tensor, Tensor]


class RowsInMemory:
    """Stands in for `features.Features`: chunks of rows that exist already."""

    quantizer = None

    def __init__(self, rows: Tensor, labels: Tensor, processes: Processes = SINGLE_PROCESS) -> None:
        self.chunks = list(zip(rows.split(CHUNK_ROWS), labels.split(CHUNK_ROWS), strict=True))
        self.share = slice(processes.rank, None, processes.world_size)

    def __len__(self) -> int:
        return len(self.chunks)

    def chunk_rows(self, index: int) -> int:
        return len(self.chunks[index][0])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rows, labels = self.chunks[index]
        return {"features": rows[self.share], "labels": labels[self.share]}

    def stored(self, index: int) -> dict[str, Tensor]:
        return self[index]

    def decode(self, stored: dict[str, Tensor]) -> dict[str, Tensor]:
        return stored


def digits() -> Data:
    """Centered rows of length 1, in random order, and their labels."""
    features, labels = load_digits(return_X_y=True)
    rows = torch.from_numpy(features - features.mean(0)).float()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    return (rows / rows.norm(dim=1, keepdim=True))[order], torch.from_numpy(labels)[order]


def make_stream(rows: Tensor, labels: Tensor, processes: Processes = SINGLE_PROCESS) -> RowStream:
    features: Any = RowsInMemory(rows, labels, processes)
    return RowStream([features], int(labels.max()) + 1, RunContext(processes=processes))


def objective(
    model: Data, data: Data, c: float, loss: LossName, positive_weight: float = 1.0
) -> float:
    weights, biases = model
    margins = linear(data[0], weights, biases)
    losses = float(Loss.from_name(loss).total(margins, data[1], positive_weight))
    squares = weights.double().square().sum() + biases.double().square().sum()
    return float(squares) / 2 + c * losses


def error_percent(model: Data, data: Data) -> float:
    return 100 * float((linear(data[0], *model).argmax(1) != data[1]).float().mean())


@pytest.mark.parametrize("positive_weight", [1.0, 4.0])
@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
def test_dual_ascent_ends_within_one_percent_of_the_exact_minimum(
    loss: LossName, positive_weight: float
) -> None:
    rows, labels = digits()
    train, test = (rows[:1200], labels[:1200]), (rows[1200:], labels[1200:])
    exact_solver = LinearSVM(FeatureRows([train[0]], RunContext()), train[1], 10, loss)
    exact = exact_solver.fit(1.0, positive_weight)
    solver = StreamedDualAscent(make_stream(*train), Loss.from_name(loss))
    streamed = solver.fit(1.0, positive_weight)
    minimum = objective(exact, train, 1.0, loss, positive_weight)
    assert objective(streamed, train, 1.0, loss, positive_weight) <= 1.01 * minimum
    difference = error_percent(streamed, test) - error_percent(exact, test)
    assert abs(difference) <= 1  # six images of 597


def test_averaged_sgd_ends_close_to_the_minimum() -> None:
    data = digits()
    exact = LinearSVM(FeatureRows([data[0]], RunContext()), data[1], 10, "hinge").fit(0.3)
    averaged = StreamedSGD(make_stream(*data), Loss.from_name("hinge"), epochs=20).fit(0.3)
    minimum = objective(exact, data, 0.3, "hinge")
    assert objective(averaged, data, 0.3, "hinge") <= 1.02 * minimum


def test_averaged_sgd_is_no_worse_than_scikit_learn_with_as_many_epochs() -> None:
    data = digits()
    ours = StreamedSGD(make_stream(*data), Loss.from_name("hinge"), epochs=5).fit(1.0)
    peer = SGDClassifier(
        "hinge", alpha=1 / len(data[0]), average=True, max_iter=5, tol=None, random_state=0
    ).fit(data[0].numpy(), data[1].numpy())
    theirs = torch.from_numpy(peer.coef_).float(), torch.from_numpy(peer.intercept_).float()
    limit = 1.02 * objective(theirs, data, 1.0, "hinge")
    assert objective(ours, data, 1.0, "hinge") <= limit


def test_averaged_passive_aggressive_learns_digits() -> None:
    rows, labels = digits()
    stream = make_stream(rows[:1200], labels[:1200])
    model = StreamedPassiveAggressive(stream, one_vs_rest=False, epochs=5).fit(0.1)
    assert error_percent(model, (rows[1200:], labels[1200:])) < 9  # an exact SVM: 5


SOLVERS: dict[str, Callable[[RowStream], Solver]] = {
    "dual ascent": lambda stream: StreamedDualAscent(stream, Loss()),
    "sgd": lambda stream: StreamedSGD(stream, Loss(0.0), 2),
    "passive aggressive": lambda stream: StreamedPassiveAggressive(stream, False, 2),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_a_class_without_rows_is_never_predicted(name: str) -> None:
    rows, labels = (values[:600] for values in digits())
    without_4 = torch.where(labels >= 4, labels + 1, labels)
    weights, biases = SOLVERS[name](make_stream(rows, without_4)).fit(1.0)
    assert not weights[4].any()
    assert biases[4] == UNSEEN_CLASS_MARGIN


def test_two_processes_fit_what_one_process_fits(tmp_path: Path) -> None:
    mp.start_processes(_fit_share, args=(tmp_path,), nprocs=2, start_method="forkserver")
    for name, make_solver in SOLVERS.items():
        weights, biases = make_solver(make_stream(*few_digits())).fit(0.1)
        for rank in range(2):
            shared = torch.load(tmp_path / f"{name} {rank}")
            # Sums in another order round some duals, kept in bfloat16, to the neighboring value.
            torch.testing.assert_close(shared, [weights, biases], atol=1e-3, rtol=1e-3)


def few_digits() -> Data:
    rows, labels = digits()
    return rows[:700], labels[:700]


def _fit_share(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    for name, make_solver in SOLVERS.items():
        stream = make_stream(*few_digits(), Processes(rank, 2, torch.device("cpu")))
        torch.save(list(make_solver(stream).fit(0.1)), folder / f"{name} {rank}")
    dist.destroy_process_group()
