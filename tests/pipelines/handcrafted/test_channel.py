from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.contract import Split, State
from harness.engine.cache import Cache
from harness.engine.context import RunContext, RunServices
from harness.engine.distributed import Processes
from pipelines.handcrafted.channel import Concatenation, WholeImage, fit_or_load
from pipelines.handcrafted.descriptors.hog import Hog
from pipelines.handcrafted.descriptors.pixels import Pixels


@pytest.fixture
def split() -> Split:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 40, 24)).astype(np.uint8)
    return Split.from_arrays(pixels, np.arange(6) % 2)


def test_the_working_size_follows_from_the_images_unless_it_is_set(split: Split) -> None:
    sizes = [
        int(WholeImage(lambda size: Pixels(), size, (8, 128)).fit(split, RunContext())["size"])
        for size in (None, 17)
    ]
    assert sizes == [40, 17]


def test_a_whole_image_is_described_at_the_working_size(split: Split) -> None:
    channel = WholeImage(lambda size: Pixels(), 16, (8, 32))
    (batch,) = split.batches(6)
    rows = channel.describe(batch.images, channel.fit(split, RunContext()))
    assert rows.shape == (6, 3 * 16 * 16)


def test_the_key_tells_fixed_settings_from_those_that_follow_from_the_size() -> None:
    fixed = WholeImage(lambda size: Hog(16), None, (32, 128)).key
    following = WholeImage(lambda size: Hog(size // 8), None, (32, 128)).key
    assert fixed["settings"][0] == following["settings"][0]
    assert fixed != following


def test_a_concatenation_puts_the_rows_of_its_channels_side_by_side(split: Split) -> None:
    parts = [WholeImage(lambda size: Pixels(), size, (8, 32)) for size in (8, 16)]
    (batch,) = split.batches(6)
    both = Concatenation(parts)
    rows = both.describe(batch.images, both.fit(split, RunContext()))
    expected = [part.describe(batch.images, part.fit(split, RunContext())) for part in parts]
    assert torch.equal(rows, torch.cat(expected, dim=1))


@pytest.mark.parametrize(("world_size", "fits"), [(1, 1), (2, 2)])
def test_a_fit_is_cached_by_one_process_but_not_by_several(
    split: Split, tmp_path: Path, world_size: int, fits: int
) -> None:
    calls = []

    def fit() -> State:
        calls.append(1)
        return {"answer": torch.tensor(42)}

    processes = Processes(0, world_size, torch.device("cpu"))
    for _ in range(2):
        context = RunContext(
            processes=processes, services=RunServices(cache=Cache(tmp_path, "source"))
        )
        assert int(fit_or_load({"a": 1}, split, context, fit)["answer"]) == 42
    assert len(calls) == fits
