"""Which process writes a run, and whether it is still running."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any


def _this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "pid_started": _started(os.getpid()), "host": socket.gethostname()}


def _started(pid: int) -> str | None:
    """When the process of that number began, as text that is never another process's; None where there is no such process."""
    stat = Path(f"/proc/{pid}/stat")
    with suppress(OSError):
        if Path("/proc/self/stat").exists():
            # Linux: which boot, and ticks since it. Told as a time of day it would move whenever the clock is set.
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            return f"{boot} {stat.read_text().rpartition(')')[2].split()[19]}"
        import psutil

        with suppress(psutil.Error):
            return str(psutil.Process(pid).create_time())
    return None
