"""Does `harness compare` stay quick and small on saved scores of the size of ILSVRC's test split? `python -m benchmarks.compare_scale`: a minute.

Question  how many seconds and how much memory does `harness compare A B` take, the start of Python included, on two finished runs of 100,000
          images and 1,000 classes?
Protocol  records of random scores, 400 MB each, in a temporary folder (1 GB of disk), just written and so in the system's cache; the
          command in a process of its own, three times; the median wall time, and the largest resident memory.
Rule      under 5 s and under 2 GB.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import peak_megabytes
from harness.files import write_json
from harness.metrics.errors import errors
from harness.runs.record import SUFFIX, Record
from harness.runs.result import Result, Scores

SECONDS, MEGABYTES = 5.0, 2000.0
REPEATS = 3
LEADS = {
    "before": 3.0,
    "after": 3.5,
}  # of the true class, in standard deviations of the others' noise


def make_record(folder: Path, run_id: str, *, images: int, classes: int, lead: float) -> None:
    """A finished run whose true class leads the noise of the others by about `lead` standard deviations."""
    rng = np.random.default_rng(int(100 * lead))
    image = rng.permutation(images)  # every run in an order of its own, as runs may be
    labels = image % classes
    values = rng.standard_normal((images, classes), dtype=np.float32)
    values[np.arange(images), labels] += lead
    scores = Scores(np.char.mod("%016x", image), labels, values)
    found: dict[str, Any] = errors(scores)
    record = Record(folder / f"{run_id}{SUFFIX}")
    record.folder.mkdir(parents=True)
    write_json(record.folder / "spec.json", {})
    record.save_scores(scores)
    record.finish(
        Result(
            run_id=run_id, pipeline=run_id, name=run_id, family="?", dataset="random", title="random scores", seed=0, classes=classes,
            n_train=0, n_tune=0, n_test=images, n_fit=0, refitted=False, limit=None, limit_test=None, tune=0, train_digest="0" * 32,
            test_digest="0" * 32, identity="0" * 16, source_hash="0" * 16, test_evaluations=1, **found, tune_top1_error=None,
            fit_seconds=0, score_seconds=0, cached_seconds=0, images_per_second=None, peak_memory_mb=0, params_millions=None,
            gflops_per_image=None, notes=(), dataset_notes=(), missing_reasons={}, versions={}, command="",
            machine={"cpu": "none", "cores": 0, "memory_gb": 0, "device": "none"}, started="2026-01-01T00:00:00+00:00",
            finished="2026-01-01T00:00:00+00:00",
        )
    )  # fmt: skip


def measure(folder: Path, arguments: list[str]) -> tuple[float, float, str]:
    """(seconds, MB at most, what was printed) of one `harness compare` in `folder`."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "harness", "compare", *arguments]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.perf_counter() - started, peak_megabytes(usage), printed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=1_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for run_id, lead in LEADS.items():
            # In a process of its own: a process that is started counts the largest memory of the one that started it as its own.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                pool.submit(
                    make_record,
                    Path(folder) / "runs",
                    run_id,
                    images=arguments.images,
                    classes=arguments.classes,
                    lead=lead,
                ).result()
        measured = [measure(Path(folder), list(LEADS)) for _ in range(REPEATS)]
    seconds, megabytes = statistics.median(m[0] for m in measured), max(m[1] for m in measured)
    print(measured[0][2])
    print(
        f"{arguments.images:,} images x {arguments.classes:,} classes, 2 runs: {seconds:.1f} s, {megabytes:,.0f} MB at most"
    )
    return int(seconds >= SECONDS or megabytes >= MEGABYTES)


if __name__ == "__main__":
    raise SystemExit(main())
