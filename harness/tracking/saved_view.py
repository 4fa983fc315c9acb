"""The views that MLflow's UI opens on: the table of errors and times without a click, the seeds below their run, and charts.

By itself the UI shows neither a metric nor a parameter. A saved view is a tag on the experiment; its format is the UI's own and
undocumented (MLflow 3.15 and later), so a browser test watches it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

VIEW = "before-after"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"

# Widths in pixels, such that the errors and times show at 1600 pixels beside the panel that MLflow opens on a first visit.
# The first two columns are always there; the first shows our run id, the second whether it finished.
FIXED = {"attributes.`Run Name`": 146, "runDateAndNestInfo": 44}
WIDTHS = {
    "pipeline": 120,
    "dataset": 110,
    "top1_error": 124,
    "notes": 300,
}  # top1_error has the arrow of the sorting
HEADER, CHARACTER = 30, 7

CHARTS = "before-after"  # the section of the charts
# Top-1 error against seconds of fit, as bars, and on tune by epoch. MLflow draws a chart for every other metric below these.
CHART_CARDS: tuple[dict[str, Any], ...] = (
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


def views(columns: Sequence[str]) -> dict[str, str]:
    """Experiment tag -> value, for each saved view: the best run first; the newest first with seeds below their run; charts."""
    return {
        VIEW_TAG: _view("Before / after", _table(columns)),
        f"{VIEW_TAG}-seeds": _view(
            "Newest first, seeds together", {**_table(columns), **_by_date()}
        ),
        f"{VIEW_TAG}-charts": _view("Charts", {**_table(columns), **_charts()}),
    }


def _view(title: str, state: dict[str, Any]) -> str:
    """The state is JSON text inside JSON."""
    now = round(time.time() * 1000)
    return json.dumps(
        {"name": title, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    )


def _table(columns: Sequence[str]) -> dict[str, Any]:
    """These columns, best run first."""
    parts = [column.partition(".") for column in columns]
    keys = [f"{kind}.`{name}`" for kind, _, name in parts]
    widths = FIXED | {
        key: WIDTHS.get(name, HEADER + CHARACTER * len(name))
        for key, (_, _, name) in zip(keys, parts, strict=True)
    }
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


def _by_date() -> dict[str, Any]:
    """The one order in which the UI nests runs."""
    return {"orderByKey": "attributes.start_time", "orderByAsc": False}


def _charts() -> dict[str, Any]:
    cards = [
        {
            "uuid": f"{CHARTS}-{i}",
            "metricSectionId": CHARTS,
            "runsCountToCompare": 100,
            "deleted": False,
            "isGenerated": False,
            **card,
        }
        for i, card in enumerate(CHART_CARDS)
    ]
    section = {
        "uuid": CHARTS,
        "name": "Before / after",
        "display": True,
        "isReordered": False,
        "deleted": False,
        "isGenerated": False,
    }
    return {
        "compareRunCharts": cards,
        "compareRunSections": [section],
        "isAccordionReordered": True,
    }


def same_view(old: str | None, new: str) -> bool:
    """Equal but for the times that a view carries."""
    try:
        return bool(old and json.loads(old)["state"] == json.loads(new)["state"])
    except (ValueError, TypeError, KeyError):
        return False  # something else wrote this tag
