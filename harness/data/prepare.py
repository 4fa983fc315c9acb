"""Preparing: a source becomes a store, once. What was done before a kill is kept; the folder appears when it is whole.

The main thread reads the source in its order; a pool of threads hashes, decodes, shrinks and encodes (Pillow and torch work outside
Python's lock), a fixed number of images ahead; rows are written in the source's order, so that the bytes of a store depend on nothing else.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.data.decode import (
    Undecodable,
    decode_noted,
    encode_jpeg,
    image_shape,
    resized_shape,
    shrink,
)
from harness.data.identity import number_duplicates, split_digest
from harness.data.loader import cores
from harness.data.shards import (
    ROWS,
    Row,
    ShardFacts,
    ShardWriter,
    read_columns,
    read_facts,
    renamed,
)
from harness.data.sources import Source, SourceImage
from harness.data.sources._ilsvrc_val_labels import check_val_labels
from harness.data.store import BUILDING, Store, store_folder
from harness.errors import UserError
from harness.files import write_json

RAW_LIMIT = 4 * 2**30  # bytes of pixels up to which a store is kept lossless
JPEG_QUALITY = 95
SPACE_SAMPLE = 32  # images measured to foresee the size of a store
Progress = Callable[..., Iterator[Any]]


@dataclass(frozen=True)
class Preparation:
    """How pixels are made from source bytes."""

    size: int  # pixels of the shorter side at most
    raw: bool  # lossless, else JPEG

    def __str__(self) -> str:
        codec = "codec=raw quality=lossless" if self.raw else f"codec=jpeg quality={JPEG_QUALITY}"
        return f"size={self.size} resize=shorter-side-bilinear-antialias {codec}"

    def row(
        self, image: SourceImage, data: bytes | Undecodable
    ) -> tuple[SourceImage, Row, str, list[str]]:
        """(image, its row, why it cannot be decoded or "", what is unusual about it)."""
        key = hashlib.sha256(data if isinstance(data, bytes) else b"").hexdigest()[:16]
        try:
            if isinstance(data, Undecodable):
                raise data
            pixels, notes = decode_noted(data, image.name)
        except Undecodable as error:
            return image, Row(key, image.label, image.name, 0, 0, b""), str(error), []
        pixels = shrink(pixels, self.size)
        stored = (
            pixels.permute(1, 2, 0).contiguous().numpy().tobytes()
            if self.raw
            else encode_jpeg(pixels, JPEG_QUALITY)
        )
        return (
            image,
            Row(key, image.label, image.name, pixels.shape[1], pixels.shape[2], stored),
            "",
            notes,
        )


def prepare(
    source: Source,
    root: Path,
    *,
    progress: Progress,
    name: str | None = None,
    size: int = 256,
    workers: int | None = None,
) -> Store:
    """The store of `source` below `root`, made now unless it is there already.

    name     how to call it; by default the source's name and a hash of what it depends on, so that a changed source makes another store
    workers  threads that decode; default: as many as this process may use cores
    Raises UserError when there is one class only, the name is taken by something else, the labels of ILSVRC-2012's validation images are
    not the official ones, the disk is too small, or no image of a part can be decoded.
    """
    check_classes(source)
    made_from = identity(source, size)
    folder = store_folder(root, name or f"{source.path.name.split('.')[0]}-{made_from}")
    if (folder / "store.json").exists():
        return _same(Store(folder), made_from)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if not (folder / "store.json").exists():
            building = folder.with_name(f"{BUILDING}{folder.name}")
            with one_torch_thread(), _naming(building):
                _build(source, building, made_from, size, workers or cores(), progress)
            shutil.rmtree(folder, ignore_errors=True)  # there only where a removal was killed
            building.replace(folder)
    return _same(Store(folder), made_from)


def check_classes(source: Source) -> None:
    """Raises UserError for a source that no classifier can be made from."""
    if len(source.class_names) < 2 or not len(source):
        held = f"one class only ({source.class_names[0]})" if len(source) else "no labeled images"
        raise UserError(f"{source.path} holds {held}; a classifier needs at least two classes")


def identity(source: Source, size: int) -> str:
    """12 hex digits over everything that a store's bytes depend on."""
    text = f"{source.path.resolve()} {source.fingerprint} {size} {RAW_LIMIT} {JPEG_QUALITY} {ROWS}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _same(store: Store, made_from: str) -> Store:
    if store.facts["identity"] != made_from:
        raise UserError(
            f"the name {store.folder.name!r} is taken by a store of {store.facts['source']} (size {store.facts['size']}) as it was then; "
            f"choose another with --name, or remove that one: harness data rm {store.folder.name}"
        )
    return store


