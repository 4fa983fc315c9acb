"""Every character of a picture has a glyph, or a box and a note."""

from __future__ import annotations

import pytest

from harness.report import lettering
from harness.report.lettering import BASE, SUBSTITUTE, Lettering


@pytest.fixture
def fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a font for Latin, one for two characters of Japanese, one for one of them."""
    alphabets = {BASE: "abc # ", "Small": "寿", "Large": "寿司", "Other": "xyz"}
    codes = {name: frozenset(map(ord, text)) for name, text in alphabets.items()}
    monkeypatch.setattr(lettering, "_fonts", lambda: codes)


@pytest.mark.usefixtures("fonts")
def test_the_fonts_are_those_that_have_the_characters() -> None:
    assert Lettering.for_texts(["abc"]) == Lettering((BASE,), frozenset())
    assert Lettering.for_texts(["ab", "寿司 x"]).families == (BASE, "Large", "Other")
    assert Lettering.for_texts([]).note == ""


@pytest.mark.usefixtures("fonts")
def test_characters_that_no_font_has_are_boxes_with_a_note() -> None:
    found = Lettering.for_texts(["abc", "寿司", "🍕a\u200d\ufe0f"])
    assert found.missing == {"🍕"}
    names = found.drawn_names(["abc", "寿司", "🍕a\u200d\ufe0f"])
    assert names == ["abc", "寿司", f"#2 {SUBSTITUTE}a"]
    assert "no font on this machine has" in found.note


def test_the_fonts_of_this_machine_have_latin_letters_and_are_applied() -> None:
    import matplotlib

    found = Lettering.for_texts(["café"])
    assert not found.missing
    before = matplotlib.rcParams["font.family"]
    with found.applied():
        assert matplotlib.rcParams["font.family"] == [BASE]
        assert not matplotlib.rcParams["text.parse_math"]
    assert matplotlib.rcParams["font.family"] == before
