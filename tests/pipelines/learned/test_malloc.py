"""Arrays that are freed and allocated again need few new pages while memory is kept."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipelines.learned.malloc import IS_GLIBC, keep_freed_memory

ROOT = Path(__file__).parents[3]
# Pages of three arrays, each larger than any that glibc keeps by itself.
PAGES = (3 * 64 << 20) // resource.getpagesize()
# A process of its own: after a failed allocation anywhere, glibc serves its thread from another
# arena, which these settings do not reach. Twenty rounds, since the heap settles after some six.
SCRIPT = """
import json, resource, torch
from pipelines.learned.malloc import keep_freed_memory, trim_heap

def new_pages(size=64 << 20):
    "Count the new pages of three arrays freed in reverse order, as in a training step."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [torch.empty(size, dtype=torch.uint8).fill_(1) for _ in range(3)]
    while arrays:
        arrays.pop()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with keep_freed_memory(torch.device("cpu")):
    kept = [new_pages() for _ in range(20)]
    trim_heap()
    trimmed = new_pages()
afterwards = new_pages()
small = [new_pages(16 << 20) for _ in range(20)]
print(json.dumps({"kept": kept, "trimmed": trimmed, "afterwards": afterwards, "small": small}))
"""


@pytest.mark.skipif(not IS_GLIBC, reason="other C libraries have rules of their own")
def test_freed_memory_is_reused_until_the_heap_is_trimmed() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    pages = json.loads(done.stdout)
    first, *others = pages["kept"]
    assert min(others) < PAGES / 4 < first
    assert pages["trimmed"] > PAGES / 2
    assert pages["afterwards"] > PAGES / 2
    # afterwards glibc keeps arrays below its threshold
    assert min(pages["small"]) < 100


def test_on_other_devices_nothing_changes() -> None:
    with keep_freed_memory(torch.device("meta")):
        assert torch.ones(3).sum() == 3
