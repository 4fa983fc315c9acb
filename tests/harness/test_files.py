"""A reader sees a whole file or none, and may read it."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from harness.errors import UserError
from harness.files import (
    arrays_bytes,
    file_digest,
    load_arrays,
    load_npz,
    read_json_object,
    save_arrays,
    write_atomic,
    write_json,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, 1)

    def fail(file: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"a\.json"):
        write_atomic(path, fail)
    assert path.read_text() == "1\n"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_others_may_read_a_file_as_far_as_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_json(tmp_path / "a.json", 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o644


def test_arrays_of_any_layout_and_their_metadata_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    base = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    arrays = {"transposed": base.T, "shared": base, "counts": torch.tensor([1, 2])}
    save_arrays(path, arrays, {"epoch": "3"})
    loaded, metadata = load_arrays(path)
    assert metadata == {"epoch": "3"}
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        assert torch.equal(loaded[name], array)
    assert arrays_bytes(path) == 2 * 6 * 4 + 2 * 8


def test_a_missing_file_of_arrays_has_no_size(tmp_path: Path) -> None:
    assert arrays_bytes(tmp_path / "none.safetensors") is None


def test_numpy_arrays_and_numbers_are_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    arrays = {
        "step": 3,
        "rate": 0.1,
        "fitted": True,
        "np": np.arange(6.0).reshape(2, 3).T,
        "swapped": np.arange(3, dtype=">i2"),
        "zero": np.zeros((0, 4), dtype=np.float16),
        "scalar": np.float32(0.1),
        "tensor": torch.tensor(3),
    }
    save_arrays(path, arrays, {"epoch": "3"})
    loaded, metadata = load_arrays(path)
    assert metadata == {"epoch": "3"}
    for name, value in arrays.items():
        kind = float if name == "scalar" else type(value)
        assert type(loaded[name]) is kind
        assert np.array_equal(loaded[name], value)
    assert loaded["zero"].dtype == np.float16


def test_tensors_of_every_kind_are_kept(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.rand(4, 3))
    arrays = {
        "parameter": weight,
        "tied": weight.t(),
        "with gradient": weight * 2,
        "half": weight.bfloat16(),
        "step": torch.tensor(3),
        "": torch.zeros(0),
    }
    path = tmp_path / "state.safetensors"
    save_arrays(path, arrays)
    loaded, _ = load_arrays(path)
    for name, tensor in arrays.items():
        assert torch.equal(loaded[name], tensor)
        assert loaded[name].dtype == tensor.dtype
        assert not loaded[name].requires_grad
    save_arrays(path, {})
    assert load_arrays(path) == ({}, {})


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"w": torch.zeros(1), "opt": {"lr": 1}}, "entry 'opt' is of type dict; give tensors"),
        ({"names": ["cat"]}, "entry 'names' is of type list; give"),
        ({"name": "cat"}, "entry 'name' is of type str; give"),
        ({"pca": None}, "entry 'pca' is of type NoneType; give"),
        ({"n": 2**80}, "entry 'n' is 1208925819614629174706176, which takes more than 64 bits"),
        ({"n": 1j}, "entry 'n' is of type complex"),
        ({"w": np.array(["a"])}, "entry 'w' is a numpy array of type <U1"),
        ({"w": np.array([None])}, "entry 'w' is a numpy array of type object"),
        ({"w": np.zeros(2, np.longdouble)}, "entry 'w' is a numpy array of type float128"),
        ({"w": torch.eye(2).to_sparse()}, r"entry 'w' is a sparse tensor; call to_dense\(\)"),
        ({"w": torch.zeros(2, device="meta")}, "entry 'w' is a tensor on the device meta"),
        ({"w": torch.zeros(2, dtype=torch.complex128)}, "entry 'w' is a tensor of type"),
        ({0: torch.zeros(1)}, "the name 0 is of type int; give a str"),
        ({"__metadata__": torch.zeros(1)}, "the name '__metadata__' cannot be written"),
        ({"\udcff": torch.zeros(1)}, "cannot be written; give another"),
        (None, "it is of type NoneType, not a dict of tensors"),
        (torch.nn.Linear(2, 2), "it is of type Linear, not a dict of tensors"),
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_kept_is_named(tmp_path: Path, arrays: Any, words: str) -> None:
    path = tmp_path / "state.safetensors"
    with pytest.raises(UserError, match=words):
        save_arrays(path, arrays)
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ('{"a": 1, "a": 2}', "a key twice"),
        ("[]", "does not hold a JSON object"),
        ("9" * 5000, "integer"),
    ],
    ids=["list", "object", "twice", "no object", "digits"],
)
def test_a_json_file_that_is_no_plain_object_is_refused(
    workdir: Path, text: str, reason: str
) -> None:
    Path("a.json").write_text(text)
    with pytest.raises(ValueError, match=reason):
        read_json_object(Path("a.json"))


def test_a_json_file_has_a_limited_size(workdir: Path) -> None:
    Path("a.json").write_text("{}")
    assert read_json_object(Path("a.json")) == ({}, b"{}")
    os.truncate("a.json", 2**40)
    with pytest.raises(ValueError, match="1,099,511,627,776 bytes, more than"):
        read_json_object(Path("a.json"))


def test_what_is_no_plain_file_is_not_opened(workdir: Path) -> None:
    """To read from a pipe would wait for ever."""
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("zero").symlink_to("/dev/zero")
    Path("folder").mkdir()
    for name in ("pipe", "loop", "zero", "folder", "missing"):
        for read in (read_json_object, load_npz, file_digest, load_arrays):
            with pytest.raises(OSError, match=r"not a plain file|Too many levels|No such file"):
                read(Path(name))


def test_arrays_are_read_as_savez_wrote_them(workdir: Path) -> None:
    arrays = {"keys": np.array(["a", "ü"]), "scores": np.zeros((2, 3), np.float32)}
    np.savez("a.npz", **arrays)
    read = load_npz(Path("a.npz"))
    assert read.keys() == arrays.keys()
    assert all(np.array_equal(read[name], arrays[name]) for name in arrays)


def test_an_array_file_that_claims_more_than_it_holds_is_refused(workdir: Path) -> None:
    np.savez_compressed("compressed.npz", a=np.zeros(10**6))
    with pytest.raises(ValueError, match=r"a\.npy is compressed"):
        load_npz(Path("compressed.npz"))
    header = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": (10**9, 1000)}
    np.lib.format.write_array_header_1_0(header, fields)
    with ZipFile("claims.npz", "w") as archive:
        archive.writestr("a.npy", header.getvalue())
    with pytest.raises(ValueError, match=r"a\.npy has 128 bytes, not 4,000,000,000,128"):
        load_npz(Path("claims.npz"))
    np.savez("objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npy has|pickle"):
        load_npz(Path("objects.npz"))