@contextmanager
def locked(folder: Path, timeout: float = -1) -> Iterator[None]:
    """One process at a time makes a store; the others wait, `timeout` seconds or for ever, and find it done. Raises filelock.Timeout."""
    from filelock import FileLock

    lock = folder.with_name(f".{folder.name}.lock")
    with FileLock(lock, timeout=timeout):
        yield
    lock.unlink(missing_ok=True)


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """A disk that fills up is said to be that of `folder`: who writes through an open file does not know."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        kept = "whole files are kept, and the same command goes on from there"
        raise OSError(error.errno, f"{os.strerror(error.errno)} ({kept})", str(folder)) from error


def _build(
    source: Source, folder: Path, made_from: str, size: int, workers: int, progress: Progress
) -> None:
    plan, finished = folder / "build.json", folder / "store.json"
    if _begun_from(finished) != made_from:
        if _begun_from(plan) != made_from:
            shutil.rmtree(
                folder, ignore_errors=True
            )  # of another source of this name, or killed before its plan was made
            folder.mkdir()
            check_val_labels(source)
            write_json(plan, {"identity": made_from, "raw": _fits_raw(source, size, progress)})
        preparation = Preparation(size, json.loads(plan.read_text())["raw"])
        with ThreadPoolExecutor(workers) as pool:
            _check_space(source, folder, preparation)
            _write_shards(source, folder, preparation, pool, 8 * workers, progress)
        _finish(source, folder, preparation, made_from)
    parts = json.loads(finished.read_text())["parts"]
    kept = {finished.name, *(name for part in parts.values() for name in part["files"])}
    for file in (
        folder.iterdir()
    ):  # plan, facts, and what a kill left between writing a file and giving it its name
        if file.name not in kept:
            file.unlink()


def _begun_from(file: Path) -> str:
    return json.loads(file.read_text())["identity"] if file.exists() else ""


def _fits_raw(source: Source, size: int, progress: Progress) -> bool:
    """Whether all pixels together stay below RAW_LIMIT. Reads headers, and of a large source only as many as settle it."""
    total = 0
    for image in progress(source, label="measuring", total=len(source), unit="image"):
        with suppress(Undecodable):
            height, width = resized_shape(*image_shape(image.read()), size)
            total += 3 * height * width
        if total > RAW_LIMIT:
            return False
    return True


def _check_space(source: Source, folder: Path, preparation: Preparation) -> None:
    """Raises UserError when the rest of the store will not fit, judged by the first images."""
    sizes = [
        len(row.image)
        for _, row, _, _ in (preparation.row(i, read(i)) for i in first(source, SPACE_SAMPLE))
    ]
    needed = expected_bytes(sizes, len(source)) - sum(
        file.stat().st_size for file in folder.glob("*.arrow")
    )
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the store of {source.path} will take about {needed / 1e9:.2f} GB more, and {folder.parent} has {free / 1e9:.2f} GB free; "
            f"make room, choose another --data-root, or a smaller --size"
        )


def expected_bytes(sizes: list[int], count: int) -> int:
    """What `count` images take whose stored sizes are like these, with a tenth to spare."""
    return int(1.1 * count * sum(sizes) / max(1, len(sizes)))


def first(source: Source, count: int) -> Iterator[SourceImage]:
    for nth, image in enumerate(source, 1):
        yield image
        if nth == count:
            return


def read(image: SourceImage) -> bytes | Undecodable:
    """The image's bytes, or why there are none."""
    try:
        return image.read()
    except Undecodable as error:
        return error


