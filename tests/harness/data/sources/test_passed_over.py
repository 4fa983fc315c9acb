"""Notes on what is not read: counts by kind and suffix."""

from __future__ import annotations

from harness.data.sources._passed_over import (
    contents,
    passed_over_notes,
    unread_split_note,
)

IMAGES = ["cat/1.jpg", "dog/2.jpg"]
NAS = [f"cat/@eaDir/{i}.jpg/SYNOPHOTO_THUMB_XL.jpg" for i in range(5)]


def test_what_systems_leave_is_one_note_with_a_count_per_kind() -> None:
    left = [*NAS, "#recycle/old.jpg", "$RECYCLE.BIN/x.png", "lost+found/1.jpg", "cat/._1.jpg"]
    (note,) = passed_over_notes([*IMAGES, *left], IMAGES, IMAGES)
    for kind in ("5 files of @eaDir", "1 files of #recycle", "1 files of $RECYCLE.BIN"):
        assert kind in note
    assert note.endswith(f"are ignored, such as {NAS[0]}")


def test_other_files_are_counted_by_suffix() -> None:
    others = ["cat/a.heic", "cat/b.HEIC", "cat/c.avif", "dog/noname", "dog/more.zip"]
    (note,) = passed_over_notes([*IMAGES, *others], IMAGES, IMAGES)
    kinds = "(2 .heic, 1 .avif, 1 without suffix, 1 .zip)"
    assert note == f"5 files without an image suffix are ignored {kinds}, such as cat/a.heic"


def test_images_that_another_note_reports_are_not_counted_again() -> None:
    images = [*IMAGES, "test/3.jpg", "loose.jpg"]
    (note,) = passed_over_notes(images, images, {*IMAGES, "test/3.jpg"})
    assert note == "1 images outside class folders are ignored, such as loose.jpg"


def test_files_of_a_split_are_named_unless_they_belong_to_an_image() -> None:
    names = [*IMAGES, "labels.csv", "meta/test.txt", "README.txt", "cat/train-1.txt", "setid.mat"]
    images = [*IMAGES, "cat/train-1.jpg"]
    (note,) = unread_split_note(names, images)
    assert note.startswith("labels.csv, meta/test.txt, setid.mat are there and not read")
    assert unread_split_note(["notes.txt", *IMAGES], images) == []


def test_contents_are_described_without_system_files() -> None:
    assert contents(["a.zip", "b.zip", ".DS_Store", "c/Makefile"]) == "2 .zip, 1 without suffix"
    assert contents([]) == "nothing"
