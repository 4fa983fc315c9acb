"""The official files of an ILSVRC year: a tar of one tar a class, flat tars of the other parts, and the development kit.

The kit numbers synsets in an order of its own (ILSVRC2012_ID); its ground truth speaks in those numbers. meta.mat maps them to WordNet
ids, whose sorted order is our class index.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from harness.data.decode import is_debris, is_image
from harness.data.sources import SourceImage
from harness.data.sources._tree import Tree, damaged, stat_line, tar_files
from harness.errors import UserError


@dataclass(frozen=True)
class Year:
    """What the files of a year are called, and where they are to be had.

    truth  of each part but train: the name of the kit's file with one ILSVRC id a line, in order of the image numbers
    tars   of each part: the tar and its MD5 where the organizers state one
    """

    year: int
    page: str
    kit: str
    tars: dict[str, tuple[str, str]]
    truth: dict[str, str]

    @property
    def name(self) -> str:
        return f"ILSVRC-{self.year}"

    def missing(self, path: Path, what: str) -> UserError:
        return UserError(
            f"{self.name} in {path}: {what} is missing; get it from {self.page} (free registration) and put it there"
        )


@dataclass(frozen=True)
class Kit:
    """wnids: ILSVRC id -> WordNet id of the classes (not of the synsets above them); truth: part -> ILSVRC ids in image order."""

    wnids: dict[int, str]
    truth: dict[str, np.ndarray]

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(sorted(self.wnids.values()))

    def labels(self, part: str) -> np.ndarray:
        """(n,) class indices of the images of `part`, in order of their numbers."""
        label_of = {wnid: label for label, wnid in enumerate(self.class_names)}
        return np.array([label_of[self.wnids[number]] for number in self.truth[part].tolist()])


def read_kit(path: Path, year: Year) -> Kit:
    """The development kit in the folder `path`: unpacked, or as a tar, its files beside it too. Raises UserError naming what is missing or
    contradictory.
    """
    wanted = {"meta.mat", *year.truth.values()}
    found: dict[str, bytes] = {}
    for place in [*sorted(kit for kit in path.glob("*devkit*") if not is_debris(kit.name)), path]:
        for name, read in Tree(place):
            base = PurePosixPath(name).name
            if base in wanted and base not in found:
                found[base] = read()
        if len(found) == len(wanted):
            break
    if "meta.mat" not in found:
        raise year.missing(path, f"the development kit {year.kit} (its data/meta.mat)")
    kit = Kit(_wnids(found["meta.mat"], year), {})
    for part, file in year.truth.items():
        if file in found:
            kit.truth[part] = _numbers(found[file], path / file)
            if strange := set(kit.truth[part].tolist()) - set(kit.wnids):
                raise UserError(
                    f"{file} in {path} speaks of class {min(strange)}, which meta.mat does not have"
                )
    return kit


def _wnids(meta: bytes, year: Year) -> dict[int, str]:
    from scipy.io import loadmat

    try:
        synsets = np.atleast_1d(loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"])
        leaves = synsets[synsets["num_children"] == 0]
        return {
            int(number): str(wnid)
            for number, wnid in zip(leaves[f"ILSVRC{year.year}_ID"], leaves["WNID"], strict=True)
        }
    except Exception as error:  # scipy raises whatever its parser trips over
        raise UserError(
            f"meta.mat of {year.kit} is damaged, or of another year ({error}); get the kit again from {year.page}"
        ) from error


def _numbers(text: bytes, file: Path) -> np.ndarray:
    try:
        return np.array(text.split(), dtype=np.int64)
    except ValueError as error:
        raise UserError(
            f"{file} is damaged: it should hold one number a line ({error}); get it again"
        ) from error


def official_files(path: Path, year: Year) -> OfficialFiles | None:
    """None where not one of the year's tars is in the folder `path`. Raises UserError where `path` is one of them."""
    if path.is_file() and path.name in [file for file, _ in year.tars.values()]:
        raise UserError(
            f"{path} is one of several files of {year.name}; give the folder that they lie in: {path.parent}"
        )
    here = path.is_dir() and any((path / file).exists() for file, _ in year.tars.values())
    return OfficialFiles(path, year) if here else None


class OfficialFiles:
    """The tars and kit of `year` in the folder `path`. Raises UserError naming the file that is missing, or that disagrees with the kit."""

    dataset_notes: tuple[str, ...] = ()

    def __init__(self, path: Path, year: Year) -> None:
        self.path = path
        self.layout = f"{year.name}, official files"
        self._tars = {part: path / file for part, (file, _) in year.tars.items()}
        for part, tar in self._tars.items():
            if not tar.exists():
                md5 = year.tars[part][1]
                raise year.missing(path, f"{tar.name}{f' (MD5 {md5})' if md5 else ''}")
        kit = read_kit(path, year)
        for part, file in year.truth.items():
            if part not in kit.truth:
                raise year.missing(
                    path, f"{file} (in the development kit {year.kit}, or a file of its own)"
                )
        self.class_names = kit.class_names
        self._labels = {part: kit.labels(part) for part in kit.truth}
        self._counts = {
            part: sum(1 for _ in self._images(part, tar)) for part, tar in self._tars.items()
        }
        for part, file in year.truth.items():
            if self._counts[part] != len(kit.truth[part]):
                raise UserError(
                    f"{self._tars[part]} holds {self._counts[part]} images, but {file} has {len(kit.truth[part])} lines: one is not whole"
                )
        lines = [
            *map(stat_line, self._tars.values()),
            *(f"{part} {labels.tolist()}" for part, labels in self._labels.items()),
        ]
        self.fingerprint = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __iter__(self) -> Iterator[SourceImage]:
        for part, tar in self._tars.items():
            yield from self._images(part, tar)

    def _images(self, part: str, tar: Path) -> Iterator[SourceImage]:
        if part == "train":
            yield from _train_images(tar, self.class_names)
            return
        for name, read in tar_files(tar):
            if is_image(name):
                yield SourceImage(
                    part,
                    PurePosixPath(name).name,
                    int(self._labels[part][self._row(part, name, tar)]),
                    read,
                )

    def _row(self, part: str, name: str, tar: Path) -> int:
        """The line of the ground truth that `..._00000001.JPEG` is about."""
        number = re.search(r"(\d{8})\.\w+$", name)
        if number is None or not 1 <= int(number[1]) <= len(self._labels[part]):
            raise UserError(
                f"{tar} holds {name}, which is none of the {len(self._labels[part])} images of the ground truth"
            )
        return int(number[1]) - 1


def _train_images(tar: Path, class_names: tuple[str, ...]) -> Iterator[SourceImage]:
    """Of `n01440764.tar` and its like inside `tar`."""
    label_of = {wnid: label for label, wnid in enumerate(class_names)}
    try:
        with tarfile.open(tar) as archive:
            while member := archive.next():
                archive.members.clear()  # type: ignore[attr-defined]
                wnid = PurePosixPath(member.name).stem
                if not member.isfile() or not member.name.endswith(".tar"):
                    continue
                if wnid not in label_of:
                    raise UserError(
                        f"{tar} holds {member.name}, and the development kit has no class {wnid}"
                    )
                inner: Callable[[], IO[bytes]] = partial(archive.extractfile, member)  # type: ignore[assignment]
                for name, read in tar_files(Path(f"{tar}:{member.name}"), inner):
                    if is_image(name):
                        yield SourceImage(
                            "train", f"{wnid}/{PurePosixPath(name).name}", label_of[wnid], read
                        )
    except tarfile.TarError as error:
        raise damaged(tar, error) from error
