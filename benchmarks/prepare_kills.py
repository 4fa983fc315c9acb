"""Is a store that was killed 20 times byte-equal to an undisturbed one? `python -m benchmarks.prepare_kills SOURCE [--images N]`

Kills `harness prepare` with signal 9 at random moments of its work, starts it again, and compares every byte with a store that was left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.prepare_speed import repeated

START_SECONDS = 4.0  # before a process has loaded its libraries and begins; the moments then spread over the whole of the work


def prepare(source: Path, root: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "harness", "prepare", str(source), "--name", "repeated", "--data-root", str(root)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def contents(root: Path) -> dict[str, str]:
    files = sorted((root / "stores").rglob("*"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a tar of JPEGs")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = repeated(arguments.source, Path(folder) / "repeated.tar", arguments.images)
        started = time.monotonic()
        if prepare(source, Path(folder) / "undisturbed").wait():
            sys.exit("the undisturbed preparation failed")
        seconds = time.monotonic() - started
        moments = random.Random(arguments.seed)
        kills = 0
        while kills < arguments.kills:
            process = prepare(source, Path(folder) / "killed")
            with suppress(subprocess.TimeoutExpired):
                process.wait(START_SECONDS + moments.uniform(0, 1.2 * seconds / arguments.kills))
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        if prepare(source, Path(folder) / "killed").wait():
            sys.exit("the preparation after the kills failed")
        equal = contents(Path(folder) / "killed") == contents(Path(folder) / "undisturbed")
        print(f"{arguments.images} images, {kills} kills: {'byte-equal' if equal else 'NOT EQUAL'} (undisturbed: {seconds:.0f} s)")
        sys.exit(not equal)


if __name__ == "__main__":
    main()
