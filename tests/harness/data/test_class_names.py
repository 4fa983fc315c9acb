"""Names that are one name, and names that only look like one."""

from __future__ import annotations

import unicodedata

import pytest

from harness.data.class_names import distinguish, look_alike_notes, normalize

CAFE = unicodedata.normalize("NFC", "café")


def test_both_normal_forms_are_one_name() -> None:
    assert normalize(unicodedata.normalize("NFD", CAFE)) == normalize(CAFE) == CAFE


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("cat", "Cat", "'Cat', 'cat'"),
        ("cat", "cat ", "'cat', 'cat '"),
        ("cat", "ca\u200bt", r"'cat', 'ca\u200bt'"),
        ("cat", "c\u0430t", r"'cat', 'c\u0430t'"),
    ],
)
def test_names_that_look_alike_are_shown_with_their_difference(
    one: str, other: str, shown: str
) -> None:
    (note,) = look_alike_notes([one, other, "dog"])
    assert "1 pairs of classes differ in case, blanks or look-alike characters only" in note
    assert shown in note


def test_other_names_are_no_pair() -> None:
    assert look_alike_notes(["cat", "dog", "ねこ", "いぬ", "c4t", "cat-2", "cat-3"]) == []


def test_a_message_escapes_names_only_if_they_look_the_same() -> None:
    nfd = unicodedata.normalize("NFD", CAFE)
    assert distinguish(CAFE, nfd) == (r"'caf\xe9'", r"'cafe\u0301'")
    assert distinguish("ねこ", "いぬ") == ("'ねこ'", "'いぬ'")
