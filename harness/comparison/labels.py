"""What the rows of a comparison are called where each must be told from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.spec import format_spec, parse_spec

if TYPE_CHECKING:
    from harness.comparison.compare import Row


def row_labels(rows: Sequence[Row]) -> list[str]:
    """The names; rows of one name with the parameters in which they differ, and where they differ in none, with their runs.

    `none` goes without saying, as it does of a run that is older than the parameter.
    """
    specs = [
        {key: value for key, value in parse_spec(row.pipeline)[1].items() if value != "none"}
        for row in rows
    ]
    labels = []
    for row, values in zip(rows, specs, strict=True):
        others = [spec for other, spec in zip(rows, specs, strict=True) if other.name == row.name]
        different = {
            key: value
            for key, value in values.items()
            if any(spec.get(key) != value for spec in others)
        }
        labels.append(format_spec(row.name, different))
    return [
        f"{label} ({', '.join(row.run_ids)})" if labels.count(label) > 1 else label
        for label, row in zip(labels, rows, strict=True)
    ]
