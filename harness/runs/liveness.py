"""Which process writes a run, and whether it is still running."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

HEARTBEAT_SECONDS = 60.0  # from one touch of the status file to the next
# A run of another machine is dead after this long without a heartbeat. Clocks may differ by a few
# minutes, so it is much longer than the interval.
STALE_AFTER_SECONDS = 600.0


def this_process() -> dict[str, Any]:
    """Return what identifies this process on any machine."""
    pid = os.getpid()
    return {"pid": pid, "pid_started": process_start(pid), "host": socket.gethostname()}


def process_start(pid: int) -> str | None:
    """Return when the process with this id started, or None if there is none.

    Process ids are used again; this text is not.
    """
    stat = Path(f"/proc/{pid}/stat")
    with suppress(OSError):
        if Path("/proc/self/stat").exists():
            # Ticks since a given boot; a time of day would move whenever the clock is set.
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            return f"{boot} {stat.read_text().rpartition(')')[2].split()[19]}"
        import psutil

        with suppress(psutil.Error):
            return str(psutil.Process(pid).create_time())
    return None


def is_alive(status: Mapping[str, Any], status_file: Path) -> bool:
    """Return whether the process that wrote `status` is still running.

    On another machine only the heartbeat, the age of the status file, can tell.
    """
    if status.get("host") != socket.gethostname():
        return time.time() - status_file.stat().st_mtime < STALE_AFTER_SECONDS
    pid = status.get("pid")
    started = process_start(pid) if isinstance(pid, int) and pid > 0 else None
    return started is not None and started == status.get("pid_started")


@contextmanager
def heartbeat(status_file: Path) -> Iterator[None]:
    """Touch the status file at intervals, so that other machines see that this process is alive."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):
                os.utime(status_file)

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
    try:
        yield
    finally:
        done.set()
