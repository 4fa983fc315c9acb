"""The official files of an ILSVRC year: tars of images and the development kit.

The train tar contains one tar per class; the tars of the other parts are flat. The kit numbers
synsets in an order of its own (ILSVRC2012_ID), which its ground truth uses. meta.mat maps the
numbers to WordNet ids, whose sorted order is our class index.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

import numpy as np

from harness.data.decode import is_image, is_system_file
from harness.data.sources import SourceImage
from harness.data.sources._archives import damaged_error, open_tar, tar_files
from harness.data.sources._file_tree import FileTree, stat_line
from harness.errors import UserError


@dataclass(frozen=True)
class Year:
    """The files of a year and where to get them.

    Parameters
    ----------
    year : int
    page : str
        The address of the download page.
    kit : str
        The file name of the development kit.
    tars : dict of (file name, MD5)
        Per part; the MD5 is empty if the organizers state none.
    truth : dict of file names
        Per part except train: the kit's file with one ILSVRC id per line, in order of the images.
    """

    year: int
    page: str
    kit: str
    tars: dict[str, tuple[str, str]]
    truth: dict[str, str]

    @property
    def name(self) -> str:
        return f"ILSVRC-{self.year}"

    def missing_error(self, path: Path, missing: str) -> UserError:
        return UserError(
            f"{self.name} in {path}: {missing} is missing; "
            f"get it from {self.page} (free registration) and put it there"
        )


@dataclass(frozen=True)
class Kit:
    """The content of a development kit.

    Attributes
    ----------
    wnids : dict of str
        The WordNet id per ILSVRC id of the classes (not of the synsets above them).
    truth : dict of (n,) int
        The ILSVRC ids of each part, in order of the images.
    """

    wnids: dict[int, str]
    truth: dict[str, np.ndarray]

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(sorted(self.wnids.values()))

    def labels(self, part: str) -> np.ndarray:
        """Return the (n,) class indices of the images of a part, in order of their numbers."""
        label_of = {wnid: label for label, wnid in enumerate(self.class_names)}
        return np.array([label_of[self.wnids[number]] for number in self.truth[part].tolist()])


def read_kit(path: Path, year: Year) -> Kit:
    """Read the development kit in the folder `path`.

    The kit is a folder or a tar; its files may also lie directly in `path`.

    Raises
    ------
    UserError
        If meta.mat is missing or damaged, or contradicts the ground truth.
    """
    files = _read_kit_files(path, {"meta.mat", *year.truth.values()})
    if "meta.mat" not in files:
        raise year.missing_error(path, f"the development kit {year.kit} (its data/meta.mat)")
    kit = Kit(_parse_wnids(files["meta.mat"], year), {})
    for part, file in year.truth.items():
        if file not in files:
            continue
        kit.truth[part] = _parse_numbers(files[file], path / file)
        if unknown := set(kit.truth[part].tolist()) - set(kit.wnids):
            raise UserError(
                f"{file} in {path} has a class {min(unknown)}, which meta.mat does not have"
            )
    return kit


def _read_kit_files(path: Path, wanted: set[str]) -> dict[str, bytes]:
    """Return the content of those wanted files that exist."""
    kits = sorted(kit for kit in path.glob("*devkit*") if not is_system_file(kit.name))
    contents: dict[str, bytes] = {}
    for folder in [*kits, path]:
        for name, read in FileTree(folder):
            base = PurePosixPath(name).name
            if base in wanted and base not in contents:
                contents[base] = read()
        if len(contents) == len(wanted):
            break
    return contents


def _parse_wnids(meta: bytes, year: Year) -> dict[int, str]:
    from scipy.io import loadmat

    try:
        synsets = np.atleast_1d(loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"])
        leaves = synsets[synsets["num_children"] == 0]
        pairs = zip(leaves[f"ILSVRC{year.year}_ID"], leaves["WNID"], strict=True)
        return {int(number): str(wnid) for number, wnid in pairs}
    except Exception as error:  # scipy's parser raises exceptions of many types
        raise UserError(
            f"meta.mat of {year.kit} is damaged, or of another year ({error}); "
            f"get the kit again from {year.page}"
        ) from error


def _parse_numbers(text: bytes, file: Path) -> np.ndarray:
    try:
        return np.array(text.split(), dtype=np.int64)
    except ValueError as error:
        raise UserError(
            f"{file} is damaged: it should have one number per line ({error}); get it again"
        ) from error


def official_files(path: Path, year: Year) -> OfficialFiles | None:
    """Open the folder of a year's tars; None if it has none of them.

    Raises
    ------
    UserError
        If `path` is one of the tars, or the files are incomplete or contradictory.
    """
    names = [file for file, _ in year.tars.values()]
    if path.is_file() and path.name in names:
        raise UserError(
            f"{path} is one of several files of {year.name}; "
            f"give the folder that contains them: {path.parent}"
        )
    is_official = path.is_dir() and any((path / name).exists() for name in names)
    return OfficialFiles(path, year) if is_official else None


class OfficialFiles:
    """The source made of a year's tars and kit in the folder `path`.

    Raises
    ------
    UserError
        If a file is missing or disagrees with the kit.
    """

    dataset_notes: tuple[str, ...] = ()

    def __init__(self, path: Path, year: Year) -> None:
        self.path = path
        self.layout = f"{year.name}, official files"
        self._tars = {part: path / file for part, (file, _) in year.tars.items()}
        self.part_folders: Mapping[str, str] = {part: tar.name for part, tar in self._tars.items()}
        for part, tar in self._tars.items():
            if not tar.exists():
                md5 = year.tars[part][1]
                raise year.missing_error(path, f"{tar.name}{f' (MD5 {md5})' if md5 else ''}")
        kit = read_kit(path, year)
        for part, file in year.truth.items():
            if part not in kit.truth:
                raise year.missing_error(
                    path, f"{file} (in the development kit {year.kit}, or a separate file)"
                )
        self.class_names = kit.class_names
        self._labels = {part: kit.labels(part) for part in kit.truth}
        self._counts = {
            part: sum(1 for _ in self._images(part, tar)) for part, tar in self._tars.items()
        }
        for part, file in year.truth.items():
            if self._counts[part] != len(kit.truth[part]):
                raise UserError(
                    f"{self._tars[part]} holds {self._counts[part]} images, but {file} has "
                    f"{len(kit.truth[part])} lines: one of them is incomplete"
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
                label = int(self._labels[part][self._truth_line(part, name, tar)])
                yield SourceImage(part, PurePosixPath(name).name, label, read)

    def _truth_line(self, part: str, name: str, tar: Path) -> int:
        """Return the line of the ground truth, from 0, for an image `..._00000001.JPEG`."""
        count = len(self._labels[part])
        number = re.search(r"(\d{8})\.\w+$", name)
        if number is None or not 1 <= int(number[1]) <= count:
            raise UserError(
                f"{tar} holds {name}, which is none of the {count} images of the ground truth"
            )
        return int(number[1]) - 1


def _train_images(tar: Path, class_names: tuple[str, ...]) -> Iterator[SourceImage]:
    """Yield the images of the tars inside `tar`, which are named like `n01440764.tar`."""
    label_of = {wnid: label for label, wnid in enumerate(class_names)}
    try:
        with tar.open("rb") as file, open_tar(file) as archive:
            while member := archive.next():
                archive.members.clear()  # type: ignore[attr-defined]
                wnid = PurePosixPath(member.name).stem
                if not member.isfile() or not member.name.endswith(".tar"):
                    continue
                if wnid not in label_of:
                    raise UserError(
                        f"{tar} holds {member.name}, but the development kit has no class {wnid}"
                    )
                inner = cast("Callable[[], IO[bytes]]", partial(archive.extractfile, member))
                for name, read in tar_files(Path(f"{tar}:{member.name}"), inner):
                    if is_image(name):
                        name = f"{wnid}/{PurePosixPath(name).name}"
                        yield SourceImage("train", name, label_of[wnid], read)
    except tarfile.TarError as error:
        raise damaged_error(tar, error) from error
