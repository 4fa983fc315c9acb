"""Collective operations of two processes, played by two threads that exchange tensors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch

from pipelines.learned.collectives import Collectives


class ThreadContext:
    """The part of a context that collectives use, for one of several threads."""

    device = torch.device("cpu")

    def __init__(self, rank, world_size, barrier, tensors):
        self.rank, self.world_size = rank, world_size
        self.barrier, self.tensors = barrier, tensors

    def gather(self, tensor):
        self.tensors[self.rank] = tensor.detach().clone()
        self.barrier.wait()
        gathered = torch.stack([self.tensors[rank] for rank in range(self.world_size)])
        self.barrier.wait()  # all have read before one writes again
        return gathered

    def sum(self, tensor):
        return tensor.copy_(self.gather(tensor).sum(0))


def on_all_processes(function, world_size=2):
    """Return what the function returns for the collectives of each process."""
    barrier, tensors = Barrier(world_size, timeout=30), {}
    contexts = [ThreadContext(rank, world_size, barrier, tensors) for rank in range(world_size)]
    with ThreadPoolExecutor(world_size) as pool:
        return list(pool.map(lambda context: function(Collectives(context)), contexts))


UNITS = torch.arange(24, dtype=torch.float64).view(3, 4, 2)
IMAGES = torch.arange(15, dtype=torch.float64).view(5, 3)


def test_units_are_gathered_along_the_second_dimension():
    shards = UNITS.chunk(2, dim=1)
    for gathered in on_all_processes(lambda c: c.gather_units(shards[c.rank])):
        assert torch.equal(gathered, UNITS)


def test_images_are_gathered_in_their_order_also_if_a_process_has_one_less():
    for gathered in on_all_processes(lambda c: c.gather_images(IMAGES[c.rank :: 2], len(IMAGES))):
        assert torch.equal(gathered, IMAGES)


def test_each_process_gets_the_sum_for_its_own_images():
    rows = on_all_processes(lambda c: c.reduce_scatter_images((c.rank + 1) * IMAGES, len(IMAGES)))
    assert torch.equal(rows[0], 3 * IMAGES[0::2])
    assert torch.equal(rows[1], 3 * IMAGES[1::2])


def test_the_gradient_of_a_shard_is_its_slice_of_the_summed_gradients():
    def gradient(collectives):
        shard = UNITS.chunk(2, dim=1)[collectives.rank].clone().requires_grad_()
        weights = (collectives.rank + 1) * UNITS
        (collectives.gather_units(shard) * weights).sum().backward()
        return shard.grad

    gradients = on_all_processes(gradient)
    assert torch.equal(torch.cat(gradients, dim=1), 3 * UNITS)


def test_the_gradient_of_a_term_is_that_of_all_images():
    def gradient(collectives):
        terms = IMAGES.clone().requires_grad_()
        rows = collectives.reduce_scatter_images(terms, len(IMAGES))
        (rows * IMAGES[collectives.rank :: 2]).sum().backward()
        return terms.grad

    for terms_gradient in on_all_processes(gradient):
        assert torch.equal(terms_gradient, IMAGES)


def test_bfloat16_terms_are_summed_in_float32():
    """256 + 1 + 1 is 258, which bfloat16 has, but 257 would have become 256."""
    terms = [torch.tensor([[value]], dtype=torch.bfloat16) for value in (256.0, 1.0, 1.0)]
    rows = on_all_processes(lambda c: c.reduce_scatter_images(terms[c.rank], 1), world_size=3)
    assert rows[0].dtype == torch.bfloat16
    assert rows[0].item() == 258


def test_one_process_exchanges_nothing():
    (total,) = on_all_processes(lambda c: c.sum(IMAGES), world_size=1)
    assert total is IMAGES
