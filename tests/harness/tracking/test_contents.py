from __future__ import annotations

import shlex
import subprocess

import pytest

from harness.tracking.contents import WIDTH, folded

LONG = "alexnet," + ",".join(f"parameter{number}=value" for number in range(20))


@pytest.mark.parametrize(
    "words",
    [
        ["harness", "run", "--pipeline", "hog-svm", "--seed", "0"],
        ["harness", "run", "--pipeline", LONG, "--dataset", "digits", "--seed", "0"],
        [
            "harness",
            "run",
            "--pipeline",
            LONG,
            "--dataset",
            f'subset,of="folder,path=my photos, {LONG}",percent=2.0',
        ],
        ["harness", "ensemble", *(f"alexnet-{number:06x}" for number in range(12))],
    ],
)
def test_a_shell_reads_a_folded_command_as_it_was(words: list[str]) -> None:
    text = folded(shlex.join(words))
    read = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {text}"], capture_output=True, text=True, check=True
    ).stdout
    assert read.splitlines() == words
    assert all(len(line) <= WIDTH + 1 for line in text.splitlines() if "'" not in line)
