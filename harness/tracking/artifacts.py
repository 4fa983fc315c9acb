"""Files about several runs, such as a report, attached to each of them in MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from harness.settings import Settings
from harness.tracking.client import connect
from harness.tracking.links import Links, make_links

MAX_FOLDER_CHARACTERS = 150  # file systems refuse names above 255 bytes


def attach_file(run_ids: Sequence[str], file: Path, settings: Settings) -> Links:
    """Upload a file about several runs to the artifacts of each of them.

    It goes to a folder below `reports/` that is named after the runs, so attaching a newer version
    for the same runs replaces it.

    Parameters
    ----------
    run_ids : sequence of str
    file : Path
    settings : Settings

    Returns
    -------
    Links
        To these runs.

    Raises
    ------
    UserError
        If MLflow cannot be reached or written, or lacks one of the runs; then no run gets the file.
    """
    with connect(settings, must_exist=True) as client:
        mlflow_ids = client.find_mlflow_ids(run_ids)
        for mlflow_id in mlflow_ids.values():
            client.log_artifact(mlflow_id, file, f"reports/{_folder_name(run_ids)}")
        return make_links(settings, client.experiment_id, mlflow_ids)


def _folder_name(run_ids: Sequence[str]) -> str:
    joined = "_".join(run_ids)
    if len(joined) <= MAX_FOLDER_CHARACTERS:
        return joined
    return f"{run_ids[0]}_and_{len(run_ids) - 1}_{sha256(joined.encode()).hexdigest()[:8]}"
