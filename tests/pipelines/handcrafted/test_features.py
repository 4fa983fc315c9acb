from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.contract import Context, Split, State
from harness.engine.cache import Cache
from harness.engine.context import RunContext
from harness.engine.distributed import Processes
from harness.files import load_arrays
from pipelines.handcrafted import features
from pipelines.handcrafted.channel import Concatenation
from pipelines.handcrafted.features import Features, fit_channel_quantizer


@dataclass(frozen=True)
class Corner:
    """The value of the upper left pixel; fails when it has described as many batches as it may."""

    batches: list[int] = field(default_factory=lambda: [1000])
    key: dict[str, Any] = field(default_factory=dict)

    def fit(self, train: Split, context: Context) -> State:
        return {}

    def describe(self, images: Tensor | list[Tensor], learned: State) -> Tensor:
        if len(images) > 1:
            self.batches[0] -= 1
            if self.batches[0] < 0:
                raise KeyboardInterrupt
        return torch.stack([image[0, 0, :1].float() for image in images])


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "CHUNK_IMAGES", 10)


@pytest.fixture
def split() -> Split:
    images = np.arange(35 * 4 * 4, dtype=np.uint16).reshape(35, 4, 4).astype(np.uint8)
    return Split.from_arrays(images, np.arange(35) % 5)


def rows(chunks: list[State]) -> tuple[list[float], list[int]]:
    return torch.cat([c["features"] for c in chunks]).flatten().tolist(), torch.cat(
        [c["labels"] for c in chunks]
    ).tolist()


def test_rows_and_labels_of_the_images_then_of_their_mirror_images(split: Split) -> None:
    values, labels = rows(list(Features(Corner(), {}, split, (False, True), RunContext())))
    pixels = torch.stack([image for batch in split.batches(35) for image in batch.images])
    assert values == pixels[:, 0, 0, 0].tolist() + pixels[:, 0, 0, -1].tolist()
    assert labels == split.labels.tolist() * 2


def test_a_killed_run_goes_on_from_the_last_finished_chunk(split: Split, tmp_path: Path) -> None:
    whole = rows(list(Features(Corner(), {}, split, (False,), RunContext())))
    with pytest.raises(KeyboardInterrupt):
        list(
            Features(Corner([2]), {}, split, (False,), RunContext(cache=Cache(tmp_path, "source")))
        )
    corner = Corner([2])  # of four chunks two are left
    assert (
        rows(
            list(Features(corner, {}, split, (False,), RunContext(cache=Cache(tmp_path, "source"))))
        )
        == whole
    )
    assert corner.batches == [0]


def test_what_was_learned_names_the_rows(split: Split, tmp_path: Path) -> None:
    cache = Cache(tmp_path, "source")
    list(Features(Corner(), {"a": torch.zeros(2)}, split, (False,), RunContext(cache=cache)))
    with pytest.raises(KeyboardInterrupt):
        list(Features(Corner([0]), {"a": torch.ones(2)}, split, (False,), RunContext(cache=cache)))


def test_processes_share_the_rows_out(split: Split) -> None:
    shares = []
    for rank in range(2):
        context = RunContext(processes=Processes(rank, 2, torch.device("cpu")))
        shares.append(rows(list(Features(Corner(), {}, split.sharded(rank, 2), (False,), context))))
    values, labels = rows(list(Features(Corner(), {}, split, (False,), RunContext())))
    assert (shares[0][0], shares[1][0]) == (values[::2], values[1::2])
    assert (shares[0][1], shares[1][1]) == (labels[::2], labels[1::2])


def test_a_process_without_images_has_rows_of_the_right_length(split: Split) -> None:
    context = RunContext(processes=Processes(1, 2, torch.device("cpu")))
    (chunk,) = Features(Corner(), {}, split.take(np.arange(1)), (False,), context)
    assert chunk["features"].shape == (0, 1)
    assert len(chunk["labels"]) == 0


def test_joined_channels_stand_side_by_side() -> None:
    both = Concatenation([Corner(), Corner()])
    images = torch.randint(0, 256, (1, 3, 4, 4), dtype=torch.uint8)
    assert both.describe(images, both.fit(None, RunContext())).tolist() == [
        [float(images[0, 0, 0, 0])] * 2
    ]  # type: ignore[arg-type]


def test_quantized_rows_are_kept_as_bytes_and_come_back_decoded(
    split: Split, tmp_path: Path
) -> None:
    context = RunContext(cache=Cache(tmp_path, "source"))
    quantizer = fit_channel_quantizer(Corner(), {}, split, context)
    plain, quantized = (
        Features(Corner(), {}, split, (False,), context),
        Features(Corner(), {}, split, (False,), context, quantizer),
    )
    assert rows(list(quantized)) == rows(list(plain))  # 35 values have a center each
    again = Features(Corner([0]), {}, split, (False,), context, quantizer)
    assert rows([again[place] for place in range(len(again))]) == rows(list(plain))
    saved = [load_arrays(file)[0] for file in tmp_path.glob("*.safetensors")]
    assert sum(
        "codes" in arrays and arrays["codes"].dtype == torch.uint8 for arrays in saved
    ) == len(plain)


def test_chunks_are_the_same_however_many_processes_share_them(split: Split) -> None:
    alone = Features(Corner(), {}, split, (False,), RunContext())
    shares = [
        Features(
            Corner(),
            {},
            split,
            (False,),
            RunContext(processes=Processes(r, 3, torch.device("cpu"))),
        )
        for r in range(3)
    ]
    for place in range(len(alone)):
        assert {share.size(place) for share in shares} == {len(alone[place]["labels"])}
        for rank, share in enumerate(shares):
            assert torch.equal(share[place]["features"], alone[place]["features"][rank::3])


def test_rows_are_in_the_order_of_the_images_also_from_the_cache(
    split: Split, tmp_path: Path
) -> None:
    """The same images in another order have the same digest."""
    few = split.take(np.arange(10))
    turned = few.take(np.arange(10)[::-1])
    assert few.digest == turned.digest
    values, labels = (
        rows(list(Features(Corner(), {}, part, (False,), RunContext(cache=Cache(tmp_path, "x")))))
        for part in (few, turned)
    )
    assert labels == (values[0][::-1], values[1][::-1])
