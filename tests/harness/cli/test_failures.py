"""What a command says about an error: one sentence, whatever went wrong."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.cli.failures import explain_failure

Harness = Callable[..., str]


def caught(function: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as info:  # noqa: PT011 (any)
        function()
    assert isinstance(info.value, Exception)
    return info.value


@pytest.mark.parametrize(
    ("function", "needed"),
    [
        (lambda: np.empty(2**50), "Unable to allocate 8.00 PiB"),
        (lambda: torch.empty(2**50), "you tried to allocate 4503599627370496 bytes"),
        (lambda: bytearray(2**60), "more than that was needed"),
    ],
)
def test_a_lack_of_memory_says_how_much_was_needed_and_what_to_do(
    function: Callable[[], object], needed: str
) -> None:
    message, code = explain_failure(caught(function))
    assert code == 1
    assert needed in message
    assert re.search(r"; \d+\.\d GiB are free on this machine; take fewer images", message)
    assert "\n" not in message


def test_an_error_that_nobody_foresaw_is_one_line_with_its_traceback_in_a_file(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("what?\nanother line")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("harness.runs.run_store.RunStore.all", fail)
    output = harness("runs", code=1)
    (line,) = output.splitlines()
    assert line.startswith(r"harness: KeyError: 'what?\nanother line' (")
    assert re.search(r"test_failures\.py, line \d+\); for a report", line)
    (kept,) = tmp_path.glob("harness-error-*.txt")
    assert line.endswith(str(kept))
    text = kept.read_text()
    assert "Traceback (most recent call last)" in text
    assert "['harness', 'runs']" in text
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    assert "Traceback (most recent call last)" in harness("runs", code=1)
