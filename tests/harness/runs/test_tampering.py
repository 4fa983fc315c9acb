"""Records that somebody else has edited: no edit changes a printed figure, and none is executed."""

from __future__ import annotations

import copy
import io
import json
import os
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import harness
from harness.cli import main
from harness.runs.checksums import CHECKSUMS
from harness.runs.consistency import SHARED_FIELDS
from harness.runs.record import Record
from harness.runs.result import COST_FIELDS, Cost
from harness.tracking.links import Links

Edit = Callable[[Path], object]
COMMANDS = (
    ("runs",),
    ("compare", "{a}", "{b}", "--details"),
    ("predict", "{a}", "image.png"),
)
MARKER = "executed"


def run(*words: str) -> tuple[int, str]:
    """Run a command in this process and return its exit code and all that it printed."""
    output, code = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(output):
        patch.setattr("sys.argv", ["harness", *words])
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            try:
                main()
            except SystemExit as stop:
                code = int(stop.code or 0)
    return code, output.getvalue()


def words(text: str) -> list[str]:
    """Return all words but ages, sorted: `runs` lists the run that was written last at the end."""
    return sorted(re.sub(r"\d[\d.]* (s|min \d+ s)( old|$)|--+", "", text, flags=re.M).split())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder with two runs, and their ids."""
    folder = tmp_path_factory.mktemp("received")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        options: dict[str, Any] = {"limit": 200, "limit_test": 60, "track": False}
        ids = [
            harness.run(f"raw-linear,c={c}", "digits", **options).run_id for c in ("0.01", "0.1")
        ]
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save("image.png")
    return folder, ids[0], ids[1]


@pytest.fixture
def received(project: tuple[Path, str, str], workdir: Path) -> tuple[Path, str, str]:
    """A copy of these runs in the working folder: the folder of the first, and both ids."""
    shutil.copytree(project[0], workdir, dirs_exist_ok=True)
    return workdir / "runs" / project[1], project[1], project[2]


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


def outputs(a: str, b: str) -> list[tuple[int, str]]:
    return [run(*(word.format(a=a, b=b) for word in command)) for command in COMMANDS]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_edit_changes_a_printed_figure_without_a_word(
    received: tuple[Path, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every edit is refused in one line that names the run, or what is printed stays the same."""
    folder, a, b = received
    expected = [(code, words(text)) for code, text in outputs(a, b)]
    assert [code for code, _ in expected] == [0, 0, 0]
    edits = [*json_edits(folder), *score_edits(), *file_edits()]
    intact = shutil.move(folder, "intact")
    counts = {"refused": 0, "unchanged": 0}
    for name, edit in edits:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(intact, folder)
        edit(folder)
        results = outputs(a, b)
        for (code, text), (_, as_before) in zip(results, expected, strict=True):
            if code == 0 and words(text) == as_before:
                counts["unchanged"] += 1
                continue
            counts["refused"] += 1
            said = ("cannot be", "does not fit", "recorded without checksums")
            (line,) = [line for line in text.splitlines() if any(word in line for word in said)]
            assert a in line, (name, text)
            goes_on = text.startswith("run ") or "without checksums" in line
            assert code == (0 if goes_on else 2), (name, text)
    with capsys.disabled():
        print(f"\n{len(edits)} edits in {len(COMMANDS)} commands: {counts}")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_without_checksums_no_edit_changes_an_error(received: tuple[Path, str, str]) -> None:
    """As in a record of an earlier version: what cannot be checked is named in a note."""
    folder, a, b = received
    (folder / CHECKSUMS).unlink()
    columns = ("top1_error", "top5_error", "mean_class_error", "top1_delta", "seeds", "pipeline")

    def figures() -> tuple[int, str, list[Any]]:
        code, text = run("compare", a, b, "--json")
        comparison = json.loads(text.splitlines()[-1]) if code == 0 else {"rows": []}
        rows = [[row[name] for name in columns] for row in comparison["rows"]]
        return code, text, [comparison.get("n_test"), comparison.get("test_digest"), rows]

    code, text, expected = figures()
    assert code == 0
    assert f"without checksums, as by earlier versions: {a};" in " ".join(text.split())
    intact = shutil.copytree(folder, "intact")
    for name, edit in [*json_edits(folder), *score_edits()]:
        shutil.rmtree(folder)
        shutil.copytree(intact, folder)
        edit(folder)
        code, text, now = figures()
        assert now == expected if code == 0 else a in text, (name, text)
        assert code in (0, 2), (name, text)
        assert code == 0 or len(text.splitlines()) == 1, (name, text)


