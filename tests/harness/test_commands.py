"""Command lines that messages suggest can be pasted into a shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.commands import as_flags, harness_command


def test_words_are_quoted_for_a_shell() -> None:
    command = harness_command("run", "--dataset", "folder,path=my pets", flags=" --limit 3")
    assert command == "harness run --dataset 'folder,path=my pets' --limit 3"


def test_values_that_are_not_set_give_no_option() -> None:
    assert as_flags(dataset=None, data_root=None, plugins=()) == ""
    flags = as_flags(data_root=Path("my data"), plugins=("a.py", "b.py"))
    assert flags == " --data-root 'my data' --plugins a.py --plugins b.py"


@pytest.mark.parametrize(
    "word", ["it's", "a b", "\x1b[31m\n\t'\\", "\u202eé寿", "caf\udce9", "$x`y`"]
)
def test_a_shell_reads_every_word_as_it_was(word: str) -> None:
    command = harness_command(word, flags=as_flags(dataset=word))
    assert command.isprintable()
    echo = command.replace("harness", "printf '%s\\0'", 1)
    out = subprocess.run(["bash", "-c", echo], capture_output=True, check=True).stdout
    words = os.fsdecode(out).split("\0")
    assert words == [word, "--dataset", word, ""]
