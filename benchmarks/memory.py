"""The largest memory that a process held resident, as the system tells it afterwards."""

from __future__ import annotations

import resource
import sys


def peak_megabytes(usage: resource.struct_rusage) -> float:
    """`ru_maxrss` is in kilobytes, on macOS in bytes."""
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
