"""Preparation of a source: decode and resize every image once, into a prepared dataset.

The main thread reads the source in its order; a pool of threads hashes, decodes, shrinks and
encodes (Pillow and torch work outside Python's lock), a fixed number of images ahead. Rows are
written in the source's order, so the bytes of the result depend on nothing else.

A preparation that is killed keeps its complete shards, and the next one continues from there. The
folder gets its name when everything is written. Measured by benchmarks/prepare_speed.py: at least
85 % of the rate of the bare loop of decode, resize and encode.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from harness.commands import harness_command
from harness.data.arrow_shards import (
    ROWS_PER_SHARD,
    ShardSummary,
    ShardWriter,
    read_columns,
    read_summary,
    replace_keys,
)
from harness.data.decode import Undecodable, ignore_pillow_warnings, image_shape, resized_shape
from harness.data.identity import HASH_DIGITS, number_duplicates, split_digest
from harness.data.loader import usable_cores
from harness.data.manifest import MANIFEST, read_manifest
from harness.data.preparation import JPEG_QUALITY, Preparation, PreparedImage, read_or_explain
from harness.data.prepared_dataset import (
    CONVERSION,
    METADATA,
    UNFINISHED_PREFIX,
    PreparedDataset,
    prepared_folder,
    rows_checksum,
)
from harness.data.root import make_folder
from harness.data.sources import Source, SourceImage
from harness.data.sources._ilsvrc_val_labels import check_val_labels
from harness.data.undecodable import UNREADABLE
from harness.data.unfinished import explain_failure, preparation_lock
from harness.errors import UserError
from harness.files import write_json

RAW_LIMIT = 4 * 2**30  # bytes of pixels up to which a dataset is stored lossless
SAMPLE_IMAGES = 32  # measured to estimate the size of the result
IMAGES_AHEAD_PER_WORKER = 8
BUILD_PLAN = "build.json"  # which source a preparation was begun from, and its codec
Progress = Callable[..., Iterator[Any]]
ShardJob = tuple[Path, Future[PreparedImage]]


def prepare(
    source: Source,
    root: Path,
    *,
    progress: Progress,
    name: str | None = None,
    size: int = 256,
    workers: int | None = None,
) -> PreparedDataset:
    """Prepare a source, unless that was done already.

    Parameters
    ----------
    source : Source
    root : Path
        The data root.
    progress : callable
        Wraps an iterable and shows how far it is, like `harness.progress.progress`.
    name : str, optional
        Default: the source's name and a hash of all that the result depends on, so that a changed
        source is prepared again.
    size : int
        Upper limit of the shorter side, in pixels; smaller images keep their size.
    workers : int, optional
        Threads that decode. Default: the number of usable cores.

    Raises
    ------
    UserError
        If there are fewer than two classes, another source is prepared under this name, the
        labels of ILSVRC-2012's validation images are not the official ones, the disk is too
        small, or no image of a part can be decoded.
    """
    check_classes(source)
    identity = source_identity(source, size)
    folder = prepared_folder(root, name or f"{source.path.name.split('.')[0]}-{identity}")
    if not _is_missing(folder, identity, source, named=name is not None):
        return _open_checked(folder, identity, source)
    make_folder(folder.parent)
    with preparation_lock(folder):
        if _is_missing(folder, identity, source, named=name is not None):
            unfinished = folder.with_name(f"{UNFINISHED_PREFIX}{folder.name}")
            with single_torch_thread(), explain_failure(unfinished):
                _build(source, unfinished, identity, size, workers or usable_cores(), progress)
            # exists if a removal was killed, or an earlier version read or converted it otherwise
            shutil.rmtree(folder, ignore_errors=True)
            unfinished.replace(folder)
    return _open_checked(folder, identity, source)


def _is_missing(folder: Path, identity: str, source: Source, *, named: bool) -> bool:
    """Return whether a dataset is to be prepared: there is none, or one that is out of date.

    That is so if an earlier version converted its images or took other folders for the classes
    (but no name that the user chose is given to other images), or if files that could not be read
    then, such as for want of permission, can be read now. The identity does not show any of this.
    """
    if not (folder / MANIFEST).exists():
        return True
    prepared = PreparedDataset(folder)
    if not named and not _is_read_alike(prepared, source):
        return True
    if prepared.manifest["identity"] != identity:
        return False
    unread = (name for _, name, reason in prepared.undecodable if reason.startswith(UNREADABLE))
    return bool(prepared.outdated) or any(_is_readable(source.path / name) for name in unread)


def _is_readable(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return bool(opened.read(1))
    except OSError:
        return False


def _is_read_alike(prepared: PreparedDataset, source: Source) -> bool:
    """Return whether a prepared dataset has the classes and the number of images of its source.

    It has not if another version of the harness took other folders for the classes.
    """
    manifest = prepared.manifest
    files = [file for part in manifest["parts"].values() for file in part["files"].values()]
    rows = sum(file["rows"] for file in files)
    return (manifest["class_names"], rows) == (list(source.class_names), len(source))


def check_classes(source: Source) -> None:
    """Raise UserError if a source has fewer than two classes or no images."""
    if len(source.class_names) >= 2 and len(source):
        return
    content = f"one class only ({source.class_names[0]})" if len(source) else "no labeled images"
    notes = "".join(f"\n  {note}" for note in source.dataset_notes)
    raise UserError(
        f"{source.path} holds {content}; a classifier needs at least two classes{notes}"
    )


def source_identity(source: Source, size: int) -> str:
    """Return 12 hex digits over everything that the bytes of the result depend on."""
    limits = f"{size} {RAW_LIMIT} {JPEG_QUALITY} {ROWS_PER_SHARD}"
    text = f"{source.path.resolve()} {source.fingerprint} {limits}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _open_checked(folder: Path, identity: str, source: Source) -> PreparedDataset:
    """Open a prepared dataset; raise UserError if it was made from another source."""
    prepared = PreparedDataset(folder)
    manifest = prepared.manifest
    if manifest["identity"] != identity or not _is_read_alike(prepared, source):
        raise UserError(
            f"the name {prepared.name!r} is used for a dataset that was prepared from other files "
            f"or settings ({manifest['source']}, size={manifest['size']}); choose another name, "
            f"or remove that dataset: {harness_command('data', 'rm', prepared.name)}"
        )
    return prepared


@contextmanager
def single_torch_thread() -> Iterator[None]:
    """Limit torch to one thread, since the pool already has one per core."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ignore_pillow_warnings():
            yield
    finally:
        torch.set_num_threads(threads)


