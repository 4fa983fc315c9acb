"""Records that somebody else has edited: no edit changes a printed figure, and none is executed."""

from __future__ import annotations

import io
import json
import re
import shutil
import warnings
from collections.abc import Iterator
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
from tests.harness.runs.record_edits import file_edits, json_edits, score_edits

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
