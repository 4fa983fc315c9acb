"""The rates of the hand-crafted stages are told one by one."""

from __future__ import annotations

import re

import pytest
from benchmarks.stage_rates import main


def test_every_stage_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--images", "1", "--share", "0.002", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rates = [re.fullmatch(r"(.+?)  +([\d,.]+) (images/s|s)", line) for line in lines[:-1]]
    assert len(rates) == 10
    assert all(rate and float(rate[2].replace(",", "")) > 0 for rate in rates)
    assert ", device cpu, " in lines[-1]


@pytest.mark.parametrize("arguments", [["--images", "0"], ["--share", "2"], ["--device", "tpu"]])
def test_what_cannot_be_timed_is_said(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert f"{arguments[0]} {arguments[1]}" in capsys.readouterr().err
