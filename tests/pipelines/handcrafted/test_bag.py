from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_digits

from harness.contract import Pipeline, Split, State
from harness.engine.cache import Cache
from harness.engine.context import RunContext, RunServices
from harness.engine.distributed import Processes
from pipelines import sift_fisher
from pipelines.handcrafted import resizing
from pipelines.handcrafted.bag import BagOfDescriptors, parse_grids
from pipelines.handcrafted.chunks import chunk_size
from pipelines.handcrafted.descriptors import patch_grids
from pipelines.handcrafted.descriptors.patch_grids import Patches
from pipelines.handcrafted.descriptors.sift import DenseSift
from pipelines.handcrafted.encoders import pooling
from pipelines.handcrafted.encodings import (
    BagOfWordsEncoding,
    FisherEncoding,
    SuperVectorEncoding,
    VladEncoding,
)

SIFT = DenseSift(bins=(4, 8), step=8)
PYRAMID = parse_grids("1x1+2x2")
BAGS = {
    "fisher": BagOfDescriptors(SIFT, FisherEncoding(4), pca_dims=12),
    "fisher with positions": BagOfDescriptors(SIFT, FisherEncoding(4), pca_dims=12, append_xy=True),
    "fisher with intra-normalization": BagOfDescriptors(
        SIFT, FisherEncoding(4, intra_norm=True), pca_dims=12, grids=PYRAMID
    ),
    "vlad": BagOfDescriptors(
        SIFT, VladEncoding(4), pca_dims=12, whiten=0.01, renormalize=True, grids=PYRAMID
    ),
    "words": BagOfDescriptors(
        SIFT, BagOfWordsEncoding(20, sample_size=2000), grids=parse_grids("2x2+4x4")
    ),
    "soft words": BagOfDescriptors(
        SIFT, BagOfWordsEncoding(20, soft_assignment=True, sample_size=2000)
    ),
    "super vectors": BagOfDescriptors(SIFT, SuperVectorEncoding(4), pca_dims=12),
}
LENGTHS = {
    "fisher": 2 * 4 * 12,
    "fisher with positions": 2 * 4 * 14,
    "fisher with intra-normalization": 5 * 2 * 4 * 12,
    "vlad": 5 * 4 * 12,
    "words": 20 * 20 * 3,
    "soft words": 20 * 3,
    "super vectors": 4 * 13,
}


def digits(rows: slice) -> Split:
    """scikit-learn's digits, eight times as large."""
    images = np.kron(load_digits().images[rows] * 15.9, np.ones((8, 8))).astype(np.uint8)
    return Split.from_arrays(images, load_digits().target[rows], class_names=list("0123456789"))


def unusual_images() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def noise(channels: int, *size: int) -> torch.Tensor:
        return torch.randint(0, 256, (channels, *size), dtype=torch.uint8, generator=generator)

    images = [noise(3, *size) for size in [(1, 1), (64, 64), (7, 90), (500, 3)]]
    gray, flat = noise(1, 40, 40).expand(3, 40, 40), torch.full((3, 64, 64), 128, dtype=torch.uint8)
    return [*images, gray, flat]


@pytest.fixture(scope="module")
def train_images() -> torch.Tensor:
    (batch,) = digits(slice(40)).batches(40)
    assert isinstance(batch.images, torch.Tensor)
    return batch.images


Fitted = tuple[str, BagOfDescriptors, State]


@pytest.fixture(scope="module", params=BAGS)
def fitted(request: pytest.FixtureRequest) -> Fitted:
    bag = BAGS[request.param]
    return request.param, bag, bag.fit(digits(slice(40)), RunContext())


