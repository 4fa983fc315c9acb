"""The page, made of real runs: whole in itself, readable by everybody, and true to the scores."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html import escape, unescape
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.comparison.compare import compare_records
from harness.comparison.disagreement import answers, cells
from harness.data.load import load_dataset
from harness.report.evidence import gather
from harness.report.page import report_page
from harness.report.verdict import verdicts
from harness.runs.record import Record

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def pair(made, session_data):
    """(the evidence, the page) of two runs on digits."""
    config, results = made
    chosen = [[Record(config.parent / "runs" / results[name].run_id)] for name in ("few", "ridge")]
    evidence = gather(chosen, data_root=session_data, searched=200)
    return evidence, report_page(evidence)


def test_it_is_whole_in_itself_and_reads_in_order(pair, look):
    page = look(pair[1])
    assert [text for tag, text in page.words if tag == "h1"] == [
        "ridge against nearest-mean on digits"
    ]
    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections == [
        "result", "cost", "curves", "images", "classes", "confusions", "mistakes", "likely", "neighbors", "published", "protocol",
        "reproduce",
    ]  # fmt: skip
    assert [attributes["href"] for attributes in page.all("a")][1:] == [
        f"#{name}" for name in sections
    ]
    assert len(pair[1]) < 2_000_000


def test_the_verdict_and_the_table_are_those_of_compare(pair, look):
    evidence, text = pair
    said = look(text).said
    row = evidence.comparison.rows[1]
    [sentence] = verdicts(evidence.comparison)
    assert sentence in said
    assert f"[{row.top1_delta_low:.2f}, {row.top1_delta_high:.2f}]" in said
    assert "at one view" not in said
    assert evidence.comparison.test_digest in text
    assert "means &lt;of&gt; pixels" in text
    for record in evidence.runs:
        assert record.result.source_hash in text
        assert unescape(record.result.command) in unescape(text)


def test_the_cells_count_every_image_once_and_show_the_images_they_are_about(pair, session_data):
    evidence, text = pair
    found = cells(*evidence.answers)
    counts = [len(found.both), len(found.only_a), len(found.only_b), len(found.neither)]
    assert sum(counts) == 500
    paired = text.partition('<table class="paired">')[2].partition("</table>")[0]
    assert [int(n) for n in re.findall(r"<b>([\d,]+)</b>", paired)] == counts
    # The first picture below "Only ridge is right" is the first image of that cell by key, pixel by pixel.
    after = text.partition("Only ridge is right")[2]
    data = re.search(r'src="data:image/png;base64,([^"]+)" alt="([^"]+)"', after)
    test = load_dataset("digits", data_root=session_data).test
    position = int(np.flatnonzero(test.keys == evidence.answers[0].keys[found.only_b[0]])[0])
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))
    np.testing.assert_array_equal(seen, test.images.read(test.rows[[position]])[0].permute(1, 2, 0))
    wrong = evidence.answers[0].predicted[found.only_b[0]]
    label = test.labels[position]
    assert data[2] == f"{label}; nearest-mean says {wrong}, ridge says {label}"


def test_neighbors_are_shown_where_a_pipeline_embeds_and_their_lack_is_explained(pair, look):
    evidence, text = pair
    near, none = evidence.neighbors
    assert none == "no last hidden layer to look at (the pipeline has no method embed)"
    assert near.nearest.shape == (6, 6)
    said = look(text).said
    assert "of 200 of 1,167 training images" in said
    assert f"Not shown for ridge: {none}." in said
    alts = [attributes["alt"] for attributes in look(text).all("img")]
    assert sum(alt.startswith("training image: ") for alt in alts) == 36


def test_without_the_data_it_is_a_page_without_pictures(groups, look, tmp_path):
    chosen = groups("few", "ridge")
    moved = [
        [Record(Path(shutil.copytree(group[0].folder, tmp_path / group[0].run_id)))]
        for group in chosen
    ]
    for [record] in moved:
        path = record.folder / "result.json"
        path.write_text(
            path.read_text().replace('"dataset": "digits"', '"dataset": "folder,path=/gone"')
        )
    evidence = gather(moved)
    page = look(report_page(evidence))
    assert page.all("img") == []
    assert "Without pictures: the dataset folder,path=/gone cannot be opened" in page.said
    assert "Test images by who is right" in page.said
    left_out = gather(chosen, pictures=False)
    assert left_out.no_pictures == "left out, as asked"


def test_data_that_have_changed_are_not_shown(groups, tmp_path):
    chosen = groups("few", "ridge")
    moved = [
        [Record(Path(shutil.copytree(group[0].folder, tmp_path / group[0].run_id)))]
        for group in chosen
    ]
    for [record] in moved:
        path = record.folder / "result.json"
        path.write_text(path.read_text().replace(record.result.test_digest, "0" * 32))
    evidence = gather([[Record(record.folder)] for [record] in moved])
    assert "has changed: its test digest is" in evidence.no_pictures


def test_a_pipeline_that_cannot_be_loaded_any_more_costs_its_neighbors_alone(
    groups, tmp_path, session_data
):
    chosen = groups("few", "ridge")
    moved = [
        [Record(Path(shutil.copytree(group[0].folder, tmp_path / group[0].run_id)))]
        for group in chosen
    ]
    (moved[0][0].folder / "state.safetensors").write_bytes(b"torn")
    evidence = gather(moved, data_root=session_data)
    assert str(evidence.neighbors[0]).startswith("its state cannot be loaded: ")
    assert evidence.test is not None


def test_several_rows_are_each_held_against_the_first(groups, look, session_data):
    evidence = gather(groups("all", "few", "ridge"), data_root=session_data, searched=0)
    assert evidence.labels == ["nearest-mean,step=1", "nearest-mean,step=7", "ridge"]
    text = report_page(evidence)
    page = look(text)
    assert "Holm p" in page.said
    assert page.said.count("Test images by who is right") == 2
    assert {
        "nearest-mean,step=7 against nearest-mean,step=1",
        "ridge against nearest-mean,step=1",
    } <= {words for tag, words in page.words if tag == "h3"}
    assert text.count('class="verdict') == 2


def test_the_pair_at_one_view_stands_below_the_pair_at_its_best(pair, look):
    evidence = pair[0]
    row = replace(evidence.comparison.rows[1], top1_error=43.21)
    single = replace(evidence.comparison, rows=(evidence.comparison.rows[0], row))
    page = look(
        report_page(replace(evidence, comparison=replace(evidence.comparison, one_view=single)))
    )
    assert ("h3", "At one view and one model each") in page.words
    assert "43.21 %" in page.said


def test_the_command_that_makes_it_again_names_what_it_shows(groups, look):
    def command(*rows, **options):
        page = look(report_page(gather(rows, pictures=False, **options)))
        return next(words for tag, words in page.words if tag == "pre").splitlines()[-1]

    few, ridge = groups("few", "ridge")
    assert command(few, ridge).startswith(
        "harness report nearest-mean,step=7 ridge --dataset digits --plugins "
    )
    assert command(few, few).startswith(
        f"harness report {few[0].run_id} {few[0].run_id} --dataset digits "
    )
    ridge[0].result = replace(
        ridge[0].result, dataset="subset,of=digits,percent=50,seed=0", train_digest="e" * 32
    )
    again = command(few, ridge, allow_different_train=True)
    assert again.startswith(
        f"harness report nearest-mean,step=7 {ridge[0].run_id} --dataset digits "
    )
    assert again.endswith(" --allow-different-train")


def test_of_several_seeds_one_run_a_row_is_looked_into(groups, look, tmp_path):
    [few], [ridge] = groups("few", "ridge")
    again = Record(Path(shutil.copytree(ridge.folder, tmp_path / "ridge-again")))
    path = again.folder / "result.json"
    path.write_text(
        path.read_text().replace('"seed": 0', '"seed": 1').replace(ridge.run_id, again.run_id)
    )
    evidence = gather([[few], [again, ridge]], pictures=False)
    assert [run.run_id for run in evidence.runs] == [few.run_id, ridge.run_id]
    said = look(report_page(evidence)).said
    assert f"From here on of one run a row: {few.run_id} (seed 0), {ridge.run_id} (seed 0)" in said
    assert "means over seeds, 2 of ridge and 1 of nearest-mean" in said


def test_class_names_are_text_not_markup(groups, tmp_path):
    chosen = groups("few", "ridge")
    moved = [
        [Record(Path(shutil.copytree(group[0].folder, tmp_path / group[0].run_id)))]
        for group in chosen
    ]
    for [record] in moved:
        path = record.folder / "spec.json"
        path.write_text(
            path.read_text().replace(
                '"class_names": [\n    "0"', '"class_names": [\n    "<b>nought & \\"0\\"</b>"'
            )
        )
    text = report_page(gather(moved, pictures=False))
    assert "<b>nought" not in text
    assert escape("<b>nought & ") in text


def test_colors_have_contrast(pair):
    """WCAG 2 AA: 4.5 to 1 for text, 3 to 1 for what charts draw, on both grounds, light and dark."""

    def luminance(color: str) -> float:
        digits = color.removeprefix("#")
        digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
        channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    def contrast(a: str, b: str) -> float:
        low, high = sorted((luminance(a), luminance(b)))
        return (high + 0.05) / (low + 0.05)

    css = (files("harness.report") / "page.css").read_text()
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
def test_nothing_makes_a_phone_scroll_sideways(pair, tmp_path):
    """In a frame as wide as a phone, since a window without a screen has a least width of its own."""
    (tmp_path / "frame.html").write_text(
        f'<iframe width=390 height=844 srcdoc="{escape(pair[1])}"></iframe><p id=width></p><script>'
        "onload = () => { const page = document.querySelector('iframe').contentDocument.documentElement;"
        "document.getElementById('width').textContent = `${page.scrollWidth} of ${page.clientWidth}` }</script>"
    )
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync "
    flags += "--disable-component-update --dump-dom --virtual-time-budget=5000"
    command = [
        CHROMIUM,
        *flags.split(),
        f"--user-data-dir={tmp_path}/profile",
        f"file://{tmp_path}/frame.html",
    ]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    wide, room = map(int, re.search(r'<p id="width">(\d+) of (\d+)', shown).groups())
    assert 300 < room <= 390
    assert wide <= room


def test_the_comparison_of_the_page_is_that_of_compare(pair, groups):
    assert pair[0].comparison.rows == compare_records(groups("few", "ridge")).rows
    assert [len(given.labels) for given in pair[0].answers] == [500, 500]
    assert answers(pair[0].runs[0]).labels.tolist() == pair[0].answers[0].labels.tolist()
