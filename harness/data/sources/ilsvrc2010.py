"""official ILSVRC-2010: ILSVRC2010_images_train.tar, _val.tar and _test.tar, devkit 1.0 and
ILSVRC2010_test_ground_truth.txt in one folder.

The test labels are public, in a separate file beside the kit. Table 1 of Krizhevsky et al. 2012 and
their comparison of one and two columns use these test images.
"""

from __future__ import annotations

from pathlib import Path

from harness.data.sources import Source
from harness.data.sources._ilsvrc import Year, official_files

YEAR = Year(
    year=2010,
    page="https://image-net.org/challenges/LSVRC/2010/2010-downloads.php",
    kit="ILSVRC2010_devkit-1.0.tar.gz",
    tars={
        "train": ("ILSVRC2010_images_train.tar", ""),
        "val": ("ILSVRC2010_images_val.tar", ""),
        "test": ("ILSVRC2010_images_test.tar", ""),
    },
    truth={
        "val": "ILSVRC2010_validation_ground_truth.txt",
        "test": "ILSVRC2010_test_ground_truth.txt",
    },
)


def open_source(path: Path) -> Source | None:
    return official_files(path, YEAR)
