"""What a command says when it fails, in one sentence, and its exit code."""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback
from pathlib import Path

LIBRARIES = ("site-packages", "dist-packages")


def explain_failure(error: Exception) -> tuple[str, int]:
    """Return the sentence and the exit code: 2 for the user's mistake, 1 for everything else.

    The traceback of an error that nobody foresaw is kept in a file.
    """
    from harness.errors import UserError

    if isinstance(error, UserError):
        return str(error), 2
    if _lacks_memory(error):
        return _explain_memory(error), 1
    if isinstance(error, OSError):
        # A full disk, a read-only folder: the system's own words, and where.
        place = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{place}", 1
    return _explain_bug(error), 1


def _lacks_memory(error: Exception) -> bool:
    # torch has an exception of its own for a GPU, and none for the CPU.
    is_torchs = type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, MemoryError) or is_torchs or "t allocate memory" in str(error)


def _explain_memory(error: Exception) -> str:
    import psutil

    available = psutil.virtual_memory().available / 2**30
    needed = _one_line(error).rstrip(".") or "more than that was needed"
    return (
        f"not enough memory: {needed}; {available:.1f} GiB are free on this machine; take fewer "
        "images (--limit), a smaller size, or a pipeline that needs less (harness plan estimates)"
    )


def _explain_bug(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if not any(name in frame.filename for name in LIBRARIES)]
    last = (ours or frames)[-1]
    what = f"{type(error).__name__}: {_one_line(error)} ({last.filename}, line {last.lineno})"
    text = "".join(traceback.format_exception(error))
    text = f"{sys.argv}\nPython {sys.version}\n{platform.platform()}\n\n{text}"
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="harness-error-",
            suffix=".txt",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.write(text)
    except OSError:
        return f"{what}\n{text}"
    return f"{what}; for a report of this error, its traceback is in {Path(file.name)}"


def _one_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else ""
