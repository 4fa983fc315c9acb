"""Output that nobody reads, that has no space, that is closed, or that has few letters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main, streams
from harness.runs.run_store import RunStore

HARNESS = [sys.executable, "-m", "harness"]


def run_into(output: int, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run a command with this standard output; return its exit code and its errors."""
    done = subprocess.run(
        [*HARNESS, *arguments],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    return done.returncode, done.stderr


def closed_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    assert run_into(closed_pipe(), "list") == (0, "")


def test_output_without_space_is_a_failure_in_one_sentence() -> None:
    with Path("/dev/full").open("wb") as full:
        code, errors = run_into(full.fileno(), "list")
    message = "harness: cannot write to standard output: No space left on device\n"
    assert (code, errors) == (1, message)


def test_closed_streams_are_no_failure_and_no_file_gets_their_number() -> None:
    shell = f"{sys.executable} -m harness runs rm abc <&- >&- 2>&-; echo $?"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert done.stdout == "2\n"


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_letters_that_the_terminal_lacks_are_escaped(encoding: str, workdir: Path) -> None:
    plugin = workdir / "foreign.py"
    plugin.write_text('"""Läßt 文 🍕."""\nFAMILY = "learned"\n\ndef build(): ...\n')
    listed = subprocess.run(
        [*HARNESS, "list", "--plugins", str(plugin)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert (listed.returncode, listed.stderr) == (0, b"")
    assert b"foreign" in listed.stdout


def test_streams_that_something_has_redirected_stay_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sys.stdout
    monkeypatch.setattr(sys, "argv", ["harness", "--help"])
    with pytest.raises(SystemExit):
        main()
    assert sys.stdout is before
    assert streams.output_failure() is None
    assert "Usage: harness" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("errors_too", [False, True])
def test_a_run_whose_reader_is_gone_is_kept(errors_too: bool, plugin: str) -> None:
    pipe = closed_pipe()
    command = [*HARNESS, "run", "--pipeline", "nearest-mean", "--plugins", plugin]
    errors = pipe if errors_too else subprocess.PIPE
    done = subprocess.run(command, stdout=pipe, stderr=errors, text=True, check=False)
    assert (done.returncode, done.stderr or "") == (0, "")
    (record,) = RunStore(Path("runs")).all()
    assert record.state == "finished"
    assert record.links
    assert "top-1 " in (record.folder / "log.txt").read_text()
