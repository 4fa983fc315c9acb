from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_digits

from harness.contract import Pipeline, Split
from harness.engine.cache import Cache
from harness.engine.context import RunContext, RunServices
from harness.engine.distributed import Processes
from pipelines import hog_svm, raw_linear, vgg2012


def digits(rows: slice) -> Split:
    """scikit-learn's digits, four times as large."""
    images = np.kron(load_digits().images[rows] * 15.9, np.ones((4, 4))).astype(np.uint8)
    return Split.from_arrays(images, load_digits().target[rows], class_names=list("0123456789"))


def error_percent(pipeline: Pipeline, split: Split) -> float:
    (batch,) = split.batches(len(split))
    return 100 * float((pipeline.scores(batch).argmax(1).numpy() != split.labels).mean())


class StretchedImages:
    """The images of a split, stretched to one, two or three times their width."""

    image_size: tuple[int, int] | None = None

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def read(self, rows: np.ndarray) -> list[torch.Tensor]:
        images = self.split.images.read(rows)
        return [
            image.repeat_interleave(1 + int(row) % 3, dim=2)
            for image, row in zip(images, rows, strict=True)
        ]


def stretched_digits(rows: slice) -> Split:
    split = digits(rows)
    return Split(
        keys=split.keys,
        labels=split.labels,
        class_names=split.class_names,
        images=StretchedImages(split),
        preparation="stretched",
    )


def test_trains_on_images_of_several_sizes() -> None:
    pipeline = hog_svm.build(size=32, c=1.0, flip=False)
    pipeline.fit(stretched_digits(slice(300)), None, RunContext())
    assert error_percent(pipeline, stretched_digits(slice(400, 600))) < 25  # guessing: 90


def test_c_is_chosen_on_tune_before_train_and_tune_are_fitted() -> None:
    """The harness scores tune with the chosen C fitted on train alone.

    The final classifier is fitted on train + tune with that C.
    """
    train, tune = digits(slice(300)), digits(slice(300, 500))
    before: list[dict[str, Any]] = []
    context = RunContext(
        services=RunServices(
            keep_tune_scores=lambda pipeline: before.append(dict(pipeline.state()))
        )
    )
    pipeline = raw_linear.build(flip=False)
    pipeline.fit(train, tune, context)
    tried = [c for _, c in context.curves["val/c"]]
    assert len(tried) == len(context.curves["val/top1_error"]) > 2

    def weights(split: Split, c: float) -> torch.Tensor:
        alone = raw_linear.build(c=c, flip=False)
        alone.fit(split, None, RunContext())
        return alone.state()["0.weights"]

    def difference(expected: torch.Tensor, state: dict[str, Any]) -> float:
        return float((expected - state["0.weights"]).norm() / state["0.weights"].norm())

    differences = {c: difference(weights(train, c), before[0]) for c in tried}
    chosen = min(differences, key=differences.__getitem__)
    assert differences[chosen] < 0.05
    assert difference(weights(train + tune, chosen), dict(pipeline.state())) < 0.05


def test_cached_features_match_their_labels_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A split's digest does not depend on its order."""
    train = digits(slice(200))

    def context() -> RunContext:
        return RunContext(services=RunServices(cache=Cache(tmp_path, "source")))

    for split in (train, train.take(np.arange(200)[::-1])):
        pipeline = hog_svm.build(c=1.0)
        pipeline.fit(split, None, context())
        assert error_percent(pipeline, train) == 0
        # The second pipeline may describe nothing.
        monkeypatch.setattr("pipelines.handcrafted.features.Features._describe", None)
    # None of these cells was set before, although 4 follows from the size of these images and 16
    # from the largest working size.
    for cell in (4, 8, 16):
        with pytest.raises(TypeError):
            hog_svm.build(c=1.0, cell=cell).fit(train, None, context())


SMALL_VGG = partial(vgg2012.build, components=2, min_side=32, step=8, flip=False)


@pytest.mark.parametrize("build", [partial(hog_svm.build, flip=False), SMALL_VGG])
def test_another_c_reuses_cached_features_until_the_source_changes(
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = digits(slice(100))
    build(c=1.0).fit(train, None, RunContext(services=RunServices(cache=Cache(tmp_path, "source"))))
    monkeypatch.setattr("pipelines.handcrafted.features.Features._describe", None)
    again = RunContext(services=RunServices(cache=Cache(tmp_path, "source")))
    build(c=0.5).fit(train, None, again)
    assert again.cache_savings.seconds > 0
    with pytest.raises(TypeError):
        build(c=0.5).fit(
            train, None, RunContext(services=RunServices(cache=Cache(tmp_path, "changed source")))
        )


def test_the_weight_of_positives_is_chosen_on_tune() -> None:
    context = RunContext()
    pipeline = SMALL_VGG(c=1.0, positive_weight=None)
    pipeline.fit(digits(slice(100)), digits(slice(100, 160)), context)
    assert [value for _, value in context.curves["val/positive_weight"]] == [1.0, 3.0, 10.0]
    assert len(context.curves["val/top1_error_of_positive_weight"]) == 3


def test_images_whose_flips_change_class_are_not_flipped_at_test_time() -> None:
    errors = {}
    for views, used_views in ((1, 1), (10, 5)):
        pipeline: Any = hog_svm.build(c=0.1, views=views)
        context = RunContext()
        pipeline.fit(digits(slice(400)), digits(slice(400, 500)), context)
        assert context.notes == ["no flips: on tune they change the class"]
        fresh: Any = hog_svm.build(c=0.1, views=views)
        fresh.load(pipeline.state())
        assert fresh.views == pipeline.views == used_views
        errors[views] = error_percent(fresh, digits(slice(500, 900)))
    assert errors[10] < errors[1] + 3


@pytest.mark.parametrize(("flip", "views"), [(False, 5), (True, 10)])
def test_ten_views_include_flips_only_if_they_are_trained_on(flip: bool, views: int) -> None:
    assert hog_svm.build(views=10, flip=flip).views == views


SMALL_HOG = partial(hog_svm.build, size=32, cell=8)


def test_two_processes_fit_what_one_process_fits(tmp_path: Path) -> None:
    mp.start_processes(_fit_share, args=(tmp_path,), nprocs=2, start_method="forkserver")
    pipeline = SMALL_HOG()
    pipeline.fit(digits(slice(200)), digits(slice(200, 260)), RunContext())
    (batch,) = digits(slice(400, 500)).batches(100)
    alone = pipeline.scores(batch)
    for rank in range(2):
        shared = torch.from_numpy(np.load(tmp_path / f"{rank}.npy"))
        # The tolerance of margins is the solver's, not float32's.
        torch.testing.assert_close(shared, alone, atol=0.03, rtol=0)


def _fit_share(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    pipeline = SMALL_HOG()
    train, tune = (digits(rows).sharded(rank, 2) for rows in (slice(200), slice(200, 260)))
    pipeline.fit(train, tune, RunContext(processes=Processes(rank, 2, torch.device("cpu"))))
    (batch,) = digits(slice(400, 500)).batches(100)
    np.save(folder / f"{rank}.npy", pipeline.scores(batch).numpy())
    dist.destroy_process_group()
