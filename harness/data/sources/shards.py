"""tar shards in the WebDataset convention: N.jpg beside N.cls (a class index or name) or N.json, in train-000.tar, val-000.tar."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

from harness.data.decode import is_debris, is_image
from harness.data.sources import Source, SourceImage, part_of
from harness.data.sources._tree import files_near, stat_line, tar_files
from harness.errors import UserError

JSON_KEYS = ("cls", "label", "class", "wnid", "synset", "class_name")  # the first that is there


class Shards:
    """Raises UserError when a shard is damaged, an image has no label, or some labels are numbers and others names."""

    layout = "tar shards"
    dataset_notes: tuple[str, ...] = ()

    def __init__(self, path: Path, shards: list[Path]) -> None:
        self.path, self._shards = path, shards
        self.fingerprint = hashlib.sha256("\n".join(map(stat_line, shards)).encode()).hexdigest()[
            :16
        ]
        self._classes: dict[tuple[Path, str], str] = {}
        images = []
        for shard in shards:
            for name, read in tar_files(shard):
                key, suffix = _key(name)
                if suffix in ("cls", "json") and not is_debris(name):
                    try:
                        class_name = _class(read(), suffix)
                    except ValueError as error:  # no JSON, or no UTF-8
                        raise UserError(f"{shard}: {name} cannot be read: {error}") from error
                    if class_name is not None:
                        self._classes.setdefault((shard, key), class_name)
                elif is_image(name):
                    images.append((shard, key))
        for shard, key in images:
            if (shard, key) not in self._classes:
                raise UserError(
                    f"{shard}: image {key} has neither {key}.cls nor a {key}.json with one of {', '.join(JSON_KEYS)}"
                )
        self._count = len(images)
        names = set(self._classes.values())
        numbers = {name for name in names if name.isdecimal()}
        if numbers and numbers != names:
            raise UserError(
                f"{path}: some labels are numbers ({min(numbers)}), others names ({min(names - numbers)}); use one of the two"
            )
        if numbers:
            self._classes = {
                sample: str(int(name)) for sample, name in self._classes.items()
            }  # 007 is 7
        self.class_names = (
            tuple(str(i) for i in range(max(map(int, names)) + 1))
            if numbers
            else tuple(sorted(names))
        )

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[SourceImage]:
        label_of = {name: label for label, name in enumerate(self.class_names)}
        for shard in self._shards:
            inside = shard.relative_to(self.path).as_posix() if self.path.is_dir() else shard.name
            for name, read in tar_files(shard):
                if is_image(name):
                    label = label_of[self._classes[shard, _key(name)[0]]]
                    yield SourceImage(part_of(inside), f"{inside}:{name}", label, read)


def _key(name: str) -> tuple[str, str]:
    """(what the files of one sample share, the rest): up to the first dot of the file name, as WebDataset has it."""
    folder, slash, file = name.rpartition("/")
    stem, _, suffix = file.partition(".")
    return folder + slash + stem, suffix


def _class(data: bytes, suffix: str) -> str | None:
    if suffix == "cls":
        return data.decode().strip()
    facts = json.loads(data)
    return (
        next((str(facts[key]) for key in JSON_KEYS if key in facts), None)
        if isinstance(facts, dict)
        else None
    )


def open_source(path: Path) -> Source | None:
    shards = (
        [path]
        if path.is_file() and path.suffix == ".tar"
        else files_near(path, ".tar")
        if path.is_dir()
        else []
    )
    return Shards(path, shards) if shards and _is_shard(shards[0]) else None


def _is_shard(path: Path) -> bool:
    """Whether among the first members there is an image with a label beside it."""
    try:
        with tarfile.open(path) as archive:
            names = [member.name for member in (archive.next() for _ in range(8)) if member]
    except tarfile.TarError:
        return False
    labeled = {_key(name)[0] for name in names if _key(name)[1] in ("cls", "json")}
    return any(is_image(name) and _key(name)[0] in labeled for name in names)
