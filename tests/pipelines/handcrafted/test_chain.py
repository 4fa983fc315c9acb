from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_digits
from torch.nn.functional import linear

from harness.contract import Batch, Pipeline, Split, UserError
from harness.engine.cache import Cache
from harness.engine.context import RunContext
from harness.engine.distributed import Processes
from pipelines import (
    baseline,
    hog_svm,
    isi2012,
    kmeans_triangle,
    lbp_svm,
    nec2010,
    raw_linear,
    sift_bow,
    sift_fisher,
    sift_vlad,
    vgg2012,
    vlad_fusion,
)
from pipelines.handcrafted.chain import (
    ChannelFit,
    ClassifierSettings,
    Grid,
    closest_to_default,
    misclassified,
)
from pipelines.handcrafted.classifiers.learners import ExactSVM

BUILDS: dict[str, Callable[..., Pipeline]] = {
    "hog-svm": hog_svm.build,
    "lbp-svm": lbp_svm.build,
    "raw-linear": raw_linear.build,
    "baseline": partial(baseline.build, components=16, min_side=32),
    "vgg2012": partial(vgg2012.build, components=16, min_side=32),
    "nec2010": partial(nec2010.build, words=16, min_side=32),
    "isi2012": partial(isi2012.build, components=8, min_side=32, epochs=3),
    "sift-bow": partial(sift_bow.build, words=50, step=4),
    "sift-fisher": partial(sift_fisher.build, components=8),
    "sift-vlad": partial(sift_vlad.build, words=16),
    "vlad-fusion": partial(vlad_fusion.build, words=8, min_side=32),
    "kmeans-triangle": partial(kmeans_triangle.build, k=100),
}


def digits(rows: slice) -> Split:
    """scikit-learn's digits, four times as large."""
    images = np.kron(load_digits().images[rows] * 15.9, np.ones((4, 4))).astype(np.uint8)
    return Split.from_arrays(images, load_digits().target[rows], class_names=list("0123456789"))


def error(pipeline: Pipeline, split: Split) -> float:
    (batch,) = split.batches(len(split))
    return 100 * float((pipeline.scores(batch).argmax(1).numpy() != split.labels).mean())


@pytest.fixture(scope="module", params=BUILDS)
def fitted(request: pytest.FixtureRequest) -> tuple[Callable[..., Pipeline], Pipeline]:
    build = BUILDS[request.param]
    pipeline = build()
    pipeline.fit(digits(slice(400)), digits(slice(400, 500)), RunContext())
    return build, pipeline


Fitted = tuple[Callable[..., Pipeline], Pipeline]


def as_batch(images: torch.Tensor | list[torch.Tensor]) -> Batch:
    return Batch(np.array([str(i) for i in range(len(images))]), images, torch.arange(len(images)))


def test_learns(fitted: Fitted) -> None:
    assert error(fitted[1], digits(slice(500, 900))) < 15


def test_scores_depend_on_their_own_image_only(fitted: Fitted) -> None:
    (batch,) = digits(slice(500, 550)).batches(50)
    assert isinstance(batch.images, torch.Tensor)
    together = fitted[1].scores(batch)
    alone = torch.cat([fitted[1].scores(as_batch(image[None])) for image in batch.images])
    assert together.dtype == torch.float32
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_a_fresh_object_with_the_state_scores_the_same(fitted: Fitted) -> None:
    build, pipeline = fitted
    fresh = build()
    fresh.load({name: array.clone() for name, array in pipeline.state().items()})
    (batch,) = digits(slice(500, 550)).batches(50)
    assert torch.equal(fresh.scores(batch), pipeline.scores(batch))


def test_odd_images_pass(fitted: Fitted) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = [(1, 1), (32, 32), (7, 90), (3000, 4000)]
    images = [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator) for size in sizes
    ]
    images.append(torch.full((3, 20, 20), 128, dtype=torch.uint8))  # featureless
    images.append(
        torch.randint(0, 256, (1, 40, 50), dtype=torch.uint8, generator=generator).expand(3, -1, -1)
    )  # gray
    scores = fitted[1].scores(as_batch(images))
    assert scores.shape == (6, 10)
    assert scores.isfinite().all()
    torch.testing.assert_close(
        fitted[1].scores(as_batch(images[3][None])), scores[3:4], atol=1e-4, rtol=1e-4
    )


