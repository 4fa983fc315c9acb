"""An unfinished preparation: one process at a time continues it; an error says what it leaves."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.commands import harness_command
from harness.data.arrow_shards import DamagedShard
from harness.errors import UserError


@contextmanager
def preparation_lock(folder: Path, timeout: float = -1) -> Iterator[None]:
    """Let one process at a time prepare `folder`; the others wait and then find it complete.

    Parameters
    ----------
    folder : Path
    timeout : float
        Seconds to wait; negative: without limit.

    Raises
    ------
    filelock.Timeout
    """
    from filelock import FileLock

    lock = folder.with_name(f".{folder.name}.lock")
    with FileLock(lock, timeout=timeout):
        yield
    lock.unlink(missing_ok=True)


@contextmanager
def explain_failure(folder: Path) -> Iterator[None]:
    """Add the folder to the error of a full disk, which a write to an open file does not name.

    Damage of an unfinished preparation becomes a UserError.
    """
    try:
        yield
    except DamagedShard as error:
        remove = harness_command("data", "rm", folder.name)
        raise UserError(
            f"the unfinished preparation {folder} is damaged ({error}): remove it by {remove}"
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        advice = "complete files are kept, and the same command continues from there"
        reason = f"{os.strerror(error.errno)} ({advice})"
        raise OSError(error.errno, reason, str(folder)) from error
