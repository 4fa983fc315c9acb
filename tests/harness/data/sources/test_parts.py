"""Which folders are parts: only those whose siblings are parts."""

from __future__ import annotations

import pytest

from harness.data.sources._layout import lay_out
from harness.errors import UserError


def tree(*folders: str, per_folder: int = 2) -> list[str]:
    return [f"{folder}/{i}.jpg" for folder in folders for i in range(per_folder)]


def below(tops: str, *folders: str) -> list[str]:
    return [f"{top}/{folder}" for top in tops.split() for folder in folders]


def counts(names: list[str]) -> dict[tuple[str, str], int]:
    layout = lay_out(names, "photos")
    return {pair: list(layout.images.values()).count(pair) for pair in layout.images.values()}


VEHICLES = below("bus car train", "day", "night")


def test_a_class_called_train_is_a_class_with_and_without_parts_above_it() -> None:
    with_parts = counts(tree(*below("train test", *VEHICLES)))
    assert with_parts == {
        (part, name): 4 for part in ("train", "test") for name in ("bus", "car", "train")
    }
    assert counts(tree(*VEHICLES)) == {("all", name): 4 for name in ("bus", "car", "train")}
    flat = lay_out(tree("bus", "car", "train"), "photos")
    assert {name for _, name in flat.images.values()} == {"bus", "car", "train"}
    note = "train/ is taken for a class, not for a part, since bus/, car/ beside it is no part"
    assert flat.notes == [note]


def test_two_parts_tolerate_other_folders_beside_them() -> None:
    names = tree(*below("train test", "cat", "dog"), "extra/cat", "extra/dog", "preview")
    assert counts(names) == {(p, c): 2 for p in ("train", "test") for c in ("cat", "dog")}


def test_few_images_beside_a_part_do_not_make_it_a_class() -> None:
    names = [*tree(*below("train", "cat", "dog"), per_folder=20), "docs/figure.png", "logo/1.png"]
    assert counts(names) == {("train", "cat"): 20, ("train", "dog"): 20}


def test_one_part_beside_one_other_folder_may_be_a_class() -> None:
    names = tree("photos/train/cat", "photos/train/dog", "photos/extra/cat", "photos/extra/dog")
    message = r"photos/train/ may be a part or a class, since photos/extra/.*give p/photos/train"
    with pytest.raises(UserError, match=message):
        lay_out(names, "p")


@pytest.mark.parametrize("double", ["train/train", "Train/train", "seg_train/seg_train"])
def test_a_doubled_part_is_one_part(double: str) -> None:
    test = double.replace("rain", "est")
    names = tree(*below(f"{double} {test}", "cat", "dog"))
    assert counts(names) == {(p, c): 2 for p in ("train", "test") for c in ("cat", "dog")}


@pytest.mark.parametrize(
    "tops",
    [
        "fold1/train fold1/test fold2/train fold2/test",
        "images/train images/val masks/train masks/val",
        "a/b/train a/c/train",
        "train/train train/val test",
        "train test old/train old/test old/val",
    ],
)
def test_several_datasets_are_refused_with_the_ones_to_choose_from(tops: str) -> None:
    with pytest.raises(UserError, match=r"p holds 2 datasets.*give one of them, such as p/\w+"):
        lay_out(tree(*below(tops, "cat", "dog")), "p")


def test_a_second_copy_inside_is_used_once() -> None:
    names = tree(*below("train val test pets/train pets/val pets/test", "cat", "dog"))
    layout = lay_out(names, "pets")
    assert len(layout.images) == 12
    assert layout.notes == [
        "pets/ holds the same 12 file names as the folder around it, and is passed over as its copy"
    ]
    with pytest.raises(UserError, match=r"holds 2 datasets.*12 images.*13 images.*are not joined"):
        lay_out([*names, "pets/train/cat/new.jpg"], "pets")


def test_two_folders_of_one_part_are_joined_with_a_note_unless_one_may_be_a_copy() -> None:
    names = tree(*below("train valid validation", "cat", "dog"))
    message = r"valid/ \(4 images\) and validation/ \(4 images\) both name the val part and hold"
    with pytest.raises(UserError, match=message):
        lay_out(names, "photos")
    joined = lay_out([*names, "validation/cat/new.jpg"], "photos")
    assert sum(part == "val" for part, _ in joined.images.values()) == 9
    note = "valid/ (4 images) and validation/ (5 images) are joined: all of them name the val part"
    assert joined.notes == [note]


def test_parts_inside_classes() -> None:
    layout = lay_out(tree(*below("cat dog", "train", "test")), "photos")
    expected = {(p, c) for p in ("train", "test") for c in ("cat", "dog")}
    assert set(layout.images.values()) == expected
    assert "the parts lie inside the class folders" in layout.notes[0]


def test_parts_beside_more_images_are_refused() -> None:
    names = tree("photos/small/train/cat", "photos/small/test/cat", "photos/a", "photos/b", "c")
    with pytest.raises(UserError, match="6 of 10 images lie outside of it; give p/photos/small"):
        lay_out(names, "p")
