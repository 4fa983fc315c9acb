"""What is reckoned against what is measured, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from pipelines.handcrafted.classifiers.capacity import (
    FitSize,
    exact_memory_bytes,
    streamed_memory_bytes,
)

MEASURE = """
import sys, torch
from pathlib import Path
from typing import Any
from harness.engine.context import RunContext
from pipelines.handcrafted.classifiers.capacity import FitSize
from pipelines.handcrafted.classifiers.learners import ExactSVM, StreamedSVM

torch.set_num_threads(1)
solver, (rows, classes, features) = sys.argv[1], map(int, sys.argv[2:])

class Chunks:
    quantizer = None
    def __len__(self): return -(-rows // 512)
    def chunk_rows(self, index): return min(512, rows - 512 * index)
    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        labels = torch.randint(classes, (self.chunk_rows(index),), generator=generator)
        values = torch.randn(len(labels), features, generator=generator)
        values[torch.arange(len(labels)), labels % features] += 3
        return {"features": values, "labels": labels}
    def stored(self, index):
        chunk = self[index]
        return {**chunk, "features": chunk["features"].half()}
    def __iter__(self): return (self[index] for index in range(len(self)))
    def decode(self, stored): return {**stored, "features": stored["features"].float()}

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

def fit(chunks, classes):
    learner = (ExactSVM if solver == "exact" else StreamedSVM)(standardize=True)
    import pipelines.handcrafted.features as module
    import pipelines.handcrafted.classifiers.learners as learners
    learners.Features = Chunks
    made = learner.make_solver([chunks], classes, RunContext())
    kept = [made.fit(c) for c in (0.01, 0.03, 0.1, 0.3, 1.0)]

rows, whole = 600, rows
fit(Chunks(), classes)  # torch allocates what it needs once
rows = whole
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
fit(Chunks(), classes)
print(status("VmHWM") - before)
"""


def measured_bytes(solver: str, size: FitSize) -> int:
    arguments = [solver, *map(str, (size.rows, size.classes, size.features))]
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], check=True, capture_output=True, text=True
    )
    return int(ended.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("solver", "size"),
    [
        ("exact", FitSize(12_000, 100, 1000)),
        ("streamed", FitSize(12_000, 100, 1000)),
        ("exact", FitSize(2_000, 20, 6000)),
        ("exact", FitSize(40_000, 300, 500)),
        ("streamed", FitSize(20_000, 1000, 2000)),
    ],
)
def test_reckoned_memory_is_within_a_quarter_of_the_measured_peak(
    solver: str, size: FitSize
) -> None:
    reckon: Any = exact_memory_bytes if solver == "exact" else streamed_memory_bytes
    assert reckon(size) == pytest.approx(measured_bytes(solver, size), rel=0.25)


ILSVRC = FitSize(rows=2_562_334, classes=1000, features=5292)


def test_processes_divide_what_grows_with_the_rows() -> None:
    two = FitSize(ILSVRC.rows, ILSVRC.classes, ILSVRC.features, processes=2)
    assert exact_memory_bytes(two) < 0.55 * exact_memory_bytes(ILSVRC)
    assert streamed_memory_bytes(two) < 0.55 * streamed_memory_bytes(ILSVRC)


def test_an_exact_fit_takes_little_more_than_its_rows_and_a_streamed_one_its_duals() -> None:
    rows_bytes, duals_bytes = 4 * ILSVRC.rows * ILSVRC.features, 2 * ILSVRC.rows * ILSVRC.classes
    assert rows_bytes < exact_memory_bytes(ILSVRC) < 1.3 * rows_bytes
    assert duals_bytes < streamed_memory_bytes(ILSVRC) < 1.1 * duals_bytes


def test_more_features_than_rows_take_matrices_of_the_rows() -> None:
    few = exact_memory_bytes(FitSize(rows=3_000, classes=102, features=40_960))
    assert few < exact_memory_bytes(FitSize(rows=45_000, classes=102, features=40_960)) / 20
