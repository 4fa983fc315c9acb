from __future__ import annotations

import torch

from pipelines.handcrafted.image_views import image_views


def test_one_view_is_the_image_itself() -> None:
    images = torch.zeros(2, 3, 8, 8)
    assert [view is images for view in image_views(images, 1, True)] == [True]


def test_without_flips_there_are_five_views() -> None:
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    five, ten = list(image_views(images, 10, False)), list(image_views(images, 10, True))
    assert all(torch.equal(a, b) for a, b in zip(five, ten[::2], strict=True))


def test_ten_views_are_the_image_and_four_shifts_each_followed_by_its_flip() -> None:
    images = torch.arange(2 * 3 * 16 * 32).reshape(2, 3, 16, 32)
    ten = [torch.as_tensor(view) for view in image_views(images, 10, True)]
    assert torch.equal(ten[0], images)
    padded = torch.nn.functional.pad(images.float(), (2, 2, 1, 1), mode="replicate").long()
    for number, (top, left) in enumerate([(2, 4), (2, 0), (0, 4), (0, 0)], start=1):
        assert torch.equal(ten[2 * number], padded[..., top : top + 16, left : left + 32])
    for plain, flipped in zip(ten[::2], ten[1::2], strict=True):
        assert torch.equal(flipped, plain.flip(-1))


def test_a_list_of_images_has_the_views_of_a_batch() -> None:
    images = torch.arange(2 * 3 * 16 * 32).reshape(2, 3, 16, 32)
    pairs = zip(image_views(list(images), 10, True), image_views(images, 10, True), strict=True)
    for listed, batched in pairs:
        assert torch.equal(torch.stack(list(listed)), torch.as_tensor(batched))
