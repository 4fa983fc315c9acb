"""The store: a source decoded once, as one Arrow IPC file a part that any Arrow reader opens, memory-mapped when read.

Columns: key, label, name, height, width, image. `image` holds raw pixels (height, width, 3) while the whole source stays below
RAW_LIMIT bytes of them, else JPEG; an image that could not be decoded has height 0.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.contract import Split
from harness.data.decode import Undecodable, decode, encode_jpeg, image_shape, resized_shape, shrink
from harness.data.identity import number_duplicates
from harness.data.images import ArrayImages
from harness.data.sources.class_folders import ClassFolders, SourceImage
from harness.errors import UserError
from harness.files import write_json

RAW_LIMIT = 4 * 2**30  # bytes of pixels up to which a store is kept lossless
JPEG_QUALITY = 95
ROWS_A_BATCH = 512
Progress = Callable[..., Iterator[Any]]


@dataclass
class _Scanned:
    """What the first pass learns of one image."""

    image: SourceImage
    hash: str
    shape: tuple[int, int] | None  # after resizing; None where the header cannot be read


class Store:
    """A prepared source in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = json.loads((folder / "store.json").read_text())

    @property
    def parts(self) -> list[str]:
        return list(self.facts["parts"])

    def split(self, part: str) -> Split:
        """The images of one part, memory-mapped; those of one size up to RAW_LIMIT bytes are read into memory."""
        import pyarrow as pa

        with pa.memory_map(str(self.folder / f"{part}.arrow")) as file:
            table = pa.ipc.open_file(file).read_all()
        label = table["label"].to_numpy()
        rows = np.arange(len(table))
        images = StoreImages(table, raw=self.facts["codec"] == "raw")
        rows[images.heights == 0] = -1
        return Split(
            keys=np.array(table["key"].to_pylist(), dtype="U24"),
            labels=label,
            class_names=self.facts["class_names"],
            images=images.in_memory() if images.image_size and images.raw else images,
            preparation=self.facts["preparation"],
            rows=rows,
            names=np.array(table["name"].to_pylist(), dtype=object),
        )


class StoreImages:
    """The image column of an Arrow table: decoded row by row as they are read."""

    def __init__(self, table: Any, *, raw: bool) -> None:
        self.raw = raw
        self.heights = table["height"].to_numpy()
        self.widths = table["width"].to_numpy()
        self._column = table["image"]
        readable = self.heights > 0
        sizes = {*zip(self.heights[readable].tolist(), self.widths[readable].tolist(), strict=True)}
        self.image_size: tuple[int, int] | None = sizes.pop() if len(sizes) == 1 else None

    def __len__(self) -> int:
        return len(self.heights)

    def read(self, rows: np.ndarray) -> torch.Tensor | list[torch.Tensor]:
        images = [self._image(int(row)) for row in rows]
        return torch.stack(images) if self.image_size and images else images

    def in_memory(self) -> ArrayImages:
        """All pixels as one array; rows that could not be decoded are black, and no split points at them."""
        assert self.image_size
        pixels = torch.zeros(len(self), 3, *self.image_size, dtype=torch.uint8)
        for row in np.flatnonzero(self.heights):
            pixels[row] = self._image(int(row))
        return ArrayImages(pixels)

    def _image(self, row: int) -> torch.Tensor:
        data = self._column[row].as_buffer()
        if not self.raw:
            return decode(data.to_pybytes())
        # Copied, since torch tensors are writable and the mapped file is not.
        pixels = np.frombuffer(data, dtype=np.uint8).reshape(self.heights[row], self.widths[row], 3).copy()
        return torch.from_numpy(pixels).permute(2, 0, 1)


