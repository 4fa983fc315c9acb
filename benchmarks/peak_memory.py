"""Peak resident memory of a process, as the operating system reports it."""

from __future__ import annotations

import resource
import sys


def peak_megabytes(usage: resource.struct_rusage) -> float:
    """Return the peak in MB; `ru_maxrss` is in kilobytes on Linux and in bytes on macOS."""
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def own_peak_megabytes() -> float:
    """Return the peak of this process so far, in MB."""
    return peak_megabytes(resource.getrusage(resource.RUSAGE_SELF))
