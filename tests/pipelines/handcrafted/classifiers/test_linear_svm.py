from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_digits, make_classification
from sklearn.svm import LinearSVC

from harness.contract import UserError
from harness.engine.context import RunContext
from harness.engine.distributed import SINGLE_PROCESS, Processes
from pipelines.handcrafted.classifiers import linear_svm
from pipelines.handcrafted.classifiers.feature_rows import FeatureRows
from pipelines.handcrafted.classifiers.linear_svm import UNSEEN_CLASS_MARGIN, LinearSVM, cholesky
from pipelines.handcrafted.classifiers.loss import LossName

Data = tuple[np.ndarray, np.ndarray]


def digits() -> Data:
    features, labels = load_digits(return_X_y=True)
    return features / 16, labels


def more_features_than_rows() -> Data:
    features, labels = make_classification(200, 600, n_informative=50, n_classes=5, random_state=0)
    # At full length LinearSVC takes minutes to converge.
    return features / 20, labels


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
    processes: Processes = SINGLE_PROCESS,
    loss: LossName = "squared_hinge",
    positive_weight: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fit this process's share of the rows and return weights and biases."""
    share = slice(processes.rank, None, processes.world_size)
    features, labels = (torch.from_numpy(values[share]) for values in data)
    rows = FeatureRows([features.float()], RunContext(processes=processes))
    return LinearSVM(rows, labels.long(), int(data[1].max()) + 1, loss).fit(c, positive_weight)


def objective(
    weights: np.ndarray,
    biases: np.ndarray,
    data: Data,
    c: float,
    power: int = 2,
    positive_weight: float = 1.0,
) -> np.ndarray:
    """Return what LinearSVC minimizes for each class; power 1 is the hinge loss."""
    features, labels = data
    signs = np.where(labels[:, None] == np.arange(len(weights)), 1, -1)
    slack = np.maximum(0, 1 - signs * (features @ weights.T + biases))
    costs = np.where(signs > 0, positive_weight, 1) * c
    return ((weights**2).sum(1) + biases**2) / 2 + (costs * slack**power).sum(0)


@pytest.mark.parametrize("c", [1e-3, 0.1, 3.0])
@pytest.mark.parametrize("name", SETS)
def test_reaches_the_objective_of_a_converged_linear_svc(name: str, c: float) -> None:
    data = SETS[name]()
    weights, biases = (values.double().numpy() for values in solve(data, c))
    peer = LinearSVC(C=c, dual=False, tol=1e-6, max_iter=100_000).fit(*data)
    ours, theirs = (
        objective(weights, biases, data, c),
        objective(peer.coef_, peer.intercept_, data, c),
    )
    np.testing.assert_array_less(ours, theirs * (1 + 1e-3))


# Where LIBLINEAR has not converged, it is above its minimum by less than the tolerance here.
@pytest.mark.filterwarnings("ignore:Liblinear failed to converge")
@pytest.mark.parametrize(
    ("name", "c"),
    [
        *[(name, c) for name in SETS for c in (1e-3, 0.1)],
        ("more_features_than_rows", 3.0),
        ("repeated_rows", 3.0),
        # LinearSVC takes 5 seconds to converge on each of these.
        pytest.param("digits", 3.0, marks=pytest.mark.slow),
        pytest.param("unbalanced", 3.0, marks=pytest.mark.slow),
    ],
)
def test_the_hinge_loss_reaches_the_objective_of_a_converged_linear_svc(
    name: str, c: float
) -> None:
    data = SETS[name]()
    weights, biases = (values.double().numpy() for values in solve(data, c, loss="hinge"))
    peer = LinearSVC(C=c, loss="hinge", tol=1e-5, max_iter=300_000, random_state=0).fit(*data)
    ours = objective(weights, biases, data, c, power=1)
    theirs = objective(peer.coef_, peer.intercept_, data, c, power=1)
    np.testing.assert_array_less(ours, theirs * (1 + 1e-3))


@pytest.mark.filterwarnings("ignore:Liblinear failed to converge")
@pytest.mark.parametrize(("loss", "power"), [("squared_hinge", 2), ("hinge", 1)])
@pytest.mark.parametrize("name", ["unbalanced", "more_features_than_rows"])
def test_the_positive_weight_equals_a_class_weight_of_linear_svc(
    name: str, loss: LossName, power: int
) -> None:
    data = SETS[name]()
    weights, biases = (
        values.double().numpy() for values in solve(data, 0.1, loss=loss, positive_weight=5.0)
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


def test_a_fit_does_not_depend_on_earlier_fits() -> None:
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


def test_repeated_rows_have_a_cholesky_factor_close_to_their_gram_matrix() -> None:
    rows = torch.randn(5, 3, dtype=torch.float64).repeat(2, 1)
    gram = rows @ rows.T
    factor = cholesky(gram.clone())
    torch.testing.assert_close(factor @ factor.T, gram, atol=1e-4, rtol=0)


def test_features_that_are_not_finite_are_refused() -> None:
    features, labels = more_features_than_rows()
    features[3, 5] = np.nan
    with pytest.raises(UserError, match="NaN or infinite"):
        solve((features, labels), 1.0)


def test_two_fits_of_the_same_rows_are_equal_bit_by_bit() -> None:
    first, second = solve(digits(), 1.0), solve(digits(), 1.0)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_a_class_without_rows_is_never_predicted_and_does_not_change_others() -> None:
    features, labels = digits()
    without_4 = np.where(labels >= 4, labels + 1, labels)
    weights, biases = solve((features, without_4), 1.0)
    assert not weights[4].any()
    assert biases[4] == UNSEEN_CLASS_MARGIN
    others = [k for k in range(11) if k != 4]
    plain_weights, plain_biases = (
        values.double().numpy() for values in solve((features, labels), 1.0)
    )
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


@pytest.mark.parametrize("name", ["digits", "more_features_than_rows"])
@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
def test_classes_fitted_a_few_at_a_time_reach_the_same_objective(
    name: str, loss: LossName, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, power = SETS[name](), 2 if loss == "squared_hinge" else 1
    together = solve(data, 0.3, loss=loss)
    monkeypatch.setattr(linear_svm, "classes_at_a_time", lambda rows: 3)
    few = solve(data, 0.3, loss=loss)
    objectives = [
        objective(weights.double().numpy(), biases.double().numpy(), data, 0.3, power)
        for weights, biases in (together, few)
    ]
    np.testing.assert_allclose(*objectives, rtol=1e-3)
    assert not torch.equal(together[0], few[0])


def test_many_rows_are_fitted_to_few_classes_at_a_time() -> None:
    assert linear_svm.classes_at_a_time(60_000) > 200
    assert linear_svm.classes_at_a_time(2_562_334) == linear_svm.MIN_CLASSES
