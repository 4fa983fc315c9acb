"""Files that a reader sees whole or not at all; the harness keeps everything by these functions."""

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
    """Write a temporary file beside `path`, flush it to the disk, then rename it to `path`.

    Parameters
    ----------
    path : Path
    write : callable
        Receives the open file.

    Raises
    ------
    OSError
        With the name `path` in place of the temporary one.
    """
    # `tempfile` would make a file that only its owner may read.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
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
    """Write a value as indented JSON."""
    write_atomic(path, lambda file: file.write((json.dumps(value, indent=2) + "\n").encode()))


def save_arrays(
    path: Path, arrays: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors of any device and layout as safetensors, with `metadata` in the header."""
    from safetensors.torch import save

    plain = {name: array.detach().cpu().contiguous().clone() for name, array in arrays.items()}
    write_atomic(path, lambda file: file.write(save(plain, metadata=dict(metadata or {}))))


def load_arrays(
    path: Path, device: str | torch.device = "cpu"
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors and the metadata that `save_arrays` wrote."""
    from safetensors import safe_open

    with safe_open(path, framework="pt", device=str(device)) as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return arrays, file.metadata() or {}


def arrays_bytes(path: Path) -> int | None:
    """Return the size of the tensors that `save_arrays` wrote, without importing torch.

    Names and metadata do not count. Returns None if there is no such file.
    """
    if not path.exists():
        return None
    # A file is the length of the header in 8 bytes, the header, and the tensors.
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
    return path.stat().st_size - 8 - header_bytes
