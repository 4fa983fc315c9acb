"""Two processes fit the same as one process with all the rows."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from harness.engine.context import RunContext
from harness.engine.distributed import SINGLE_PROCESS, Processes
from pipelines.handcrafted.encoders.gmm import fit_gmm
from pipelines.handcrafted.encoders.kmeans import fit_kmeans
from pipelines.handcrafted.encoders.pca import fit_pca
from pipelines.handcrafted.fusion import fusion_weights


def fit_all(share: np.ndarray, processes: Processes = SINGLE_PROCESS) -> list[torch.Tensor]:
    """Fit a PCA to the rows, and a codebook and two mixtures to the projected rows."""
    context, sample = RunContext(processes=processes), torch.from_numpy(share)
    pca = fit_pca(sample, 4, context, whiten=0.01)
    projected = pca(sample)
    mixtures = [
        fit_gmm(projected, 12, context, start_from_rows=start_from_rows)
        for start_from_rows in (False, True)
    ]
    return [
        *astuple(pca),
        *astuple(fit_kmeans(projected, 20, context)),
        *(part for gmm in mixtures for part in astuple(gmm)),
    ]


def shares(rows: np.ndarray) -> list[list[np.ndarray]]:
    """Return two ways to share the rows: every other row, and all rows on one process."""
    return [[rows[::2], rows[1::2]], [rows, rows[:0]]]


def fit_fusion(share: np.ndarray, processes: Processes = SINGLE_PROCESS) -> torch.Tensor:
    """Fit the weights of two classifiers.

    Their scores are the first four columns of the rows; the labels are the signs of the first.
    """
    scores = torch.from_numpy(share[:, :4]).reshape(-1, 2, 2).transpose(0, 1)
    return fusion_weights(
        scores,
        torch.from_numpy((share[:, 0] < 0).astype(np.int64)),
        RunContext(processes=processes),
    )


def test_two_processes_fit_what_one_process_fits(rows: np.ndarray, tmp_path: Path) -> None:
    mp.start_processes(_fit_shares, args=(rows, tmp_path), nprocs=2, start_method="forkserver")
    alone = [*fit_all(rows), fit_fusion(rows)]
    for zero, other in zip(
        *(torch.load(tmp_path / f"{rank}.pt") for rank in range(2)), strict=True
    ):
        for one, first, second in zip(alone, zero, other, strict=True):
            assert torch.equal(first, second)
            torch.testing.assert_close(first, one, rtol=1e-3, atol=1e-4)


def _fit_shares(rank: int, rows: np.ndarray, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    processes = Processes(rank, 2, torch.device("cpu"))
    torch.save(
        [
            [*fit_all(share[rank], processes), fit_fusion(share[rank], processes)]
            for share in shares(rows)
        ],
        folder / f"{rank}.pt",
    )
    dist.destroy_process_group()
