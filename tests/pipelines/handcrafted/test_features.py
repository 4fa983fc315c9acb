from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from harness.contract import Context, Split, State, UserError
from harness.engine.cache import Cache
from harness.engine.context import RunContext, RunServices
from harness.engine.distributed import Processes
from harness.files import load_arrays
from pipelines.handcrafted import features
from pipelines.handcrafted.features import Features, fit_channel_quantizer


@dataclass(frozen=True)
class UpperLeftPixel:
    """A channel of one value that is interrupted after a number of batches."""

    batches_left: list[int] = field(default_factory=lambda: [1000])
    key: dict[str, Any] = field(default_factory=dict)

    def fit(self, train: Split, context: Context) -> State:
        return {}

    def describe(self, images: Tensor | list[Tensor], state: State) -> Tensor:
        if len(images) > 1:
            self.batches_left[0] -= 1
            if self.batches_left[0] < 0:
                raise KeyboardInterrupt
        return torch.stack([image[0, 0, :1].float() for image in images])


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "CHUNK_IMAGES", 10)


@pytest.fixture
def split() -> Split:
    images = np.arange(35 * 4 * 4, dtype=np.uint16).reshape(35, 4, 4).astype(np.uint8)
    return Split.from_arrays(images, np.arange(35) % 5)


def make_features(
    split: Split,
    *,
    channel: UpperLeftPixel | None = None,
    context: RunContext | None = None,
    flips: tuple[bool, ...] = (False,),
    **options: Any,
) -> Features:
    state = options.pop("state", {})
    return Features(
        channel or UpperLeftPixel(), state, split, flips, context or RunContext(), **options
    )


def cached(folder: Path) -> RunContext:
    return RunContext(services=RunServices(cache=Cache(folder, "source")))


def values_and_labels(chunks: Features | list[State]) -> tuple[list[float], list[int]]:
    read = list(chunks)
    values = torch.cat([chunk["features"] for chunk in read]).flatten()
    return values.tolist(), torch.cat([chunk["labels"] for chunk in read]).tolist()


def test_rows_of_flipped_images_follow_those_of_the_images(split: Split) -> None:
    values, labels = values_and_labels(make_features(split, flips=(False, True)))
    pixels = torch.stack([image for batch in split.batches(35) for image in batch.images])
    assert values == pixels[:, 0, 0, 0].tolist() + pixels[:, 0, 0, -1].tolist()
    assert labels == split.labels.tolist() * 2


def test_an_interrupted_description_resumes_after_the_last_finished_chunk(
    split: Split, tmp_path: Path
) -> None:
    uninterrupted = values_and_labels(make_features(split))
    with pytest.raises(KeyboardInterrupt):
        list(make_features(split, channel=UpperLeftPixel([2]), context=cached(tmp_path)))
    channel = UpperLeftPixel([2])  # two of the four chunks are missing
    resumed = make_features(split, channel=channel, context=cached(tmp_path))
    assert values_and_labels(resumed) == uninterrupted
    assert channel.batches_left == [0]


def test_another_fitted_state_is_another_cache_entry(split: Split, tmp_path: Path) -> None:
    list(make_features(split, state={"a": torch.zeros(2)}, context=cached(tmp_path)))
    with pytest.raises(KeyboardInterrupt):
        list(
            make_features(
                split,
                channel=UpperLeftPixel([0]),
                state={"a": torch.ones(2)},
                context=cached(tmp_path),
            )
        )


def process(rank: int, world_size: int) -> RunContext:
    return RunContext(processes=Processes(rank, world_size, torch.device("cpu")))


def test_two_processes_describe_every_other_image(split: Split) -> None:
    shares = [
        values_and_labels(make_features(split.sharded(rank, 2), context=process(rank, 2)))
        for rank in range(2)
    ]
    values, labels = values_and_labels(make_features(split))
    assert (shares[0][0], shares[1][0]) == (values[::2], values[1::2])
    assert (shares[0][1], shares[1][1]) == (labels[::2], labels[1::2])


def test_a_process_without_images_has_rows_of_the_correct_length(split: Split) -> None:
    (chunk,) = make_features(split.take(np.arange(1)), context=process(1, 2))
    assert chunk["features"].shape == (0, 1)
    assert len(chunk["labels"]) == 0


