"""Spec strings that nobody should write are refused in one short sentence, or mean what they say.

They are drawn from a seeded generator.
"""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from harness.errors import UserError
from harness.registry import Kind, Registry, Resolved
from harness.spec import parameters, parse_spec

VALUES = [
    *[
        "1",
        "-1",
        "0",
        "1_000",
        "٣",
        "１",
        "True",
        "true",
        "False",
        "none",
        "None",
        "inf",
        "-inf",
        "nan",
        "1e999",
        "1e3",
        "0x10",
        "1.0",
        "1.5",
        "+1",
        "--1",
    ],
    *[
        "1e",
        "e1",
        ".",
        "٫5",
        "²",
        "Ⅷ",
        "½",
        "0b1",
        "1j",
        "[1]",
        "{}",
        "1;2",
        "=",
        "==",
        "=1",
        "1=2",
        "$(rm)",
        "../..",
        "~",
        "/",
        "é",
        "a\x00b",
        "\x00",
        "1e-3",
        "None,",
    ],
    *["\udcff", "\u202e1", "1\u200b", "\ufeff1", "\x1b[31m", "x" * 100_000],
    *["", " ", " 1", "1 ", "\t1", "1\n", "1,2", '"', '""', '"a"b"', '"a" "b"', '"a","b"'],
    *["9" * 30, "9" * 5000, "-" + "9" * 400],
]
KEYS = ["bogus", "C", "é", "", " ", "c ", "__init__", "self", "root", "0", "\0"]
LONGEST_MESSAGE = 1500  # characters; names of all pipelines and all parameters are among them


def draw_name(rng: random.Random, name: str) -> str:
    odd = ["", "no", name.upper(), f"{name} ", name.replace("-", "_"), f"../{name}", f"{name}\0"]
    odd += ["ééé", "x" * 100_000, name[:-1], f'"{name}"', f"{name},{name}", f"{name}," * 1000]
    return rng.choice([name] * 20 + odd)


def draw_item(rng: random.Random, keys: list[str]) -> str:
    key, value = rng.choice(keys * 3 + KEYS), rng.choice(VALUES)
    forms = [f"{key}={value}"] * 12 + [key, f"={value}", f'{key}="{value}"', f"{key} = {value}"]
    return rng.choice(forms)


def draw_spec(rng: random.Random, registry: Registry) -> tuple[Kind, str]:
    kind: Kind = rng.choice(["pipeline", "pipeline", "dataset"])
    name = rng.choice(registry.names(kind))
    keys = [*parameters(registry.entries[kind][name].load().build)]
    count = rng.choice([0, 1, 1, 1, 1, 2, 3, 40])
    return kind, ",".join([draw_name(rng, name), *(draw_item(rng, keys) for _ in range(count))])


def resolve(registry: Registry, kind: Kind, spec: str) -> tuple[Resolved | None, str]:
    """Return what a spec stands for, or the message that refuses it."""
    try:
        return registry.resolve(kind, spec), ""
    except UserError as error:
        return None, str(error)


@pytest.mark.parametrize("count", [100, pytest.param(6000, marks=pytest.mark.slow)])
def test_a_hostile_spec_is_refused_in_one_sentence_or_means_what_it_says(count: int) -> None:
    rng, registry = random.Random(0), Registry()
    outcomes: Counter[str] = Counter()
    for _ in range(count):
        kind, spec = draw_spec(rng, registry)
        resolved, message = resolve(registry, kind, spec)
        outcomes["refused" if message else "accepted"] += 1
        assert len(message) < LONGEST_MESSAGE
        if not resolved:
            continue
        assert registry.resolve(kind, resolved.spec).values == resolved.values
        _, given = parse_spec(spec)
        for key, text in given.items():
            value = resolved.values[key]
            if isinstance(value, bool) or value is None:
                assert text.lower() == str(value).lower()
            elif isinstance(value, int | float):
                assert re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", text, re.IGNORECASE)
                assert float(text) == value
            else:
                assert text == value
        if kind == "pipeline":
            resolved.make()
    assert outcomes["refused"] > 3 * outcomes["accepted"] > 10


def test_a_spec_of_a_hundred_thousand_items_is_split_at_once() -> None:
    _, values = parse_spec("a," + ",".join(f'k{i}="v,{i}"' for i in range(100_000)))
    assert values["k99999"] == "v,99999"
