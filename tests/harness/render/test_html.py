"""The pieces of a self-contained page."""

from __future__ import annotations

from markupsafe import Markup

from harness.render.html import chip, document, escape, keep_words_whole, sentence


def test_text_is_escaped_and_markup_is_not() -> None:
    assert escape('<b> & "5 %"') == "&lt;b&gt; &amp; &#34;5\u00a0%&#34;"
    assert escape(Markup("<b>")) == "<b>"
    assert "<title>1 &lt; 2</title>" in document("1 < 2", "<main id=main></main>")


def test_short_words_with_a_hyphen_are_not_broken() -> None:
    assert keep_words_whole("top-1 error") == "<span class=whole>top-1</span> error"
    assert keep_words_whole("a-very-long-name-of-something") == "a-very-long-name-of-something"
    assert keep_words_whole(Markup("<i>top-1</i>")) == "<i>top-1</i>"


def test_rows_have_letters_and_remarks_are_sentences() -> None:
    assert chip(0) == '<i class="chip r0">A</i>'
    assert chip(7) == '<i class="chip r1">H</i>'
    assert sentence("a remark; 5 %") == "A remark; 5 %."
    assert sentence("Done.") == "Done."
