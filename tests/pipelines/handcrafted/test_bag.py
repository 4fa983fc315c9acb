from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_digits

from harness.contract import Batch, Pipeline, Split
from harness.engine.cache import Cache
from harness.engine.context import RunContext
from harness.engine.distributed import Processes
from pipelines import sift_bow, sift_fisher, sift_vlad
from pipelines.handcrafted import images as images_module
from pipelines.handcrafted.bag import BagOfDescriptors
from pipelines.handcrafted.chunks import chunk_size
from pipelines.handcrafted.descriptors.sift import DenseSift
from pipelines.handcrafted.encoders import pooling

SIFT = DenseSift(bins=(4, 8), step=8)
BAGS = {
    "fisher": BagOfDescriptors(SIFT, FisherEncoding(4), pca_dims=12),
    "fisher-xy": BagOfDescriptors(SIFT, FisherEncoding(4), pca_dims=12, append_xy=True),
    "fisher-intra": BagOfDescriptors(
        SIFT, FisherEncoding(4, intra_norm=True), pca_dims=12, grids=parse_grids("1x1+2x2")
    ),
    "vlad": BagOfDescriptors(
        SIFT,
        VladEncoding(4),
        pca_dims=12,
        whiten=0.01,
        renormalize=True,
        grids=parse_grids("1x1+2x2"),
    ),
    "words": BagOfDescriptors(
        SIFT, BagOfWordsEncoding(20, sample=2000), grids=parse_grids("2x2+4x4")
    ),
    "soft words": BagOfDescriptors(SIFT, BagOfWordsEncoding(20, soft=True, sample=2000)),
    "super-vectors": BagOfDescriptors(SIFT, SuperVectorEncoding(4), pca_dims=12),
}
LENGTHS = {
    "fisher": 96,
    "fisher-xy": 112,
    "fisher-intra": 5 * 96,
    "vlad": 5 * 48,
    "words": 20 * 20 * 3,
    "soft words": 60,
    "super-vectors": 4 * 13,
}
BUILDS: dict[str, Callable[[], Pipeline]] = {
    "sift-fisher": lambda: sift_fisher.build(components=4, pca_dims=16),
    "sift-vlad": lambda: sift_vlad.build(words=4, pca_dims=16),
    "sift-bow": lambda: sift_bow.build(words=30, step=8),
}


def digits(rows: slice) -> Split:
    """scikit-learn's digits, eight times as large."""
    images = np.kron(load_digits().images[rows] * 15.9, np.ones((8, 8))).astype(np.uint8)
    return Split.from_arrays(images, load_digits().target[rows], class_names=list("0123456789"))


def odd_images() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(1, 1), (64, 64), (7, 90), (500, 3)]
    images = [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator) for size in sizes
    ]
    gray = torch.randint(0, 256, (1, 40, 40), dtype=torch.uint8, generator=generator).expand(
        3, 40, 40
    )
    return [*images, gray, torch.full((3, 64, 64), 128, dtype=torch.uint8)]


def test_intra_normalized_terms_of_each_gaussian_weigh_the_same() -> None:
    images, context = digits(slice(40)), RunContext()
    plain, intra = (
        BagOfDescriptors(SIFT, FisherEncoding(4, intra_norm=intra), pca_dims=12)
        for intra in (False, True)
    )
    learned = plain.fit(images, context)
    (batch,) = images.batches(40)
    terms = intra.describe(batch.images, learned).unflatten(1, (8, 12))
    torch.testing.assert_close(terms.norm(dim=2), torch.full((40, 8), 8**-0.5))
    directions = torch.nn.functional.normalize(
        plain.describe(batch.images, learned).unflatten(1, (8, 12)), dim=2
    )
    torch.testing.assert_close(terms * 8**0.5, directions, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", BAGS)
def test_as_much_at_a_time_as_on_a_gpu_gives_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag, images, context = BAGS[name], digits(slice(40)), RunContext()
    learned = bag.fit(images, context)
    (batch,) = images.batches(40)
    some = bag.describe(batch.images, learned)
    for place, constant in (
        (images_module, "PIXELS_PER_CHUNK"),
        (patches, "BAND_ROWS"),
        (pooling, "CHUNK_ROWS"),
    ):
        monkeypatch.setattr(
            place, constant, chunk_size(getattr(place, constant), torch.device("cuda"))
        )
    patches._band.cache_clear()
    try:
        torch.testing.assert_close(bag.describe(batch.images, learned), some, rtol=1e-4, atol=1e-5)
    finally:
        patches._band.cache_clear()


@pytest.mark.parametrize("name", BAGS)
def test_a_row_an_image(name: str) -> None:
    bag = BAGS[name]
    learned = bag.fit(digits(slice(40)), RunContext())
    images = odd_images()
    rows = bag.describe(images, learned)
    assert rows.shape == (len(images), LENGTHS[name])
    assert rows.isfinite().all()
    for image, row in zip(images, rows, strict=True):
        torch.testing.assert_close(bag.describe(image[None], learned)[0], row, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["fisher", "fisher-xy", "vlad", "super-vectors"])
def test_rows_have_length_1(name: str) -> None:
    bag = BAGS[name]
    split = digits(slice(40))
    (batch,) = split.batches(40)
    lengths = bag.describe(batch.images, bag.fit(split, RunContext())).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(40))