def test_trains_on_images_of_many_sizes() -> None:
    class Many:
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

    def many(rows: slice) -> Split:
        s = digits(rows)
        return Split(
            keys=s.keys,
            labels=s.labels,
            class_names=s.class_names,
            images=Many(s),
            preparation="stretched",
        )

    pipeline = hog_svm.build(size=32, c=1.0, flip=False)
    pipeline.fit(many(slice(400)), None, RunContext())
    assert error(pipeline, many(slice(400, 600))) < 25  # guessing: 90


def test_c_is_chosen_on_tune_then_all_is_fitted() -> None:
    """The harness sees the chosen C fitted on train alone; what scores in the end was fitted on train + tune with that C."""
    train, tune = digits(slice(300)), digits(slice(300, 500))
    before: list[dict[str, Any]] = []
    context = RunContext(keep_tune_scores=lambda pipeline: before.append(dict(pipeline.state())))
    pipeline = raw_linear.build(flip=False)
    pipeline.fit(train, tune, context)
    chosen = [c for _, c in context.curves["val/c"]]
    assert len(chosen) == len(context.curves["val/top1_error"]) > 2

    def differs(split: Split, c: float, state: dict[str, torch.Tensor]) -> float:
        alone = raw_linear.build(c=c, flip=False)
        alone.fit(split, None, RunContext())
        return float(
            (alone.state()["0.weights"] - state["0.weights"]).norm() / state["0.weights"].norm()
        )

    c = min(chosen, key=lambda c: differs(train, c, before[0]))
    assert differs(train, c, before[0]) < 0.05
    assert differs(train + tune, c, dict(pipeline.state())) < 0.05


