"""The page, made of real runs: self-contained, accessible, and true to the scores."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html import escape, unescape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.report.evidence import Evidence, ReportOptions, gather
from harness.report.page import report_page
from harness.runs.record import Record
from harness.runs.result import Estimate
from harness.workspace import Workspace

CHROMIUM = shutil.which("chromium")
NO_PICTURES = ReportOptions(pictures=False)
Pair = tuple[Evidence, str]
Groups = Callable[..., list[list[Record]]]
ReadPage = Callable[[str], Any]


def test_it_is_self_contained_and_reads_in_order(pair: Pair, read_page: ReadPage) -> None:
    page = read_page(pair[1])
    titles = [text for tag, text in page.words if tag == "h1"]
    assert titles == ["ridge against nearest-mean,step=7 on digits"]
    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections == [
        "result", "cost", "curves", "images", "classes", "confusions", "mistakes", "likely",
        "neighbors", "published", "protocol", "reproduce",
    ]  # fmt: skip
    links = [attributes["href"] for attributes in page.all("a")]
    assert links[1:] == [f"#{name}" for name in sections]
    assert len(pair[1]) < 2_000_000


def test_the_verdict_and_the_table_are_those_of_compare(pair: Pair, read_page: ReadPage) -> None:
    evidence, text = pair
    visible = read_page(text).visible
    row = evidence.comparison.rows[1]
    assert row.delta
    [verdict] = evidence.comparison.verdicts
    assert verdict in visible
    assert f"[{row.delta.interval.low:.2f}, {row.delta.interval.high:.2f}]" in visible
    assert "at one view" not in visible
    assert evidence.comparison.test_digest in text
    assert "means &lt;of&gt; pixels" in text
    for record in evidence.runs:
        assert record.result.source_hash in text
        assert unescape(record.result.command) in unescape(text)


def test_errors_by_epoch_are_drawn_and_listed(pair: Pair, read_page: ReadPage) -> None:
    visible = read_page(pair[1]).visible
    assert "nearest-mean,step=7 on train, augmented ends at 28.00 %" in visible
    assert "Top-1 error by epoch, %" in visible


def test_without_the_data_it_is_a_page_without_pictures(
    workspace: Workspace, groups: Groups, read_page: ReadPage
) -> None:
    page = read_page(report_page(gather(workspace, groups("few", "ridge"), NO_PICTURES)))
    assert page.all("img") == []
    assert "Test images by who is right" in page.visible


def test_several_rows_have_a_verdict_each(
    workspace: Workspace, groups: Groups, read_page: ReadPage
) -> None:
    evidence = gather(workspace, groups("all", "few", "ridge"), NO_PICTURES)
    assert evidence.labels == ["nearest-mean", "nearest-mean,step=7", "ridge"]
    text = report_page(evidence)
    assert "Holm p" in read_page(text).visible
    assert text.count('class="verdict') == 2


def test_the_pair_at_one_view_is_below_the_pair_as_it_is(pair: Pair, read_page: ReadPage) -> None:
    evidence = pair[0]
    first, second = evidence.comparison.rows
    changed = replace(second, top1_error=Estimate(43.21, second.top1_error.interval))
    single = replace(evidence.comparison, rows=(first, changed))
    both = replace(evidence.comparison, one_view=single)
    page = read_page(report_page(replace(evidence, comparison=both)))
    assert ("h3", "At one view and one model each") in page.words
    assert "43.21 %" in page.visible


def test_the_command_that_makes_it_again_names_what_it_shows(
    workspace: Workspace, groups: Groups, read_page: ReadPage
) -> None:
    def command(*rows: list[Record], **options: Any) -> str:
        evidence = gather(workspace, rows, ReportOptions(pictures=False, **options))
        page = read_page(report_page(evidence))
        return next(words for tag, words in page.words if tag == "pre").splitlines()[-1]

    few, ridge = groups("few", "ridge")
    by_spec = "harness report nearest-mean,step=7 ridge --dataset digits --plugins "
    assert command(few, ridge).startswith(by_spec)
    by_id = f"harness report {few[0].run_id} {few[0].run_id} --dataset digits "
    assert command(few, few).startswith(by_id)
    subset = "subset,of=digits,percent=50,seed=0"
    ridge[0].result = replace(ridge[0].result, dataset=subset, train_digest="e" * 32)
    again = command(few, ridge, allow_different_train=True)
    mixed = f"harness report nearest-mean,step=7 {ridge[0].run_id} --dataset digits "
    assert again.startswith(mixed)
    assert again.endswith(" --allow-different-train")


def test_class_names_are_text_not_markup(
    workspace: Workspace, groups: Groups, copy_record: Callable[..., Record]
) -> None:
    names = ['<b>zero & "0"</b>', *map(str, range(1, 10))]
    copies = [
        [copy_record(record, spec={"class_names": names})] for [record] in groups("few", "ridge")
    ]
    text = report_page(gather(workspace, copies, NO_PICTURES))
    assert "<b>zero" not in text
    assert escape("<b>zero & ") in text


def test_colors_have_contrast() -> None:
    """WCAG 2 AA asks for 4.5 to 1 for text, on both grounds, light and dark."""

    def luminance(color: str) -> float:
        digits = color.removeprefix("#")
        digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
        channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    def contrast(a: str, b: str) -> float:
        low, high = sorted((luminance(a), luminance(b)))
        return (high + 0.05) / (low + 0.05)

    css = (files("harness.render") / "page.css").read_text()
    schemes = [
        dict(re.findall(r"--([\w]+): (#\w+);", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    ]
    assert len(schemes) == 3  # light, dark, print
    for scheme in schemes:
        for ground in ("ground", "raised"):
            for name in ("ink", "faint", "link", "good", "bad"):
                assert contrast(scheme[name], scheme[ground]) >= 4.5, (name, ground)
            for i in range(6):
                assert contrast(scheme[f"c{i}"], scheme[ground]) >= 4.5, i  # chips hold a letter


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_nothing_makes_a_phone_scroll_sideways(pair: Pair, tmp_path: Path) -> None:
    """The frame is as wide as a phone; a window without a screen has a smallest width."""
    script = (
        "onload = () => {"
        "const page = document.querySelector('iframe').contentDocument.documentElement;"
        "const text = `${page.scrollWidth} of ${page.clientWidth}`;"
        "document.getElementById('width').textContent = text }"
    )
    (tmp_path / "frame.html").write_text(
        f'<iframe width=390 height=844 srcdoc="{escape(pair[1])}"></iframe>'
        f"<p id=width></p><script>{script}</script>"
    )
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-sync", "--disable-component-update",
        "--dump-dom", "--virtual-time-budget=5000",
    ]  # fmt: skip
    profile = f"--user-data-dir={tmp_path}/profile"
    command = [str(CHROMIUM), *flags, profile, f"file://{tmp_path}/frame.html"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    widths = re.search(r'<p id="width">(\d+) of (\d+)', shown)
    assert widths
    page, frame = map(int, widths.groups())
    assert 300 < frame <= 390
    assert page <= frame


def test_the_result_says_what_it_is_without_copies(pair: Pair, read_page: ReadPage) -> None:
    evidence, text = pair
    assert "copies: " not in text.lower()
    note = "copies: 3 test images are also in train or tune, 0 repeat another test image"
    comparison = replace(evidence.comparison, copies=note)
    visible = read_page(report_page(replace(evidence, comparison=comparison))).visible
    assert "C" + note[1:] + "." in visible
