"""The system to beat; for now the same as hog-svm, on its way to the SIFT and colour Fisher vectors of 2011."""

from __future__ import annotations

from pipelines.hog_svm import FAMILY, build

__all__ = ["FAMILY", "build"]