def test_a_sample_begins_with_one_descriptor_of_each_image() -> None:
    """In order of key, so that a mixture that starts from its first rows starts from images of all classes."""
    bag, split = BagOfDescriptors(SIFT, FisherEncoding(4)), digits(slice(6))
    values, positions = bag._sample(split, RunContext())
    by_key = np.argsort(split.keys)
    for turn in range(3):
        for place, member in enumerate(by_key):
            (batch,) = split.take(np.array([member])).batches(1)
            patches = SIFT(batch.images.float())
            row = 6 * turn + place
            there = patches.values[
                0, (patches.positions == positions[row]).all(1)
            ]  # one of each size
            assert (there - values[row]).abs().amax(1).min() < 1e-5


def test_high_images_are_shrunk_and_small_ones_enlarged() -> None:
    seen = []

    class Recorder(DenseSift):
        def __call__(self, images: torch.Tensor):  # type: ignore[no-untyped-def]
            seen.append(tuple(images.shape[2:]))
            return super().__call__(images)

    bag = BagOfDescriptors(Recorder(step=8), BagOfWordsEncoding(2, sample=500))
    learned = bag.fit(digits(slice(4)), RunContext())
    seen.clear()
    bag.describe(
        [torch.zeros(3, *size, dtype=torch.uint8) for size in [(960, 1200), (16, 32), (100, 90)]],
        learned,
    )
    assert sorted(seen) == [(32, 64), (100, 90), (480, 600)]


def test_grids() -> None:
    assert parse_grids("1x1+3x2") == ((1, 1), (3, 2))


@pytest.mark.parametrize("name", BUILDS)
def test_learns(name: str) -> None:
    pipeline = BUILDS[name]()
    pipeline.fit(digits(slice(200)), None, RunContext())
    (batch,) = digits(slice(200, 400)).batches(200)
    assert (pipeline.scores(batch).argmax(1).numpy() != digits(slice(200, 400)).labels).mean() < 0.2
    odd = odd_images()
    scores = pipeline.scores(Batch(np.arange(len(odd)).astype(str), odd, torch.arange(len(odd))))
    assert scores.isfinite().all()


def test_another_c_does_not_describe_again_but_another_descriptor_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = digits(slice(60))
    sift_fisher.build(components=2, pca_dims=8).fit(
        train, None, RunContext(cache=Cache(tmp_path, "source"))
    )
    monkeypatch.setattr("pipelines.handcrafted.bag.BagOfDescriptors._encode", None)
    monkeypatch.setattr("pipelines.handcrafted.bag.BagOfDescriptors._sample", None)
    with pytest.raises(TypeError):
        sift_fisher.build(components=2, pca_dims=9, c=1.0).fit(
            train, None, RunContext(cache=Cache(tmp_path, "source"))
        )
    monkeypatch.setattr("pipelines.handcrafted.features.Features._length", lambda self: 32)
    sift_fisher.build(components=2, pca_dims=8, c=1.0).fit(
        train, None, RunContext(cache=Cache(tmp_path, "source"))
    )


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """The same codebook, features and SVM."""
    mp.start_processes(_fit_share, args=(tmp_path,), nprocs=2, start_method="forkserver")
    pipeline = BUILDS["sift-fisher"]()
    pipeline.fit(digits(slice(100)), digits(slice(100, 150)), RunContext())
    alone = pipeline.state()
    for rank in range(2):
        shared = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert shared.keys() == alone.keys()
        for name in (
            "0.pca.projection",
            "0.encoding.means",
            "0.encoding.variances",
            "0.encoding.weights",
        ):
            torch.testing.assert_close(shared[name], alone[name], atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(
            shared["0.weights"], alone["0.weights"], atol=0.03, rtol=0
        )  # the solver's tolerance


def _fit_share(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    pipeline = BUILDS["sift-fisher"]()
    train, tune = (digits(rows).sharded(rank, 2) for rows in (slice(100), slice(100, 150)))
    pipeline.fit(train, tune, RunContext(processes=Processes(rank, 2, torch.device("cpu"))))
    torch.save(pipeline.state(), folder / f"{rank}.pt")
    dist.destroy_process_group()
