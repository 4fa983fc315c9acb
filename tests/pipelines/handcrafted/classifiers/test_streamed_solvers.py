from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from harness.context import RunContext
from harness.distributed import ALONE, Processes
from pipelines.handcrafted.classifiers.online import (
    ImplicitSGD,
    PassiveAggressive,
    RowStream,
    StreamedDualAscent,
    StreamedPassiveAggressive,
    StreamedSGD,
    UpdatedWeights,
)
from sklearn.datasets import load_digits
from sklearn.linear_model import PassiveAggressiveClassifier, SGDClassifier
from torch import Tensor
from torch.nn.functional import linear, pad

from pipelines.handcrafted.classifiers.feature_rows import FeatureRows
from pipelines.handcrafted.classifiers.linear_svm import UNSEEN_CLASS_MARGIN, LinearSVM
from pipelines.handcrafted.classifiers.loss import Loss, LossName

SIZE = 300  # rows a chunk


class Chunks:
    """`features.Features` of rows in memory."""

    def __init__(self, rows: Tensor, labels: Tensor, processes: Processes = ALONE) -> None:
        self.chunks = list(zip(rows.split(SIZE), labels.split(SIZE), strict=True))
        self.share = slice(processes.rank, None, processes.world_size)

    def __len__(self) -> int:
        return len(self.chunks)

    def size(self, place: int) -> int:
        return len(self.chunks[place][0])

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        rows, labels = self.chunks[place]
        return {"features": rows[self.share], "labels": labels[self.share]}


def digits() -> tuple[Tensor, Tensor]:
    """Centerd and of length 1, in no order."""
    features, labels = load_digits(return_X_y=True)
    rows = torch.from_numpy(features - features.mean(0)).float()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    return (rows / rows.norm(dim=1, keepdim=True))[order], torch.from_numpy(labels)[order]


def stream(rows: Tensor, labels: Tensor, processes: Processes = ALONE) -> RowStream:
    chunks: Any = Chunks(rows, labels, processes)
    return RowStream([chunks], int(labels.max()) + 1, RunContext(processes=processes))


def objective(
    model: tuple[Tensor, Tensor],
    data: tuple[Tensor, Tensor],
    c: float,
    loss: LossName,
    positive: float,
) -> float:
    weights, biases = model
    paid = c * float(
        Loss.from_name(loss).total(linear(data[0], weights, biases), data[1], positive)
    )
    return float(weights.double().square().sum() + biases.double().square().sum()) / 2 + paid


def error(model: tuple[Tensor, Tensor], data: tuple[Tensor, Tensor]) -> float:
    return 100 * float((linear(data[0], *model).argmax(1) != data[1]).float().mean())


@pytest.mark.parametrize("positive", [1.0, 4.0])
@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
def test_dual_ascent_ends_within_a_hundredth_of_the_exact_minimum(
    loss: LossName, positive: float
) -> None:
    rows, labels = digits()
    train, test = (rows[:1200], labels[:1200]), (rows[1200:], labels[1200:])
    exact = LinearSVM(FeatureRows([train[0]], RunContext()), train[1], 10, loss).fit(1.0, positive)
    streamed = StreamedDualAscent(stream(*train), Loss.from_name(loss)).fit(1.0, positive)
    best = objective(exact, train, 1.0, loss, positive)
    assert objective(streamed, train, 1.0, loss, positive) <= 1.01 * best
    assert abs(error(streamed, test) - error(exact, test)) <= 1  # six images of 597


def test_averaged_sgd_is_near_the_minimum() -> None:
    data = digits()
    exact = LinearSVM(FeatureRows([data[0]], RunContext()), data[1], 10, "hinge").fit(0.3)
    found = StreamedSGD(stream(*data), Loss.from_name("hinge"), epochs=20).fit(0.3)
    assert objective(found, data, 0.3, "hinge", 1.0) <= 1.02 * objective(
        exact, data, 0.3, "hinge", 1.0
    )


def test_averaged_sgd_is_no_worse_than_scikit_learns_with_as_many_epochs() -> None:
    data = digits()
    ours = StreamedSGD(stream(*data), Loss.from_name("hinge"), epochs=5).fit(1.0)
    peer = SGDClassifier(
        "hinge", alpha=1 / len(data[0]), average=True, max_iter=5, tol=None, random_state=0
    ).fit(data[0].numpy(), data[1].numpy())
    theirs = torch.from_numpy(peer.coef_).float(), torch.from_numpy(peer.intercept_).float()
    assert objective(ours, data, 1.0, "hinge", 1.0) <= 1.02 * objective(
        theirs, data, 1.0, "hinge", 1.0
    )