def forge(folder: Path, run_id: str, plugin: str, kind: str) -> None:
    """Make a run's record one of a plugin, all digests and checksums included."""
    record = Record(folder)
    changed = {kind: "evil,step=1", "plugins": (plugin,)}
    spec = replace(record.spec, **changed)
    shared = {name: getattr(spec, name) for name in SHARED_FIELDS}
    record.save_spec(spec)
    record.finish(replace(record.result, run_id=run_id, identity=spec.identity, **shared))


@pytest.mark.slow
@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("kind", ["pipeline", "dataset"])
def test_a_received_run_with_a_plugin_inside_executes_nothing(
    received: tuple[Path, str, str], kind: str
) -> None:
    folder, a, b = received
    plugin = folder / "evil.py"
    parameters = "*" if kind == "pipeline" else "root, *"
    build = f"def build({parameters}, step: int = 1): ...\n"
    plugin.write_text(f"open({MARKER!r}, 'w').close()\n{build}")
    forge(folder, a, str(plugin), kind)
    unfinished = shutil.copytree(folder, folder.with_name("evil-123456.unfinished"))
    (unfinished / "status.json").write_text('{"state": "stopped"}')
    code, text = run("compare", a, b)
    assert code == 0, text  # its scores are what they claim to be
    for command in (
        ("runs",), ("compare", a, b, "--run-missing", "--details"), ("ensemble", a, b),
        ("report", a, b, "--no-pictures"), ("report", a, b), ("predict", a, "image.png"),
        ("rescore", a), ("run", "--resume", "evil-123456"), ("sync",),
        ("compare", "evil", b), ("compare", "evil", b, "--run-missing"),
    ):  # fmt: skip
        code, text = run(*command)
        assert not Path(MARKER).exists(), command
        assert "Traceback" not in text
    needed = f"needs the {kind} 'evil' of a plugin, which is loaded only if you name it"
    code, text = run("run", "--resume", "evil-123456")
    assert (code, len(text.splitlines())) == (2, 1)
    assert needed in text
    assert f"add: --plugins {plugin}" in text


TEXTS = (
    "<script>alert(1)</script>", "\x1b[2J\x1b[31m", "a\nb\r\nc", "x" * 20_000, "\udcff",
    "\u202eevil", "=cmd|' /C calc'!A0", "", "%s{0}", "\0",
)  # fmt: skip


def forged_fields() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield fields of result and spec that someone makes up who renews all checksums."""
    for text in TEXTS:
        for name in ("label", "family", "command"):
            yield {name: text}, {}
        for name in ("notes", "dataset_notes", "augmentation"):
            yield {name: (text,)}, {}
        yield {"machine": {text: text, "cpu": text, "cores": text, "memory_gb": text}}, {}
        yield {"versions": {text: text}, "missing_reasons": {text: text}}, {}
        yield {"curves": {text: [(0, 1.0)], "train/top1_error": [(-5, float("nan"))]}}, {}
        for name in ("title", "pipeline", "dataset"):
            yield {}, {name: text}
        yield {}, {"class_names": tuple(f"{text}{i}" for i in range(10)), "plugins": (text,)}
    yield {"curves": {"val/top1_error": [(0, float("inf")), (10**18, -1e308)]}}, {}
    for figure in (0.0, 1e-300, 1e300):
        yield {"cost": Cost(**dict.fromkeys(COST_FIELDS, figure))}, {}
    for name, value in {
        "views": 10**18, "test_evaluations": 10**18, "started": "0001-01-01T00:00:00+00:00",
        "finished": "9999-12-31T23:59:59-23:59",
    }.items():  # fmt: skip
        yield {name: value}, {}
    for name, value in {
        "seed": 2**64 - 1, "models": 2**62, "image_size": (0, 0), "limit": 0,
        "preparation": "size=99999999999999999999 x",
    }.items():  # fmt: skip
        yield {}, {name: value}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_a_forger_writes_acts_on_nothing(
    received: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is believed is shown as text, and nothing ends in a traceback."""
    folder, a, b = received
    attach = "harness.tracking.artifacts.attach_file"
    monkeypatch.setattr(attach, lambda run_ids, file, settings: Links("", "", "", {}))
    intact = shutil.move(folder, "intact")
    for result, spec in forged_fields():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(intact, folder)
        record = Record(folder)
        asked = replace(record.spec, **spec)
        shared = {name: getattr(asked, name) for name in SHARED_FIELDS}
        answer = replace(record.result, identity=asked.identity, **{**shared, **result})
        record.save_spec(asked)
        record.finish(answer)
        report = ("report", a, b, "--no-pictures", "-o", "report.html")
        for command in (*COMMANDS, report):
            code, text = run(*(word.format(a=a, b=b) for word in command))
            assert code in (0, 2), (result, spec, text)
            assert "\x1b" not in text
            if command == report and code == 0:
                assert "<script" not in Path("report.html").read_text()
