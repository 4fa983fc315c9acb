"""The summary gives each seed's ratio, its bound or why there is none; the picture is drawn."""

from __future__ import annotations

from pathlib import Path

from benchmarks.figure1_report import draw, summarize
from benchmarks.figure1_study import Study
from benchmarks.figure1_training import Curve


def curve_reaching(activation: str, rate: float, seed: int, epochs: int) -> Curve:
    """Return a curve whose error falls in a straight line to 25 % after this many epochs."""
    errors = tuple(100 - 75 * done / epochs for done in range(1, epochs + 1))
    return Curve(activation, rate, seed, errors, status="reached")


def study_with(folder: Path, *curves: Curve) -> Study:
    study = Study(folder / "figure1.json", {}, hours=1, max_epochs=60)
    study.curves = {curve.key: curve for curve in curves}
    return study


def test_ratios_of_seeds_have_a_mean_and_a_deviation(workdir: Path) -> None:
    study = study_with(
        workdir,
        curve_reaching("relu", 0.003, 0, 4), curve_reaching("tanh", 0.0003, 0, 10),
        curve_reaching("relu", 0.003, 1, 5), curve_reaching("tanh", 0.0003, 1, 11),
        *(Curve("relu", rate, 0, status="slower") for rate in (0.0003, 0.001, 0.01)),
        *(Curve("tanh", rate, 0, status="slower") for rate in (0.001, 0.003, 0.01)),
    )  # fmt: skip
    lines = "\n".join(summarize(study, 2))
    assert "seed 0     10.00 / 4.00 epochs: ratio 2.50" in lines
    assert "seed 1     11.00 / 5.00 epochs: ratio 2.20" in lines
    assert "ratio      2.35 +- 0.21 (standard deviation over 2 seeds)" in lines
    assert "note       tanh: the best rate, 0.0003, is at an end of the grid" in lines
    assert "not run" not in lines


def test_a_curve_that_has_not_reached_the_target_bounds_the_ratio(workdir: Path) -> None:
    unfinished = Curve("tanh", 0.0003, 0, (60.0,) * 8, status="epoch limit")
    study = study_with(workdir, curve_reaching("relu", 0.003, 0, 4), unfinished)
    lines = "\n".join(summarize(study, 2))
    assert (
        "seed 0     tanh has not reached 25 % in 8 epochs at the rates tried: ratio above 2.00"
        in lines
    )
    assert "seed 1     not measured" in lines


def test_the_picture_shows_every_curve(workdir: Path) -> None:
    curves = curve_reaching("relu", 0.003, 0, 4), curve_reaching("tanh", 0.0003, 0, 10)
    draw(study_with(workdir, *curves), workdir / "figure1.png", "two curves")
    assert (workdir / "figure1.png").stat().st_size > 5_000
