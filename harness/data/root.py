"""The data root: the one folder that holds downloads, stores and the stage cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def find_data_root(given: Path | str | None = None) -> Path:
    """`--data-root`, else HARNESS_DATA, else the user's cache folder."""
    if given or os.environ.get("HARNESS_DATA"):
        return Path(given or os.environ["HARNESS_DATA"]).expanduser().resolve()
    base = (
        Path.home() / "Library" / "Caches"
        if sys.platform == "darwin"
        else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    )
    return base.expanduser() / "before-after-harness"
