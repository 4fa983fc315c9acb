"""A program that runs a command and ends it with the process that started it, even by SIGKILL.

It watches its standard input, a pipe whose other end the starter alone holds: the system closes it
when the starter ends. It must be the first of a process group of its own, which it then ends.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

POLL_SECONDS = 0.2
STOP_SECONDS = 10


def main() -> None:
    # The command gets the signal, too, and has time to end; it does not inherit a handler.
    signal.signal(signal.SIGTERM, lambda *_: None)
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    while command.poll() is None:
        readable, _, _ = select.select([0], [], [], POLL_SECONDS)
        if readable and not os.read(0, 1024):
            os.killpg(0, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                command.wait(STOP_SECONDS)
            os.killpg(0, signal.SIGKILL)
    sys.exit(command.returncode % 256)


if __name__ == "__main__":
    main()
