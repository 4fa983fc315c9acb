"""The strongest hand-crafted system here; for now it is hog-svm under another name, with its settings and cost.

It is to become the system of 2011: SIFT and colour statistics, Fisher vectors, linear SVMs (Sanchez & Perronnin, CVPR 2011).
"""

from __future__ import annotations

from pipelines.hog_svm import build

FAMILY = "hand-crafted"
__all__ = ["FAMILY", "build"]
