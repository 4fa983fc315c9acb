"""Is a store that was killed 20 times byte-equal to an undisturbed one? `python -m benchmarks.prepare_kills SOURCE [--images N]`

Kills `harness prepare` with signal 9 at random moments of its work and starts it again, until it ends; then every byte is compared with
a store that was left alone, and the next preparation begins.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.prepare_speed import repeated

SHARE = 0.5  # of the whole of the work, up to which the moment of a kill is drawn: what was begun but not finished is done again


def prepare(source: Path, root: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "harness",
        "prepare",
        str(source),
        "--name",
        "repeated",
        "--data-root",
        str(root),
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def timed(source: Path, root: Path) -> float:
    """Seconds of a preparation to its end."""
    started = time.monotonic()
    if prepare(source, root).wait():
        sys.exit("a preparation that nobody disturbed failed")
    return time.monotonic() - started


def contents(root: Path) -> dict[str, str]:
    files = sorted((root / "stores").rglob("*"))
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="a tar of JPEGs")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = repeated(arguments.source, Path(folder) / "repeated.tar", arguments.images)
        undisturbed, killed = Path(folder) / "undisturbed", Path(folder) / "killed"
        work, start = (
            timed(source, undisturbed),
            timed(source, undisturbed),
        )  # the second time everything is there
        wanted = contents(undisturbed)
        moments = random.Random(arguments.seed)
        kills = stores = equal = 0
        while kills < arguments.kills:
            process = prepare(source, killed)
            try:
                process.wait(start + moments.uniform(0, SHARE * (work - start)))
                stores, equal = stores + 1, equal + (contents(killed) == wanted)
                shutil.rmtree(killed)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
        timed(source, killed)
        stores, equal = stores + 1, equal + (contents(killed) == wanted)
        print(
            f"{arguments.images:,} images, {kills} kills in {stores} preparations (undisturbed: {work:.0f} s): {equal} of them byte-equal"
        )
        sys.exit(equal < stores)


if __name__ == "__main__":
    main()
