"""Spec strings are parsed, checked against `build` and formatted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Lt

from harness.errors import UserError
from harness.spec import bind, describe, format_spec, parse_spec


def build(
    *,
    lrn: bool = True,
    flip: bool | None = None,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
    recipe: Literal["2012", "short"] = "2012",
    columns: Literal[1, 2, "half"] = 2,
    epochs: Annotated[int, Ge(1)] | None = None,
    c: float | None = None,
    path: str = "",
):
    return lrn, flip, dropout, recipe, columns, epochs, c, path


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("alexnet", "alexnet", {}),
        ("alexnet,lrn=false,dropout=0.3", "alexnet", {"lrn": "false", "dropout": "0.3"}),
        ('folder,path="a,b",size=3', "folder", {"path": "a,b", "size": "3"}),
        ("folder,path=/a=b", "folder", {"path": "/a=b"}),
        (
            'subset,of="folder,path=""a,b"",size=3",seed=1',
            "subset",
            {"of": 'folder,path="a,b",size=3', "seed": "1"},
        ),
    ],
)
def test_a_spec_is_split_into_name_and_values(text: str, name: str, values: dict[str, str]) -> None:
    assert parse_spec(text) == (name, values)


@pytest.mark.parametrize(
    "text", ["", ",a=1", "a,", "a,b", "a,b=1,b=2", "a,=1", 'a,b="c', "a,b=1,b =2"]
)
def test_an_incomplete_spec_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_spec(text)


def test_a_formatted_spec_parses_to_the_same_values() -> None:
    values = {"path": "a, b", "size": 3, "flip": True, "c": None}
    name, read = parse_spec(format_spec("folder", values))
    assert (name, read) == ("folder", {"path": "a, b", "size": "3", "flip": "true", "c": "none"})
    nested = format_spec("subset", {"of": format_spec("folder", {"path": 'a "b", c'}), "seed": 1})
    _, outer = parse_spec(nested)
    assert parse_spec(outer["of"]) == ("folder", {"path": 'a "b", c'})


def test_values_are_read_by_their_type_hints() -> None:
    bound = bind(
        "net",
        build,
        {"lrn": "false", "dropout": "1e-1", "recipe": "short", "c": "2", "path": "007"},
    )
    defaults = {"flip": None, "columns": 2, "epochs": None}
    assert bound == {
        "lrn": False,
        "dropout": 0.1,
        "recipe": "short",
        "c": 2.0,
        "path": "007",
        **defaults,
    }
    assert bind("net", build, {"c": "none"})["c"] is None
    assert bind("net", build, {"recipe": "2012"})["recipe"] == "2012"
    more = bind("net", build, {"flip": "True", "columns": "1", "epochs": "010", "path": "yes"})
    assert (more["flip"], more["columns"], more["epochs"], more["path"]) == (True, 1, 10, "yes")
    assert bind("net", build, {"columns": "half", "flip": "none"}) | {"c": None} == bind(
        "net", build, {"columns": "half"}
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lrm": "true"}, ["net", "'lrm'", "did you mean 'lrn'", "dropout"]),
        ({"lrn": "1"}, ["net", "lrn=1", "true or false"]),
        ({"flip": "1"}, ["flip=1", "true or false or none"]),
        ({"epochs": "true"}, ["epochs=true", "integer >= 1 or none"]),
        ({"epochs": "1:30"}, ["epochs=1:30", "integer >= 1 or none"]),
        ({"epochs": ""}, ["epochs=", "integer >= 1 or none"]),
        ({"dropout": "false"}, ["dropout=false", "number >= 0 and < 1"]),
        ({"dropout": "1.5"}, ["dropout=1.5", "number >= 0 and < 1"]),
        ({"recipe": "long"}, ["recipe=long", "one of 2012, short"]),
        ({"c": "much"}, ["c=much", "number or none"]),
    ],
)
def test_a_wrong_value_is_named_with_its_owner_and_what_is_allowed(
    given: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(UserError) as error:
        bind("net", build, given)
    assert all(word in str(error.value) for word in words)


def test_a_parameter_without_a_hint_has_the_type_of_its_default() -> None:
    def plain(*, k=3, on=False, word="x", rate=1e-5, empty="", any=None) -> None: ...

    given = {"k": "5", "on": "true", "word": "2012", "rate": "1e-4", "empty": "", "any": "on"}
    assert bind("plain", plain, given) == {
        "k": 5,
        "on": True,
        "word": "2012",
        "rate": 1e-4,
        "empty": "",
        "any": "on",
    }
    assert bind("plain", plain, {"k": "0.5"})["k"] == 0.5
    with pytest.raises(UserError, match="k=five is not allowed"):
        bind("plain", plain, {"k": "five"})


@pytest.mark.parametrize(
    "value",
    [3, 0.5, 1e-5, 1e22, -2, True, False, None, "2012", "010", "1:30", "on", "", "x y", "a,b"],
)
def test_a_default_without_a_hint_is_read_back_from_its_spec(value: Any) -> None:
    def plain(*, a) -> None: ...

    plain.__kwdefaults__ = {"a": value}
    _, given = parse_spec(format_spec("plain", {"a": value}))
    found = bind("plain", plain, given)["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-1", -1),
        ("1e-4", 1e-4),
        (".5", 0.5),
        ("TRUE", True),
        ("none", None),
        ("x1", "x1"),
    ],
)
def test_a_value_without_hint_and_default_is_read_as_what_it_looks_like(
    text: str, value: Any
) -> None:
    def plain(*, a) -> None: ...

    found = bind("plain", plain, {"a": text})["a"]
    assert (found, type(found)) == (value, type(value))


def test_a_missing_parameter_is_named() -> None:
    def needs(*, path: str) -> None: ...

    with pytest.raises(UserError, match=r"folder needs path=\.\.\."):
        bind("folder", needs, {})


def test_a_type_hint_that_cannot_be_read_is_named() -> None:
    def broken(*, a: Nowhere = 1) -> None: ...  # noqa: F821

    with pytest.raises(UserError, match="Nowhere"):
        bind("broken", broken, {})


def test_a_type_hint_is_described_in_words() -> None:
    assert describe(Annotated[int, Ge(1)] | None) == "integer >= 1 or none"


def test_an_empty_value_is_not_the_default() -> None:
    def build(*, path: str, size: int = 8, folder: str = "") -> None: ...

    for given in ({"path": ""}, {"path": "a", "size": ""}):
        with pytest.raises(UserError, match=r"mine: \w+= is empty; give a value"):
            bind("mine", build, given)
    assert bind("mine", build, {"path": "a", "folder": ""})["folder"] == ""


@pytest.mark.parametrize("text", ["1_000", "٣", "１", "inf", "-inf", "nan", "Infinity", "1e999"])
def test_a_number_is_finite_and_in_the_digits_0_to_9(text: str) -> None:
    def build(*, c: float | None = None, n: int = 1) -> None: ...

    with pytest.raises(UserError, match=rf"c={text} is not allowed: (write a finite|it is too)"):
        bind("x", build, {"c": text})
    with pytest.raises(UserError, match=f"n={text} is not allowed"):
        bind("x", build, {"n": text})


@pytest.mark.parametrize("text", ["9" * 19, "-" + "9" * 30, "9" * 5000])
def test_a_whole_number_fits_64_bits(text: str) -> None:
    def build(*, n: int = 1) -> None: ...

    with pytest.raises(UserError, match=r"it is (larger than 9223372036854775807|too large)"):
        bind("x", build, {"n": text})
    assert bind("x", build, {"n": "9223372036854775807"}) == {"n": 2**63 - 1}


def test_blanks_around_a_value_do_not_count_unless_they_are_quoted() -> None:
    assert parse_spec('x, c = 1 ,path=" a "') == ("x", {"c": "1", "path": " a "})


@pytest.mark.parametrize("text", ['x,a="b" "c"', 'x,a="b"c"d"'])
def test_a_single_quote_within_quotes_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="write a quote within quotes twice"):
        parse_spec(text)


def test_a_long_spec_is_cut_short_in_messages() -> None:
    for text in ("x," + "y" * 10_000, "x,a=1,a=" + "1" * 10_000, "x" * 10_000 + ",", "x\0" * 5000):
        with pytest.raises(UserError) as caught:
            parse_spec(text)
        assert len(str(caught.value)) < 1000
