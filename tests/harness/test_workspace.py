"""Where a command works: settings, registry, data root, and the options that lead back to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import UserError, Workspace


def test_a_workspace_takes_the_defaults_of_the_working_folder(
    workdir: Path, session_data: Path
) -> None:
    workspace = Workspace.open()
    assert workspace.data_root == session_data
    assert workspace.runs_folder == workdir / "runs"
    assert (workspace.plugins, workspace.flags) == ((), "")
    assert "alexnet" in workspace.registry.names("pipeline")


def test_settings_are_read_from_the_nearest_file_or_the_one_given(workdir: Path) -> None:
    (workdir / "mlflow.yaml").write_text("experiment: {name: nearest}\n")
    (workdir / "other.yaml").write_text("experiment: {name: other}\n")
    assert Workspace.open().settings.experiment.name == "nearest"
    other = Workspace.open(config=Path("other.yaml"))
    assert other.settings.experiment.name == "other"
    assert other.flags == " --config other.yaml"


def test_mistakes_are_reported_when_a_part_is_first_used(workdir: Path) -> None:
    workspace = Workspace.open(config=Path("nope.yaml"), plugins=["nope.py"])
    with pytest.raises(UserError, match=r"nope\.yaml"):
        _ = workspace.settings
    with pytest.raises(UserError, match=r"no such file.*nope\.py|nope\.py.*no such file"):
        _ = workspace.registry


def test_flags_lead_a_command_to_the_same_workspace_from_any_folder(
    plugin: str, workdir: Path
) -> None:
    workspace = Workspace.open(data_root="my data", plugins=["nearest_mean.py"])
    assert workspace.data_root == workdir / "my data"
    assert workspace.plugins == (plugin,)
    assert workspace.flags == f" --data-root '{workdir}/my data' --plugins {plugin}"


def test_other_plugins_leave_the_rest_as_it_is(plugin: str) -> None:
    workspace = Workspace.open(data_root="x")
    other = workspace.with_plugins([plugin])
    assert other.resolve("pipeline", "nearest-mean").spec == "nearest-mean,shrink=0.0"
    assert other.data_root == workspace.data_root
    with pytest.raises(UserError, match="no pipeline is called 'nearest-mean'"):
        workspace.resolve("pipeline", "nearest-mean")


def test_a_dataset_is_digits_unless_it_is_named(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.open()
    assert workspace.dataset_spec() == "digits"
    splits = workspace.dataset(limit=100, limit_test=50, tune=2)
    assert [len(splits.train), len(splits.tune or []), len(splits.test)] == [80, 20, 50]
    monkeypatch.setenv("HARNESS_DATASET", "fashion-mnist")
    assert workspace.dataset_spec() == "fashion-mnist"
    assert workspace.dataset_spec("digits") == "digits"


def test_a_wrong_value_of_a_variable_is_named_with_the_variable(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_PLUGINS", "nope.py")
    with pytest.raises(UserError, match=r"^HARNESS_PLUGINS: .*no such file"):
        _ = Workspace.open(plugins=["nope.py"]).registry
    for value, words in (
        ("digit", "'digit' is neither a folder nor a dataset"),
        ("./x", ": there"),
    ):
        monkeypatch.setenv("HARNESS_DATASET", value)
        with pytest.raises(UserError, match=rf"^HARNESS_DATASET.*{words}"):
            Workspace.open().dataset_spec()
    monkeypatch.setenv("HARNESS_DATA", "~nobody-of-this-name/data")
    with pytest.raises(UserError, match=r"^HARNESS_DATA: got '~nobody-of-this-name/data'"):
        _ = Workspace.open().data_root