@pytest.fixture
def gpu_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Chunks of the sizes that a GPU gets."""
    for module, constant in (
        (resizing, "PIXELS_PER_CHUNK"),
        (patch_grids, "BAND_ROWS"),
        (pooling, "CHUNK_ROWS"),
    ):
        size = chunk_size(getattr(module, constant), torch.device("cuda"))
        monkeypatch.setattr(module, constant, size)
    patch_grids._band.cache_clear()
    yield
    patch_grids._band.cache_clear()


def test_chunks_of_gpu_sizes_give_the_same_rows(
    fitted: Fitted, train_images: torch.Tensor, request: pytest.FixtureRequest
) -> None:
    _, bag, state = fitted
    expected = bag.describe(train_images, state)
    request.getfixturevalue("gpu_chunks")
    rows = bag.describe(train_images, state)
    torch.testing.assert_close(rows, expected, rtol=1e-4, atol=1e-5)


def test_each_image_has_one_row_that_depends_on_it_alone(fitted: Fitted) -> None:
    name, bag, state = fitted
    images = unusual_images()
    rows = bag.describe(images, state)
    assert rows.shape == (len(images), LENGTHS[name])
    assert rows.isfinite().all()
    for image, row in zip(images, rows, strict=True):
        torch.testing.assert_close(bag.describe(image[None], state)[0], row, atol=1e-4, rtol=1e-4)


def test_rows_have_unit_length_unless_they_are_histograms(
    fitted: Fitted, train_images: torch.Tensor
) -> None:
    name, bag, state = fitted
    if "words" in name:
        pytest.skip("the kernel map of histograms of sum 1 has no fixed length")
    lengths = bag.describe(train_images, state).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(40))


def test_a_sample_begins_with_one_descriptor_of_each_image_in_order_of_key() -> None:
    bag, split = BagOfDescriptors(SIFT, FisherEncoding(4)), digits(slice(6))
    descriptors, positions = bag._sample(split, RunContext())
    by_key = np.argsort(split.keys)
    for turn in range(3):
        for place, image in enumerate(by_key):
            (batch,) = split.take(np.array([image])).batches(1)
            assert isinstance(batch.images, torch.Tensor)
            patches = SIFT(batch.images.float())
            row = 6 * turn + place
            # Patches of each bin size can have this position.
            is_there = (patches.positions == positions[row]).all(1)
            distances = (patches.descriptors[0, is_there] - descriptors[row]).abs().amax(1)
            assert distances.min() < 1e-5


def test_high_images_are_shrunk_and_small_images_enlarged() -> None:
    described_sizes = []

    class RecordingSift(DenseSift):
        def __call__(self, images: torch.Tensor) -> Patches:
            described_sizes.append(tuple(images.shape[2:]))
            return super().__call__(images)

    bag = BagOfDescriptors(RecordingSift(step=8), BagOfWordsEncoding(2, sample_size=500))
    state = bag.fit(digits(slice(4)), RunContext())
    described_sizes.clear()
    sizes = [(960, 1200), (16, 32), (100, 90)]
    bag.describe([torch.zeros(3, *size, dtype=torch.uint8) for size in sizes], state)
    assert sorted(described_sizes) == [(32, 64), (100, 90), (480, 600)]


def test_grids_are_parsed_as_rows_and_columns() -> None:
    assert parse_grids("1x1+3x2") == ((1, 1), (3, 2))


def test_another_c_reuses_the_features_but_another_projection_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = digits(slice(60))

    def fit(**options: float) -> None:
        pipeline = sift_fisher.build(components=2, **options)
        pipeline.fit(train, None, RunContext(services=RunServices(cache=Cache(tmp_path, "source"))))

    fit(pca_dims=8)
    monkeypatch.setattr("pipelines.handcrafted.bag.BagOfDescriptors._encode", None)
    monkeypatch.setattr("pipelines.handcrafted.bag.BagOfDescriptors._sample", None)
    with pytest.raises(TypeError):
        fit(pca_dims=9, c=1.0)
    for module in ("features", "channel_fit"):
        monkeypatch.setattr(f"pipelines.handcrafted.{module}.row_length", lambda *_: 32)
    fit(pca_dims=8, c=1.0)


def small_fisher() -> Pipeline:
    return sift_fisher.build(components=4, pca_dims=16)


def test_two_processes_fit_the_codebook_and_svm_that_one_process_fits(tmp_path: Path) -> None:
    mp.start_processes(_fit_share, args=(tmp_path,), nprocs=2, start_method="forkserver")
    pipeline = small_fisher()
    pipeline.fit(digits(slice(60)), digits(slice(60, 90)), RunContext())
    alone = pipeline.state()
    codebook = ["pca.projection", "encoding.means", "encoding.variances", "encoding.weights"]
    for rank in range(2):
        shared = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert shared.keys() == alone.keys()
        for name in codebook:
            torch.testing.assert_close(
                shared[f"0.{name}"], alone[f"0.{name}"], atol=1e-3, rtol=1e-3
            )
        # The tolerance of weights is the solver's.
        torch.testing.assert_close(shared["0.weights"], alone["0.weights"], atol=0.03, rtol=0)


def _fit_share(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    pipeline = small_fisher()
    train, tune = (digits(rows).sharded(rank, 2) for rows in (slice(60), slice(60, 90)))
    pipeline.fit(train, tune, RunContext(processes=Processes(rank, 2, torch.device("cpu"))))
    torch.save(pipeline.state(), folder / f"{rank}.pt")
    dist.destroy_process_group()
