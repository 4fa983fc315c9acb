"""An attack: preparations on disks of ten sizes that are all too small; nothing is lost.

Each disk is a memory file system, which takes the permission to mount one.
"""

from __future__ import annotations

import subprocess
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.data import prepare as prepare_module
from harness.data.prepare import prepare
from harness.data.prepared_dataset import PreparedDataset, prepared_names, unfinished_folders
from harness.data.sources import open_source

KILOBYTES = (4, 8, 16, 40, 100, 180, 260, 320, 380, 420)


def mount(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def disk(workdir: Path) -> Iterator[Path]:
    folder = workdir / "disk"
    folder.mkdir()
    if not mount(folder, f"size={KILOBYTES[0]}k"):
        pytest.skip("no permission to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_in_one_sentence_and_loses_nothing(
    workdir: Path, disk: Path, pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    # the disk fills up after the preparation has looked how much is free
    monkeypatch.setattr(prepare_module.shutil, "disk_usage", lambda _: usage(10**12))
    monkeypatch.setattr(prepare_module, "ROWS_PER_SHARD", 8)
    counts = {"train/a": 30, "train/b": 30, "test/a": 9}
    source = open_source(pictures(workdir / "photos", counts, size=(40, 50)))
    copy = (workdir / "photos/train/a/1.png").read_bytes()  # its key is numbered at the end
    (workdir / "photos/train/b/1.png").write_bytes(copy)

    def run(root: Path) -> PreparedDataset:
        return prepare(source, root, name="pets", progress=lambda items, **_: iter(items))

    complete = run(workdir / "root")
    expected = {file.name: file.read_bytes() for file in complete.folder.iterdir()}
    assert 1024 * KILOBYTES[-1] < complete.size_bytes
    kept = []
    for kilobytes in KILOBYTES:  # a larger disk each time, as if space had been freed
        mount(disk, f"remount,size={kilobytes}k")
        with pytest.raises(OSError, match="No space left on device") as caught:
            run(disk)
        assert "\n" not in str(caught.value)
        assert prepared_names(disk) == []
        kept.append(sum(len(list(folder.glob("*.json"))) for folder in unfinished_folders(disk)))
    assert kept == sorted(kept)
    assert kept[-1] > 1
    mount(disk, "remount,size=10m")
    prepared = run(disk)
    assert prepared.find_damage() == []
    assert {file.name: file.read_bytes() for file in prepared.folder.iterdir()} == expected
    assert unfinished_folders(disk) == []
