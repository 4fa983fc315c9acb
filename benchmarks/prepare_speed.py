"""How fast is `prepare`, and how much memory does it take?

Question  images/s per core of preparing full-size photographs, compared with a bare loop of decode,
          resize and encode on the same cores.
Arms      The bare loop (the same three functions on as many threads, nothing stored) and prepare,
          alternated in one process. Both write JPEG, as `prepare` does for datasets of more than
          4 GB of pixels; in the timed rounds that limit is 0.
Rule      At least 85 % of the rate of the loop; peak resident memory of a process
          `harness prepare` below 1 GB.

    python -m benchmarks.prepare_speed SOURCE [--images N]

SOURCE is a tar of JPEGs. Its images are repeated up to N, each made distinct by a comment.
"""

from __future__ import annotations

import itertools
import resource
import statistics
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.command_line import argument_parser
from benchmarks.peak_memory import peak_megabytes
from benchmarks.repeated_tar import NAME, prepare_command, write_repeated_tar
from benchmarks.timing import timed
from harness.data import prepare as preparing
from harness.data.decode import decode, encode_jpeg, shrink
from harness.data.loader import usable_cores
from harness.data.preparation import JPEG_QUALITY
from harness.data.prepare import prepare, single_torch_thread
from harness.data.sources import open_source
from harness.progress import progress

MIN_SHARE, MAX_MEGABYTES = 0.85, 1000
LOOP_IMAGES = 500


def bare_loop_rate(data: list[bytes], threads: int) -> float:
    """Return the images per second of decode, resize and encode alone."""

    def process(start: int) -> None:
        for image in data[start::threads]:
            encode_jpeg(shrink(decode(image), 256), JPEG_QUALITY)

    with single_torch_thread(), ThreadPoolExecutor(threads) as pool:
        return len(data) / timed(lambda: list(pool.map(process, range(threads))))


def peak_of_command(source: Path, root: Path) -> float:
    """Return the peak resident memory of a process `harness prepare`, in MB."""
    subprocess.run(prepare_command(source, root), check=True)
    return peak_megabytes(resource.getrusage(resource.RUSAGE_CHILDREN))


def share_of_loop(tar: Path, root: Path, threads: int) -> float:
    """Return the rate of prepare divided by the rate of the bare loop."""
    source = open_source(tar)
    images = [image.read() for image in itertools.islice(source, LOOP_IMAGES)]
    loop = bare_loop_rate(images, threads)
    seconds = timed(lambda: prepare(source, root, progress=progress, name=NAME, workers=threads))
    rate = len(source) / seconds
    print(
        f"loop {loop / threads:.0f}, prepare {rate / threads:.0f} images/s per core: "
        f"{100 * rate / loop:.0f} %",
        flush=True,
    )
    return rate / loop


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("source", type=Path, help="a tar of JPEGs")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-only", action="store_true", help="measure no rates")
    arguments = parser.parse_args()
    images, rounds, threads = arguments.images, arguments.rounds, usable_cores()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tar = write_repeated_tar(arguments.source, folder / "repeated.tar", images)
        peak = peak_of_command(tar, folder / "memory")
        print(
            f"{images:,} images, {threads} threads: peak memory {peak:,.0f} MB, "
            f"allowed {MAX_MEGABYTES:,} MB",
            flush=True,
        )
        if arguments.memory_only:
            return int(peak >= MAX_MEGABYTES)
        preparing.RAW_LIMIT = 0
        shares = [share_of_loop(tar, folder / str(i), threads) for i in range(rounds)]
    share = statistics.median(shares)
    passed = share >= MIN_SHARE and peak < MAX_MEGABYTES
    verdict = "passed" if passed else "FAILED"
    print(f"median of {rounds} rounds: {100 * share:.0f} % of the bare loop; {verdict}")
    return int(not passed)


if __name__ == "__main__":
    raise SystemExit(main())
