"""The saved table that MLflow's UI opens on: pipeline, data set, errors and times side by side without a click.

By itself the UI shows neither a metric nor a parameter. A saved view is a tag on the experiment; its format is the UI's own and
undocumented (MLflow 3.15 and later), so a browser test watches it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

VIEW = "before-after"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
TITLE = "Before / after"

# Widths in pixels, such that the errors and times show at 1600 pixels beside the panel that MLflow opens on a first visit.
# The first two columns are always there; the first shows our run id, the second whether it finished.
FIXED = {"attributes.`Run Name`": 146, "runDateAndNestInfo": 44}
WIDTHS = {"pipeline": 120, "dataset": 110, "top1_error": 124, "notes": 300}  # top1_error has the arrow of the sorting
HEADER, CHARACTER = 30, 7


def table_view(columns: Sequence[str]) -> str:
    """The value of the experiment tag that makes the UI's table open with these columns, best run first.

    The format is the UI's own and undocumented (saved views, since MLflow 3.15): the state is JSON text inside JSON.
    """
    parts = [column.partition(".") for column in columns]
    keys = [f"{kind}.`{name}`" for kind, _, name in parts]
    widths = FIXED | {key: WIDTHS.get(name, HEADER + CHARACTER * len(name)) for key, (_, _, name) in zip(keys, parts, strict=True)}
    state = {
        "searchFilter": "metrics.top1_error >= 0",  # hides runs that did not finish
        "orderByKey": "metrics.`top1_error`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": keys,
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsHiddenMode": "FIRST_10_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }
    now = round(time.time() * 1000)
    return json.dumps({"name": TITLE, "createdAt": now, "updatedAt": now, "state": json.dumps(state)})


def same_view(old: str | None, new: str) -> bool:
    """Equal but for the times that a view carries."""
    try:
        return bool(old and json.loads(old)["state"] == json.loads(new)["state"])
    except (ValueError, TypeError, KeyError):
        return False  # something else wrote this tag
