"""The data root: the folder of downloads, prepared datasets and the cache of stages."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from harness.errors import UserError


def find_data_root(data_root: Path | str | None = None) -> Path:
    """Return the data root.

    Parameters
    ----------
    data_root : Path or str, optional
        Default: the environment variable HARNESS_DATA, else the user's cache folder:
        `~/.cache/before-after-harness` (below XDG_CACHE_HOME if that is set), on macOS
        `~/Library/Caches/before-after-harness`.

    Raises
    ------
    UserError
        For the home folder of a user that there is not, or if this user has none.
    """
    chosen = data_root or os.environ.get("HARNESS_DATA")
    if chosen:
        try:
            return Path(chosen).expanduser().resolve()
        except (RuntimeError, ValueError, OSError) as error:
            origin = "data_root" if data_root else "HARNESS_DATA"
            raise UserError(f"{origin}: got {str(chosen)!r}, which is no path: {error}") from error
    from platformdirs import user_cache_path

    with suppress(RuntimeError):  # for a user without a home; older versions return `~/.cache`
        folder = user_cache_path("before-after-harness", appauthor=False)
        if folder.is_absolute():
            return folder
    raise UserError("there is no home folder (HOME is not set); set data_root or HARNESS_DATA")


def make_folder(folder: Path) -> None:
    """Create a folder of the data root unless it is there.

    Raises
    ------
    UserError
        If nothing can be written to it.
    """
    reason = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{error.strerror}: {error.filename or folder}"
    if not reason and not os.access(folder, os.W_OK):
        reason = os.strerror(errno.EACCES)
    if reason:
        raise UserError(
            f"cannot write to {folder} ({reason}); "
            "set data_root or HARNESS_DATA to a folder that can be written"
        )
