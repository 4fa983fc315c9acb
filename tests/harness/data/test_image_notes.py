"""Notes on the images of a dataset: one sentence per reason and per kind, with counts."""

from __future__ import annotations

from harness.data.image_notes import conversion_notes, undecodable_notes


def listed(*descriptions: str) -> list[tuple[str, str, str]]:
    return [("train", f"{i}.png", text) for i, text in enumerate(descriptions)]


def test_equal_reasons_are_one_note() -> None:
    pointer = "it is a git-lfs pointer"
    assert undecodable_notes(listed("the file is empty", *[pointer] * 1200)) == [
        "cannot be decoded: 1.png and 1,199 more (it is a git-lfs pointer)",
        "cannot be decoded: 0.png (the file is empty)",
    ]


def test_only_the_most_frequent_reasons_are_listed() -> None:
    notes = undecodable_notes(listed(*"aaabbbccdefghij"))
    assert notes[:2] == [
        "cannot be decoded: 0.png and 2 more (a)",
        "cannot be decoded: 3.png and 2 more (b)",
    ]
    assert notes[-1] == "cannot be decoded: 5 more (for 5 other reasons)"
    assert undecodable_notes([]) == []


def test_what_needs_no_note_has_none() -> None:
    assert conversion_notes(listed("grayscale", "palette", "alpha channel", "PNG in .jpg")) == []


def test_conversions_are_noted_with_counts() -> None:
    several = ["transparency, laid on white"] * 2 + ["CMYK"]
    several += ["animated: the first of 2 frames", "animated: the first of more than 1,000 frames"]
    several += [
        "EXIF rotation (orientation 6) not applied",
        "EXIF rotation (orientation 8) applied",
    ]
    assert conversion_notes(listed(*several)) == [
        "transparent pixels were laid on white: 2 images",
        "CMYK was converted to RGB without a color profile: 1 image",
        "animated or of several pages, of which the first is used: 2 images",
        "the EXIF rotation was not applied: 1 image",
        "the EXIF rotation was applied, as Pillow does with TIFF: 1 image",
    ]


def test_different_numbers_of_bits_are_counted_and_warned_about() -> None:
    twelve = "16 bits per channel, 12 significant"
    assert conversion_notes(listed(twelve, twelve)) == [
        "the upper 8 of the significant bits per channel were kept: 2 images of 12 bits"
    ]
    mixed = listed(twelve, "16 bits per channel", "16 bits per channel, 8 significant", twelve)
    assert conversion_notes(mixed) == [
        "the upper 8 of the significant bits per channel were kept: 1 image of 8 bits, "
        "2 images of 12 bits, 1 image of 16 bits; as these differ, equal values are not equally "
        "bright in all images"
    ]
    floats = listed("floating-point gray, 0 to 1", "floating-point gray, 0 to 255")
    assert conversion_notes(floats) == [
        "floating-point pixels were brought to 8 bits: 1 image of 0 to 1, 1 image of 0 to 255; "
        "as these differ, equal values are not equally bright in all images"
    ]
