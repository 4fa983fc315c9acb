"""Every hand-crafted stage is timed, and wrong arguments are refused."""

from __future__ import annotations

import re

import pytest

from benchmarks import stage_speed
from benchmarks.stage_speed import main


def test_every_stage_is_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"COMPONENTS": 16, "CENTROIDS": 20, "ITERATIONS": 2, "ROUNDS": 1}
    for name, value in small.items():
        monkeypatch.setattr(stage_speed, name, value)
    assert main(["--images", "1", "--share", "0.002", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rates = [re.fullmatch(r"(.+?)  +([\d,.]+) (images/s|s)", line) for line in lines[:-1]]
    assert len(rates) == 10
    assert all(rate and float(rate[2].replace(",", "")) > 0 for rate in rates)
    assert ", device cpu, " in lines[-1]


@pytest.mark.parametrize("words", [["--images", "0"], ["--share", "2"], ["--device", "tpu"]])
def test_wrong_arguments_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert " ".join(words) in capsys.readouterr().err
