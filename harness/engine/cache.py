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
from harness.engine.resources import Spent
from harness.files import load_arrays, save_arrays

LIMIT_BYTES = 20 * 2**30
LEFT_SECONDS = 24 * 3600  # after which nobody is writing a file any more


class Cache:
    """Keeps what `make` returned under the hash of (source hash, key), and counts the seconds that hits save, on the wall and of processor:
    once for each key, and not for what this process made itself, since without a cache it would have kept that in memory.

    Above `limit` bytes the files used longest ago go first, but none that this run has used: a fit that passes over more than that again
    and again would else find nothing of it. A full disk costs the saving, never the run.
    """

    def __init__(self, folder: Path, source_hash: str, *, limit: int = LIMIT_BYTES) -> None:
        self.folder = folder
        self.source_hash = source_hash
        self.limit = limit
        self.saved = Spent()
        self._seen: set[Path] = set()

    def __call__(self, key: Mapping[str, Any], make: Callable[[], State]) -> State:
        text = json.dumps({**key, "source": self.source_hash}, sort_keys=True, default=str)
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"
        started = Spent.so_far()
        kept = _load(path)
        if kept is not None:
            arrays, facts = kept
            if path not in self._seen:
                made = Spent(
                    float(facts["seconds"]), float(facts.get("cpu_seconds", math.nan))
                )  # nan: kept before it was counted
                saved = made - (Spent.so_far() - started)
                self.saved += Spent(
                    max(saved.seconds, 0.0), max(saved.cpu_seconds, 0.0)
                )  # of nan and 0 the first, nan
            self._seen.add(path)
            return arrays
        self._seen.add(path)
        saved_before = self.saved
        arrays = make()
        # What hits inside `make` saved counts as time that this stage takes.
        spent = (Spent.so_far() - started) + (self.saved - saved_before)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_arrays(
                path,
                arrays,
                {"seconds": str(spent.seconds), "cpu_seconds": str(spent.cpu_seconds), "key": text},
            )
            self._evict()
        except OSError:
            pass
        return arrays

    def _evict(self) -> None:
        for left in self.folder.glob(
            ".*.safetensors.*"
        ):  # by a process that was killed while it wrote
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                    left.unlink()
        found = {}
        for file in self.folder.glob("*.safetensors"):
            with suppress(FileNotFoundError):  # evicted by another process meanwhile
                found[file] = file.stat()
        size = sum(stat.st_size for stat in found.values())
        for file in sorted(found.keys() - self._seen, key=lambda f: found[f].st_mtime):
            if size <= self.limit:
                break
            size -= found[file].st_size
            file.unlink(missing_ok=True)


def _load(path: Path) -> tuple[State, dict[str, str]] | None:
    """What the file holds, which is now the one used last; None where there is none, or one that cannot be read and is to be made again."""
    try:
        kept = load_arrays(path)
    except Exception:  # missing, evicted by another process meanwhile, or damaged, for which safetensors has errors of its own
        return None
    with suppress(OSError):  # gone, or another user's
        os.utime(path)
    return kept
