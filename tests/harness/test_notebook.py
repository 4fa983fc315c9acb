"""A pipeline as an object, on arrays, in a notebook that is executed by a real kernel."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

STATE = "(torch.initial_seed(), torch.get_num_threads(), np.random.get_state()[1][0])"
CELLS = (
    f"import numpy as np, torch, harness\nbefore = {STATE}",
    "{plugin}",
    "rng = np.random.default_rng(0)\n"
    "def split(n):\n"
    "    labels = np.arange(n) % 3\n"
    "    noise = rng.integers(0, 150, (n, 8, 8))\n"
    "    images = (noise + 50 * labels[:, None, None]).astype(np.uint8)\n"
    "    names = ['dark', 'gray', 'bright']\n"
    "    return harness.Split.from_arrays(images, labels, class_names=names)\n"
    "result = harness.run(build(), (split(90), split(60)), track=False)\n"
    "result",
    "assert result.top1_error.value < 5 and result.n_test == 60\n"
    f"assert before == {STATE}\n"
    "assert result.to_frame().loc[0, 'name'] == 'nearest-mean'\n"
    "harness.compare(result, result)",
)


def test_a_notebook_shows_results_and_comparisons_as_tables(workdir: Path, plugin: str) -> None:
    notebook = nbformat.v4.new_notebook()
    sources = [cell.replace("{plugin}", Path(plugin).read_text()) for cell in CELLS]
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(workdir)}}).execute()
    shown = notebook.cells[2].outputs[-1]["data"]["text/html"]
    assert "<table" in shown
    assert "nearest-mean" in shown
    assert "McNemar" in notebook.cells[3].outputs[-1]["data"]["text/html"]
