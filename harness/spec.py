"""Spec strings: `NAME[,KEY=VALUE]...`, for pipelines and datasets alike.

The keys are the keyword-only parameters of the owner's `build`, and values are read through its
type hints. The first `=` splits; a value with a comma is quoted: `folder,path="a,b"`. A quote
within a quoted value is written twice.
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from harness.errors import UserError
from harness.render.text import brief

# The type of a parameter without a type hint, by the type of its default: 1 admits 0.5 as well.
_HINTS: Mapping[type, Any] = {bool: bool, int: int | float, float: float, str: str}
_INTEGER = r"[-+]?[0-9]+"
_NUMBER = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?"
_NUMBERS = ((int, _INTEGER), (float, _NUMBER))
LONGEST_NUMBER = 400  # characters; Python refuses to read integers of thousands
LARGEST_INTEGER = 2**63 - 1
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "a multiple of"}
_TYPES = {
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    type(None): "none",
}


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """Split a spec string.

    Returns
    -------
    name : str
    values : dict of str to str
        As they were written, without the quotes.

    Raises
    ------
    UserError
        If a name or a value is missing, a key is given twice, or a quote is not closed.
    """
    shown = repr(brief(text))
    if "\0" in text:
        raise UserError(f"{shown}: a spec holds no NUL character")
    if text.count('"') % 2:
        raise UserError(f'{shown}: a quote is not closed; write NAME,KEY="VALUE, WITH COMMA"')
    name, *items = [item.strip() for item in _split(text)]
    if not all([name, *items]):
        raise UserError(f"{shown} is not a spec; write NAME or NAME,KEY=VALUE,KEY=VALUE")
    values: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UserError(f"{shown}: {brief(item)!r} is not KEY=VALUE")
        if key in values:
            raise UserError(f"{shown}: {brief(key)!r} is given twice")
        values[key] = _unquote(value.strip())
    return name, values


def _split(text: str) -> list[str]:
    """Split at the commas outside quotes, in time that grows with the length alone."""
    items = [""]
    for number, part in enumerate(text.split('"')):
        if number % 2:
            items[-1] += f'"{part}"'
        else:
            first, *others = part.split(",")
            items[-1] += first
            items += others
    return items


def _unquote(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        inner = value[1:-1]
        if '"' in inner.replace('""', ""):
            raise UserError(f'{brief(value)}: write a quote within quotes twice, as in "a""b"')
        return inner.replace('""', '"')
    return value


def format_spec(name: str, values: Mapping[str, Any]) -> str:
    """Return the spec string that parses to these values."""
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
    """Return the keyword-only parameters of `build`, with types instead of annotations in text."""
    return {
        name: parameter.replace(annotation=_hint(build, parameter))
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _hint(build: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return the type of one parameter.

    `typing.get_type_hints` reads all at once, and fails on names imported for type checkers only.
    """
    hint = parameter.annotation
    if isinstance(hint, str):
        try:
            return eval(hint, build.__globals__)
        except Exception as error:
            raise UserError(
                f"build in {build.__module__}: the type hint {hint!r} of {parameter.name!r} "
                f"cannot be read: {error}"
            ) from error
    if hint is not inspect.Parameter.empty:
        return hint
    return _HINTS.get(type(parameter.default), Any)


def bind(owner: str, build: Callable[..., Any], given: Mapping[str, str]) -> dict[str, Any]:
    """Return every parameter of `build` with its value, given or default.

    Parameters
    ----------
    owner : str
        Name of the pipeline or dataset, for messages.
    build : callable
    given : mapping of str to str
        Values as they were written.

    Raises
    ------
    UserError
        If a key is unknown, a value is not allowed or a required one is missing.
    """
    known = parameters(build)
    for key in given:
        if key not in known:
            names = ", ".join(known) or "none"
            raise UserError(
                f"{owner} has no parameter {brief(key)!r}{suggest(key, known)}; it has: {names}"
            )
    values: dict[str, Any] = {}
    missing = []
    for key, parameter in known.items():
        if key in given and not given[key] and parameter.default != "":
            raise UserError(
                f"{owner}: {key}= is empty; give a value (allowed: "
                f"{describe(parameter.annotation)}) or leave {key} out"
            )
        if key in given:
            values[key] = _read(owner, key, given[key], parameter.annotation)
        elif parameter.default is inspect.Parameter.empty:
            missing.append(key)
        else:
            values[key] = parameter.default
    if missing:
        needed = " and ".join(f"{key}=..." for key in missing)
        raise UserError(f"{owner} needs {needed}: {owner},{missing[0]}=VALUE")
    return values


