from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from harness.context import RunContext
from harness.distributed import ALONE, Processes
from sklearn.datasets import load_digits, make_classification
from sklearn.svm import LinearSVC

from pipelines.handcrafted.classifiers.feature_rows import FeatureRows
from pipelines.handcrafted.classifiers.linear_svm import UNSEEN_CLASS_MARGIN, LinearSVM
from pipelines.handcrafted.classifiers.loss import LossName

Data = tuple[np.ndarray, np.ndarray]


def digits() -> Data:
    features, labels = load_digits(return_X_y=True)
    return features / 16, labels


def more_features_than_rows() -> Data:
    features, labels = make_classification(200, 600, n_informative=50, n_classes=5, random_state=0)
    return features / 20, labels  # at full length LinearSVC takes minutes to converge


def unbalanced() -> Data:
    return make_classification(
        1500, 40, n_informative=30, n_classes=4, weights=[0.9, 0.06, 0.03, 0.01], random_state=0
    )


def repeated_rows() -> Data:
    features, labels = more_features_than_rows()
    return np.concatenate([features] * 2), np.concatenate([labels] * 2)


SETS = {f.__name__: f for f in (digits, more_features_than_rows, unbalanced, repeated_rows)}


def solve(
    data: Data,
    c: float,
    processes: Processes = ALONE,
    loss: LossName = "squared_hinge",
    positive: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and biases from the share of the rows that this process has."""
    features, labels = (
        torch.from_numpy(part[processes.rank :: processes.world_size]) for part in data
    )
    rows = FeatureRows([features.float()], RunContext(processes=processes))
    return LinearSVM(rows, labels.long(), int(data[1].max()) + 1, loss).fit(c, positive)


def objective(
    weights: np.ndarray,
    biases: np.ndarray,
    data: Data,
    c: float,
    power: int = 2,
    positive: float = 1.0,
) -> np.ndarray:
    """What LinearSVC minimizes for each class, in float64; power 1: with the hinge loss."""
    features, labels = data
    signs = np.where(labels[:, None] == np.arange(len(weights)), 1, -1)
    slack = np.maximum(0, 1 - signs * (features @ weights.T + biases))
    costs = np.where(signs > 0, positive, 1) * c
    return ((weights**2).sum(1) + biases**2) / 2 + (costs * slack**power).sum(0)


@pytest.mark.parametrize("c", [1e-3, 0.1, 3.0])
@pytest.mark.parametrize("name", SETS)
def test_reaches_the_objective_of_a_converged_linear_svc(name: str, c: float) -> None:
    data = SETS[name]()
    weights, biases = (part.double().numpy() for part in solve(data, c))
    peer = LinearSVC(C=c, dual=False, tol=1e-6, max_iter=100_000).fit(*data)
    ours, theirs = (
        objective(weights, biases, data, c),
        objective(peer.coef_, peer.intercept_, data, c),
    )
    np.testing.assert_array_less(ours, theirs * (1 + 1e-3))


@pytest.mark.filterwarnings(
    "ignore:Liblinear failed to converge"
)  # it is then above its minimum, by less than we may be
@pytest.mark.parametrize("c", [1e-3, 0.1, 3.0])
@pytest.mark.parametrize("name", SETS)
def test_the_hinge_loss_reaches_the_objective_of_a_converged_linear_svc(
    name: str, c: float
) -> None:
    data = SETS[name]()
    weights, biases = (part.double().numpy() for part in solve(data, c, loss="hinge"))
    peer = LinearSVC(C=c, loss="hinge", tol=1e-5, max_iter=300_000, random_state=0).fit(*data)
    ours = objective(weights, biases, data, c, power=1)
    theirs = objective(peer.coef_, peer.intercept_, data, c, power=1)
    np.testing.assert_array_less(ours, theirs * (1 + 1e-3))


@pytest.mark.filterwarnings("ignore:Liblinear failed to converge")
@pytest.mark.parametrize(("loss", "power"), [("squared_hinge", 2), ("hinge", 1)])
@pytest.mark.parametrize("name", ["unbalanced", "more_features_than_rows"])
def test_positive_rows_count_as_often_as_a_class_weight_says(
    name: str, loss: LossName, power: int
) -> None:
    data = SETS[name]()
    weights, biases = (
        part.double().numpy() for part in solve(data, 0.1, loss=loss, positive_weight=5.0)
    )
    ours = objective(weights, biases, data, 0.1, power, positive_weight=5.0)
    for k in range(len(weights)):
        signs = np.where(data[1] == k, 1, -1)
        peer = LinearSVC(
            C=0.1,
            loss=loss,
            dual=loss == "hinge",
            class_weight={1: 5.0},
            tol=1e-6,
            max_iter=300_000,
            random_state=0,
        ).fit(data[0], signs)
        slack = np.maximum(0, 1 - signs * peer.decision_function(data[0]))
        costs = np.where(signs > 0, 0.5, 0.1)
        theirs = ((peer.coef_**2).sum() + peer.intercept_[0] ** 2) / 2 + (
            costs * slack**power
        ).sum()
        assert ours[k] < theirs * (1 + 1e-3)


def test_a_fit_does_not_depend_on_the_fits_before() -> None:
    features, labels = digits()
    svm = LinearSVM(
        FeatureRows([torch.from_numpy(features).float()], RunContext()),
        torch.from_numpy(labels),
        10,
    )
    for c in (0.01, 0.1, 10.0):
        svm.fit(c)
    warm, cold = svm.fit(1.0), solve((features, labels), 1.0)
    costs = [
        objective(w.double().numpy(), b.double().numpy(), (features, labels), 1.0)
        for w, b in (warm, cold)
    ]
    np.testing.assert_allclose(costs[0], costs[1], rtol=1e-3)


def test_the_same_rows_give_the_same_bits() -> None:
    first, second = solve(digits(), 1.0), solve(digits(), 1.0)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_a_class_without_rows_is_never_guessed_and_changes_nothing() -> None:
    features, labels = digits()
    skipping = np.where(labels >= 4, labels + 1, labels)
    weights, biases = solve((features, skipping), 1.0)
    assert not weights[4].any()
    assert biases[4] == UNSEEN_CLASS_MARGIN
    others = [k for k in range(11) if k != 4]
    plain_weights, plain_biases = (part.double().numpy() for part in solve((features, labels), 1.0))
    alone = objective(plain_weights, plain_biases, (features, labels), 1.0)
    kept = objective(
        weights[others].double().numpy(), biases[others].double().numpy(), (features, labels), 1.0
    )
    np.testing.assert_allclose(kept, alone, rtol=1e-3)


@pytest.mark.parametrize("name", ["digits", "more_features_than_rows"])
def test_two_processes_reach_the_objective_of_one(name: str, tmp_path: Path) -> None:
    mp.start_processes(_solve_share, args=(name, tmp_path), nprocs=2, start_method="forkserver")
    data = SETS[name]()
    shared = [np.load(tmp_path / f"{rank}.npz") for rank in range(2)]
    np.testing.assert_array_equal(shared[0]["weights"], shared[1]["weights"])
    weights, biases = solve(data, 1.0)
    alone = objective(weights.double().numpy(), biases.double().numpy(), data, 1.0)
    np.testing.assert_allclose(
        objective(shared[0]["weights"], shared[0]["biases"], data, 1.0), alone, rtol=1e-3
    )


def _solve_share(rank: int, name: str, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    weights, biases = solve(SETS[name](), 1.0, Processes(rank, 2, torch.device("cpu")))
    np.savez(
        folder / f"{rank}.npz", weights=weights.double().numpy(), biases=biases.double().numpy()
    )
    dist.destroy_process_group()
