"""The data root: the one folder that holds downloads, stores and the stage cache."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path


def data_root(given: Path | str | None = None) -> Path:
    """`--data-root`, else HARNESS_DATA, else the user's cache folder."""
    if given or os.environ.get("HARNESS_DATA"):
        return Path(given or os.environ["HARNESS_DATA"]).expanduser().resolve()
    base = Path.home() / "Library" / "Caches" if sys.platform == "darwin" else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return base.expanduser() / "before-after-harness"


def as_flag(given: Path | str | None) -> str:
    """` --data-root DIR` where it was given, for commands that a message tells to type."""
    return f" --data-root {shlex.quote(str(given))}" if given else ""