def suggest(wrong: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'NAME'?)`, or an empty text if no known name is similar."""
    close = difflib.get_close_matches(wrong, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _read(owner: str, key: str, text: str, hint: Any) -> Any:
    """Return `text` as a value of type `hint`."""
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(hint)
    reason = _refuse_number(text, hint)
    for candidate in [] if reason else _candidates(text, hint):
        try:
            value = adapter.validate_python(candidate)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            reason = message[0].lower() + message[1:]
            continue
        if isinstance(value, float) and not math.isfinite(value):
            reason = "it is too large for a number"
            continue
        return value
    raise UserError(
        f"{owner}: {key}={brief(text)} is not allowed: {reason or 'input should be true or false'} "
        f"(allowed: {describe(hint)})"
    )


def _refuse_number(text: str, hint: Any) -> str:
    """Return why a number is not written as numbers are here; empty for all other text.

    Python and pydantic also read `1_000`, digits of other scripts, `inf` and `nan`.
    """
    types = set(_plain_types(hint))
    if not types & {int, float} or str in types:
        return ""
    if re.fullmatch(_NUMBER, text, re.IGNORECASE):
        if len(text) > LONGEST_NUMBER:
            return "it is too large for a number"
        if re.fullmatch(_INTEGER, text) and float not in types and abs(int(text)) > LARGEST_INTEGER:
            return f"it is larger than {LARGEST_INTEGER}"
        return ""
    try:
        float(text)
    except ValueError:
        return ""
    return "write a finite number with the digits 0 to 9, such as 1000 or 0.001"


def _candidates(text: str, hint: Any) -> list[Any]:
    """Return the values that `text` may stand for, the likeliest first.

    pydantic takes 1 for True and "true" for 1; these candidates do not let it.
    """
    types = set(_plain_types(hint))
    if text.lower() == "none":
        return [None, text]
    if Any in types:
        return [_guess(text)]
    if bool in types and text.lower() in ("true", "false"):
        return [text.lower() == "true"]
    if types <= {bool, type(None)}:
        return []
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return [text, int(text)]  # the number is for a choice among numbers
    return [text]


def _guess(text: str) -> bool | int | float | str:
    """Return a value for a parameter without type; formatted again, it reads as the same value."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for number, pattern in _NUMBERS:
        if len(text) <= LONGEST_NUMBER and re.fullmatch(pattern, text, re.IGNORECASE):
            return number(text)
    return text


def _plain_types(hint: Any) -> Iterator[Any]:
    """Yield the types of a hint: int and NoneType for `Annotated[int, ...] | None`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        yield from _plain_types(args[0])
    elif args and origin is not typing.Literal:
        for arg in args:
            yield from _plain_types(arg)
    else:
        yield hint


def describe(hint: Any) -> str:
    """Return what a type hint allows: `integer >= 1`, `one of 2012, short`, `number or none`."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        base, *limits = typing.get_args(hint)
        bounds = [
            f"{sign} {getattr(limit, name)}"
            for limit in limits
            for name, sign in _BOUNDS.items()
            if hasattr(limit, name)
        ]
        return " ".join([describe(base), " and ".join(bounds)]).strip()
    if origin is typing.Literal:
        return "one of " + ", ".join(map(_format_value, typing.get_args(hint)))
    if args := typing.get_args(hint):
        return " or ".join(describe(arg) for arg in args)
    return _TYPES.get(hint, str(hint))
