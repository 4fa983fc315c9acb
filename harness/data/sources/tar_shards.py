"""tar shards in the WebDataset convention: N.jpg beside N.cls (a class index or name) or N.json,
in train-000.tar, val-000.tar.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.data.class_names import look_alike_notes, normalize
from harness.data.decode import Undecodable, is_image, is_system_file
from harness.data.sources import Source, SourceImage, check_label_count, part_of
from harness.data.sources._archives import tar_files
from harness.data.sources._file_tree import files_near, part_files, stat_line
from harness.errors import UserError

JSON_KEYS = ("cls", "label", "class", "wnid", "synset", "class_name")  # the first that exists
MEMBERS_TO_TEST = 8
MAX_DIGITS = 9  # of a class index
MIN_IDS = 10  # images from which on labels that are all different are taken for ids
Sample = tuple[Path, str]  # the shard, and what the names of the sample's files share


class TarShards:
    """The images of tar shards.

    Raises
    ------
    UserError
        If a shard is damaged, an image has no label, or some labels are numbers and others names.
    """

    layout = "tar shards"

    def __init__(self, path: Path, shards: list[Path]) -> None:
        self.path, self._shards = path, shards
        self.part_folders: Mapping[str, str] = part_files(
            shards, lambda shard: part_of(self._stem(shard))
        )
        lines = "\n".join(map(stat_line, shards))
        self.fingerprint = hashlib.sha256(lines.encode()).hexdigest()[:16]
        notes: dict[str, None] = {}
        class_of, images = _read_labels(shards, notes)
        self.dataset_notes = (*notes, *look_alike_notes(set(class_of.values())))
        for shard, key in images:
            if (shard, key) not in class_of:
                raise UserError(
                    f"{shard}: image {key} has neither {key}.cls nor a {key}.json "
                    f"with one of {', '.join(JSON_KEYS)}"
                )
        self._count = len(images)
        names = set(class_of.values())
        if len(names) == len(images) > MIN_IDS:
            raise UserError(
                f"{path}: each of its {len(images):,} images has a label of its own, such as "
                f"{min(names)!r}, as ids have; give class indices or class names"
            )
        numbers = {name for name in names if name.isdecimal()}
        if numbers and numbers != names:
            raise UserError(
                f"{path}: some labels are numbers ({min(numbers)}), others names "
                f"({min(names - numbers)}); use one of the two"
            )
        if numbers:
            largest = max(numbers, key=lambda name: (len(name.lstrip("0")), name.lstrip("0")))
            if len(largest.lstrip("0")) > MAX_DIGITS:
                raise UserError(f"{path}: label {largest[:40]} is no class index")
            check_label_count(path, int(largest) + 1, len(images))
            class_of = {sample: str(int(name)) for sample, name in class_of.items()}  # 007 is 7
            self.class_names = tuple(str(i) for i in range(int(largest) + 1))
        else:
            self.class_names = tuple(sorted(names))
        self._class_of = class_of

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[SourceImage]:
        label_of = {name: label for label, name in enumerate(self.class_names)}
        for shard in self._shards:
            stem = self._stem(shard)
            for name, read in tar_files(shard):
                if is_image(name):
                    label = label_of[self._class_of[shard, _sample_key(name)[0]]]
                    yield SourceImage(part_of(stem), f"{stem}:{name}", label, read)

    def _stem(self, shard: Path) -> str:
        return shard.relative_to(self.path).as_posix() if self.path.is_dir() else shard.name


def _read_labels(
    shards: list[Path], notes: dict[str, None]
) -> tuple[dict[Sample, str], list[Sample]]:
    """Return the class name of each labeled sample, and the samples that have an image."""
    class_of: dict[Sample, str] = {}
    images: list[Sample] = []
    for shard in shards:
        for name, read in tar_files(shard, note=notes.setdefault):
            key, suffix = _sample_key(name)
            if suffix in ("cls", "json") and not is_system_file(name):
                try:
                    class_name = _parse_class(read(), suffix)
                except (ValueError, RecursionError, Undecodable) as error:
                    # invalid JSON or UTF-8, or a link that leads nowhere
                    raise UserError(f"{shard}: {name} cannot be read: {error}") from error
                if class_name is not None:
                    class_of.setdefault((shard, key), normalize(class_name))
            elif is_image(name):
                images.append((shard, key))
    return class_of, images


def _sample_key(name: str) -> tuple[str, str]:
    """Split a name at the first dot of the file name, as WebDataset does, into key and suffix."""
    folder, slash, file = name.rpartition("/")
    stem, _, suffix = file.partition(".")
    return folder + slash + stem, suffix


def _parse_class(data: bytes, suffix: str) -> str | None:
    if suffix == "cls":
        return data.decode().strip()
    annotation = json.loads(data)
    if not isinstance(annotation, dict):
        return None
    label = next((annotation[key] for key in JSON_KEYS if key in annotation), None)
    if label is not None and (isinstance(label, bool) or not isinstance(label, int | str)):
        raise ValueError(f"its label is {str(label)[:40]}, neither an integer nor a text")
    return None if label is None else str(label)


def open_source(path: Path) -> Source | None:
    if path.is_dir():
        shards = files_near(path, ".tar")
    elif path.suffix == ".tar":
        shards = [path]
    else:
        return None
    return TarShards(path, shards) if shards and _is_shard(shards[0]) else None


def _is_shard(path: Path) -> bool:
    """Return whether the first members include an image with a label beside it."""
    try:
        with tarfile.open(path) as archive:
            members = [archive.next() for _ in range(MEMBERS_TO_TEST)]
    except Exception:  # the parser of a damaged header raises exceptions of many types
        return False
    names = [member.name for member in members if member]
    labeled = {_sample_key(name)[0] for name in names if _sample_key(name)[1] in ("cls", "json")}
    return any(is_image(name) and _sample_key(name)[0] in labeled for name in names)
