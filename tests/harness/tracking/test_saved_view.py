"""The saved views that the MLflow UI opens on."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

from harness.settings import Settings, Views
from harness.tracking.links import find_links
from harness.tracking.saved_view import VIEW_TAG, is_same_view, saved_views


def state(tag_value: str) -> dict[str, Any]:
    return dict(json.loads(json.loads(tag_value)["state"]))


def test_the_table_shows_the_columns_of_the_settings_with_the_lowest_error_first() -> None:
    views = saved_views(("tags.pipeline", "metrics.top1_error", "params.seed"))
    table = state(views[VIEW_TAG])
    columns = ["tags.`pipeline`", "metrics.`top1_error`", "params.`seed`"]
    assert table["selectedColumns"] == columns
    assert table["columnOrder"][-3:] == columns
    assert list(table["columnWidths"]) == table["columnOrder"]
    assert (table["orderByKey"], table["orderByAsc"]) == ("metrics.`top1_error`", True)


def test_there_are_views_of_seeds_and_of_charts() -> None:
    """The UI nests runs only when they are ordered by date."""
    views = saved_views(("tags.pipeline", "metrics.top1_error"))
    table, seeds, charts = map(state, views.values())
    assert list(views) == [VIEW_TAG, f"{VIEW_TAG}-seeds", f"{VIEW_TAG}-charts"]
    assert (seeds["orderByKey"], seeds["orderByAsc"]) == ("attributes.start_time", False)
    assert seeds["selectedColumns"] == charts["selectedColumns"] == table["selectedColumns"]
    assert [card["type"] for card in charts["compareRunCharts"]] == ["SCATTER", "BAR", "LINE"]
    (section,) = charts["compareRunSections"]
    assert {card["metricSectionId"] for card in charts["compareRunCharts"]} == {section["uuid"]}


def test_a_changed_view_is_written_again_and_an_unchanged_one_is_not(
    settings: Settings, stored: Any
) -> None:
    find_links(settings)
    before = stored.experiment.tags[VIEW_TAG]
    time.sleep(0.002)  # a view carries its time in milliseconds
    find_links(settings)
    assert stored.experiment.tags[VIEW_TAG] == before
    find_links(replace(settings, views=Views(table=("metrics.top5_error",))))
    assert state(stored.experiment.tags[VIEW_TAG])["selectedColumns"] == ["metrics.`top5_error`"]


def test_a_tag_that_is_no_view_is_not_the_same() -> None:
    view = saved_views(("metrics.top1_error",))[VIEW_TAG]
    assert is_same_view(view, view)
    assert not any(is_same_view(other, view) for other in (None, "", "text", "[1]", "{}"))
