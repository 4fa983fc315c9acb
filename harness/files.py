"""Files that a reader sees whole or not at all; the harness keeps everything by these functions."""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from harness.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch

KINDS = "kinds"  # in the header of a file of arrays: which entries were no tensors, and what
TENSOR, NUMPY, NUMBER = "tensor", "numpy", "number"
MAX_JSON_BYTES = 64 * 2**20


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


def read_json_object(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the JSON object in a file, and the bytes that it was read from.

    Raises
    ------
    OSError
        If the file is missing or no plain file.
    ValueError
        If it does not hold one JSON object, holds a key twice, or is larger than MAX_JSON_BYTES.
    """
    require_plain_file(path)
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, more than {MAX_JSON_BYTES:,}")
    data = path.read_bytes()
    try:
        value = json.loads(data.decode(), object_pairs_hook=_without_repeats)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("it does not hold a JSON object")
    return value, data


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("it holds a key twice")
    return values


def require_plain_file(path: Path) -> None:
    """Raise OSError unless it is a plain file: to read from a pipe would wait for ever."""
    if path.exists() and not path.is_file():
        raise OSError("it is not a plain file")
    path.stat()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    require_plain_file(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays that `numpy.savez` wrote.

    Raises
    ------
    OSError
        If the file is missing or no plain file.
    Exception
        Of many kinds, if it is damaged. What it claims to hold is compared with its size before
        memory is allocated, and objects, which would be executed, are refused.
    """
    import numpy as np

    require_plain_file(path)
    with ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            _require_size(archive, member)
    size = path.stat().st_size
    if sum(member.file_size for member in members) > size:
        raise ValueError(f"it claims to hold more than its {size:,} bytes")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _require_size(archive: ZipFile, member: ZipInfo) -> None:
    """Raise ValueError unless a member of an npz file is as large as its array."""
    import numpy as np

    if member.compress_type != ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    with archive.open(member) as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        claimed = math.prod(shape) * dtype.itemsize + file.tell()
    if claimed != member.file_size:
        raise ValueError(f"{member.filename} has {member.file_size:,} bytes, not {claimed:,}")


def save_arrays(
    path: Path, arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays of any device and layout as safetensors, with `metadata` in the header.

    Numpy arrays and numbers are written as tensors, and are what they were when read again.

    Raises
    ------
    UserError
        If an entry is neither, or cannot be written; the message names it.
    """
    from safetensors.torch import save

    header = dict(metadata or {})
    tensors = as_tensors(arrays)
    kinds = {name: kind for name, value in arrays.items() if (kind := _kind(value)) != TENSOR}
    if kinds:
        header[KINDS] = json.dumps(kinds)
    write_atomic(path, lambda file: file.write(save(tensors, metadata=header or None)))


def as_tensors(arrays: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return contiguous copies on the CPU of arrays of any device and layout.

    Raises
    ------
    UserError
        If an entry is no tensor, numpy array or number, or cannot be written; the message names it.
    """
    if not isinstance(arrays, Mapping):
        raise UserError(f"it is {_type_name(arrays)}, not a dict of tensors")
    tensors = {}
    for name, value in arrays.items():
        if not isinstance(name, str):
            raise UserError(f"the name {name!r} is {_type_name(name)}; give a str")
        if name == "__metadata__" or not _is_unicode(name):
            raise UserError(f"the name {name!r} cannot be written; give another")
        try:
            tensors[name] = _as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"entry {name!r} {error}") from error
    return tensors


def _as_tensor(value: Any) -> torch.Tensor:
    """Return a copy as a plain tensor; the message of an error continues `entry 'x' ...`."""
    import numpy as np
    import torch

    kind = _kind(value)
    if kind == NUMPY:
        if value.dtype.kind not in "biufc" or value.dtype.itemsize > 8:
            raise TypeError(f"is a numpy array of type {value.dtype}; give one of numbers")
        native = np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
        return torch.from_numpy(native)
    if kind == NUMBER:
        number = value.item() if isinstance(value, np.generic) else value
        if not isinstance(number, float) and not -(2**63) <= number < 2**63:
            raise ValueError(f"is {number}, which takes more than 64 bits")
        return torch.tensor(number, dtype=torch.float64 if isinstance(number, float) else None)
    if kind != TENSOR:
        raise TypeError(f"is {_type_name(value)}; give tensors, numpy arrays or numbers")
    if value.layout != torch.strided:
        raise TypeError("is a sparse tensor; call to_dense() on it")
    if value.is_meta:
        raise TypeError("is a tensor on the device meta, which holds no values")
    if value.is_quantized or value.dtype == torch.complex128:
        raise TypeError(f"is a tensor of type {value.dtype}; convert it to one of float32")
    return value.detach().cpu().contiguous().clone()


def _kind(value: Any) -> str:
    """Return TENSOR, NUMPY, NUMBER, or an empty string for anything else."""
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        return TENSOR
    if isinstance(value, np.ndarray):
        return NUMPY
    if isinstance(value, int | float | np.bool_ | np.integer | np.floating):
        return NUMBER
    return ""


def _type_name(value: Any) -> str:
    return f"of type {type(value).__name__}"


def _is_unicode(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def load_arrays(
    path: Path, device: str | torch.device = "cpu"
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the arrays and the metadata that `save_arrays` wrote; tensors are on `device`."""
    from safetensors import safe_open

    require_plain_file(path)
    with safe_open(path, framework="pt", device=str(device)) as file:
        names = file.keys()
        arrays: dict[str, Any] = {name: file.get_tensor(name) for name in names}
        metadata = file.metadata() or {}
    for name, kind in json.loads(metadata.pop(KINDS, "{}")).items():
        arrays[name] = arrays[name].cpu().numpy() if kind == NUMPY else arrays[name].item()
    return arrays, metadata


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