def test_a_batch_is_seen_as_its_rows_one_after_the_other() -> None:
    """Weights and their mean as from the textbook's loop over single rows, with a decay."""
    rows, labels = (part[:50] for part in digits())
    rule = {"loss": Loss(0.0), "regularization": 0.1, "first_rate": 0.5}
    model = UpdatedWeights(10, rows.shape[1], rows)
    model.fit(rows[:30], labels[:30], ImplicitSGD(**rule))  # type: ignore[arg-type]
    single, plain, total = ImplicitSGD(**rule), np.zeros((10, rows.shape[1])), 0.0  # type: ignore[arg-type]
    for row, label in zip(rows[:30].double().numpy(), labels[:30].tolist(), strict=True):
        change, decay = single(0, plain @ row, label, float(row @ row))
        plain = decay * plain + change[:, None] * row
        total = total + plain
    np.testing.assert_allclose(model.weights.numpy(), plain, atol=1e-5)
    np.testing.assert_allclose(model.mean.numpy(), total / 30, atol=1e-5)


def test_an_implicit_step_minimizes_the_loss_and_the_change() -> None:
    grid = np.linspace(0, 3, 300_001)
    for loss in (Loss(), Loss(0.0)):
        for slack, rate, square in ((1.3, 0.4, 0.7), (0.2, 2.0, 1.5), (-0.1, 1.0, 1.0)):
            paid = (
                rate * loss.value(torch.from_numpy(slack - grid * square)).numpy()
                + grid**2 * square / 2
            )
            (step,) = loss.implicit_step(np.array([slack]), np.array([rate]), square)
            assert step == pytest.approx(grid[paid.argmin()], abs=2e-5)


@pytest.mark.filterwarnings("ignore:Class PassiveAggressiveClassifier is deprecated")
def test_passive_aggressive_one_vs_rest_is_scikit_learns() -> None:
    rows, labels = (part[:400] for part in digits())
    ours, rule = UpdatedWeights(10, rows.shape[1], rows), PassiveAggressive(0.1, one_vs_rest=True)
    for some, of in zip(rows.split(64), labels.split(64), strict=True):
        ours.fit(some, of, rule)
    for k in range(10):
        peer = PassiveAggressiveClassifier(
            C=0.1, fit_intercept=False, shuffle=False, max_iter=1, tol=None
        )
        peer.fit(rows.numpy(), (labels == k).numpy())
        np.testing.assert_allclose(ours.weights[k].numpy(), peer.coef_[0], atol=1e-5)


def test_a_passive_aggressive_step_gives_the_margin_it_may() -> None:
    rule = PassiveAggressive(10.0)
    change, decay = rule(0, np.array([0.2, 0.5, -1.0]), 0, 2.0)
    np.testing.assert_allclose(
        np.array([0.2, 0.5, -1.0]) + 2.0 * change, [0.85, -0.15, -1.0]
    )  # a margin of 1 after the step
    assert decay == 1
    assert PassiveAggressive(0.01)(0, np.array([0.2, 0.5, -1.0]), 0, 2.0)[0].tolist() == [
        0.01,
        -0.01,
        0.0,
    ]
    assert not rule(0, np.array([1.6, 0.5, -1.0]), 0, 2.0)[0].any()


def test_averaged_passive_aggressive_learns() -> None:
    rows, labels = digits()
    model = StreamedPassiveAggressive(
        stream(rows[:1200], labels[:1200]), one_vs_rest=False, epochs=5
    ).fit(0.1)
    assert error(model, (rows[1200:], labels[1200:])) < 9  # an exact SVM: 5


def test_a_class_without_rows_is_never_guessed() -> None:
    rows, labels = digits()
    skipping = torch.where(labels >= 4, labels + 1, labels)
    seen = stream(rows, skipping)
    for solver in (
        StreamedDualAscent(seen, Loss()),
        StreamedSGD(seen, Loss(), 2),
        StreamedPassiveAggressive(seen, False, 2),
    ):
        weights, biases = solver.fit(1.0)
        assert not weights[4].any()
        assert biases[4] == UNSEEN_CLASS_MARGIN


SOLVERS = {
    "dual ascent": lambda s: StreamedDualAscent(s, Loss()),
    "sgd": lambda s: StreamedSGD(s, Loss(0.0), 2),
    "passive aggressive": lambda s: StreamedPassiveAggressive(s, False, 2),
}


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    mp.start_processes(_fit_share, args=(tmp_path,), nprocs=2, start_method="forkserver")
    for name, solver in SOLVERS.items():
        weights, biases = solver(stream(*digits())).fit(0.1)
        alone = pad(weights, (0, 1)) + pad(biases[:, None], (weights.shape[1], 0))
        for rank in range(2):
            torch.testing.assert_close(
                torch.load(tmp_path / f"{name} {rank}"), alone, atol=1e-4, rtol=1e-4
            )


def _fit_share(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    for name, solver in SOLVERS.items():
        weights, biases = solver(stream(*digits(), Processes(rank, 2, torch.device("cpu")))).fit(
            0.1
        )
        torch.save(
            pad(weights, (0, 1)) + pad(biases[:, None], (weights.shape[1], 0)),
            folder / f"{name} {rank}",
        )
    dist.destroy_process_group()
