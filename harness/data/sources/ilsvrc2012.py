"""official ILSVRC-2012: ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12
(a folder or .tar.gz) in one folder.
"""

from __future__ import annotations

from pathlib import Path

from harness.data.sources import Source
from harness.data.sources._ilsvrc import Year, official_files

YEAR = Year(
    year=2012,
    page="https://image-net.org/challenges/LSVRC/2012/2012-downloads.php",
    kit="ILSVRC2012_devkit_t12.tar.gz (MD5 fa75699e90414af021442c21a62c3abf)",
    tars={
        "train": ("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e"),
        "val": ("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622"),
    },
    truth={"val": "ILSVRC2012_validation_ground_truth.txt"},
)


def open_source(path: Path) -> Source | None:
    """Open the official files. The 100,000 test images are ignored: they have no public labels."""
    return official_files(path, YEAR)
