"""The stage cache: arrays on disk, found again by what made them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.contract import State
from harness.engine.resources import Usage
from harness.files import load_arrays, save_arrays

LIMIT_BYTES = 20 * 2**30
ABANDONED_AFTER_SECONDS = 24 * 3600  # nobody is still writing a temporary file of this age


class Cache:
    """Keeps the arrays that a stage returned, and counts the time that reading them saved.

    Time counts as saved on the first hit of a key, and only if another process made the entry:
    without a cache this process would have kept its own arrays in memory. Above the limit the
    entries used longest ago are deleted first, but never one that this run has used, since a fit
    that reads more than the limit over and over would then find nothing. A full disk costs the
    entry, not the run.

    Parameters
    ----------
    folder : Path
        Shared by all runs on one data root.
    source_hash : str
        Of the pipeline's source files; part of every key.
    limit : int
        Bytes.
    """

    def __init__(self, folder: Path, source_hash: str, *, limit: int = LIMIT_BYTES) -> None:
        self.folder = folder
        self.source_hash = source_hash
        self.limit = limit
        self.saved = Usage()
        self._used: set[Path] = set()

    def __call__(self, key: Mapping[str, Any], make: Callable[[], State]) -> State:
        """Return the arrays kept under (source hash, key), or make and keep them."""
        text = json.dumps({**key, "source": self.source_hash}, sort_keys=True, default=str)
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"
        started = Usage.so_far()
        entry = _read(path)
        if entry is None:
            self._used.add(path)
            return self._make(path, text, make, started)
        arrays, made = entry
        if path not in self._used:
            self._count_saving(made - (Usage.so_far() - started))
        self._used.add(path)
        return arrays

    def _count_saving(self, saved: Usage) -> None:
        # max(nan, 0.0) is nan: a processor time that nobody counted stays unknown.
        self.saved += Usage(max(saved.seconds, 0.0), max(saved.cpu_seconds, 0.0))

    def _make(self, path: Path, key: str, make: Callable[[], State], started: Usage) -> State:
        saved_before = self.saved
        arrays = make()
        # What hits inside `make` saved counts as time that this stage takes.
        usage = (Usage.so_far() - started) + (self.saved - saved_before)
        header = {"seconds": str(usage.seconds), "cpu_seconds": str(usage.cpu_seconds), "key": key}
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            save_arrays(path, arrays, header)
            self._evict()
        return arrays

    def _evict(self) -> None:
        for temporary in self.folder.glob(".*.safetensors.*"):  # left by a process that was killed
            with suppress(FileNotFoundError):
                if time.time() - temporary.stat().st_mtime > ABANDONED_AFTER_SECONDS:
                    temporary.unlink()
        stats = {}
        for file in self.folder.glob("*.safetensors"):
            with suppress(FileNotFoundError):  # deleted by another process in the meantime
                stats[file] = file.stat()
        size = sum(stat.st_size for stat in stats.values())
        for file in sorted(stats.keys() - self._used, key=lambda f: stats[f].st_mtime):
            if size <= self.limit:
                break
            size -= stats[file].st_size
            file.unlink(missing_ok=True)


def _read(path: Path) -> tuple[State, Usage] | None:
    """Return the arrays and what making them took, and mark the file as used just now.

    None if the file is missing or cannot be read, and so has to be made again.
    """
    try:
        arrays, header = load_arrays(path)
        made = Usage(float(header["seconds"]), float(header.get("cpu_seconds", math.nan)))
    except Exception:  # missing, deleted meanwhile, or damaged: safetensors has its own errors
        return None
    with suppress(OSError):  # gone, or another user's
        os.utime(path)
    return arrays, made
