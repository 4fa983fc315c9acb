"""Digests of the standard splits, from the published files: `python -m benchmarks.digests [--data-root DIR]` makes those that are here.

digests.toml holds what was found; a test makes the ones again whose files it finds. ILSVRC-2012's table of (validation image, class) is held
against the development kit in harness/data/val_table.py.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

from harness.data.load import load_dataset
from harness.errors import UserError

TABLE = Path(__file__).with_name("digests.toml")


def digests(
    spec: str, data_root: Path | None = None, path: Path | None = None
) -> dict[str, str | int]:
    """Of train + tune and of test, with their sizes. `path` is where the files of a dataset lie that takes one."""
    splits = load_dataset(f"{spec}{f',path={path}' if path else ''}", data_root=data_root, tune=0)
    return {
        "n_train": len(splits.train),
        "train": splits.train.digest,
        "n_test": len(splits.test),
        "test": splits.test.digest,
    }


def published() -> dict[str, dict[str, str | int]]:
    return tomllib.loads(TABLE.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path)
    parser.add_argument(
        "--caltech101",
        type=Path,
        help="where 101_ObjectCategories.tar.gz lies, if not in the data root",
    )
    arguments = parser.parse_args()
    for spec, known in published().items():
        try:
            found = digests(
                spec,
                arguments.data_root,
                arguments.caltech101 if spec.startswith("caltech101") else None,
            )
        except UserError as error:
            print(f"{spec}: {error}")
        else:
            print(f"{spec}: {'as published' if found == known else f'DIFFERS: {found}'}")


if __name__ == "__main__":
    main()
