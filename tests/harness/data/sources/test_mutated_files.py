"""An attack with mutated archives and tables: each is read, or refused in one line.

Bits are flipped, files cut, headers edited, blocks repeated and lengths made absurd. Run by hand:
`pytest -m slow tests/harness/data/sources/test_mutated_files.py`.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from harness.data.decode import Undecodable
from harness.data.prepare import prepare
from harness.data.sources import open_source
from harness.errors import UserError

MUTANTS = 60  # of each kind of file
SECONDS_PER_FILE = 60
CLASSES = ("cat", "dog")


def picture(i: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(i).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {f"{name}/{i}.png": picture(i + 10 * k) for k, name in enumerate(CLASSES) for i in range(5)}


def write_tar(path: Path, mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("cat/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "0.png"
        archive.addfile(link)


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)


def write_shard(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for i in range(10):
            for suffix, data in (("png", picture(i)), ("json", b'{"label": %d}' % (i % 2))):
                member = tarfile.TarInfo(f"{i:04}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def write_parquet(path: Path) -> None:
    features = {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    cells = [{"bytes": picture(i), "path": f"{i}.png"} for i in range(10)]
    table = pa.table({"image": cells, "label": [i % 2 for i in range(10)]})
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=4)


def write_labeled(path: Path) -> None:
    """Write a flat folder with its table of labels; only the table is mutated."""
    (path.parent / "train").mkdir(exist_ok=True)
    rows = ["id,breed"]
    for i in range(10):
        (path.parent / f"train/{i}.png").write_bytes(picture(i))
        rows.append(f'{i},"{CLASSES[i % 2]}"')
    path.write_text("\n".join(rows))


WRITERS: dict[str, Callable[[Path], None]] = {
    "photos.tar": write_tar,
    "photos.tar.gz": lambda path: write_tar(path, "w:gz"),
    "photos.tar.xz": lambda path: write_tar(path, "w:xz"),
    "photos.zip": write_zip,
    "train-000.tar": write_shard,
    "train.parquet": write_parquet,
    "labels.csv": write_labeled,
}


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damage a file in one of seven ways."""
    mutant = bytearray(data)
    start = rng.randrange(len(mutant))
    kind = rng.randrange(7)
    if kind == 0:
        for _ in range(rng.randint(1, 8)):
            mutant[rng.randrange(len(mutant))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del mutant[start:]
    elif kind == 2:
        del mutant[start : start + rng.randint(1, 600)]
    elif kind == 3:
        mutant[start:start] = mutant[start : start + rng.randint(1, 600)]
    elif kind == 4:  # absurd lengths
        mutant[start : start + 8] = rng.choice([b"\xff" * 8, b"77777777", b"\x80" + bytes(7)])
    elif kind == 5:
        mutant[start : start + 64] = rng.randbytes(min(64, len(mutant) - start))
    else:
        end = rng.choice([start, len(mutant) - 1 - rng.randrange(min(200, len(mutant)))])
        mutant[end : end + 4] = rng.randbytes(4)
    return bytes(mutant)


def mutate_tar_header(data: bytes, rng: random.Random) -> bytes:
    """Change fields of a tar's header and correct the checksum, so that the header is believed."""
    mutant = bytearray(data)
    headers = [i for i in range(0, len(data) - 512, 512) if data[i + 257 : i + 262] == b"ustar"]
    start = rng.choice(headers)
    values = {
        (0, 100): rng.choice([b"../../x.png", b"/etc/passwd", b"\xff\xfe.png", b"a/" * 49, b""]),
        (124, 12): rng.choice([b"77777777777", b"-1", b"\x80" + b"\xff" * 11, b"00000000000"]),
        (156, 1): rng.choice([b"1", b"2", b"3", b"6", b"L", b"K", b"x", b"g", b"S", b"\xff"]),
        (157, 100): rng.choice([b"../../etc/passwd", b"cat/0.png", b"cat/link.png"]),
    }
    for (offset, length), value in rng.sample(sorted(values.items()), rng.randint(1, 3)):
        mutant[start + offset : start + offset + length] = value[:length].ljust(length, b"\0")
    mutant[start + 148 : start + 156] = b" " * 8
    total = sum(mutant[start : start + 512])
    mutant[start + 148 : start + 156] = b"%06o\0 " % total
    return bytes(mutant)


def read_everything(path: Path, root: Path) -> str:
    """Prepare a source and return what came of it."""
    try:
        source = open_source(path)
        for image in source:
            with suppress(Undecodable):
                image.read()
        prepare(source, root, progress=lambda items, **_: iter(items), workers=1)
    except UserError as error:
        message = str(error).replace("\n  ", "")  # the list of known layouts
        return "refused" if "\n" not in message else message
    return "read"


@pytest.mark.slow
@pytest.mark.timeout(SECONDS_PER_FILE * MUTANTS)
@pytest.mark.parametrize("name", WRITERS)
def test_a_mutated_file_is_read_or_refused_in_one_line(workdir: Path, name: str) -> None:
    path = workdir / "source" / name
    path.parent.mkdir()
    WRITERS[name](path)
    data = path.read_bytes()
    source = path.parent if name.endswith((".csv", ".parquet")) else path
    assert read_everything(source, workdir / "root") == "read"
    outcomes = []
    for seed in range(MUTANTS):
        rng = random.Random(seed)
        edits_header = name.endswith(".tar") and seed % 2
        path.write_bytes((mutate_tar_header if edits_header else mutate)(data, rng))
        outcomes.append(read_everything(source, workdir / "root"))
    assert len(outcomes) == MUTANTS
    assert set(outcomes) <= {"read", "refused"}
    print(f"{name}: {outcomes.count('read')} read, {outcomes.count('refused')} refused")
