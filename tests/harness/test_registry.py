from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.registry import Registry


def test_the_folder_is_the_registry() -> None:
    registry = Registry()
    assert {"raw-linear", "hog-svm", "baseline", "alexnet"} <= set(registry.names("pipeline"))
    assert {"digits", "cifar10", "folder"} <= set(registry.names("dataset"))


def test_an_unknown_name_suggests_and_lists() -> None:
    with pytest.raises(UserError, match=r"'alxnet' \(did you mean 'alexnet'\?\); there are: .*hog-svm"):
        Registry().find("pipeline", "alxnet")


def test_a_plugin_file_is_listed_with_its_origin_and_read_without_import(workdir: Path) -> None:
    file = workdir / "my_net.py"
    file.write_text('"""A net."""\nFAMILY = "learned"\nraise RuntimeError("imported")\ndef build(*, a: int = 1): ...\n')
    entry = Registry([str(file)]).find("pipeline", "my-net")
    assert (entry.summary, entry.family, entry.origin) == ("A net.", "learned", str(file))
    with pytest.raises(UserError, match=r"my-net.*cannot be imported: RuntimeError: imported"):
        entry.load()


def test_a_plugin_whose_build_takes_the_root_is_a_data_set(workdir: Path) -> None:
    (workdir / "mine.py").write_text('"""Mine."""\ndef build(root, *, n: int = 3): ...\n')
    assert "mine" in Registry([str(workdir / "mine.py")]).names("dataset")


def test_a_name_clash_names_both_owners(workdir: Path) -> None:
    (workdir / "hog_svm.py").write_text('"""Another."""\ndef build(*, a=1): ...\n')
    with pytest.raises(UserError, match=r"two pipelines are called 'hog-svm': built-in .*hog_svm\.py\) and .*hog_svm\.py"):
        Registry([str(workdir / "hog_svm.py")])


@pytest.mark.parametrize(
    ("text", "complaint"), [(None, "no such file"), ("x = 1\n", "no function build"), ("def build(:\n", "line 1.*SyntaxError")]
)
def test_a_bad_plugin_says_what_is_wrong(workdir: Path, text: str | None, complaint: str) -> None:
    if text is not None:
        (workdir / "bad.py").write_text(text)
    with pytest.raises(UserError, match=complaint):
        Registry([str(workdir / "bad.py")])


def test_a_missing_dependency_says_what_to_install(workdir: Path) -> None:
    (workdir / "needy.py").write_text('"""Needy."""\nimport no_such_library\ndef build(*, a=1): ...\n')
    with pytest.raises(UserError, match="pip install no_such_library"):
        Registry([str(workdir / "needy.py")]).find("pipeline", "needy").load()


def test_the_source_hash_follows_a_pipelines_own_imports(workdir: Path) -> None:
    file = workdir / "mine.py"
    file.write_text('"""A."""\nfrom pipelines.handcrafted.descriptors import hog\ndef build(*, a=1): ...\n')
    first = Registry([str(file)]).find("pipeline", "mine").source_hash
    file.write_text('"""A."""\ndef build(*, a=1): ...\n')
    second = Registry([str(file)]).find("pipeline", "mine").source_hash
    assert first != second
    file.write_text('"""A."""\ndef build(*, a=2): ...\n')
    assert Registry([str(file)]).find("pipeline", "mine").source_hash not in (first, second)


def test_a_folder_of_the_same_name_is_noticed(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (workdir / "pipelines").mkdir()
    (workdir / "pipelines" / "__init__.py").touch()
    for name in [name for name in sys.modules if name.split(".")[0] == "pipelines"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(workdir))
    with pytest.raises(UserError, match=f"the name 'pipelines' is taken by {workdir}"):
        Registry().find("pipeline", "alexnet")
