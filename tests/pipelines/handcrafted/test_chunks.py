from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from pipelines.handcrafted.chunks import chunk_size, map_chunks
from pipelines.handcrafted.descriptors.hog import Hog
from pipelines.handcrafted.descriptors.sift import DenseSift


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_gpu_gets_larger_chunks() -> None:
    assert chunk_size(1024, torch.device("cpu")) == 1024
    assert chunk_size(1024, torch.device("cuda", 1)) == 64 * 1024


def test_results_are_in_the_order_of_the_chunks(two_threads: None) -> None:
    numbers = torch.arange(10.0)
    results = map_chunks(
        lambda a, b: (float(a + b), torch.get_num_threads()),
        numbers.split(1),
        (2 * numbers).split(1),
    )
    assert results == [(3.0 * i, 1) for i in range(10)]
    assert torch.get_num_threads() == 2


def test_an_error_is_raised_and_the_number_of_threads_restored(two_threads: None) -> None:
    with pytest.raises(ZeroDivisionError):
        map_chunks(lambda a: 1 // int(a), torch.arange(3).split(1))
    assert torch.get_num_threads() == 2


def test_two_threads_describe_images_as_one_thread_does(two_threads: None) -> None:
    images = torch.randint(
        0, 256, (5, 3, 256, 200), generator=torch.Generator().manual_seed(0)
    ).float()
    by_two_threads = DenseSift((8,))(images).descriptors, Hog()(images)
    torch.set_num_threads(1)
    torch.testing.assert_close(by_two_threads, (DenseSift((8,))(images).descriptors, Hog()(images)))
