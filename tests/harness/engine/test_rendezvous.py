"""What the variables of a launcher say, and how a process waits for the others."""

from __future__ import annotations

import socket

import pytest

from harness.engine import rendezvous
from harness.engine.distributed import is_first_process
from harness.engine.rendezvous import Launch, copies_note, meet, read_launch, read_local_rank
from harness.errors import UserError

TWO = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def set_environment(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_the_variables_of_torchrun_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, TWO)
    assert read_launch() == Launch(1, 2, "127.0.0.1", 29500)
    assert not is_first_process()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WORLD_SIZE": "1"},
        {"WORLD_SIZE": "1", "RANK": "0", "MASTER_ADDR": "node-1"},
        {"RANK": "1", "MASTER_ADDR": "node-1", "MASTER_PORT": "1", "SLURM_NTASKS": "4"},
    ],
)
def test_a_process_runs_alone(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A RANK that is left over alone neither starts a group nor silences the process."""
    set_environment(monkeypatch, variables)
    assert read_launch() is None
    assert is_first_process()
    assert copies_note() == ""


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORLD_SIZE": ""}, "WORLD_SIZE is empty; unset WORLD_SIZE to run alone, or start"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 asks for several processes, but RANK is not set"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE='two': allowed is a whole number, at least 1"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE='0'"),
        ({"WORLD_SIZE": "-1"}, "WORLD_SIZE='-1'"),
        ({"WORLD_SIZE": "2.0"}, "WORLD_SIZE='2.0'"),
        ({"WORLD_SIZE": "1", "RANK": "1"}, "RANK='1' with WORLD_SIZE=1"),
        ({**TWO, "RANK": "2"}, "RANK='2' with WORLD_SIZE=2: allowed is a whole number, 0 to 1"),
        ({**TWO, "RANK": ""}, "RANK is empty"),
        ({**TWO, "MASTER_ADDR": " "}, "MASTER_ADDR is empty"),
        ({**TWO, "MASTER_PORT": "70000"}, "MASTER_PORT='70000'"),
        ({**TWO, "MASTER_PORT": "http"}, "MASTER_PORT='http'"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, variables)
    with pytest.raises(UserError) as error:
        read_launch()
    assert words in str(error.value)
    assert "unset WORLD_SIZE" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_local_rank_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "first")
    with pytest.raises(UserError, match="LOCAL_RANK='first'"):
        read_local_rank()


def test_copies_that_srun_started_are_noted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"})
    assert copies_note().startswith("SLURM_STEP_NUM_TASKS=4: each of the 4 processes does a whole")
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert copies_note() == ""


def test_while_others_are_missing_a_line_says_who_and_then_it_gives_up(
    free_port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rendezvous, "NOTICE_SECONDS", 0.05)
    monkeypatch.setattr(rendezvous, "GIVE_UP_SECONDS", 0.5)
    with pytest.raises(UserError, match=r"waited .* for process 1, 2 of 3 \(WORLD_SIZE=3\)"):
        meet(Launch(0, 3, "127.0.0.1", free_port), 0)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"waits for process 1, 2 of 3 at MASTER_ADDR=127.0.0.1, MASTER_PORT={free_port}" in line
    assert "Ctrl-C stops; unset WORLD_SIZE" in line


def test_a_process_0_that_is_not_there_is_waited_for_with_a_line(
    free_port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rendezvous, "NOTICE_SECONDS", 0.05)
    monkeypatch.setattr(rendezvous, "GIVE_UP_SECONDS", 0.3)
    with pytest.raises(UserError, match="for process 0"):
        meet(Launch(1, 2, "127.0.0.1", free_port), 0)
    assert "process 1 waits for process 0 at" in capsys.readouterr().err


def test_an_unknown_master_and_a_port_in_use_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "UNKNOWN_HOST_SECONDS", 0.0)
    with pytest.raises(UserError, match=r"MASTER_ADDR='no\.such\.host\.invalid' is no host"):
        meet(Launch(1, 2, "no.such.host.invalid", 29500), 0)
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"MASTER_PORT={port}: the port is in use"):
            meet(Launch(0, 2, "127.0.0.1", port), 0)
