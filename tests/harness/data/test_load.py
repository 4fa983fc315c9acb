"""Datasets given as objects."""

from __future__ import annotations

from dataclasses import replace

from harness.data.load import load_whole
from harness.spec import parse_spec


def test_a_title_with_a_comma_or_a_quote_makes_a_spec_all_the_same() -> None:
    _, digits = load_whole("digits", None)
    spec, whole = load_whole(replace(digits, title='ours, 12" wide'), None)
    assert whole.title == 'ours, 12" wide'
    assert parse_spec(spec) == ("object:ours  12  wide", {})
