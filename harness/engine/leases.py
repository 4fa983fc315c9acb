"""Which entries of a shared folder are in use by a process that is alive.

Each process keeps a lease: a file with the names of the entries that it has used, which it holds
locked. The lock ends with the process, however it ends, so a lease that is not locked is void. A
folder-wide lock, shared by those who take an entry and exclusive for those who delete entries,
keeps an entry from being deleted between its name being written and its file being read. The locks
of Linux hold across the machines that share a folder over NFS.
"""

from __future__ import annotations

import os
import secrets
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where each process protects its own entries only
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".lease"
LOCK_NAME = ".lock"


class Lease:
    """This process's use of the entries of a folder.

    Where files cannot be written or locked, only `used` is known.

    Parameters
    ----------
    folder : Path

    Attributes
    ----------
    used : set of str
        Names of the entries that this process has used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.used: set[str] = set()
        self._file: int | None = None  # open and locked; None until an entry is used
        self._path = folder / f".{secrets.token_hex(8)}{SUFFIX}"

    @contextmanager
    def take(self, name: str) -> Iterator[None]:
        """Claim an entry for the life of this process; in the block it is not deleted."""
        if name in self.used:
            yield
            return
        with _locked(self.folder, shared=True):
            self.used.add(name)
            with suppress(OSError):
                os.write(self._open(), f"{name}\n".encode())
            yield

    @contextmanager
    def sole(self) -> Iterator[set[str]]:
        """Yield the names of all entries in use; in the block nobody else takes an entry."""
        with _locked(self.folder, shared=False):
            names = set(self.used)
            for path in self.folder.glob(f".*{SUFFIX}"):
                if path != self._path:
                    names |= _names_or_delete(path)
            yield names

    def _open(self) -> int:
        if self._file is None:
            # Under the folder's lock nobody sees the file before it is locked.
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            weakref.finalize(self, os.close, file)
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX)
            self._file = file
        return self._file


@contextmanager
def _locked(folder: Path, *, shared: bool) -> Iterator[None]:
    """Hold the folder's lock; without any effect where files cannot be written or locked."""
    file = None
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        yield
    finally:
        if file is not None:
            os.close(file)


def _names_or_delete(path: Path) -> set[str]:
    """Return the names in another process's lease; delete the lease if it is void."""
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY)
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # BlockingIOError: it is held
            path.unlink()
            return set()
        except BlockingIOError:
            return set(path.read_text().split())
        finally:
            os.close(file)
    return set()
