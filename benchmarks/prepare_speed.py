"""How fast is `prepare`, how much memory does it take? `python -m benchmarks.prepare_speed SOURCE [--images N]`

Question    images/s a core of preparing full-size photographs, against a bare loop of decode, resize and encode on the same cores
Arms        the bare loop (the same three functions, no store, on as many threads) and prepare, alternated in one process
            Both keep JPEG, as `prepare` does with every set of more than 4 GB of pixels; for the timed rounds that limit is 0
Decision    prepare at 85 % of the loop or more; peak resident memory of a process `harness prepare` below 1 GB
SOURCE is a tar of JPEGs; its images are repeated, each made distinct by a comment, up to N.
"""

from __future__ import annotations

import argparse
import io
import itertools
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.memory import peak_megabytes
from harness.data import prepare as preparing
from harness.data.decode import decode, encode_jpeg, shrink
from harness.data.loader import cores
from harness.data.prepare import JPEG_QUALITY, one_torch_thread, prepare
from harness.data.sources import open_source
from harness.progress import progress


def repeated(source: Path, target: Path, count: int) -> Path:
    """A tar `target` of `count` JPEGs in class folders: those of the tar `source` over and over, each with a comment of its own."""
    with tarfile.open(source) as archive:
        photos = [
            (Path(m.name), content.read())
            for m in archive
            if m.isfile() and (content := archive.extractfile(m))
        ]
    with tarfile.open(target, "w") as archive:
        for i, (name, data) in zip(range(count), itertools.cycle(photos), strict=False):
            comment = f"{i:010}".encode()
            data = (
                data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]
            )
            member = tarfile.TarInfo(
                f"{'val' if i % 20 == 0 else 'train'}/{name.name[:9]}/{i}{name.suffix}"
            )
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target


LEAST_SHARE, MOST_MEGABYTES = 0.85, 1000


def bare_loop(data: list[bytes], threads: int) -> float:
    """Images a second of decode, resize, encode and nothing else."""

    def work(start: int) -> None:
        for image in data[start::threads]:
            encode_jpeg(shrink(decode(image), 256), JPEG_QUALITY)

    with one_torch_thread(), ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        list(pool.map(work, range(threads)))
        return len(data) / (time.perf_counter() - started)


def peak_of_command(source: Path, root: Path) -> float:
    """Megabytes that a process `harness prepare` holds resident at its peak."""
    command = [
        sys.executable,
        "-m",
        "harness",
        "prepare",
        str(source),
        "--name",
        "repeated",
        "--data-root",
        str(root),
    ]
    subprocess.run(command, check=True)
    return peak_megabytes(resource.getrusage(resource.RUSAGE_CHILDREN))


def ratio_of_rates(tar: Path, root: Path, threads: int) -> float:
    """images/s of prepare over those of the bare loop."""
    source = open_source(tar)
    loop = bare_loop([image.read() for image in itertools.islice(source, 500)], threads)
    started = time.perf_counter()
    prepare(source, root, progress=progress, name="repeated", workers=threads)
    rate = len(source) / (time.perf_counter() - started)
    print(
        f"loop {loop / threads:.0f}, prepare {rate / threads:.0f} images/s a core: {100 * rate / loop:.0f} %",
        flush=True,
    )
    return rate / loop


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-only", action="store_true", help="no rounds")
    arguments = parser.parse_args()
    threads = cores()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tar = repeated(arguments.source, folder / "repeated.tar", arguments.images)
        peak = peak_of_command(tar, folder / "memory")
        print(
            f"{arguments.images:,} images, {threads} threads: peak {peak:,.0f} MB, below {MOST_MEGABYTES:,} wanted",
            flush=True,
        )
        if arguments.memory_only:
            return int(peak >= MOST_MEGABYTES)
        preparing.RAW_LIMIT = 0
        share = statistics.median(
            ratio_of_rates(tar, folder / str(turn), threads) for turn in range(arguments.rounds)
        )
    passed = share >= LEAST_SHARE and peak < MOST_MEGABYTES
    print(
        f"median of {arguments.rounds} rounds: {100 * share:.0f} % of the bare loop; {'passed' if passed else 'FAILED'}"
    )
    return int(not passed)


if __name__ == "__main__":
    raise SystemExit(main())
