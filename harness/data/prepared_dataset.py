"""Prepared datasets: sources whose images were decoded and resized once, kept as Arrow IPC files.

A prepared dataset is the folder `prepared/NAME` in the data root. Its manifest dataset.json says
what it holds; PART-00000.arrow and so on hold up to 1,024 images each (columns: arrow_shards.py).
`image` is raw pixels (height, width, 3) or a JPEG file: the manifest's `codec` says which.

Formats of other libraries were not used because the digest needs the key of each image's source
bytes beside its pixels, and because a memory-mapped Arrow file opens without reading an image.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from harness.commands import harness_command
from harness.data.arrow_shards import file_checksum, read_columns
from harness.data.split import Split
from harness.errors import UserError

MANIFEST = "dataset.json"
UNFINISHED_PREFIX = ".building-"  # before the name of a dataset that is not complete
KEY_DTYPE = "U24"
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
    """Open a prepared dataset by name. Raises UserError if there is none of that name."""
    names = prepared_names(root)
    if name not in names:  # compared with the list, so that a path to another folder is refused
        prepare = harness_command("prepare", "SOURCE", "--name", "NAME")
        raise UserError(
            f"no prepared dataset is called {name!r} in {root}; "
            f"there are: {', '.join(names) or 'none'} ({prepare} makes one)"
        )
    return PreparedDataset(prepared_folder(root, name))


class PreparedDataset:
    """A prepared dataset on disk.

    Parameters
    ----------
    folder : Path

    Attributes
    ----------
    manifest : dict
        The content of dataset.json: source, layout, size, codec, preparation, class names, notes,
        and per part the number of images, the digest, the shards with their checksums, and the
        images that are undecodable or unusual.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())

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
            If a file is missing or is not an Arrow file.
        """
        from harness.data.images import Images
        from harness.data.prepared_images import LoadedImages, PreparedImages

        files = self.manifest["parts"][part]["files"]
        table = self._read_metadata(files)
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
        split = Split(
            keys=np.array(table["key"].to_pylist(), dtype=KEY_DTYPE),
            labels=table["label"].to_numpy(),
            class_names=self.manifest["class_names"],
            images=images,
            preparation=self.manifest["preparation"],
            rows=rows,
            names=np.array(table["name"].to_pylist(), dtype=object),
        )
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
                if not path.exists():
                    damage.append(f"{name} is missing")
                elif file_checksum(path) != file["sha256"]:
                    damage.append(f"{name} has changed since it was written")
            if not damage and self.split(part).digest != content["digest"]:
                damage.append(f"the digest of {part} is not that of its rows: {MANIFEST} changed")
        return damage

    def _listed(self, key: str) -> list[tuple[str, str, str]]:
        return [
            (part, name, text)
            for part, content in self.manifest["parts"].items()
            for name, text in content[key]
        ]

    def _read_metadata(self, files: Iterable[str]) -> Any:
        """Return all columns except the images, as one Arrow table."""
        import pyarrow as pa

        columns = ["key", "label", "name", "height", "width"]
        try:
            return pa.concat_tables([read_columns(self.folder / name, columns) for name in files])
        except (pa.ArrowInvalid, FileNotFoundError) as error:
            raise UserError(
                f"the prepared dataset {self.name} is damaged ({error}): "
                f"see {harness_command('data', 'verify', self.name)}; to repair it, remove it by "
                f"{harness_command('data', 'rm', self.name)} and prepare it again"
            ) from error
