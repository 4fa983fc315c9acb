"""Writing so that a reader sees the whole file or none: everything the harness keeps goes through here."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import torch


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write` on a temporary file beside `path`, bring it to the disk, then rename it to `path`. An OSError names `path`."""
    temporary = path.with_name(
        f".{path.name}.{secrets.token_hex(4)}"
    )  # not by tempfile, whose files nobody else may read
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, lambda file: file.write((json.dumps(value, indent=2) + "\n").encode()))


def save_arrays(
    path: Path, arrays: Mapping[str, torch.Tensor], facts: Mapping[str, str] | None = None
) -> None:
    """Write tensors of any device and layout as safetensors, with string facts in the header."""
    from safetensors.torch import save

    plain = {name: array.detach().cpu().contiguous().clone() for name, array in arrays.items()}
    write_atomic(path, lambda file: file.write(save(plain, metadata=dict(facts or {}))))


def load_arrays(
    path: Path, device: str | torch.device = "cpu"
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors and the facts that `save_arrays` wrote."""
    from safetensors import safe_open

    with safe_open(path, framework="pt", device=str(device)) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 (not a dict)


def arrays_bytes(path: Path) -> int | None:
    """Bytes of the tensors that `save_arrays` wrote, names and facts left out; None where there is no such file. Imports no torch."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    return (
        path.stat().st_size - 8 - header
    )  # the format: 8 bytes that say the header's length, header, arrays
