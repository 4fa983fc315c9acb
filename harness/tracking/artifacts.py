"""A file about several runs, such as a report, put beside each of them in MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from harness.settings import Settings
from harness.tracking.client import existing, upload
from harness.tracking.links import Links, addresses, known

NAME_LENGTH = 150  # characters of a folder's name; file systems refuse more than 255


def attach(run_ids: Sequence[str], file: Path, settings: Settings) -> Links:
    """Log `file` as an artifact of every run, below `reports/` in a folder named after these runs, where the same again replaces it.

    Raises UserError when there is no store, it cannot be reached or written, or it lacks one of the runs; then none of them gets the file.
    """
    with existing(settings) as client:
        experiment, runs = known(client, settings, run_ids)
        for run in runs.values():
            upload(client, run, file, f"reports/{_folder(run_ids)}")
        return addresses(settings, experiment, runs)


def _folder(run_ids: Sequence[str]) -> str:
    joined = "_".join(run_ids)
    return (
        joined
        if len(joined) <= NAME_LENGTH
        else f"{run_ids[0]}_and_{len(run_ids) - 1}_{sha256(joined.encode()).hexdigest()[:8]}"
    )
