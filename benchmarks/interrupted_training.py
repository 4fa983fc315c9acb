"""Is a training that was killed again and again bit-equal to an undisturbed one? `python -m benchmarks.training_kills [--kills 20]`

Kills `harness run` of a small network with signal 9 at random moments, from its start to its entry in MLflow, and goes on with `--resume`
until the run is finished; then the next run begins, until so many kills are done. Of every run the weights, the scores of test and tune, the
learning curves, errors and notes must be those of a run that was left alone, to the last bit; only times may differ.
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

from harness.files import load_arrays
from harness.runs.record import Record
from harness.runs.run_store import RunStore

CHECKPOINT_SECONDS = 0.3  # in place of two minutes, so that kills fall between, into and right after checkpoints within an epoch
HARNESS = f"from harness.engine import context; context.CHECKPOINT_SECONDS = {CHECKPOINT_SECONDS}; from harness.cli import main; main()"


class Runner:
    """`harness run` of one request, its records kept in `folder`."""

    def __init__(self, folder: Path, request: list[str]) -> None:
        folder.mkdir()
        (folder / "mlflow.yaml").touch()
        self.folder, self.request, self.runs = folder, request, RunStore(folder / "runs")

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", HARNESS, "run", *self.request, *options]
        with (self.folder / "output.txt").open("ab") as output:
            return subprocess.Popen(
                command, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
            )

    def seconds(self, *options: str) -> float:
        """What a start with these options takes to its end."""
        started = time.monotonic()
        process = self.start(*options)
        self.require(process, process.wait())
        return time.monotonic() - started

    def require(self, process: subprocess.Popen[bytes], code: int) -> None:
        if code:
            sys.exit(
                f"{process.args!r} ended with {code}:\n{(self.folder / 'output.txt').read_text()[-4000:]}"
            )

    @property
    def finished(self) -> Record | None:
        return next(iter(self.runs.finished()), None)

    @property
    def begun(self) -> bool:
        return bool(self.runs.all())


def facts(record: Record) -> dict[str, Any]:
    """All of a record that must not depend on interruptions, each in a form that `==` compares bit by bit."""
    arrays, _ = load_arrays(record.folder / "state.safetensors")
    found: dict[str, Any] = {
        f"state {name}": array.numpy().tobytes() for name, array in arrays.items()
    }
    for name in ("scores", "tune_scores"):
        scores = record.scores(name)
        found |= {
            f"{name} {part}": np.asarray(values).tobytes() for part, values in vars(scores).items()
        }
    result = json.loads((record.folder / "result.json").read_text())
    found |= {
        f"curve {name}": points
        for name, points in result["curves"].items()
        if not name.startswith("time/")
    }
    found |= {
        name: result[name]
        for name in result
        if name.endswith("_error") or name in ("n_fit", "notes", "refitted")
    }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pipeline", default="alexnet,epochs=6")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    request = ["--pipeline", arguments.pipeline, "--dataset", arguments.dataset]
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        request += ["--data-root", str(Path(temporary, "data"))]
        undisturbed = Runner(Path(temporary, "undisturbed"), request)
        whole, start = undisturbed.seconds(), undisturbed.seconds("--dry-run")
        assert undisturbed.finished
        wanted = facts(undisturbed.finished)
        kills, ends, differing = 0, 0, 0
        while kills < arguments.kills:
            shutil.rmtree(Path(temporary, "killed"), ignore_errors=True)
            killed = Runner(Path(temporary, "killed"), request)
            own = 0
            while not killed.finished:
                process = killed.start(*(["--resume"] if killed.begun else []))
                try:
                    killed.require(
                        process, process.wait(start * 0.8 + moments.uniform(0, whole - start * 0.8))
                    )
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    own += 1
            found = facts(killed.finished)
            different = sorted(
                name for name in wanted | found if wanted.get(name) != found.get(name)
            )
            kills, ends, differing = kills + own, ends + 1, differing + bool(different)
            verdict = f"differs in {', '.join(different)}" if different else "bit-equal"
            print(f"run {ends}: {own} kills, {verdict}", flush=True)
        print(
            f"{arguments.pipeline} on {arguments.dataset}: {kills} kills in {ends} runs of {whole:.0f} s each, {start:.0f} s of it to start; "
            f"{ends - differing} of {ends} bit-equal to an undisturbed run in {len(wanted)} arrays, curves and figures"
        )
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
