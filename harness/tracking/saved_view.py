"""The views that the MLflow UI opens on: errors and times, runs grouped by seeds, charts.

By default the UI shows neither metrics nor parameters. A saved view is a tag on the experiment; its
format is the UI's own and undocumented (MLflow 3.15 and later), so a browser test checks it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

VIEW = "before-after"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"

# Widths in pixels. Errors and times fit into 1600 pixels beside the panel that MLflow opens on a
# first visit. The first two columns, run name and status, are always shown.
FIXED_WIDTHS = {"attributes.`Run Name`": 146, "runDateAndNestInfo": 44}
WIDTHS = {
    "pipeline": 120,
    "dataset": 110,
    "top1_error": 124,  # with the arrow that shows the order
    "notes": 300,
}
HEADER_WIDTH, CHARACTER_WIDTH = 30, 7

CHART_SECTION = "before-after"
# Top-1 error against fit seconds, as bars, and on tune by epoch. MLflow draws a chart for every
# other metric below these.
CHARTS: tuple[dict[str, Any], ...] = (
    {
        "type": "SCATTER",
        "xaxis": {"key": "fit_seconds", "type": "METRIC"},
        "yaxis": {"key": "top1_error", "type": "METRIC"},
    },
    {"type": "BAR", "metricKey": "top1_error"},
    {
        "type": "LINE",
        "metricKey": "val/top1_error",
        "selectedMetricKeys": ["val/top1_error"],
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    },
)


def saved_views(columns: Sequence[str]) -> dict[str, str]:
    """Return the experiment's tag for each saved view.

    Parameters
    ----------
    columns : sequence of str
        `metrics.NAME`, `params.NAME` or `tags.NAME`, from left to right.

    Returns
    -------
    dict of str to str
        Tag to value: the table with the lowest error first, the newest first with runs grouped by
        seeds, and the charts.
    """
    table = _table_state(columns)
    # The UI nests runs only when they are ordered by date.
    by_date = {"orderByKey": "attributes.start_time", "orderByAsc": False}
    return {
        VIEW_TAG: _to_tag("Before / after", table),
        f"{VIEW_TAG}-seeds": _to_tag("Newest first, seeds together", table | by_date),
        f"{VIEW_TAG}-charts": _to_tag("Charts", table | _chart_state()),
    }


def is_same_view(old: str | None, new: str) -> bool:
    """Return whether two views are equal apart from their times."""
    try:
        return bool(old and json.loads(old)["state"] == json.loads(new)["state"])
    except (ValueError, TypeError, KeyError):
        return False  # something else wrote this tag


def _to_tag(title: str, state: dict[str, Any]) -> str:
    """Return the tag's value; the UI expects the state as JSON text inside JSON."""
    now = round(time.time() * 1000)
    return json.dumps(
        {"name": title, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    )


def _table_state(columns: Sequence[str]) -> dict[str, Any]:
    """Return the state of a table with these columns, the lowest error first."""
    widths = dict(FIXED_WIDTHS)
    keys = []
    for column in columns:
        kind, _, name = column.partition(".")
        keys.append(f"{kind}.`{name}`")
        widths[keys[-1]] = WIDTHS.get(name, HEADER_WIDTH + CHARACTER_WIDTH * len(name))
    return {
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
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }


def _chart_state() -> dict[str, Any]:
    """Return the part of the state that holds the charts, in a section of their own."""
    charts = [
        {
            "uuid": f"{CHART_SECTION}-{i}",
            "metricSectionId": CHART_SECTION,
            "runsCountToCompare": 100,
            "deleted": False,
            "isGenerated": False,
            **chart,
        }
        for i, chart in enumerate(CHARTS)
    ]
    section = {
        "uuid": CHART_SECTION,
        "name": "Before / after",
        "display": True,
        "isReordered": False,
        "deleted": False,
        "isGenerated": False,
    }
    return {
        "compareRunCharts": charts,
        "compareRunSections": [section],
        "isAccordionReordered": True,
    }
