"""Is a prepared dataset whose preparation was killed 20 times byte-equal to an undisturbed one?

Kills `harness prepare` with signal 9 at random moments and starts it again until it ends. Then
every byte is compared with a preparation that was not killed, and the next preparation begins.

    python -m benchmarks.interrupted_prepare SOURCE [--images N]
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
from dataclasses import dataclass
from pathlib import Path

from benchmarks.command_line import argument_parser
from benchmarks.repeated_tar import NAME, prepare_command, write_repeated_tar
from harness.data.prepared_dataset import prepared_folder

# Latest moment of a kill as a share of the work's duration: unfinished work is done again, so a
# preparation killed later than this on average would rarely end.
LATEST_KILL = 0.5


def start_prepare(source: Path, root: Path) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    return subprocess.Popen(prepare_command(source, root), stdout=null, stderr=null)


def prepare_seconds(source: Path, root: Path) -> float:
    """Prepare without interruption and return the seconds it took."""
    started = time.monotonic()
    if start_prepare(source, root).wait():
        sys.exit("a preparation that was not interrupted failed")
    return time.monotonic() - started


def file_digests(root: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of the prepared datasets below a data root."""
    folder = prepared_folder(root, NAME).parent
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@dataclass
class Tally:
    """How many kills and complete preparations there were, and how many of those were equal."""

    kills: int = 0
    preparations: int = 0
    equal: int = 0

    def add(self, *, is_equal: bool) -> None:
        self.preparations += 1
        self.equal += is_equal


def kill_preparations(source: Path, folder: Path, kills: int, seed: int) -> tuple[Tally, float]:
    """Prepare with this many kills; return the tally and the seconds of an undisturbed prepare."""
    undisturbed, killed = folder / "undisturbed", folder / "killed"
    work_seconds = prepare_seconds(source, undisturbed)
    start_seconds = prepare_seconds(source, undisturbed)  # nothing is left to do
    expected = file_digests(undisturbed)
    moments = random.Random(seed)
    tally = Tally()
    while tally.kills < kills:
        process = start_prepare(source, killed)
        moment = moments.uniform(0, LATEST_KILL * (work_seconds - start_seconds))
        try:
            process.wait(start_seconds + moment)
            tally.add(is_equal=file_digests(killed) == expected)
            shutil.rmtree(killed)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            tally.kills += 1
    prepare_seconds(source, killed)
    tally.add(is_equal=file_digests(killed) == expected)
    return tally, work_seconds


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("source", type=Path, help="a tar of JPEGs")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="for the moments of the kills")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = write_repeated_tar(arguments.source, folder / "repeated.tar", arguments.images)
        tally, seconds = kill_preparations(source, folder, arguments.kills, arguments.seed)
    print(
        f"{arguments.images:,} images, {tally.kills} kills in {tally.preparations} preparations "
        f"(undisturbed: {seconds:.0f} s): {tally.equal} of them byte-equal"
    )
    sys.exit(tally.equal < tally.preparations)


if __name__ == "__main__":
    main()