def test_quantized_rows_are_stored_as_bytes_and_decoded_when_read(
    split: Split, tmp_path: Path
) -> None:
    context = cached(tmp_path)
    quantizer = fit_channel_quantizer(UpperLeftPixel(), {}, split, context)
    plain = make_features(split, context=context)
    quantized = make_features(split, context=context, quantizer=quantizer)
    # Each of the 35 values has a center.
    assert values_and_labels(quantized) == values_and_labels(plain)
    again = make_features(split, channel=UpperLeftPixel([0]), context=context, quantizer=quantizer)
    from_cache = [again[index] for index in range(len(again))]
    assert values_and_labels(from_cache) == values_and_labels(plain)
    saved = [load_arrays(file)[0] for file in tmp_path.glob("*.safetensors")]
    codes = [arrays["codes"] for arrays in saved if "codes" in arrays]
    assert len(codes) == len(plain)
    assert {array.dtype for array in codes} == {torch.uint8}


def test_chunks_do_not_depend_on_the_number_of_processes(split: Split) -> None:
    alone = make_features(split)
    shares = [make_features(split, context=process(rank, 3)) for rank in range(3)]
    for index in range(len(alone)):
        assert {share.chunk_rows(index) for share in shares} == {len(alone[index]["labels"])}
        for rank, share in enumerate(shares):
            assert torch.equal(share[index]["features"], alone[index]["features"][rank::3])


def test_cached_rows_have_the_order_of_the_images(split: Split, tmp_path: Path) -> None:
    """The same images in another order have the same digest."""
    few = split.take(np.arange(10))
    reversed_split = few.take(np.arange(10)[::-1])
    assert few.digest == reversed_split.digest
    forward, backward = (
        values_and_labels(make_features(part, context=cached(tmp_path)))
        for part in (few, reversed_split)
    )
    assert backward == (forward[0][::-1], forward[1][::-1])


def test_rows_in_half_precision_take_half_the_space_and_lose_three_digits(
    split: Split, tmp_path: Path
) -> None:
    half = make_features(split, context=cached(tmp_path), half=True)
    assert half[0]["features"].dtype == torch.float32
    assert values_and_labels(half) == values_and_labels(make_features(split))  # up to 255
    saved = [load_arrays(file)[0]["features"] for file in tmp_path.glob("*.safetensors")]
    assert {rows.dtype for rows in saved} == {torch.float16}


def test_rows_beyond_half_precision_are_refused(split: Split) -> None:
    class Large(UpperLeftPixel):
        def describe(self, images: Tensor | list[Tensor], state: State) -> Tensor:
            return 1e6 * super().describe(images, state)

    with pytest.raises(UserError, match="beyond half precision"):
        make_features(split, channel=Large(), half=True)[1]


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_above_the_cache_limit_describe_each_image_once(
    world_size: int, tmp_path: Path
) -> None:
    mp.start_processes(
        _read_three_times, args=(world_size, tmp_path), nprocs=world_size, start_method="forkserver"
    )
    described = [np.load(tmp_path / f"{rank}.npy") for rank in range(world_size)]
    assert np.sum(described) == 64 * 64


def _read_three_times(rank: int, world_size: int, folder: Path) -> None:
    """Read 64 x 64 images' features three times, the processes in step; save how many were new."""
    torch.set_num_threads(1)
    features.CHUNK_IMAGES, features.MEMORY_BYTES = 64, 0
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world_size)
    images = np.random.default_rng(0).integers(0, 256, (64 * 64, 4, 4), dtype=np.uint8)
    split = Split.from_arrays(images, np.arange(64 * 64) % 5)
    channel, described = UpperLeftPixel(), []

    def describe(images: Tensor | list[Tensor], state: State) -> Tensor:
        described.append(len(images) if len(images) > 1 else 0)  # one image: its length is asked
        return UpperLeftPixel().describe(images, state)

    object.__setattr__(channel, "describe", describe)
    services = RunServices(cache=Cache(folder / "cache", "source", limit=1000))
    processes = Processes(rank, world_size, torch.device("cpu"))
    context = RunContext(processes=processes, services=services)
    rows = make_features(split, channel=channel, context=context)
    for _ in range(3):
        for index in range(len(rows)):
            assert len(rows[index]["labels"]) == 64 // world_size
            dist.barrier()
    np.save(folder / f"{rank}.npy", sum(described))
    dist.barrier()  # until all have read, none may end
    dist.destroy_process_group()