def prepare(source: ClassFolders, root: Path, *, size: int, progress: Progress) -> Store:
    """The store of `source` below `root`, made now unless it is there already. Raises UserError when nothing can be decoded."""
    folder = root / "stores" / f"{source.path.name.split('.')[0]}-{_identity(source, size)}"
    if (folder / "store.json").exists():
        return Store(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        _build(source, building, size=size, progress=progress)
        try:
            building.replace(folder)
        except OSError:
            if not (folder / "store.json").exists():  # else another process made the same store meanwhile
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Store(folder)


def _identity(source: ClassFolders, size: int) -> str:
    text = f"{source.path.resolve()} {source.fingerprint} {size} {RAW_LIMIT} {JPEG_QUALITY}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _build(source: ClassFolders, folder: Path, *, size: int, progress: Progress) -> None:
    import pyarrow as pa

    count = len(source.images)
    scanned = {
        s.image.name: s for s in (_scan(i, d, size) for i, d in progress(source, label="scanning", total=count, unit="image"))
    }
    pixels = sum(3 * s.shape[0] * s.shape[1] for s in scanned.values() if s.shape)
    raw = pixels <= RAW_LIMIT
    class_names = sorted({s.image.class_name for s in scanned.values()})
    label_of = {name: label for label, name in enumerate(class_names)}
    parts = sorted({s.image.part or "all" for s in scanned.values()})
    keys: dict[str, str] = {}
    for part in parts:
        members = [s for s in scanned.values() if (s.image.part or "all") == part]
        hashes = np.array([s.hash for s in members])
        labels = np.array([label_of[s.image.class_name] for s in members])
        keys.update(zip([s.image.name for s in members], number_duplicates(hashes, labels).tolist(), strict=True))
    schema = pa.schema(
        [("key", pa.string()), ("label", pa.int64()), ("name", pa.string()), ("height", pa.int32()), ("width", pa.int32()),
         ("image", pa.large_binary())]
    )  # fmt: skip
    writers = {part: pa.ipc.new_file(str(folder / f"{part}.arrow"), schema) for part in parts}
    waiting: dict[str, list[tuple[Any, ...]]] = {part: [] for part in parts}

    def flush(part: str) -> None:
        if waiting[part]:
            columns = [list(column) for column in zip(*waiting[part], strict=True)]
            writers[part].write_batch(
                pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
            )
            waiting[part].clear()

    undecodable: list[tuple[str, str]] = []
    with ThreadPoolExecutor() as pool:
        made = _ahead(pool, lambda item: (item[0], *_pixels(item[1], size, raw)), source)
        for image, height, width, data, why in progress(made, label="preparing", total=count, unit="image"):
            part = image.part or "all"
            if why:
                undecodable.append((image.name, why))
                if part == "train":
                    continue
            waiting[part].append((keys[image.name], label_of[image.class_name], image.name, height, width, data))
            if len(waiting[part]) >= ROWS_A_BATCH:
                flush(part)
    for part, writer in writers.items():
        flush(part)
        writer.close()
    if len(undecodable) == count:
        raise UserError(
            f"none of the {count} files in {source.path} can be decoded; the first, {undecodable[0][0]}: {undecodable[0][1]}"
        )
    codec = "codec=raw quality=lossless" if raw else f"codec=jpeg quality={JPEG_QUALITY}"
    write_json(
        folder / "store.json",
        {
            "class_names": class_names,
            "parts": parts,
            "codec": "raw" if raw else "jpeg",
            "preparation": f"size={size} resize=shorter-side-bilinear-antialias {codec}",
            "undecodable": undecodable,
        },
    )


def _ahead(pool: ThreadPoolExecutor, work: Callable[[Any], Any], items: Iterable[Any], depth: int = 64) -> Iterator[Any]:
    """`map` over a pool that never holds more than `depth` items, in order."""
    pending: list[Any] = []
    for item in items:
        pending.append(pool.submit(work, item))
        if len(pending) >= depth:
            yield pending.pop(0).result()
    for future in pending:
        yield future.result()


def _scan(image: SourceImage, data: bytes, size: int) -> _Scanned:
    try:
        shape = resized_shape(*image_shape(data), size)
    except Undecodable:
        shape = None
    return _Scanned(image, hashlib.sha256(data).hexdigest()[:16], shape)


def _pixels(data: bytes, size: int, raw: bool) -> tuple[int, int, bytes, str]:
    """(height, width, stored bytes, why it cannot be decoded or "")."""
    try:
        image = shrink(decode(data), size)
    except Undecodable as error:
        return 0, 0, b"", str(error)
    stored = image.permute(1, 2, 0).contiguous().numpy().tobytes() if raw else encode_jpeg(image, JPEG_QUALITY)
    return image.shape[1], image.shape[2], stored, ""
