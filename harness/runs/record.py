"""The folder of one run: `runs/<run_id>/` when finished, `runs/<run_id>.unfinished/` until then.

    result.json             result.Result
    scores.npz              keys, labels and scores of the test split
    tune_scores.npz         the same of the tune split
    state.safetensors       what the pipeline has learned
    spec.json               spec.RunSpec: enough to run it again
    status.json             state, process and phase; only until the run is finished
    log.txt                 what was printed
    pictures/               curves, confusion, filters
    mlflow.json             links to MLflow, once the run is there
    checkpoint/             the pipeline's own work in progress; only until the run is finished

A folder loses its suffix in one rename, when everything in it is complete. It is data: nothing in
it is ever executed. Reading a record imports no torch.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from harness.commands import harness_command
from harness.contract import State, TrainedRun
from harness.errors import UserError
from harness.files import write_atomic, write_json
from harness.render.text import printable, printable_lines
from harness.runs.liveness import is_alive, this_process
from harness.runs.result import FORMAT, Result, Scores
from harness.runs.spec import RunSpec

if TYPE_CHECKING:
    import torch
    from pydantic import TypeAdapter

SUFFIX = ".unfinished"
SPEC = "spec.json"
RESULT = "result.json"
STATUS = "status.json"
LOG = "log.txt"
PICTURES = "pictures"


class Record:
    """The record of one run, read from its folder on first use.

    Parameters
    ----------
    folder : Path
        With the suffix `.unfinished` until the run is finished.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def run_id(self) -> str:
        return self.folder.name.removesuffix(SUFFIX)

    @property
    def finished(self) -> bool:
        return not self.folder.name.endswith(SUFFIX)

    @property
    def state_file(self) -> Path:
        return self.folder / "state.safetensors"

    @property
    def status_file(self) -> Path:
        return self.folder / STATUS

    @cached_property
    def result(self) -> Result:
        """The result; raises UserError when the file is missing, damaged or of another format."""
        result: Result = self._read(RESULT, Result)
        return result

    @cached_property
    def spec(self) -> RunSpec:
        """The spec; raises UserError when the file is missing, damaged or of another format."""
        spec: RunSpec = self._read(SPEC, RunSpec)
        return spec

    @property
    def readable(self) -> bool:
        """Whether spec and, for a finished run, result can be read."""
        with suppress(UserError):
            _ = self.spec, self.finished and self.result
            return True
        return False

    def _read(self, name: str, kind: type) -> Any:
        path = self.folder / name
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(raw, dict):
                raise ValueError("it does not hold a JSON object")
            number = raw.pop("format", "none")
            if number != FORMAT:
                raise ValueError(f"its format number is {number}, and this version reads {FORMAT}")
            return _reader(kind).validate_python(raw)
        except (OSError, ValueError) as error:
            raise self._damaged(path, error) from error

    def _damaged(self, path: Path, error: Exception) -> UserError:
        reason = str(error).partition(" [type=")[0].replace("\n", " ")  # pydantic: the first error
        remove = harness_command("runs", "rm", self.run_id)
        return UserError(f"{path} cannot be read ({reason}); remove the run with: {remove}")

    @property
    def status(self) -> dict[str, Any]:
        """What status.json holds; empty for a finished run."""
        try:
            return dict(json.loads(self.status_file.read_text()))
        except (OSError, ValueError):
            return {}

    @property
    def state(self) -> str:
        """One of finished, tuned (ran without test), running, dead, stopped (Ctrl-C) and failed."""
        if self.finished:
            return "finished" if self.result.top1_error is not None else "tuned"
        status = self.status
        state = str(status.get("state", "dead"))
        if state == "running" and not is_alive(status, self.status_file):
            return "dead"
        return state

    @property
    def age_seconds(self) -> float:
        return max(0.0, datetime.now(UTC).timestamp() - self.folder.stat().st_mtime)

    def set_status(self, state: str, **facts: Any) -> None:
        """Write status.json; `facts` are added to those of the state before, except its reason."""
        kept = {key: value for key, value in self.status.items() if key != "why"}
        write_json(self.status_file, {**kept, "state": state, **this_process(), **facts})

    def scores(self, name: str = "scores") -> Scores:
        """Return `scores` of the test split or `tune_scores`.

        Raises
        ------
        UserError
            If the file is missing or damaged.
        """
        path = self.folder / f"{name}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                in_train = file.get("in_train")
                return Scores(file["keys"], file["labels"], file["scores"], in_train)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise self._damaged(path, error) from error

    def has_scores(self, name: str = "scores") -> bool:
        return (self.folder / f"{name}.npz").exists()

    def require_finished(self) -> None:
        """Raise UserError, with the command that finishes the run, unless it is finished."""
        if not self.finished:
            resume = harness_command("run", "--resume", self.run_id)
            raise UserError(
                f"run {self.run_id} is not finished ({self.state}); finish it with: {resume}"
            )

    def trained_run(self) -> TrainedRun:
        """Return what the run has learned.

        Raises
        ------
        UserError
            If the run is not finished, or learns nothing itself, as an ensemble.
        """
        self.require_finished()
        if not self.state_file.exists():
            raise UserError(f"run {self.run_id} ({self.spec.pipeline}) has no state to start from")
        state, _ = self.load_state()
        return TrainedRun(self.run_id, self.spec.title, self.spec.class_names, state)

    def load_state(self, device: str | torch.device = "cpu") -> tuple[State, dict[str, str]]:
        """Return what the pipeline has learned, and the header of the file.

        Raises
        ------
        UserError
            If the run has no state, or the file is damaged.
        """
        from harness.files import load_arrays

        if not self.state_file.exists():
            raise UserError(f"run {self.run_id} ({self.spec.pipeline}) has kept no state to load")

        try:
            return load_arrays(self.state_file, device)
        except Exception as error:  # safetensors has errors of its own
            raise self._damaged(self.state_file, error) from error

    def save_spec(self, spec: RunSpec) -> None:
        write_json(self.folder / SPEC, {"format": FORMAT, **spec.to_dict()})

    def save_scores(self, scores: Scores, name: str = "scores") -> None:
        arrays = {name: array for name, array in vars(scores).items() if array is not None}
        write_atomic(self.folder / f"{name}.npz", lambda file: np.savez(file, **arrays))

    def save_log(self, lines: Sequence[str]) -> None:
        text = "".join(f"{printable(line)}\n" for line in lines)
        (self.folder / LOG).write_text(text, encoding="utf-8")

    def append_log(self, line: str) -> None:
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(f"{printable_lines(line)}\n")

    def save_links(self, table: str, run: str) -> None:
        """Keep the links to MLflow's table and to this run there, so that nobody has to ask it."""
        write_json(self.folder / "mlflow.json", {"table": table, "run": run})

    @property
    def links(self) -> dict[str, str]:
        """The links to MLflow by name (`table`, `run`); empty until the run is published."""
        try:
            return dict(json.loads((self.folder / "mlflow.json").read_text()))
        except (OSError, ValueError):
            return {}

    def finish(self, result: Result) -> None:
        """Write result.json, then rename the folder, which makes the run a finished one."""
        write_json(self.folder / RESULT, {"format": FORMAT, **dataclasses.asdict(result)})
        shutil.rmtree(self.folder / "checkpoint", ignore_errors=True)
        finished = self.folder.with_name(self.run_id)
        self.folder.replace(finished)
        self.folder = finished
        self.status_file.unlink(missing_ok=True)


@cache
def _reader(kind: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
