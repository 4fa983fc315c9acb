"""Command lines that messages suggest can be pasted into a shell."""

from __future__ import annotations

from pathlib import Path

from harness.commands import as_flags, harness_command


def test_words_are_quoted_for_a_shell() -> None:
    command = harness_command("run", "--dataset", "folder,path=my pets", flags=" --limit 3")
    assert command == "harness run --dataset 'folder,path=my pets' --limit 3"


def test_values_that_are_not_set_give_no_option() -> None:
    assert as_flags(dataset=None, data_root=None, plugins=()) == ""
    flags = as_flags(data_root=Path("my data"), plugins=("a.py", "b.py"))
    assert flags == " --data-root 'my data' --plugins a.py --plugins b.py"