def _write_shards(
    source: Source,
    folder: Path,
    preparation: Preparation,
    pool: ThreadPoolExecutor,
    depth: int,
    progress: Progress,
) -> None:
    """Every shard that is not there yet. Rows of a part stand in the source's order, ROWS a shard."""
    seen: dict[str, int] = {}
    done: dict[Path, ShardFacts | None] = {}

    def wanted() -> Iterator[tuple[Path, SourceImage]]:
        for image in source:
            position = seen[image.part] = seen.get(image.part, -1) + 1
            shard = folder / f"{image.part}-{position // ROWS:05}.arrow"
            if shard not in done:
                done[shard] = read_facts(shard)
            if done[shard] is None:
                yield shard, image

    finished = sum(facts.rows for file in folder.glob("*.arrow") if (facts := read_facts(file)))
    jobs = ((shard, pool.submit(preparation.row, image, read(image))) for shard, image in wanted())
    writers: dict[str, ShardWriter] = {}
    finishing: list[
        Future[ShardFacts]
    ] = []  # in the pool: bringing a shard to the disk would keep this thread from reading on

    def finish(writers: Iterable[ShardWriter]) -> None:
        """What went wrong with earlier ones is raised here."""
        for earlier in finishing:
            earlier.result()
        finishing[:] = [pool.submit(writer.finish) for writer in writers]

    with ExitStack() as stack:
        for shard, future in progress(
            _ahead(jobs, depth), label="preparing", total=len(source) - finished, unit="image"
        ):
            image, row, why, notes = future.result()
            writer = writers.get(image.part)
            if writer is None or writer.path != shard:
                if writer is not None:
                    finish([writer])
                writer = writers[image.part] = stack.enter_context(
                    ShardWriter(shard, str(preparation))
                )
            writer.add(row)
            if why:
                writer.undecodable.append((image.name, why))
            writer.noted.extend((image.name, note) for note in notes)
        finish(writers.values())
        finish([])


def _ahead(
    jobs: Iterable[tuple[Path, Future[Any]]], depth: int
) -> Iterator[tuple[Path, Future[Any]]]:
    """The jobs in their order, of which `depth` are begun before the first is asked for: more would fill the memory."""
    begun: deque[tuple[Path, Future[Any]]] = deque()
    for job in jobs:
        begun.append(job)
        if len(begun) >= depth:
            yield begun.popleft()
    yield from begun


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """The pool has a thread a core already. Pillow's warning of large images is ours to give, as a line in the list."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    finally:
        torch.set_num_threads(threads)


def _finish(source: Source, folder: Path, preparation: Preparation, made_from: str) -> None:
    """Number equal images, and write down what the store holds."""
    parts: dict[str, dict[str, Any]] = {}
    for part in sorted({file.stem.rpartition("-")[0] for file in folder.glob("*.arrow")}):
        shards = sorted(folder.glob(f"{part}-*.arrow"))
        columns = [read_columns(shard, ["key", "label", "name", "height"]) for shard in shards]
        hashes = np.concatenate(
            [np.array([key[:16] for key in table["key"].to_pylist()]) for table in columns]
        )
        labels = np.concatenate([table["label"].to_numpy() for table in columns])
        readable = np.concatenate([table["height"].to_numpy() for table in columns]) > 0
        keys = number_duplicates(hashes, labels)
        ends = np.cumsum([len(table) for table in columns])
        facts = [
            renamed(shard, chunk)
            for shard, chunk in zip(shards, np.split(keys, ends[:-1]), strict=True)
        ]
        kept = readable if part == "train" else np.ones(len(keys), dtype=bool)
        parts[part] = {
            "n": int(kept.sum()),
            "digest": split_digest(str(preparation), keys[kept], labels[kept]),
            "undecodable": [pair for fact in facts for pair in fact.undecodable],
            "noted": [pair for fact in facts for pair in fact.noted],
            "files": {
                shard.name: {"rows": fact.rows, "sha256": fact.sha256}
                for shard, fact in zip(shards, facts, strict=True)
            },
        }
        if not readable.any():
            name, why = parts[part]["undecodable"][0]
            raise UserError(
                f"none of the {len(keys)} images of {part} in {source.path} can be decoded; the first, {name}: {why}"
            )
    facts_of_store = {
        "identity": made_from,
        "source": str(source.path.resolve()),
        "layout": source.layout,
        "size": preparation.size,
        "codec": "raw" if preparation.raw else "jpeg",
        "preparation": str(preparation),
        "class_names": list(source.class_names),
        "dataset_notes": list(source.dataset_notes),
        "parts": parts,
    }
    write_json(folder / "store.json", facts_of_store)
