"""The stage cache: arrays on disk, found again by what made them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.contract import State
from harness.engine.leases import Lease
from harness.engine.resources import Usage
from harness.files import load_arrays, save_arrays

DISK_SHARE = 0.5  # of what the disk would have free without the cache
RESERVED_SHARE = 0.02  # of the disk, which the cache leaves to the records of runs
# The folder is looked through after this share of its limit or of its size has been written.
SCAN_SHARE = 1 / 64
ABANDONED_AFTER_SECONDS = 24 * 3600  # nobody is still writing a temporary file of this age


class Cache:
    """Keeps the arrays that a stage returned, and counts the time that reading them saved.

    Time counts as saved on the first hit of a key, and only if another process made the entry:
    without a cache this process would have kept its own arrays in memory. Above the limit the
    entries used longest ago are deleted first, but never one that a living process has used
    (`leases`), since a fit that reads more than the limit over and over would then find nothing.
    A disk that is almost full costs the entry, not the run.

    Parameters
    ----------
    folder : Path
        Shared by all runs on one data root.
    source_hash : str
        Of the pipeline's source files; part of every key.
    limit : int, optional
        Bytes. Default: DISK_SHARE of what the disk would have free without the cache.
    """

    def __init__(self, folder: Path, source_hash: str, *, limit: int | None = None) -> None:
        self.folder = folder
        self.source_hash = source_hash
        self.limit = limit
        self.saved = Usage()
        self._lease = Lease(folder)
        self._until_scan = 0.0  # bytes to write before the folder is looked through again

    def __call__(self, key: Mapping[str, Any], make: Callable[[], State]) -> State:
        """Return the arrays kept under (source hash, key), or make and keep them."""
        text = json.dumps({**key, "source": self.source_hash}, sort_keys=True, default=str)
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"
        started = Usage.so_far()
        first_use = path.name not in self._lease.used
        with self._lease.take(path.name):
            entry = _read(path)
        if entry is None:
            return self._make(path, text, make, started)
        arrays, made = entry
        if first_use:
            self._count_saving(made - (Usage.so_far() - started))
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
            self._save(path, arrays, header)
        return arrays

    def _save(self, path: Path, arrays: State, header: Mapping[str, str]) -> None:
        """Write an entry, unless the disk is almost full, and delete others above the limit."""
        self.folder.mkdir(parents=True, exist_ok=True)
        size = sum(array.nbytes for array in arrays.values())
        disk = shutil.disk_usage(self.folder)
        if disk.free - size < RESERVED_SHARE * disk.total:
            self._evict()
            disk = shutil.disk_usage(self.folder)
            if disk.free - size < RESERVED_SHARE * disk.total:
                return
        save_arrays(path, arrays, header)
        self._until_scan -= size
        if self._until_scan <= 0:
            self._evict()

    def _evict(self) -> None:
        """Delete what was used longest ago by processes that have ended, down to the limit."""
        for temporary in self.folder.glob(".*.safetensors.*"):  # left by a process that was killed
            with suppress(FileNotFoundError):
                if time.time() - temporary.stat().st_mtime > ABANDONED_AFTER_SECONDS:
                    temporary.unlink()
        stats = {}
        for file in self.folder.glob("*.safetensors"):
            with suppress(FileNotFoundError):  # deleted by another process in the meantime
                stats[file] = file.stat()
        size = sum(stat.st_size for stat in stats.values())
        limit = self.limit
        if limit is None:
            limit = int(DISK_SHARE * (shutil.disk_usage(self.folder).free + size))
        self._until_scan = SCAN_SHARE * max(limit, size)
        if size <= limit:
            return
        with self._lease.sole() as names_in_use:
            for file in sorted(stats, key=lambda file: stats[file].st_mtime):
                if file.name in names_in_use:
                    continue
                size -= stats[file].st_size
                file.unlink(missing_ok=True)
                if size <= limit:
                    break


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
