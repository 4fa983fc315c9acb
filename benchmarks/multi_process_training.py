"""Do two processes train the same network as one, and how long do they communicate?

Question  Are the losses of `torchrun --nproc-per-node 2 -m harness run` with parallel=data, model
          and hybrid those of one process, epoch by epoch? Which shares of the wall time of an epoch
          go to computing, to communication (over gloo, including waiting for the other process) and
          to waiting for images?
Rule      The losses of all epochs are equal within TOLERANCE. At the default learning rate the loss
          falls, but the different order of float32 sums does not yet matter. At higher rates and
          over more epochs any two orders of summation diverge (by 0.003 of the loss in the second
          epoch at a rate of 0.01); tests in float64 show that the gradients are the same.

    python -m benchmarks.multi_process_training [--pipeline SPEC] [--dataset SPEC]

Two processes of `--threads` threads each share the cores like one process of twice as many.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.command_line import argument_parser
from harness.runs.result import Result
from harness.runs.run_store import RunStore

MODES = ("data", "model", "hybrid")
TOLERANCE = 1e-4  # relative to the loss
SHARES = ("compute", "exchange", "data")


def train(folder: Path, pipeline: str, dataset: str, *, processes: int, threads: int) -> Result:
    """Return the result of a run in a new folder; exit if the run fails."""
    folder.mkdir()
    (folder / "mlflow.yaml").touch()
    launcher = []
    if processes > 1:
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        launcher += ["-m"]
    run = ["harness", "run", "--pipeline", pipeline, "--dataset", dataset, "--no-test"]
    command = [sys.executable, "-m", *launcher, *run]
    completed = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if completed.returncode:
        output = completed.stdout[-4000:]
        sys.exit(f"{' '.join(command)} ended with {completed.returncode}:\n{output}")
    return RunStore(folder / "runs").finished()[0].result


def losses(result: Result) -> list[float]:
    """Return the training loss of each epoch."""
    return [loss for _, loss in result.curves["train/loss"]]


def largest_difference(result: Result, reference: Result) -> float:
    """Return the largest relative difference of the losses of an epoch."""
    pairs = zip(losses(result), losses(reference), strict=True)
    return max(abs(loss - expected) / expected for loss, expected in pairs)


def report_line(name: str, result: Result, difference: float) -> str:
    shares = []
    for activity in SHARES:
        share = statistics.median(share for _, share in result.curves[f"time/{activity}"])
        shares.append(f"{activity} {100 * share:4.1f} %")
    return (
        f"{name:22} loss {losses(result)[-1]:.6f}, largest difference {difference:.1e}   "
        f"{', '.join(shares)}   fit {result.cost.fit_seconds:.1f} s"
    )


def compare_modes(folder: Path, arguments: argparse.Namespace) -> float:
    """Train with one process and in every mode; return the largest relative difference."""
    dataset, threads = arguments.dataset, arguments.threads
    reference = train(folder / "one", arguments.pipeline, dataset, processes=1, threads=2 * threads)
    print(report_line("1 process", reference, 0.0), flush=True)
    differences = []
    for mode in MODES:
        pipeline = f"{arguments.pipeline},parallel={mode}"
        result = train(folder / mode, pipeline, dataset, processes=2, threads=threads)
        differences.append(largest_difference(result, reference))
        print(report_line(f"2 processes, {mode}", result, differences[-1]), flush=True)
    return max(differences)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--pipeline", default="alexnet,epochs=1,lr=0.001")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="threads of each of two processes; a single process gets twice as many",
    )
    arguments = parser.parse_args()
    print(
        f"{arguments.pipeline} on {arguments.dataset}; "
        "difference: relative difference of the losses, largest of all epochs",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        difference = compare_modes(Path(folder), arguments)
    verdict = "equal" if difference <= TOLERANCE else "DIFFER"
    print(f"losses {verdict}: difference {difference:.1e}, allowed {TOLERANCE:.0e}")
    sys.exit(difference > TOLERANCE)


if __name__ == "__main__":
    main()
