"""Spec strings: `NAME[,KEY=VALUE]...`, for pipelines and datasets alike.

The keys are the keyword-only parameters of the owner's `build`; values are read through its type hints. The first `=` splits;
a value that holds a comma is quoted: `folder,path="a,b"`; a quote within it is written twice.
"""

from __future__ import annotations

import difflib
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from harness.errors import UserError

# Of a parameter without a type hint its default tells the type; one of 1 may be given 0.5.
_HINTS: Mapping[type, Any] = {bool: bool, int: int | float, float: float, str: str}
_COMMA = re.compile(
    r',(?=(?:[^"]*"[^"]*")*[^"]*$)'
)  # one with an even number of quotes behind it: outside of quotes


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """(name, key -> value as written). Raises UserError for an empty name, an item without `=` and a key given twice."""
    if text.count('"') % 2:
        raise UserError(f'{text!r}: a quote is not closed; write NAME,KEY="VALUE, WITH COMMA"')
    items = [item.strip() for item in _COMMA.split(text)]
    if not all(items):
        raise UserError(f"{text!r} is not a spec; write NAME or NAME,KEY=VALUE,KEY=VALUE")
    values: dict[str, str] = {}
    for item in items[1:]:
        key, equals, value = item.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UserError(f"{text!r}: {item!r} is not KEY=VALUE")
        if key in values:
            raise UserError(f"{text!r}: {key!r} is given twice")
        values[key] = (
            value[1:-1].replace('""', '"')
            if len(value) > 1 and value[0] == value[-1] == '"'
            else value
        )
    return items[0], values


def format_spec(name: str, values: Mapping[str, Any]) -> str:
    """The spec string that parses to these values."""
    return ",".join([name, *(f"{key}={_format_value(value)}" for key, value in values.items())])


def _format_value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if not set(text) & {",", '"'} and text == text.strip():
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def parameters(build: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of `build`, annotations resolved to types."""
    names = {
        k: p
        for k, p in inspect.signature(build).parameters.items()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return {
        name: parameter.replace(annotation=_hint(build, parameter))
        for name, parameter in names.items()
    }


def _hint(build: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """One parameter's type. The others', and the return type, may name what is only imported for type checkers."""
    hint = parameter.annotation
    if isinstance(hint, str):
        try:
            return eval(hint, build.__globals__)
        except Exception as error:
            raise UserError(
                f"build in {build.__module__}: the type hint {hint!r} of {parameter.name!r} cannot be read: {error}"
            ) from error
    if hint is not inspect.Parameter.empty:
        return hint
    return _HINTS.get(type(parameter.default), Any)


def bind(owner: str, build: Callable[..., Any], given: Mapping[str, str]) -> dict[str, Any]:
    """Every parameter of `build` with its value, given or default. Raises UserError naming owner, given and allowed."""
    known = parameters(build)
    for key in given:
        if key not in known:
            raise UserError(
                f"{owner} has no parameter {key!r}{suggest(key, known)}; it has: {', '.join(known) or 'none'}"
            )
    missing = [
        key
        for key, parameter in known.items()
        if parameter.default is inspect.Parameter.empty and key not in given
    ]
    if missing:
        raise UserError(
            f"{owner} needs {' and '.join(f'{key}=...' for key in missing)}: {owner},{missing[0]}=VALUE"
        )
    return {
        key: _read(owner, key, given[key], parameter.annotation)
        if key in given
        else parameter.default
        for key, parameter in known.items()
    }


def suggest(wrong: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(wrong, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _read(owner: str, key: str, text: str, hint: Any) -> Any:
    """`text` as a value of type `hint`."""
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(hint)
    reason = "input should be true or false"
    for candidate in _candidates(text, hint):
        try:
            return adapter.validate_python(candidate)
        except ValidationError as error:
            first = error.errors()[0]
            reason = first["msg"][0].lower() + first["msg"][1:]
    raise UserError(f"{owner}: {key}={text} is not allowed: {reason} (allowed: {describe(hint)})")


def _candidates(text: str, hint: Any) -> list[Any]:
    """What `text` may stand for, the likeliest first. A type checker of values would take 1 for True and true for 1; these do not."""
    allowed = set(_leaves(hint))
    if text.lower() == "none":
        return [None, text]
    if Any in allowed:
        return [_looks(text)]
    if bool in allowed and text.lower() in ("true", "false"):
        return [text.lower() == "true"]
    if allowed <= {bool, type(None)}:
        return []
    return (
        [text, int(text)] if re.fullmatch(r"-?\d+", text) else [text]
    )  # the number for a choice among numbers


def _looks(text: str) -> bool | int | float | str:
    """A value of which nothing else is known. What is written down of it looks the same again."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind, form in ((int, r"[-+]?\d+"), (float, r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?")):
        if re.fullmatch(form, text, re.IGNORECASE):
            return kind(text)
    return text


def _leaves(hint: Any) -> Iterator[Any]:
    """The plain types in a hint: of `Annotated[int, ...] | None` int and None's."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        yield from _leaves(args[0])
    elif args and origin is not typing.Literal:
        for arg in args:
            yield from _leaves(arg)
    else:
        yield hint


def describe(hint: Any) -> str:
    """What a type hint allows, in words: `int >= 1`, `one of 2012, short`, `number or none`."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        base, *limits = typing.get_args(hint)
        signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "a multiple of"}
        bounds = [
            f"{sign} {getattr(limit, name)}"
            for limit in limits
            for name, sign in signs.items()
            if hasattr(limit, name)
        ]
        return " ".join([describe(base), " and ".join(bounds)]).strip()
    if origin is typing.Literal:
        return "one of " + ", ".join(map(_format_value, typing.get_args(hint)))
    if args := typing.get_args(hint):
        return " or ".join(describe(arg) for arg in args)
    return {
        bool: "true or false",
        int: "integer",
        float: "number",
        str: "text",
        type(None): "none",
    }.get(hint, str(hint))
