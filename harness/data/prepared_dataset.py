"""Prepared datasets: sources whose images were decoded and resized once, kept as Arrow IPC files.

A prepared dataset is the folder `prepared/NAME` in the data root. Its manifest dataset.json says
what it holds; PART-00000.arrow and so on hold up to 1,024 images each (columns: arrow_shards.py).
`image` is raw pixels (height, width, 3) or a JPEG file: the manifest's `codec` says which.

Formats of other libraries were not used because the digest needs the key of each image's source
bytes beside its pixels, and because a memory-mapped Arrow file opens without reading an image.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.commands import harness_command
from harness.data.arrow_shards import DamagedShard, file_checksum, read_columns
from harness.data.manifest import MANIFEST, damaged_error, read_manifest
from harness.data.split import Split
from harness.errors import UserError

UNFINISHED_PREFIX = ".building-"  # before the name of a dataset that is not complete
KEY_DTYPE = "U24"
MEMORY_ADDRESS = re.compile(r" <[^<>]* at 0x[0-9a-f]+>")  # in reasons that earlier versions gave
METADATA = ["key", "label", "name", "height", "width"]  # all columns but the images
CONVERSION = "convert=significant-bits,on-white"
"""The rule of conversion.py, in the manifest; in the preparation line, which is part of the digest,
only of a dataset with images whose pixels depend on it."""
# descriptions of unusual images in datasets that were prepared before there was a rule
CONVERTED_OTHERWISE = ("16 bits per channel", "transparency")


def prepared_folder(root: Path, name: str) -> Path:
    return root / "prepared" / name


def prepared_names(root: Path) -> list[str]:
    """List the prepared datasets in a data root."""
    manifests = (root / "prepared").glob(f"[!.]*/{MANIFEST}")
    return sorted(manifest.parent.name for manifest in manifests)


def unfinished_folders(root: Path) -> list[Path]:
    """List the folders of preparations that were stopped or are still running."""
    folders = (root / "prepared").glob(f"{UNFINISHED_PREFIX}*")
    return sorted(folder for folder in folders if folder.is_dir())


def open_prepared(root: Path, name: str) -> PreparedDataset:
    """Open a prepared dataset by name.

    Raises
    ------
    UserError
        If there is none of that name, or it is damaged.
    """
    return PreparedDataset(find_prepared_folder(root, name))


def find_prepared_folder(root: Path, name: str) -> Path:
    """Return the folder of a prepared dataset. Raises UserError if there is none of that name."""
    names = prepared_names(root)
    if name not in names:  # compared with the list, so that a path to another folder is refused
        prepare = harness_command("prepare", "SOURCE", "--name", "NAME")
        raise UserError(
            f"no prepared dataset is called {name!r} in {root}; "
            f"there are: {', '.join(names) or 'none'} ({prepare} makes one)"
        )
    return prepared_folder(root, name)


def rows_checksum(manifest: Mapping[str, Any], keys: Sequence[str], table: Any) -> str:
    """Return a hash of all that gives the images of a part their meaning.

    Parameters
    ----------
    manifest : mapping
        Its class names, codec, preparation line and names of parts count.
    keys : sequence of str
        In the place of those in the table.
    table : pyarrow.Table
        With the columns METADATA.
    """
    meaning = [manifest[key] for key in ("class_names", "codec", "preparation")]
    digest = hashlib.sha256(json.dumps([*meaning, sorted(manifest["parts"])]).encode())
    digest.update("\n".join([*keys, *table["name"].to_pylist()]).encode())
    for column in ("label", "height", "width"):
        digest.update(table[column].to_numpy().tobytes())
    return digest.hexdigest()


class PreparedDataset:
    """A prepared dataset on disk.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    UserError
        If its manifest is damaged.

    Attributes
    ----------
    manifest : dict
        The content of dataset.json: source, layout, size, codec, preparation, class names, notes,
        and per part the number of images, the digest, the shards with their checksums, and the
        images that are undecodable or unusual.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def parts(self) -> list[str]:
        return list(self.manifest["parts"])

    @property
    def undecodable(self) -> list[tuple[str, str, str]]:
        """(part, name, reason) of the images that could not be decoded."""
        return self._listed("undecodable")

    @property
    def unusual(self) -> list[tuple[str, str, str]]:
        """(part, name, description) of the images that were decoded but are unusual."""
        return self._listed("unusual")

    @property
    def outdated(self) -> int:
        """The number of images that were converted otherwise than conversion.py does now."""
        if self.manifest.get("conversion") == CONVERSION:
            return 0
        return sum(text in CONVERTED_OTHERWISE for _, _, text in self.unusual)

    @property
    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def split(self, part: str) -> Split:
        """Return the images of one part.

        They are memory-mapped; raw images of one size are read into memory when the first of them
        is read. Images that could not be decoded have row -1, and are left out of the train part.

        Raises
        ------
        UserError
            If a file is missing or damaged, or does not fit the manifest.
        """
        from harness.data.images import Images
        from harness.data.prepared_images import LoadedImages, PreparedImages

        files = self.manifest["parts"][part]["files"]
        table = self._read_metadata(files)
        keys = table["key"].to_pylist()
        # absent in datasets that were prepared before there was one
        checksum = self.manifest["parts"][part].get("rows_sha256")
        if checksum and checksum != rows_checksum(self.manifest, keys, table):
            raise damaged_error(self.name, f"the rows of {part} are not those of {MANIFEST}")
        heights, widths = table["height"].to_numpy(), table["width"].to_numpy()
        is_raw = self.manifest["codec"] == "raw"
        mapped = PreparedImages(
            [self.folder / name for name in files],
            [file["rows"] for file in files.values()],
            heights,
            widths,
            raw=is_raw,
        )
        images: Images = LoadedImages(mapped) if mapped.image_size and is_raw else mapped
        rows = np.where(heights > 0, np.arange(len(table)), -1)
        try:
            split = Split(
                keys=np.array(keys, dtype=KEY_DTYPE),
                labels=table["label"].to_numpy(),
                class_names=self.manifest["class_names"],
                images=images,
                preparation=self.manifest["preparation"],
                rows=rows,
                names=np.array(table["name"].to_pylist(), dtype=object),
            )
        except ValueError as error:
            raise damaged_error(self.name, error) from error
        return split.take(np.flatnonzero(rows >= 0)) if part == "train" else split

    def require_current(self) -> None:
        """Raise UserError if some of the images were converted by an earlier version's rule."""
        if self.outdated:
            again = harness_command("prepare", self.manifest["source"], "--name", self.name)
            raise UserError(
                f"the prepared dataset {self.name} has {self.outdated:,} images of 16 bits or with "
                "transparency, which an earlier version converted in another way: prepare it "
                f"again by {again}"
            )

    def find_damage(self) -> list[str]:
        """Return one sentence per missing or changed file and per digest that the rows contradict.

        Reads every file.
        """
        damage = []
        for part, content in self.manifest["parts"].items():
            for name, file in content["files"].items():
                path = self.folder / name
                try:
                    if file_checksum(path) != file["sha256"]:
                        damage.append(f"{name} has changed since it was written")
                except FileNotFoundError:
                    damage.append(f"{name} is missing")
                except OSError as error:
                    damage.append(f"{name} cannot be read ({error.strerror})")
            if damage:
                continue
            try:
                if self.split(part).digest != content["digest"]:
                    damage.append(
                        f"the digest of {part} is not that of its rows: {MANIFEST} changed"
                    )
            except UserError as error:
                damage.append(str(error))
        return damage

    def _listed(self, key: str) -> list[tuple[str, str, str]]:
        return [
            (part, name, MEMORY_ADDRESS.sub("", text))
            for part, content in self.manifest["parts"].items()
            for name, text in content[key]
        ]

    def _read_metadata(self, files: Mapping[str, Any]) -> Any:
        """Return all columns except the images, as one Arrow table."""
        import pyarrow as pa

        tables = []
        for name, file in files.items():
            try:
                tables.append(read_columns(self.folder / name, METADATA))
            except DamagedShard as error:
                raise damaged_error(self.name, error) from error
            if len(tables[-1]) != file["rows"]:
                counts = f"{len(tables[-1]):,} images, and {file['rows']:,} by {MANIFEST}"
                raise damaged_error(self.name, f"{name} has {counts}")
        return pa.concat_tables(tables)
