"""Edits of a record's folder, as by damage or by somebody who wants another figure in it."""

from __future__ import annotations

import copy
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.runs.checksums import CHECKSUMS

Edit = Callable[[Path], object]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield every value of a JSON document that is no object, with its path."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def others(value: Any) -> list[Any]:
    """Return values that somebody might put in place of this one."""
    wrong_types: list[Any] = [None, -1, 10**30, "<script>", [], {}, float("nan"), True]
    if isinstance(value, bool):
        return [not value, *wrong_types]
    if isinstance(value, int):
        return [value + 1, max(value - 1, 0) or 2, float(value), *wrong_types]
    if isinstance(value, float):
        return [value - 1, value + 1, value / 2, float("inf"), *wrong_types]
    if isinstance(value, str):
        return [f"{value}x", value[:-1], "\x1b[2J", "../../x", *wrong_types]
    if isinstance(value, list):
        return [value[1:], value[::-1], [*value, "x"], *wrong_types]
    return wrong_types


def json_edits(folder: Path) -> Iterator[tuple[str, Edit]]:
    """Yield an edit for every field of both JSON files, and another value of each."""
    for name in ("result.json", "spec.json"):
        whole = json.loads((folder / name).read_text())
        for path, value in leaves(whole):
            for other in others(value):
                if repr(other) == repr(value):
                    continue
                document = copy.deepcopy(whole)
                inner = document
                for key in path[:-1]:
                    inner = inner[key]
                inner[path[-1]] = other
                text = json.dumps(document)
                yield f"{name} {path} {other!r:.20}", lambda at, n=name, t=text: write(at / n, t)


def write(path: Path, content: str | bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def score_edits() -> Iterator[tuple[str, Edit]]:
    """Yield edits of the arrays of scores, and of the files that hold them."""

    def change(name: str, **functions: Callable[[np.ndarray], np.ndarray]) -> Edit:
        def edit(folder: Path) -> None:
            values = arrays(folder / f"{name}.npz")
            values |= {key: function(values[key]) for key, function in functions.items()}
            np.savez(folder / f"{name}.npz", **values)

        return edit

    def perfect(folder: Path) -> None:
        values = arrays(folder / "scores.npz")
        right = np.eye(values["scores"].shape[1], dtype=np.float32)[values["labels"]]
        np.savez(folder / "scores.npz", **{**values, "scores": right})

    yield "every score right", perfect
    for name in ("scores", "tune_scores"):
        yield f"{name}: labels", change(name, labels=lambda a: (a + 1) % 10)
        yield f"{name}: one label", change(name, labels=lambda a: np.r_[(a[0] + 1) % 10, a[1:]])
        yield f"{name}: keys swapped", change(name, keys=lambda a: a[::-1])
        yield f"{name}: scores reversed", change(name, scores=lambda a: a[::-1])
        yield f"{name}: NaN", change(name, scores=lambda a: np.where(a > 0, np.nan, a))
        yield f"{name}: one class", change(name, scores=lambda a: a[:, :1])
        yield f"{name}: float64", change(name, scores=lambda a: a.astype(np.float64) + 1e-3)
        yield f"{name}: flat", change(name, scores=np.ravel)
        yield f"{name}: all in train", change(name, scores=lambda a: a + 1, keys=np.sort)
        yield f"{name}: half", lambda f, n=name: cut(f / f"{n}.npz")
        yield f"{name}: objects", lambda f, n=name: np.savez(f / f"{n}.npz", keys=[object()])
        yield f"{name}: compressed", lambda f, n=name: bomb(f / f"{n}.npz")
        yield f"{name}: claims a terabyte", lambda f, n=name: claim(f / f"{n}.npz")
        yield f"{name}: a pipe", lambda f, n=name: pipe(f / f"{n}.npz")
        yield f"{name}: a folder", lambda f, n=name: folder_at(f / f"{n}.npz")
    yield "in_train", change("scores", in_train=np.logical_not)
    yield "scores of tune", lambda f: shutil.copy(f / "tune_scores.npz", f / "scores.npz")


def cut(path: Path) -> None:
    write(path, path.read_bytes()[: path.stat().st_size // 2])


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("keys.npy", "labels.npy", "scores.npy"):
            archive.writestr(name, b"\x93NUMPY" + bytes(10**7))


def claim(path: Path) -> None:
    header = np.lib.format.header_data_from_array_1_0(np.zeros((1, 1), np.float32))
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {**header, "shape": (10**9, 1000)})
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("keys.npy", "labels.npy", "scores.npy"):
            archive.writestr(name, buffer.getvalue())


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def folder_at(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def file_edits() -> Iterator[tuple[str, Edit]]:
    """Yield damage of whole files, and of the folder itself."""
    for name in ("result.json", "spec.json", CHECKSUMS):
        for content in (
            "", "{", "[]", "null", "[" * 100_000, '{"a":' * 100_000, "9" * 5000, "NaN", b"\xff\xfe",
            '{"format": 1, "format": 1}', '{"format": 1}', "\0" * 100, "x  y\n",
        ):  # fmt: skip
            yield f"{name}: {content[:9]!r}", lambda f, n=name, c=content: write(f / n, c)
        yield f"{name}: missing", lambda f, n=name: (f / n).unlink()
        yield f"{name}: a pipe", lambda f, n=name: pipe(f / n)
        yield f"{name}: a folder", lambda f, n=name: folder_at(f / n)
        yield f"{name}: a link to itself", lambda f, n=name: link(f / n, f / n)
        yield f"{name}: endless", lambda f, n=name: link(f / n, Path("/dev/zero"))
        yield f"{name}: a terabyte", lambda f, n=name: os.truncate(f / n, 2**40)
    for position in (0, 3, 8, 20, -500, -5, -1):
        yield f"state: byte {position}", lambda f, p=position: flip(f / "state.safetensors", p)
    yield "state: half", lambda f: cut(f / "state.safetensors")
    yield (
        "state: header of a petabyte",
        lambda f: write(f / "state.safetensors", (2**50).to_bytes(8, "little")),
    )
    yield "state: a pipe", lambda f: pipe(f / "state.safetensors")
    yield "state: empty", lambda f: write(f / "state.safetensors", b"")
    links = {"table": "javascript:alert(1)", "run": "<img src=x onerror=alert(1)>"}
    for content in (json.dumps(links), "[]", "{", '{"table": 3}', "[" * 100_000):
        yield f"links: {content[:20]}", lambda f, c=content: write(f / "mlflow.json", c)
    yield "links: a pipe", lambda f: pipe(f / "mlflow.json")
    for content in ('{"state": "running", "pid": "../../x"}', '{"state": 3}', "[" * 100_000):
        yield f"status: {content[:20]}", lambda f, c=content: write(f / "status.json", c)


def link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
