"""Is a training that was killed again and again bit-equal to an undisturbed one?

Kills `harness run` of a small network with signal 9 at random moments, from its start to its entry
in MLflow, and continues with `--resume` until the run is finished. Then the next run begins, until
there were enough kills. The weights, the scores of test and tune, the learning curves, errors and
notes of every run must equal those of an undisturbed run bit by bit; only times may differ.

    python -m benchmarks.interrupted_training [--kills 20]
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command_line import argument_parser
from harness.files import load_arrays
from harness.runs.record import Record
from harness.runs.run_store import RunStore

# Instead of two minutes, so that kills hit before, during and after checkpoints within an epoch.
CHECKPOINT_SECONDS = 0.3
HARNESS = (
    "from harness.engine import context; "
    f"context.CHECKPOINT_SECONDS = {CHECKPOINT_SECONDS}; "
    "from harness.cli import main; main()"
)
EARLIEST_KILL = 0.8  # of the time that a dry run takes


class RunLauncher:
    """Starts `harness run` of one request again and again; the records are kept in `folder`."""

    def __init__(self, folder: Path, request: list[str]) -> None:
        folder.mkdir()
        (folder / "mlflow.yaml").touch()
        self.folder = folder
        self.request = request
        self.store = RunStore(folder / "runs")

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", HARNESS, "run", *self.request, *options]
        with (self.folder / "output.txt").open("ab") as output:
            return subprocess.Popen(
                command, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
            )

    def run_seconds(self, *options: str) -> float:
        """Run to the end with these options and return the seconds it took."""
        started = time.monotonic()
        process = self.start(*options)
        self.require_success(process, process.wait())
        return time.monotonic() - started

    def require_success(self, process: subprocess.Popen[bytes], code: int) -> None:
        if code:
            output = (self.folder / "output.txt").read_text()[-4000:]
            sys.exit(f"{process.args!r} ended with {code}:\n{output}")

    @property
    def finished(self) -> Record | None:
        return next(iter(self.store.finished()), None)

    @property
    def has_started(self) -> bool:
        return bool(self.store.all())

    def run_with_kills(self, moments: random.Random, earliest: float, latest: float) -> int:
        """Run to the end, killing the process at random moments; return the number of kills."""
        kills = 0
        while not self.finished:
            process = self.start(*(["--resume"] if self.has_started else []))
            try:
                timeout = earliest + moments.uniform(0, latest - earliest)
                self.require_success(process, process.wait(timeout))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
        return kills


def reproducible_content(record: Record) -> dict[str, Any]:
    """Return all of a record that must not depend on interruptions, for comparison by `==`."""
    arrays, _ = load_arrays(record.folder / "state.safetensors")
    content: dict[str, Any] = {
        f"state {name}": array.numpy().tobytes() for name, array in arrays.items()
    }
    for name in ("scores", "tune_scores"):
        for part, values in vars(record.scores(name)).items():
            content[f"{name} {part}"] = np.asarray(values).tobytes()
    result = json.loads((record.folder / "result.json").read_text())
    for name, points in result["curves"].items():
        if not name.startswith("time/"):
            content[f"curve {name}"] = points
    for name, value in result.items():
        if name.endswith("_error") or name in ("n_fit", "notes", "refitted"):
            content[name] = value
    return content


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names of what differs."""
    return sorted(name for name in one | other if one.get(name) != other.get(name))


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--pipeline", default="alexnet,epochs=6")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="for the moments of the kills")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    request = ["--pipeline", arguments.pipeline, "--dataset", arguments.dataset]
    moments = random.Random(arguments.seed)
    kills = runs = differing = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        request += ["--data-root", str(folder / "data")]
        undisturbed = RunLauncher(folder / "undisturbed", request)
        run_seconds = undisturbed.run_seconds()
        start_seconds = undisturbed.run_seconds("--dry-run")
        assert undisturbed.finished
        expected = reproducible_content(undisturbed.finished)
        while kills < arguments.kills:
            shutil.rmtree(folder / "killed", ignore_errors=True)
            launcher = RunLauncher(folder / "killed", request)
            kills_of_run = launcher.run_with_kills(
                moments, EARLIEST_KILL * start_seconds, run_seconds
            )
            assert launcher.finished
            different = differences(expected, reproducible_content(launcher.finished))
            kills, runs = kills + kills_of_run, runs + 1
            differing += bool(different)
            verdict = f"differs in {', '.join(different)}" if different else "bit-equal"
            print(f"run {runs}: {kills_of_run} kills, {verdict}", flush=True)
    print(
        f"{arguments.pipeline} on {arguments.dataset}: {kills} kills in {runs} runs of "
        f"{run_seconds:.0f} s each, {start_seconds:.0f} s of it to start; {runs - differing} of "
        f"{runs} bit-equal to an undisturbed run in {len(expected)} arrays, curves and figures"
    )
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
