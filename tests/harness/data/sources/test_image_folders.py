"""The folders of images as nodes."""

from __future__ import annotations

from harness.data.sources._image_folders import image_folders


def test_every_folder_counts_its_images() -> None:
    root = image_folders(["top.jpg", "b/1.jpg", "a/x/2.jpg", "a/x/3.jpg", "a-b/4.jpg"])
    assert {folder.path: folder.images for folder in root.walk()} == {
        "": 1, "a": 0, "a/x": 2, "a-b": 1, "b": 1,
    }  # fmt: skip
    assert [child.name for child in root.children.values()] == ["a", "a-b", "b"]
    assert (root.total, root.children["a"].total) == (5, 2)


def test_a_folder_does_not_contain_what_only_begins_like_it() -> None:
    names = ["a/x/2.jpg", "a-b/4.jpg", "ab/5.jpg"]
    root = image_folders(names)
    assert root.children["a"].relative(names) == ["x/2.jpg"]
    assert root.relative(names) == names
