"""Compute the digests of the standard splits and compare them with the published ones.

    python -m benchmarks.split_digests [--data-root DIR]

split_digests.toml holds the published digests; a test recomputes those whose files are present.
ILSVRC-2012's table of (validation image, class) is checked against the development kit in
harness/data/sources/_ilsvrc_val_labels.py.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from benchmarks.command_line import argument_parser
from harness.errors import UserError
from harness.workspace import Workspace

TABLE = Path(__file__).with_name("split_digests.toml")


def split_digests(
    spec: str, data_root: Path | None = None, path: Path | None = None
) -> dict[str, str | int]:
    """Return the digests and sizes of the labeled part (train and tune) and of test.

    Parameters
    ----------
    path : Path, optional
        Where the files are, for a dataset whose spec has a parameter `path`.
    """
    full_spec = f"{spec},path={path}" if path else spec
    splits = Workspace.open(data_root=data_root).dataset(full_spec, tune=0)
    return {
        "n_train": len(splits.train),
        "train": splits.train.digest,
        "n_test": len(splits.test),
        "test": splits.test.digest,
    }


def published_digests() -> dict[str, dict[str, str | int]]:
    """Return the digests on record by dataset spec."""
    return tomllib.loads(TABLE.read_text())


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument(
        "--caltech101",
        type=Path,
        help="folder of 101_ObjectCategories.tar.gz, if not the data root",
    )
    arguments = parser.parse_args()
    for spec, published in published_digests().items():
        path = arguments.caltech101 if spec.startswith("caltech101") else None
        try:
            digests = split_digests(spec, arguments.data_root, path)
        except UserError as error:
            print(f"{spec}: {error}")
        else:
            print(f"{spec}: {'as published' if digests == published else f'DIFFERS: {digests}'}")


if __name__ == "__main__":
    main()