def test_tune_images_count_with_their_mirror_images_where_views_are_averaged() -> None:
    train, tune = digits(slice(200)), digits(slice(200, 260))
    (channel,) = hog_svm.build().channels
    setting = ClassifierSettings(c=1.0, positive_weight=1.0)
    found = {}
    for views in (1, 10):
        fit = ChannelFit(channel, ExactSVM(), train, tune, (False, True), views, RunContext())
        found[views] = fit.tune_margins(setting)
        model = fit.model(setting)
    (batch,) = tune.batches(60)
    seen = [
        linear(channel.describe(view, model), model["weights"], model["biases"])
        for view in (batch.images, mirrored(batch.images))
    ]
    torch.testing.assert_close(found[1], seen[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[10], (seen[0] + seen[1]) / 2, atol=1e-4, rtol=1e-4)
    assert (found[10] - found[1]).abs().max() > 0.1


def test_a_c_is_left_for_one_that_is_clearly_better_only() -> None:
    wrong = torch.zeros(3, 100, dtype=torch.bool)
    wrong[0, :20], wrong[1, :22], wrong[2, :40] = True, True, True
    # Two more mistakes of two discordant ones are beyond the error of sqrt(2); the worst has twenty of twenty.
    assert closest_to_default(wrong, (0.1, 1.0, 10.0), 1.0, RunContext()) == 0
    wrong[1, 0] = wrong[1, 1] = wrong[1, 2] = (
        False  # now it is right three times where the first is not
    )
    wrong[1, 22:25] = True
    assert closest_to_default(wrong, (0.1, 1.0, 10.0), 1.0, RunContext()) == 1


def test_a_great_c_is_tried_only_while_it_may_help() -> None:
    def tried(*mistakes: int) -> tuple[float, list[float]]:
        values: list[float] = []

        def wrong(value: float) -> torch.Tensor:
            values.append(value)
            return torch.arange(100) < mistakes[len(values) - 1]

        return Grid("c", (0.1, 1.0, 10.0, 100.0, 1000.0), 10.0).choose(
            wrong, 100, RunContext()
        ), values

    assert tried(20, 30, 40, 10, 10) == (0.1, [0.1, 1.0, 10.0])
    assert tried(50, 40, 45, 30, 31) == (100.0, [0.1, 1.0, 10.0, 100.0, 1000.0])
    assert tried(20, 21, 30, 40, 10) == (1.0, [0.1, 1.0, 10.0, 100.0])


def test_ties_count_as_mistakes() -> None:
    scores = torch.tensor([[1.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert misclassified(scores, torch.tensor([0, 0, 0])).tolist() == [True, False, True]


def test_features_come_from_the_cache_whatever_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A split's digest does not tell its order, so features must bring their labels."""
    train = digits(slice(300))
    for split in (train, train.take(np.arange(300)[::-1])):
        pipeline = hog_svm.build(c=1.0)
        pipeline.fit(split, None, RunContext(cache=Cache(tmp_path, "source")))
        assert error(pipeline, train) == 0
        monkeypatch.setattr(
            "pipelines.handcrafted.features.Features._describe", None
        )  # the second time nothing is described
    for cell in (
        4,
        8,
        16,
    ):  # 4 is what follows from these images' size, and 16 from the largest size: neither was asked for
        with pytest.raises(TypeError):
            hog_svm.build(c=1.0, cell=cell).fit(
                train, None, RunContext(cache=Cache(tmp_path, "source"))
            )


def test_another_c_describes_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for build in (hog_svm.build, partial(vgg2012.build, components=4, step=8)):
        build(c=1.0, flip=False).fit(
            digits(slice(200)), None, RunContext(cache=Cache(tmp_path, "source"))
        )
        with monkeypatch.context() as patch:
            patch.setattr("pipelines.handcrafted.features.Features._describe", None)
            again = RunContext(cache=Cache(tmp_path, "source"))
            build(c=0.5, flip=False).fit(digits(slice(200)), None, again)
            assert again.cached.seconds > 0
            with pytest.raises(TypeError):
                build(c=0.5, flip=False).fit(
                    digits(slice(200)), None, RunContext(cache=Cache(tmp_path, "changed source"))
                )


def test_streamed_and_quantized_scores_are_near_those_of_the_exact_solver() -> None:
    train, test = digits(slice(400)), digits(slice(500, 900))
    errors = {}
    for name, settings in {
        "exact": {"quantize": False, "solver": "exact"},
        "quantized": {"solver": "exact"},
        "streamed": {},
    }.items():
        pipeline = vgg2012.build(components=4, step=8, c=10.0, flip=False, **settings)  # type: ignore[arg-type]
        pipeline.fit(train, None, RunContext())
        errors[name] = error(pipeline, test)
    assert abs(errors["streamed"] - errors["quantized"]) <= 0.5
    assert abs(errors["quantized"] - errors["exact"]) <= 2


def test_the_weight_of_positives_is_chosen_on_tune() -> None:
    context = RunContext()
    vgg2012.build(components=4, step=8, c=1.0, positive_weight=None, flip=False).fit(
        digits(slice(200)), digits(slice(200, 300)), context
    )
    assert [value for _, value in context.curves["val/positive"]] == [1.0, 3.0, 10.0]
    assert len(context.curves["val/top1_error_of_positive"]) == 3


def test_images_that_may_not_be_mirrored_are_not_mirrored_at_test_time_either() -> None:
    errors = {}
    for views in (1, 10):
        pipeline: Any = hog_svm.build(c=0.1, views=views)
        context = RunContext()
        pipeline.fit(digits(slice(400)), digits(slice(400, 500)), context)
        assert context.notes == ["no mirroring: on tune it changes the class"]
        fresh: Any = hog_svm.build(c=0.1, views=views)
        fresh.load(pipeline.state())
        assert fresh.views == pipeline.views == (1 if views == 1 else 5)
        errors[views] = error(fresh, digits(slice(500, 900)))
    assert errors[10] < errors[1] + 3
    assert hog_svm.build(views=10, flip=False).views == 5  # type: ignore[attr-defined]
    assert hog_svm.build(views=10, flip=True).views == 10  # type: ignore[attr-defined]


def test_a_working_size_below_one_block_is_refused() -> None:
    with pytest.raises(UserError, match="cell \\* block = 64"):
        hog_svm.build(size=32, cell=32).fit(digits(slice(50)), None, RunContext())


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    mp.start_processes(_fit_share, args=(tmp_path,), nprocs=2, start_method="forkserver")
    pipeline = hog_svm.build()
    pipeline.fit(digits(slice(300)), digits(slice(300, 400)), RunContext())
    (batch,) = digits(slice(400, 500)).batches(100)
    alone = pipeline.scores(batch)
    for rank in range(2):
        shared = torch.from_numpy(np.load(tmp_path / f"{rank}.npy"))
        torch.testing.assert_close(
            shared, alone, atol=0.03, rtol=0
        )  # margins; the solver's tolerance, not float32's


def _fit_share(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    pipeline = hog_svm.build()
    train, tune = (digits(rows).sharded(rank, 2) for rows in (slice(300), slice(300, 400)))
    pipeline.fit(train, tune, RunContext(processes=Processes(rank, 2, torch.device("cpu"))))
    (batch,) = digits(slice(400, 500)).batches(100)
    np.save(folder / f"{rank}.npy", pipeline.scores(batch).numpy())
    dist.destroy_process_group()