def _build(
    source: Source, folder: Path, identity: str, size: int, workers: int, progress: Progress
) -> None:
    """Do the steps of a preparation that are not done yet."""
    plan, manifest = folder / BUILD_PLAN, folder / MANIFEST
    if _recorded_identity(manifest) != identity:
        if _recorded_identity(plan) != identity:
            # from another source of this name, or killed before its plan was written
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            check_val_labels(source)
            write_json(plan, {"identity": identity, "raw": _fits_raw(source, size, progress)})
        preparation = Preparation(size, json.loads(plan.read_text())["raw"])
        with ThreadPoolExecutor(workers) as pool:
            _check_disk_space(source, folder, preparation)
            ahead = IMAGES_AHEAD_PER_WORKER * workers
            _write_shards(source, folder, preparation, pool, ahead, progress)
        _write_manifest(source, folder, preparation, identity)
    parts = read_manifest(folder)["parts"]
    kept = {manifest.name, *(name for part in parts.values() for name in part["files"])}
    for file in folder.iterdir():
        # the plan, the summaries of shards, and temporary files that a kill left
        if file.name not in kept:
            file.unlink()


def _recorded_identity(file: Path) -> str:
    """Return the identity in a plan or manifest; "" if it is missing or damaged."""
    try:
        return str(json.loads(file.read_bytes())["identity"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ""


def _fits_raw(source: Source, size: int, progress: Progress) -> bool:
    """Return whether all pixels together stay below RAW_LIMIT, read from headers only."""
    total = 0
    for image in progress(source, label="measuring", total=len(source), unit="image"):
        with suppress(Undecodable):
            height, width = resized_shape(*image_shape(image.read()), size)
            total += 3 * height * width
        if total > RAW_LIMIT:
            return False
    return True


def _check_disk_space(source: Source, folder: Path, preparation: Preparation) -> None:
    """Raise UserError if the missing shards will not fit, judged by the first images."""
    sizes = [
        len(preparation.apply(image, read_or_explain(image)).row.image)
        for image in islice(source, SAMPLE_IMAGES)
    ]
    written = sum(file.stat().st_size for file in folder.glob("*.arrow"))
    needed = estimate_bytes(sizes, len(source)) - written
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"preparing {source.path} will take about {needed / 1e9:.2f} GB more, and "
            f"{folder.parent} has {free / 1e9:.2f} GB free; make room, or choose another "
            "data_root or a smaller size"
        )


def estimate_bytes(sizes: list[int], count: int) -> int:
    """Return the bytes of `count` images with stored sizes like these, plus a tenth."""
    return int(1.1 * count * sum(sizes) / max(1, len(sizes)))


def _write_shards(
    source: Source,
    folder: Path,
    preparation: Preparation,
    pool: ThreadPoolExecutor,
    ahead: int,
    progress: Progress,
) -> None:
    """Write every shard that is not complete; the rows of a part keep the source's order."""
    complete = [read_summary(file) for file in folder.glob("*.arrow")]
    remaining = len(source) - sum(summary.rows for summary in complete if summary)
    jobs: Iterable[ShardJob] = (
        (shard, pool.submit(preparation.apply, image, read_or_explain(image)))
        for shard, image in _missing_images(source, folder)
    )
    writers: dict[str, ShardWriter] = {}
    finishing: list[Future[ShardSummary]] = []

    def finish(writers: Iterable[ShardWriter]) -> None:
        """Sync shards to the disk in the pool, so that this thread can continue to read."""
        for earlier in finishing:
            earlier.result()  # raises the error of an earlier shard
        finishing[:] = [pool.submit(writer.finish) for writer in writers]

    with ExitStack() as stack:
        started = _run_ahead(jobs, ahead)
        for shard, job in progress(started, label="preparing", total=remaining, unit="image"):
            prepared = job.result()
            part, name = prepared.source.part, prepared.source.name
            writer = writers.get(part)
            if writer is None or writer.path != shard:
                if writer is not None:
                    finish([writer])
                writer = stack.enter_context(ShardWriter(shard, str(preparation)))
                writers[part] = writer
            writer.add(prepared.row)
            if prepared.undecodable:
                writer.undecodable.append((name, prepared.undecodable))
            writer.unusual.extend((name, description) for description in prepared.unusual)
        finish(writers.values())
        finish([])


def _missing_images(source: Source, folder: Path) -> Iterator[tuple[Path, SourceImage]]:
    """Yield the images whose shard is not complete, with the path of that shard."""
    counts: dict[str, int] = {}
    summaries: dict[Path, ShardSummary | None] = {}
    for image in source:
        position = counts.get(image.part, 0)
        counts[image.part] = position + 1
        shard = folder / f"{image.part}-{position // ROWS_PER_SHARD:05}.arrow"
        if shard not in summaries:
            summaries[shard] = read_summary(shard)
        if summaries[shard] is None:
            yield shard, image


def _run_ahead(jobs: Iterable[ShardJob], ahead: int) -> Iterator[ShardJob]:
    """Yield the jobs in order, with at most `ahead` started: more would fill the memory."""
    started: deque[ShardJob] = deque()
    for job in jobs:
        started.append(job)
        if len(started) >= ahead:
            yield started.popleft()
    yield from started


def _write_manifest(source: Source, folder: Path, preparation: Preparation, identity: str) -> None:
    shards = list(folder.glob("*.arrow"))
    part_names = sorted({shard.stem.rpartition("-")[0] for shard in shards})
    summaries = filter(None, map(read_summary, shards))
    line = preparation.line(text for summary in summaries for _, text in summary.unusual)
    manifest: dict[str, Any] = {
        "identity": identity,
        "source": str(source.path.resolve()),
        "layout": source.layout,
        "size": preparation.size,
        "codec": "raw" if preparation.raw else "jpeg",
        "preparation": line,
        "conversion": CONVERSION,
        "class_names": list(source.class_names),
        "dataset_notes": list(source.dataset_notes),
        "part_folders": dict(source.part_folders),
        "parts": dict.fromkeys(part_names),
    }
    for part in part_names:
        manifest["parts"][part] = _finish_part(source, folder, manifest, part)
    write_json(folder / MANIFEST, manifest)


def _finish_part(
    source: Source, folder: Path, manifest: Mapping[str, Any], part: str
) -> dict[str, Any]:
    """Number the duplicates of a part, and return its entry in the manifest."""
    import pyarrow as pa

    shards = sorted(folder.glob(f"{part}-*.arrow"))
    tables = [read_columns(shard, METADATA) for shard in shards]
    table = pa.concat_tables(tables)
    hashes = [key[:HASH_DIGITS] for key in table["key"].to_pylist()]
    labels, readable = table["label"].to_numpy(), table["height"].to_numpy() > 0
    keys = number_duplicates(np.array(hashes), labels)
    ends = np.cumsum([len(table) for table in tables])
    keys_of_shards = np.split(keys, ends[:-1])
    summaries = [
        replace_keys(shard, keys) for shard, keys in zip(shards, keys_of_shards, strict=True)
    ]
    undecodable = [pair for summary in summaries for pair in summary.undecodable]
    if not readable.any():
        name, reason = undecodable[0]
        is_same = all(other == reason for _, other in undecodable)
        raise UserError(
            f"none of the {len(keys):,} images of {part} in {source.path} can be decoded; "
            f"{'each' if is_same else 'the first'}, {'such as ' * is_same}{name}: {reason}"
        )
    kept = readable if part == "train" else np.ones(len(keys), dtype=bool)
    return {
        "n": int(kept.sum()),
        "digest": split_digest(manifest["preparation"], keys[kept], labels[kept]),
        "rows_sha256": rows_checksum(manifest, keys.tolist(), table),
        "undecodable": undecodable,
        "unusual": [pair for summary in summaries for pair in summary.unusual],
        "files": {
            shard.name: {"rows": summary.rows, "sha256": summary.sha256}
            for shard, summary in zip(shards, summaries, strict=True)
        },
    }
