from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate

from harness.contract import Batch, Pipeline, Split, UserError
from harness.engine.cache import Cache
from harness.engine.context import RunContext
from harness.engine.distributed import Processes
from pipelines.handcrafted.features import Features
from pipelines.kmeans_triangle import build
from pipelines.unsupervised import single_layer

SMALL: dict[str, Any] = {"k": 20, "size": 16}


def digits(rows: slice) -> Split:
    """scikit-learn's digits, twice as large and smooth: blocks of equal pixels would tell a shifted view from all training images."""
    small = torch.from_numpy(load_digits().images[rows] * 15.9).float()
    images = interpolate(small[:, None], (16, 16), mode="bilinear")[:, 0].to(torch.uint8)
    return Split.from_arrays(images, load_digits().target[rows], class_names=list("0123456789"))


def error(pipeline: Pipeline, split: Split) -> float:
    (batch,) = split.batches(len(split))
    return 100 * float((pipeline.scores(batch).argmax(1).numpy() != split.labels).mean())


def as_batch(images: torch.Tensor | list[torch.Tensor]) -> Batch:
    return Batch(np.array([str(i) for i in range(len(images))]), images, torch.arange(len(images)))


@pytest.fixture(scope="module", params=[{}, {"flip": True, "views": 10}], ids=["plain", "views"])
def fitted(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Pipeline, RunContext]:
    settings = {**SMALL, **request.param}
    pipeline, context = build(**settings), RunContext()
    pipeline.fit(digits(slice(300)), digits(slice(300, 400)), context)
    return settings, pipeline, context


Fitted = tuple[dict[str, Any], Pipeline, RunContext]


def test_learns(fitted: Fitted) -> None:
    mirrored = "flip" in fitted[0]  # which turns digits into others
    assert error(fitted[1], digits(slice(500, 900))) < (30 if mirrored else 15)
    assert fitted[2].refitted
    assert len(fitted[2].curves["val/top1_error"]) == 5  # one a C


def test_scores_depend_on_their_own_image_only(fitted: Fitted) -> None:
    (batch,) = digits(slice(500, 520)).batches(20)
    assert isinstance(batch.images, torch.Tensor)
    together = fitted[1].scores(batch)
    alone = torch.cat([fitted[1].scores(as_batch(image[None])) for image in batch.images])
    assert together.dtype == torch.float32
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_a_fresh_object_with_the_state_scores_the_same(fitted: Fitted) -> None:
    fresh = build(**fitted[0])
    fresh.load({name: array.clone() for name, array in fitted[1].state().items()})
    (batch,) = digits(slice(500, 550)).batches(50)
    assert torch.equal(fresh.scores(batch), fitted[1].scores(batch))


def test_odd_images_pass(fitted: Fitted) -> None:
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
        for size in [(1, 1), (7, 90), (3000, 4000)]
    ]
    images.append(torch.full((3, 20, 20), 128, dtype=torch.uint8))  # featureless
    images.append(images[1][:1].expand(3, -1, -1))  # gray
    scores = fitted[1].scores(as_batch(images))
    assert scores.shape == (5, 10)
    assert scores.isfinite().all()


def test_with_mirrored_views_a_mirrored_image_scores_the_same() -> None:
    pipeline = build(**SMALL, flip=True, views=10)
    pipeline.fit(digits(slice(100)), None, RunContext())
    (batch,) = digits(slice(500, 520)).batches(20)
    assert isinstance(batch.images, torch.Tensor)
    torch.testing.assert_close(
        pipeline.scores(batch),
        pipeline.scores(as_batch(batch.images.flip(-1))),
        atol=1e-5,
        rtol=1e-5,
    )


def test_flip_trains_on_mirror_images() -> None:
    """Two classes, each other's mirror images: told apart, unless both are shown mirrored too."""
    split = Split.from_arrays(random_halves(60), np.arange(60) % 2)
    plain, mirrored = build(k=10, size=12), build(k=10, size=12, flip=True)
    for pipeline in (plain, mirrored):
        pipeline.fit(split, None, RunContext())
    assert error(plain, split) == 0
    assert error(mirrored, split) > 20


def random_halves(n: int) -> np.ndarray:
    """Noise in the left half of the even images and in the right half of the odd ones."""
    random = np.random.default_rng(0)
    images = np.full((n, 3, 12, 12), 100, dtype=np.uint8)
    images[0::2, :, :, :6] = random.integers(0, 256, (n // 2, 3, 12, 6))
    images[1::2, :, :, 6:] = images[0::2, :, :, :6][..., ::-1]
    return images


def test_a_few_images_get_fewer_centroids() -> None:
    context = RunContext()
    pipeline = build(k=1600, size=16)
    pipeline.fit(digits(slice(20)), None, context)
    assert len(pipeline.state()["0.centroids"]) == 20 * 64 // 10
    assert context.notes == ["128 centroids, 10 patches each"]


def test_featureless_images_can_be_fitted() -> None:
    pipeline = build(**SMALL, c=1.0)
    split = Split.from_arrays(np.zeros((12, 3, 16, 16), np.uint8), np.arange(12) % 3)
    pipeline.fit(split, None, RunContext())
    (batch,) = split.batches(12)
    assert pipeline.scores(batch).isfinite().all()


def test_a_working_size_below_one_patch_is_refused() -> None:
    with pytest.raises(UserError, match="at least patch = 6"):
        build(size=5).fit(digits(slice(20)), None, RunContext())


def test_another_c_describes_nothing_again_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = digits(slice(200))
    build(**SMALL, c=1.0).fit(train, None, RunContext(cache=Cache(tmp_path, "source")))
    monkeypatch.setattr(Features, "_describe", None)
    monkeypatch.setattr(single_layer, "fit_kmeans", None)
    pipeline = build(**SMALL, c=30.0)
    pipeline.fit(
        train.take(np.arange(200)[::-1]), None, RunContext(cache=Cache(tmp_path, "source"))
    )
    assert error(pipeline, train) < 2
    for other in ({"k": 21}, {"stride": 2}, {"patch": 5}, {"size": 15}, {"flip": True}):
        with pytest.raises(TypeError):
            build(**{**SMALL, **other}).fit(
                train, None, RunContext(cache=Cache(tmp_path, "source"))
            )


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    mp.start_processes(_fit_share, args=(tmp_path,), nprocs=2, start_method="forkserver")
    pipeline = build(**SMALL)
    pipeline.fit(digits(slice(201)), digits(slice(201, 300)), RunContext())
    (batch,) = digits(slice(400, 500)).batches(100)
    alone = pipeline.scores(batch)
    for rank in range(2):
        found = np.load(tmp_path / f"{rank}.npz")
        np.testing.assert_allclose(found["centroids"], pipeline.state()["0.centroids"], atol=1e-4)
        torch.testing.assert_close(
            torch.from_numpy(found["scores"]), alone, atol=0.06, rtol=0
        )  # margins; the solver's tolerance


def _fit_share(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    pipeline = build(**SMALL)
    train, tune = (digits(rows).sharded(rank, 2) for rows in (slice(201), slice(201, 300)))
    pipeline.fit(train, tune, RunContext(processes=Processes(rank, 2, torch.device("cpu"))))
    (batch,) = digits(slice(400, 500)).batches(100)
    np.savez(
        folder / f"{rank}.npz",
        scores=pipeline.scores(batch).numpy(),
        centroids=pipeline.state()["0.centroids"].numpy(),
    )
    dist.destroy_process_group()
