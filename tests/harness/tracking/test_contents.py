"""What a run's page in MLflow says, without MLflow."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any

import pytest

from harness.runs.result import Copies, Estimate, Interval
from harness.tracking.contents import COMMAND_WIDTH, describe_run, fold_command, headline_metrics


def test_the_description_opens_with_a_summary(make_result: Any) -> None:
    text = describe_run(make_result(), {})
    assert text.splitlines()[:3] == [
        "**baseline** (hand-crafted) on digits: top-1 error 12.35 % "
        "(95 % interval 10.20 to 14.80) on 797 images; top-5 error 1.23 %. "
        "Fitted on 1000 labeled images (train + tune, after tuning) in 2 min 3 s including tuning, "
        "scored in 1.5 s; peak memory 812 MB.",
        "",
        "recipe: short",
    ]


def test_the_description_lists_figures_and_reasons(make_result: Any) -> None:
    reasons = {"params_millions": "no network", "fit_device_seconds": "computed on the CPU"}
    lines = describe_run(make_result(missing_reasons=reasons), {}).splitlines()
    assert "| top-1 error | 12.35 % (95 % interval 10.20 to 14.80) |" in lines
    assert "| parameters | not available: no network |" in lines
    assert "| accelerator time of fit | not available: computed on the CPU |" in lines
    assert "- no official split" in lines
    assert any(line.startswith("harness run --pipeline baseline") for line in lines)


@pytest.mark.parametrize(("count", "words"), [(1, "evaluated 1 time on"), (2, "2 times on")])
def test_the_description_counts_test_evaluations(make_result: Any, count: int, words: str) -> None:
    assert words in describe_run(make_result(test_evaluations=count), {})


def test_the_description_links_members_that_mlflow_has(make_result: Any) -> None:
    text = describe_run(make_result(), {"a-1": "#/page", "b-1": None})
    assert "Members: [a-1](#/page), b-1" in text.splitlines()


def test_a_missing_metric_is_left_out(make_result: Any) -> None:
    metrics = headline_metrics(make_result(top5_error=None, tune_top1_error=None))
    missing = {"top5_error", "tune_top1_error", "params_millions", "gflops_per_image"}
    assert not missing & set(metrics)


def test_a_run_that_stopped_after_tune_has_no_test_error(make_result: Any) -> None:
    missing = (
        "top1_error", "top1_error_ci_low", "top1_error_ci_high", "top5_error", "mean_class_error",
        "score_seconds", "images_per_second",
    )  # fmt: skip
    result = make_result(**dict.fromkeys(missing), missing_reasons={"top1_error": "--no-test"})
    metrics = headline_metrics(result)
    assert not set(missing) & set(metrics)
    assert metrics["tune_top1_error"] == 11.0
    assert "digits: not available: --no-test. " in describe_run(result, {}).splitlines()[0]


LONG = "alexnet," + ",".join(f"parameter{number}=value" for number in range(20))
SUBSET = f'subset,of="folder,path=my photos, {LONG}",percent=2.0'


@pytest.mark.parametrize(
    "words",
    [
        ["harness", "run", "--pipeline", "hog-svm", "--seed", "0"],
        ["harness", "run", "--pipeline", LONG, "--dataset", "digits", "--seed", "0"],
        ["harness", "run", "--pipeline", LONG, "--dataset", SUBSET],
        ["harness", "ensemble", *(f"alexnet-{number:06x}" for number in range(12))],
    ],
)
def test_a_shell_reads_a_folded_command_as_the_original(words: list[str]) -> None:
    text = fold_command(shlex.join(words))
    script = f"printf '%s\\n' {text}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == words
    unquoted = [line for line in text.splitlines() if "'" not in line]
    assert all(len(line) <= COMMAND_WIDTH + 1 for line in unquoted)


def test_copies_are_metrics_where_they_are_on_record(make_result: Any) -> None:
    without = Estimate(14.004, Interval(11.5, 16.9))
    metrics = headline_metrics(make_result(copies=Copies(3, 0, 794, without, None)))
    expected = {"n_test_in_train": 3, "n_test_repeats": 0, "top1_error_deduplicated": 14.0}
    assert expected.items() <= metrics.items()
    assert not expected.keys() & headline_metrics(make_result()).keys()
