"""Does `harness compare` stay fast and small with as many scores as ILSVRC's test split has?

Question  How many seconds and how much memory does `harness compare A B` take, including the start
          of Python, on two finished runs of 100,000 images and 1,000 classes?
Protocol  Records of random scores, 400 MB each, in a temporary folder (1 GB of disk), still in the
          system's file cache. The command runs in its own process, three times. Reported: median
          wall time and largest resident memory.
Rule      Below 5 s and below 2 GB.

    python -m benchmarks.compare_speed      # a minute
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.command_line import argument_parser
from benchmarks.peak_memory import peak_megabytes
from harness.data.identity import split_digest
from harness.metrics.errors import measure_errors
from harness.runs.result import Cost, Result, Scores
from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec

MAX_SECONDS, MAX_MEGABYTES = 5.0, 2000.0
REPEATS = 3
# Mean score of the true class, in standard deviations of the noise of all classes.
LEADS = {"before": 3.0, "after": 3.5}
TIME = "2026-01-01T00:00:00+00:00"


def random_scores(images: int, classes: int, lead: float) -> Scores:
    """Return normally distributed scores in which the true class leads by `lead` on average."""
    rng = np.random.default_rng(int(100 * lead))
    image = rng.permutation(images)  # each run has an order of its own, as real runs may
    labels = image % classes
    values = rng.standard_normal((images, classes), dtype=np.float32)
    values[np.arange(images), labels] += lead
    return Scores(np.char.mod("%016x", image), labels, values)


def make_record(folder: Path, name: str, *, images: int, classes: int, lead: float) -> str:
    """Write a finished run of random scores and return its id."""
    scores = random_scores(images, classes, lead)
    digest = split_digest("", scores.keys, scores.labels)
    spec = RunSpec(
        kind="fit", pipeline=name, dataset="random", title="random scores", seed=0, tune=0,
        class_names=tuple(map(str, range(classes))), source_hash="0" * 16, train_digest=digest,
        test_digest=digest,
    )  # fmt: skip
    record = RunStore(folder).create(name, spec)
    record.save_scores(scores)
    record.finish(
        Result(
            run_id=record.run_id, pipeline=name, name=name, label=name, family="?",
            dataset="random", title="random scores", seed=0, classes=classes, n_train=0, n_tune=0,
            n_test=images, n_fit=0, refitted=False, limit=None, limit_test=None, tune=0,
            train_digest=digest, test_digest=digest, identity=spec.identity,
            source_hash="0" * 16, test_evaluations=1, **vars(measure_errors(scores)),
            tune_top1_error=None, cost=Cost(fit_seconds=0, peak_memory_mb=0), notes=(),
            dataset_notes=(), missing_reasons={}, versions={}, command="", started=TIME,
            finished=TIME,
            machine={"cpu": "none", "cores": 0, "memory_gb": 0, "device": "none"},
        )
    )  # fmt: skip
    return record.run_id


def measure_compare(folder: Path, run_ids: list[str]) -> tuple[float, float, str]:
    """Run `harness compare` in `folder` and return its seconds, peak MB and output."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "harness", "compare", *run_ids]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.perf_counter() - started, peak_megabytes(usage), output


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=1_000)
    arguments = parser.parse_args()
    images, classes = arguments.images, arguments.classes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make = partial(make_record, folder / "runs", images=images, classes=classes)
        run_ids = []
        for run_name, lead in LEADS.items():
            # In its own process, since a child starts with the peak memory of its parent.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                run_ids.append(pool.submit(make, run_name, lead=lead).result())
        measured = [measure_compare(folder, run_ids) for _ in range(REPEATS)]
    seconds = statistics.median(seconds for seconds, _, _ in measured)
    megabytes = max(megabytes for _, megabytes, _ in measured)
    print(measured[0][2])
    print(
        f"{images:,} images x {classes:,} classes, 2 runs: {seconds:.1f} s (median), "
        f"peak memory {megabytes:,.0f} MB"
    )
    return int(seconds >= MAX_SECONDS or megabytes >= MAX_MEGABYTES)


if __name__ == "__main__":
    raise SystemExit(main())
