"""The folder of one run: `runs/<run_id>/` when finished, `runs/<run_id>.unfinished/` until then.

    result.json             result.Result
    scores.npz              keys, labels and scores of the test split
    tune_scores.npz         the same of the tune split
    state.safetensors       what the pipeline has learned
    spec.json               spec.RunSpec: enough to run it again
    SHA256SUMS              checksums of the files above, once the run is finished
    status.json             state, process and phase; only until the run is finished
    log.txt                 what was printed
    pictures/               curves, confusion, filters
    mlflow.json             links to MLflow, once the run is there
    checkpoint/             the pipeline's own work in progress; only until the run is finished

A folder loses its suffix in one rename, when everything in it is complete. It is data: nothing in
it is ever executed, and what it says is checked before it is believed: format and types, that
spec, result and scores agree, and the checksums. That finds damage and edits; it is no proof
against someone who computes everything anew. Reading a record imports no torch.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.commands import harness_command
from harness.contract import State, TrainedRun
from harness.data.identity import split_digest
from harness.errors import MisplacedRecord, UserError
from harness.files import file_digest, load_npz, read_json_object, write_atomic, write_json
from harness.render.text import printable, printable_lines
from harness.runs.checksums import CHECKSUMS, read_checksums, write_checksums
from harness.runs.consistency import (
    is_moment,
    is_run_id,
    result_contradictions,
    score_contradictions,
    spec_contradictions,
)
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
STATE = "state.safetensors"
LOG = "log.txt"
LINKS = "mlflow.json"
LINK_NAMES = ("table", "run")
PICTURES = "pictures"
SEALED = (RESULT, "scores.npz", "tune_scores.npz", STATE, SPEC)  # unchanged once a run is finished
LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # of a path that is not UTF-8
UNFINISHED_STATES = ("running", "stopped", "failed")


class Record:
    """The record of one run, read from its folder on first use.

    Parameters
    ----------
    folder : Path
        With the suffix `.unfinished` until the run is finished.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checked: set[str] = set()  # scores that were compared with the rest of the record

    @property
    def run_id(self) -> str:
        return self.folder.name.removesuffix(SUFFIX)

    @property
    def finished(self) -> bool:
        return not self.folder.name.endswith(SUFFIX)

    @property
    def state_file(self) -> Path:
        return self.folder / STATE

    @property
    def status_file(self) -> Path:
        return self.folder / STATUS

    @cached_property
    def result(self) -> Result:
        """The result.

        Raises
        ------
        UserError
            If the file is missing, damaged or of another format, or if it contradicts spec.json.
        MisplacedRecord
            If the folder was renamed or copied.
        """
        result = self.recorded_result
        self._require_own_folder(result)
        for contradiction in result_contradictions(result, self.spec):
            raise self._damaged(self.folder / RESULT, contradiction)
        return result

    @cached_property
    def recorded_result(self) -> Result:
        """The result as its file says, whatever the name of the folder; see `result`."""
        result: Result = self._read(RESULT, Result)
        return result

    @cached_property
    def spec(self) -> RunSpec:
        """The spec; raises UserError when the file is missing, damaged or of another format."""
        spec: RunSpec = self._read(SPEC, RunSpec)
        for contradiction in spec_contradictions(spec):
            raise self._damaged(self.folder / SPEC, contradiction)
        return spec

    def check(self) -> None:
        """Raise UserError unless spec and, for a finished run, result can be used."""
        _ = self.spec, self.finished and self.result

    @property
    def readable(self) -> bool:
        """Whether spec and, for a finished run, result can be used."""
        with suppress(UserError):
            self.check()
            return True
        return False

    @cached_property
    def checksums(self) -> dict[str, str] | None:
        """The checksums of a finished run; None for one that predates them.

        Raises
        ------
        UserError
            If the file is damaged.
        """
        try:
            return read_checksums(self.folder) if self.finished else None
        except (OSError, ValueError) as error:
            raise self._damaged(self.folder / CHECKSUMS, error) from error

    def _require_unchanged(self, path: Path) -> None:
        """Raise ValueError if a file is not the one that the run left."""
        if self.checksums is None:
            return
        if path.name not in self.checksums:
            raise ValueError(f"{CHECKSUMS} does not list it")
        if file_digest(path) != self.checksums[path.name]:
            raise ValueError(f"it was damaged or edited: {CHECKSUMS} has another checksum")

    def _read(self, name: str, kind: type) -> Any:
        path = self.folder / name
        try:
            values, data = read_json_object(path)
            number = values.get("format", "none")
            if number != FORMAT:
                raise ValueError(f"its format number is {number}, and this version reads {FORMAT}")
            self._require_unchanged(path)
            if LONE_SURROGATE.search(data):  # pydantic reads such JSON only when it is parsed
                return _reader(kind).validate_python(values)
            return _reader(kind).validate_json(data, strict=True)
        except (OSError, ValueError) as error:
            raise self._damaged(path, error) from error

    def _require_own_folder(self, result: Result) -> None:
        if result.run_id == self.folder.name:
            return
        if not is_run_id(result.run_id):
            raise self._damaged(self.folder / RESULT, f"{result.run_id!r} is not the id of a run")
        own = self.folder.with_name(result.run_id)
        if own.exists():
            remove = harness_command("runs", "rm", self.run_id)
            raise MisplacedRecord(
                f"{self.folder} is a copy of the run {result.run_id}; remove it with: {remove}"
            )
        raise MisplacedRecord(
            f"{self.folder} holds the run {result.run_id} under another name; rename it back to "
            f"{own.name}"
        )

    def _damaged(self, path: Path, reason: object) -> UserError:
        first = str(reason).partition(" [type=")[0]  # pydantic: the first error
        words = " ".join(first.split()) or type(reason).__name__
        remove = harness_command("runs", "rm", self.run_id)
        return UserError(f"{path} cannot be read ({words}); remove the run with: {remove}")

    @property
    def status(self) -> dict[str, Any]:
        """What status.json holds, without what is damaged; empty for a finished run."""
        try:
            status, _ = read_json_object(self.status_file)
        except (OSError, ValueError):
            return {}
        if not is_moment(status.get("started")):
            status.pop("started", None)
        types = {"pid": int}
        return {name: v for name, v in status.items() if isinstance(v, types.get(name, str))}

    @property
    def state(self) -> str:
        """One of finished, tuned (ran without test), running, dead, stopped (Ctrl-C) and failed."""
        if self.finished:
            return "finished" if self.result.top1_error is not None else "tuned"
        status = self.status
        state = status.get("state")
        if state not in UNFINISHED_STATES:
            return "dead"
        if state == "running" and not is_alive(status, self.status_file):
            return "dead"
        return str(state)

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
            If the file is missing or damaged, or if its images and labels are not those of the
            digest on record.
        """
        path = self.folder / f"{name}.npz"
        try:
            if name not in self._checked:
                self._require_unchanged(path)
            scores = Scores(**load_npz(path))
            if name not in self._checked:
                for contradiction in score_contradictions(scores, self.spec):
                    raise ValueError(contradiction)
                if name == "scores":
                    self._require_test_images(scores)
                self._checked.add(name)
            return scores
        except UserError:
            raise
        except Exception as error:  # zipfile and numpy have errors of many kinds
            raise self._damaged(path, error) from error

    def _require_test_images(self, scores: Scores) -> None:
        """Raise ValueError unless the scores are of the images and labels on record."""
        spec = self.spec
        digest = split_digest(spec.preparation, scores.keys, scores.labels)
        # Older records of objects keep the preparation of train, from which test may differ.
        is_known = not (spec.dataset_from_object and self.checksums is None)
        if is_known and digest != spec.test_digest:
            raise ValueError(
                f"its images and labels have the digest {digest}, and {SPEC} says "
                f"{spec.test_digest}"
            )

    def has_scores(self, name: str = "scores") -> bool:
        return (self.folder / f"{name}.npz").exists()

    def require_finished(self) -> None:
        """Raise UserError, with the command that finishes the run, unless it is finished.

        Also if the record cannot be used.
        """
        self.check()
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
            self._require_unchanged(self.state_file)
            return load_arrays(self.state_file, device)
        except (MemoryError, UserError):
            raise
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
        write_json(self.folder / LINKS, {"table": table, "run": run})

    @property
    def links(self) -> dict[str, str]:
        """The links to MLflow by name (`table`, `run`); empty until the run is published."""
        try:
            links, _ = read_json_object(self.folder / LINKS)
        except (OSError, ValueError):
            return {}
        are_links = all(re.fullmatch(r"https?://[!-~]+", str(links.get(n))) for n in LINK_NAMES)
        return {name: links[name] for name in LINK_NAMES} if are_links else {}

    def finish(self, result: Result) -> None:
        """Write result.json, then rename the folder, which makes the run a finished one."""
        write_json(self.folder / RESULT, {"format": FORMAT, **dataclasses.asdict(result)})
        shutil.rmtree(self.folder / "checkpoint", ignore_errors=True)
        write_checksums(self.folder, SEALED)
        finished = self.folder.with_name(self.run_id)
        self.folder.replace(finished)
        self.folder = finished
        self.status_file.unlink(missing_ok=True)


@cache
def _reader(kind: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
