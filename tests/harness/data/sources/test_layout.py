"""Parts and classes of a tree, and what the notes say about the reading."""

from __future__ import annotations

import unicodedata

import pytest

from harness.data.sources._layout import MAX_DEPTH, lay_out
from harness.errors import UserError
from tests.harness.data.sources.test_parts import below, tree

SPECIES = ("Aves/crow", "Aves/gull", "Mammalia/bat")


def class_names(names: list[str], **options: str) -> list[str]:
    layout = lay_out(names, "photos", **options)  # type: ignore[arg-type]
    return sorted({class_name for _, class_name in layout.images.values()})


def test_an_unlabeled_flat_test_part_is_passed_over_with_a_note() -> None:
    labeled = below("plants/train plants/valid", "rust", "blight")
    layout = lay_out(tree(*labeled, "test/test"), "plants")
    assert {part for part, _ in layout.images.values()} == {"train", "val"}
    assert layout.part_folders == {"train": "plants/train/", "val": "plants/valid/"}
    note = (
        "test/test/ holds 2 images without class folders: they have no labels and are passed over"
    )
    assert layout.notes == [note]
    only_train = lay_out(tree(*below("asl_train/asl_train", "A", "B"), "asl_test/asl_test"), "asl")
    assert {part for part, _ in only_train.images.values()} == {"train"}
    assert "asl_test/asl_test/ holds 2 images without class folders" in only_train.notes[1]


def test_sub_folders_are_joined_with_a_note_or_are_the_classes() -> None:
    names = tree(*below("train val", *SPECIES))
    layout = lay_out(names, "photos")
    assert {class_name for _, class_name in layout.images.values()} == {"Aves", "Mammalia"}
    assert layout.notes == [
        "4 sub-folders of 2 class folders are joined with them, such as train/Aves/crow/; "
        "class_level=leaves makes each a class of its own"
    ]
    assert class_names(names, class_level="leaves") == sorted(SPECIES)
    assert lay_out(names, "photos", "leaves").notes == []


def test_datasets_side_by_side_without_parts_are_noted() -> None:
    notes = lay_out(tree(*below("original augmented", "cat", "dog")), "p").notes
    assert notes[1] == (
        "each class folder holds the same sub-folders (cat/, dog/): if these are the classes, give "
        "one of the datasets, such as p/augmented"
    )


def test_one_folder_below_each_class_is_no_super_category() -> None:
    assert lay_out(tree("cat/images", "dog/images"), "photos").notes == []


def test_a_folder_that_all_parts_share_above_their_classes_is_skipped() -> None:
    assert class_names(tree(*below("train/images test/images", "cat", "dog"))) == ["cat", "dog"]


def test_class_folders_that_hold_all_classes_again() -> None:
    flowers = ("daisy", "rose", "tulip")
    names = tree(*flowers, *below("flowers", *flowers))
    layout = lay_out(names, "flowers")
    assert len(layout.images) == 6
    assert "flowers/ holds the same 6 file names as the folder around it" in layout.notes[0]
    with pytest.raises(UserError, match=r"flowers/ holds the same 3 folders.*with other files"):
        lay_out([*names, "flowers/rose/new.jpg"], "p")


@pytest.mark.parametrize("tops", ["fold1 fold2 fold3", "photos/split_1 photos/split_2"])
def test_folds_without_parts_are_refused(tops: str) -> None:
    with pytest.raises(UserError, match="look like portions of a dataset, not like classes"):
        lay_out(tree(*below(tops, "cat", "dog")), "photos")


@pytest.mark.parametrize(
    "folders",
    ["images_001 images_002", "HAM_part_1 HAM_part_2", "cat_train cat_test dog_train dog_test"],
)
def test_portions_and_parts_that_are_read_as_classes_are_noted(folders: str) -> None:
    assert "are taken for classes, although" in lay_out(tree(*folders.split()), "p").notes[0]


def test_both_normal_forms_of_a_name_are_one_class() -> None:
    forms = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    names = tree(f"train/{forms[0]}", f"test/{forms[1]}", "train/tea", "test/tea")
    assert class_names(names) == [forms[0], "tea"]


def test_names_that_differ_in_case_are_two_classes_with_a_note() -> None:
    layout = lay_out(tree("train/Cat", "train/dog", "test/cat", "test/dog"), "photos")
    assert "1 pairs of classes differ in case" in layout.notes[0]
    assert "'Cat', 'cat'" in layout.notes[0]


def test_endless_nesting_is_passed_over() -> None:
    deep = "/".join(["a"] * 20 * MAX_DEPTH)
    assert len(lay_out([*tree("cat", "dog"), f"{deep}/1.jpg"], "photos").images) == 4
