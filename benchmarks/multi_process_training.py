"""Do two processes train what one does, and how long do they talk? `python -m benchmarks.exchange [--pipeline SPEC] [--dataset SPEC]`

Question  losses of `torchrun --nproc-per-node 2 -m harness run` with parallel=data, model and hybrid, against one process, epoch by epoch;
          and of the wall time of an epoch the shares of exchange (over gloo, waiting for the other process included), of waiting for images
          and of computing
Decision  losses of all epochs asked for equal to TOLERANCE. The default is a rate at which the loss falls but float32 sums in another order do not yet
          grow apart; at higher rates and over more epochs they do, as those of any two orders of summation (0.003 of the loss
          in the second epoch at a rate of 0.01): that the gradients are the same is tested in float64
Each process has as many threads as --threads says: 2 processes of 1 thread share two cores as one process of 2 threads does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.runs.result import Result
from harness.runs.run_store import RunStore

MODES = ("data", "model", "hybrid")
TOLERANCE = 1e-4  # of the loss
SHARES = ("compute", "exchange", "data")


def trained(folder: Path, pipeline: str, dataset: str, *, processes: int, threads: int) -> Result:
    """The result of a run in `folder`, which is new. Exits where the run fails."""
    folder.mkdir()
    (folder / "mlflow.yaml").touch()
    start = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        if processes > 1
        else []
    )
    command = [
        sys.executable,
        *start,
        "-m",
        "harness",
        "run",
        "--pipeline",
        pipeline,
        "--dataset",
        dataset,
        "--no-test",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return RunStore(folder / "runs").finished()[0].result


def losses(result: Result) -> list[float]:
    return [loss for _, loss in result.curves["train/loss"]]


def line(name: str, result: Result, difference: float) -> str:
    shares = {
        name: 100 * statistics.median(share for _, share in result.curves[f"time/{name}"])
        for name in SHARES
    }
    told = ", ".join(f"{name} {share:4.1f} %" for name, share in shares.items())
    return f"{name:22} loss {losses(result)[-1]:.6f}, largest difference {difference:.1e}   {told}   fit {result.cost.fit_seconds:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pipeline", default="alexnet,epochs=1,rate=0.001")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="of each process; one process alone gets twice as many",
    )
    arguments = parser.parse_args()
    print(
        f"{arguments.pipeline} on {arguments.dataset}; difference of losses: relative, the largest of all epochs",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        one = trained(
            folder / "one",
            arguments.pipeline,
            arguments.dataset,
            processes=1,
            threads=2 * arguments.threads,
        )
        print(line("1 process", one, 0.0), flush=True)
        worst = 0.0
        for mode in MODES:
            pipeline = f"{arguments.pipeline},parallel={mode}"
            two = trained(
                folder / mode, pipeline, arguments.dataset, processes=2, threads=arguments.threads
            )
            difference = max(abs(a - b) / b for a, b in zip(losses(two), losses(one), strict=True))
            worst = max(worst, difference)
            print(line(f"2 processes, {mode}", two, difference), flush=True)
    print(
        f"losses {'equal' if worst <= TOLERANCE else 'DIFFER'}: {worst:.1e} at most, {TOLERANCE:.0e} allowed"
    )
    sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
