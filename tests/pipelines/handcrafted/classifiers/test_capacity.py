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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("solver", "size"),
    [
        ("exact", FitSize(12_000, 100, 1000)),
        ("streamed", FitSize(12_000, 100, 1000)),
        pytest.param("exact", FitSize(2_000, 20, 6000), marks=pytest.mark.slow),
        pytest.param("exact", FitSize(40_000, 300, 500), marks=pytest.mark.slow),
        pytest.param("streamed", FitSize(40_000, 300, 2000), marks=pytest.mark.slow),
    ],
)
def test_reckoned_memory_is_within_a_quarter_of_the_measured_peak(
    solver: str, size: FitSize
) -> None:
    reckon: Any = exact_memory_bytes if solver == "exact" else streamed_memory_bytes
    assert reckon(size) == pytest.approx(measured_bytes(solver, size), rel=0.25)
