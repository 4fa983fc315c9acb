"""The data root: the folder of downloads, prepared datasets and the cache of stages."""

from __future__ import annotations

import os
from pathlib import Path


def find_data_root(data_root: Path | str | None = None) -> Path:
    """Return the data root.

    Parameters
    ----------
    data_root : Path or str, optional
        Default: the environment variable HARNESS_DATA, else the user's cache folder:
        `~/.cache/before-after-harness` (below XDG_CACHE_HOME if that is set), on macOS
        `~/Library/Caches/before-after-harness`.
    """
    chosen = data_root or os.environ.get("HARNESS_DATA")
    if chosen:
        return Path(chosen).expanduser().resolve()
    from platformdirs import user_cache_path

    return user_cache_path("before-after-harness", appauthor=False)
