"""`harness show`: parameters, and the layers of networks with their costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Harness = Callable[..., str]


def test_a_parameter_without_a_default_has_none(harness: Harness, workdir: Path) -> None:
    source = '"""Words."""\nclass It: ...\ndef build(*, words: int): return It()\n'
    (workdir / "words.py").write_text(source)
    shown = harness("show", "words,words=3", "--plugins", "words.py", "--json")
    assert json.loads(shown.splitlines()[-1])["defaults"] == {}


def test_alexnet_has_the_numbers_of_the_paper(harness: Harness) -> None:
    output = harness("show", "alexnet", "--classes", "1000", "--image-size", "224", "--json")
    shown = json.loads(output.splitlines()[-1])
    assert (shown["parameters"], shown["multiply_adds"]) == (60_965_224, 724_406_816)
    assert shown["defaults"]["dropout"] == 0.5
    assert shown["layers"][0]["output_bytes"] == 4 * 96 * 55 * 55


@pytest.mark.parametrize(
    ("arguments", "totals"),
    [
        (["alexnet,columns=half"], "59,798,312"),
        (["alexnet,columns=1"], "62,378,344"),
        (["alexnet", "--classes", "102"], "57,286,118"),
        (["alexnet-one-tower"], "61,100,840"),
        (["caffenet"], "60,965,224 724,406,816"),
        (["cuda-convnet", "--classes", "10"], "145,578 12,354,176"),
        (["cuda-convnet,layers=18pct", "--classes", "10"], "89,578 12,298,240"),
        (["cuda-convnet,layers=11pct", "--classes", "10"], "2,112,970"),
    ],
)
def test_every_network_has_its_published_size(
    harness: Harness, arguments: list[str], totals: str
) -> None:
    lines = harness("show", *arguments).splitlines()
    total = next(line for line in lines if line.startswith("total "))
    assert " ".join(total.split()).startswith(f"total {totals}")
