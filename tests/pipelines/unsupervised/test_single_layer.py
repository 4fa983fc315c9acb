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
from harness.engine.context import RunContext, RunServices
from harness.engine.distributed import Processes
from pipelines.handcrafted.features import Features
from pipelines.kmeans_triangle import build
from pipelines.unsupervised import single_layer

SMALL: dict[str, Any] = {"k": 20, "size": 16}


def digits(rows: slice) -> Split:
    """scikit-learn's digits, twice as large and smooth.

    Blocks of equal pixels would distinguish a shifted view from all training images.
    """
    small = torch.from_numpy(load_digits().images[rows] * 15.9).float()
    images = interpolate(small[:, None], (16, 16), mode="bilinear")[:, 0].to(torch.uint8)
    return Split.from_arrays(images, load_digits().target[rows], class_names=list("0123456789"))


def error_percent(pipeline: Pipeline, split: Split) -> float:
    (batch,) = split.batches(len(split))
    return 100 * float((pipeline.scores(batch).argmax(1).numpy() != split.labels).mean())


def as_batch(images: torch.Tensor | list[torch.Tensor]) -> Batch:
    return Batch(np.array([str(i) for i in range(len(images))]), images, torch.arange(len(images)))


Fitted = tuple[dict[str, Any], Pipeline, RunContext]


@pytest.fixture(scope="module", params=[{}, {"flip": True, "views": 10}], ids=["plain", "views"])
def fitted(request: pytest.FixtureRequest) -> Fitted:
    settings = {**SMALL, **request.param}
    pipeline, context = build(**settings), RunContext()
    pipeline.fit(digits(slice(300)), digits(slice(300, 400)), context)
    return settings, pipeline, context


def test_new_digits_are_recognized(fitted: Fitted) -> None:
    settings, pipeline, context = fitted
    limit = 30 if "flip" in settings else 15  # flips turn digits into others
    assert error_percent(pipeline, digits(slice(500, 900))) < limit
    assert context.refitted
    assert len(context.curves["val/top1_error"]) == 5  # one per C


def test_scores_depend_on_their_own_image_only(fitted: Fitted) -> None:
    pipeline = fitted[1]
    (batch,) = digits(slice(500, 520)).batches(20)
    assert isinstance(batch.images, torch.Tensor)
    together = pipeline.scores(batch)
    alone = torch.cat([pipeline.scores(as_batch(image[None])) for image in batch.images])
    assert together.dtype == torch.float32
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_a_reloaded_pipeline_has_the_same_scores(fitted: Fitted) -> None:
    settings, pipeline, _ = fitted
    fresh = build(**settings)
    fresh.load({name: tensor.clone() for name, tensor in pipeline.state().items()})
    (batch,) = digits(slice(500, 550)).batches(50)
    assert torch.equal(fresh.scores(batch), pipeline.scores(batch))


def test_unusual_images_have_finite_scores(fitted: Fitted) -> None:
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
        for size in [(1, 1), (7, 90), (600, 800)]
    ]
    images.append(torch.full((3, 20, 20), 128, dtype=torch.uint8))  # featureless
    images.append(images[1][:1].expand(3, -1, -1))  # gray
    scores = fitted[1].scores(as_batch(images))
    assert scores.shape == (5, 10)
    assert scores.isfinite().all()


def test_with_flipped_views_a_flipped_image_has_the_same_scores() -> None:
    pipeline = build(**SMALL, flip=True, views=10)
    pipeline.fit(digits(slice(100)), None, RunContext())
    (batch,) = digits(slice(500, 520)).batches(20)
    assert isinstance(batch.images, torch.Tensor)
    flipped = pipeline.scores(as_batch(batch.images.flip(-1)))
    torch.testing.assert_close(pipeline.scores(batch), flipped, atol=1e-5, rtol=1e-5)


def test_classes_that_are_flips_of_each_other_are_confused_if_flips_are_trained_on() -> None:
    split = Split.from_arrays(half_noise(60), np.arange(60) % 2)
    plain, flipped = build(k=10, size=12), build(k=10, size=12, flip=True)
    for pipeline in (plain, flipped):
        pipeline.fit(split, None, RunContext())
    assert error_percent(plain, split) == 0
    assert error_percent(flipped, split) > 20


def half_noise(n: int) -> np.ndarray:
    """Return noise in the left half of the even images, and its flip in the odd ones."""
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
    assert context.notes == ["128 centroids, one per 10 patches"]


def test_featureless_images_can_be_fitted() -> None:
    pipeline = build(**SMALL, c=1.0)
    split = Split.from_arrays(np.zeros((12, 3, 16, 16), np.uint8), np.arange(12) % 3)
    pipeline.fit(split, None, RunContext())
    (batch,) = split.batches(12)
    assert pipeline.scores(batch).isfinite().all()


def test_a_working_size_below_one_patch_is_refused() -> None:
    with pytest.raises(UserError, match="at least patch = 6"):
        build(size=5).fit(digits(slice(20)), None, RunContext())


def test_another_c_reuses_centroids_and_features_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = digits(slice(100))

    def fit(split: Split, **settings: Any) -> Pipeline:
        pipeline = build(**{**SMALL, **settings})
        pipeline.fit(split, None, RunContext(services=RunServices(cache=Cache(tmp_path, "source"))))
        return pipeline

    fit(train, c=1.0)
    monkeypatch.setattr(Features, "_describe", None)
    monkeypatch.setattr(single_layer, "fit_kmeans", None)
    assert error_percent(fit(train.take(np.arange(100)[::-1]), c=30.0), train) < 2
    for other in ({"k": 21}, {"stride": 2}, {"patch": 5}, {"size": 15}, {"flip": True}):
        with pytest.raises(TypeError):
            fit(train, **other)


# The choice of C by several processes is tested for all chains in test_chain.py.
FIXED_C: dict[str, Any] = {**SMALL, "c": 10.0}


def test_two_processes_fit_what_one_process_fits(tmp_path: Path) -> None:
    mp.start_processes(_fit_share, args=(tmp_path,), nprocs=2, start_method="forkserver")
    pipeline = build(**FIXED_C)
    pipeline.fit(digits(slice(201)), digits(slice(201, 300)), RunContext())
    (batch,) = digits(slice(400, 500)).batches(100)
    alone = pipeline.scores(batch)
    for rank in range(2):
        shared = np.load(tmp_path / f"{rank}.npz")
        np.testing.assert_allclose(shared["centroids"], pipeline.state()["0.centroids"], atol=1e-4)
        # The tolerance of margins is the solver's.
        torch.testing.assert_close(torch.from_numpy(shared["scores"]), alone, atol=0.06, rtol=0)


def _fit_share(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    pipeline = build(**FIXED_C)
    train, tune = (digits(rows).sharded(rank, 2) for rows in (slice(201), slice(201, 300)))
    pipeline.fit(train, tune, RunContext(processes=Processes(rank, 2, torch.device("cpu"))))
    (batch,) = digits(slice(400, 500)).batches(100)
    np.savez(
        folder / f"{rank}.npz",
        scores=pipeline.scores(batch).numpy(),
        centroids=pipeline.state()["0.centroids"].numpy(),
    )
    dist.destroy_process_group()
