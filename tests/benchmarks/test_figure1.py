"""The command trains, draws, and trains nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import figure1_study
from benchmarks.figure1 import main


def test_the_command_trains_every_rate_once(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figure1_study, "RATES", (0.0003, 0.001))
    words = ["digits", "--limit", "20", "--epochs", "1", "--seeds", "2", "-o", "figure1.png"]
    assert main(words) == 0
    output = capsys.readouterr().out
    assert output.count("epoch 1, training error") == 4
    assert "not measured" in output
    assert (workdir / "figure1.png").stat().st_size > 5_000
    assert main(words) == 0
    assert "epoch 1, training error" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits", "--seeds", "0"], "all must be above 0"),
        (["digit"], "no dataset is called 'digit'"),
    ],
)
def test_wrong_arguments_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err
