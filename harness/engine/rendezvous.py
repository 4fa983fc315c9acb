"""How the processes of one run find each other, by the variables that torchrun sets."""

from __future__ import annotations

import os
import socket
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from harness.errors import UserError
from harness.render.text import duration

NOTICE_SECONDS = 5.0  # processes that torchrun starts together meet earlier
SECONDS_BETWEEN_NOTICES = 60.0
GIVE_UP_SECONDS = 1800.0  # as torch; another machine may take minutes to start
UNKNOWN_HOST_SECONDS = 30.0  # a cluster may learn a machine's name while the job starts
POLL_SECONDS = 0.1
# One attempt to connect: within torch Ctrl-C does not work, so it has to be short.
CONNECT_SECONDS = 10.0
ADVICE = "unset WORLD_SIZE to run alone, or start all processes with torchrun"


@dataclass(frozen=True)
class Launch:
    """This process among those that were started together.

    Parameters
    ----------
    rank : int
        0 to world_size - 1.
    world_size : int
        Number of processes, at least 2.
    address : str
        Host of process 0, where all meet.
    port : int
    """

    rank: int
    world_size: int
    address: str
    port: int


def read_launch() -> Launch | None:
    """Return what the environment says about this process; None where it runs alone.

    Without WORLD_SIZE the other variables are left over from something else.

    Raises
    ------
    UserError
        With the name of a variable that is missing or makes no sense.
    """
    if "WORLD_SIZE" not in os.environ:
        return None
    world_size = _number("WORLD_SIZE", 1)
    if world_size == 1 and "RANK" not in os.environ:
        return None
    rank = _number("RANK", 0, world_size - 1)
    if world_size == 1:
        return None
    return Launch(rank, world_size, _text("MASTER_ADDR"), _number("MASTER_PORT", 1, 65535))


def copies_note() -> str:
    """Return a line if srun or mpirun started several processes that know nothing of each other."""
    for count, own in (
        ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
        ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
        ("PMI_SIZE", "PMI_RANK"),
    ):
        copies = os.environ.get(count, "")
        is_alone = not copies.isdecimal() or int(copies) < 2 or "WORLD_SIZE" in os.environ
        if not is_alone and os.environ.get(own, "0") == "0":
            return (
                f"{count}={copies}: each of the {copies} processes does a whole run of its own; "
                "one run on all of them is started with torchrun"
            )
    return ""


def read_local_rank() -> int:
    """Return the number of this process among those on this machine."""
    return _number("LOCAL_RANK", 0)


def meet(launch: Launch, group: int) -> dist.Store:
    """Wait until every process of the launch is there, and return the store that they share.

    After some seconds a line says who is missing.

    Parameters
    ----------
    launch : Launch
    group : int
        How many groups these processes have formed before. Keys of an earlier one stay in the
        store, and whoever comes first would take them for the new ones.

    Raises
    ------
    UserError
        If process 0 cannot be reached, or a process is still missing after half an hour.
    """
    store = dist.PrefixStore(f"group {group}", _connect(launch))
    waiting = _Patience(launch)
    try:
        store.set(f"present {launch.rank}", "")
        missing = [rank for rank in range(launch.world_size) if rank != launch.rank]
        while missing := [rank for rank in missing if not store.check([f"present {rank}"])]:
            waiting.wait(f"process {', '.join(map(str, missing))} of {launch.world_size}")
    except dist.DistError as error:
        raise UserError(f"process 0 at {_place(launch)} has ended; start all again") from error
    return store


class _Patience:
    """Waits in short steps, so that Ctrl-C works, and says now and then for whom."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._started = time.monotonic()
        self._next_notice = NOTICE_SECONDS

    @property
    def seconds(self) -> float:
        """How long it has waited so far."""
        return time.monotonic() - self._started

    def wait(self, whom: str) -> None:
        time.sleep(POLL_SECONDS)
        waited = self.seconds
        if waited > GIVE_UP_SECONDS:
            raise UserError(
                f"waited {duration(waited)} for {whom} (WORLD_SIZE={self._launch.world_size}) "
                f"at {_place(self._launch)}; {ADVICE}"
            )
        if waited > self._next_notice:
            self._next_notice += SECONDS_BETWEEN_NOTICES
            print(
                f"process {self._launch.rank} waits for {whom} at {_place(self._launch)} "
                f"(WORLD_SIZE={self._launch.world_size}); Ctrl-C stops; {ADVICE}",
                file=sys.stderr,
                flush=True,
            )


@cache  # kept for the next group: a second server on the port could not start
def _connect(launch: Launch) -> dist.Store:
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":  # torchrun holds the store
        return next(rendezvous("env://"))[0]
    waiting = _Patience(launch)
    if launch.rank > 0:
        while not _answers(launch, patient=waiting.seconds < UNKNOWN_HOST_SECONDS):
            waiting.wait("process 0")
    try:
        store = dist.TCPStore(
            launch.address,
            launch.port,
            launch.world_size,
            is_master=launch.rank == 0,
            timeout=timedelta(seconds=CONNECT_SECONDS),
            wait_for_workers=False,
        )
    except dist.DistError as error:
        reason = str(error).splitlines()[0]
        if "EADDRINUSE" in reason:
            reason = "the port is in use by another program"
        raise UserError(
            f"process {launch.rank} cannot meet the others at {_place(launch)}: {reason}; "
            f"correct these variables, {ADVICE}"
        ) from error
    store.set_timeout(timedelta(seconds=GIVE_UP_SECONDS))
    return store


def _answers(launch: Launch, *, patient: bool) -> bool:
    """Return whether process 0 listens already; raise for an unknown host unless `patient`."""
    try:
        with socket.create_connection((launch.address, launch.port), CONNECT_SECONDS):
            return True
    except (socket.gaierror, UnicodeError) as error:
        if patient:
            return False
        raise UserError(
            f"MASTER_ADDR={launch.address!r} is no host that this machine knows; {ADVICE}"
        ) from error
    except OSError:
        return False


def _place(launch: Launch) -> str:
    return f"MASTER_ADDR={launch.address}, MASTER_PORT={launch.port}"


def _text(name: str) -> str:
    if text := os.environ.get(name, "").strip():
        return text
    state = "is empty" if name in os.environ else "is not set"
    if name == "WORLD_SIZE":
        raise UserError(f"WORLD_SIZE {state}; {ADVICE}")
    raise UserError(
        f"WORLD_SIZE={os.environ.get('WORLD_SIZE', '')} asks for several processes, "
        f"but {name} {state}; {ADVICE}"
    )


def _number(name: str, lowest: int, highest: int | None = None) -> int:
    text = _text(name)
    number = int(text) if text.isascii() and text.isdigit() else -1
    if number < lowest or (highest is not None and number > highest):
        allowed = f"at least {lowest}" if highest is None else f"{lowest} to {highest}"
        given = f"{name}={os.environ[name]!r}"
        if name == "RANK":
            given += f" with WORLD_SIZE={os.environ['WORLD_SIZE']}"
        raise UserError(f"{given}: allowed is a whole number, {allowed}; {ADVICE}")
    return number
