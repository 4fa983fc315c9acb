from __future__ import annotations

import codecs
import sys
from importlib import metadata
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.registry import Registry


def test_the_folder_is_the_registry() -> None:
    registry = Registry()
    assert {"raw-linear", "hog-svm", "baseline", "alexnet"} <= set(registry.names("pipeline"))
    assert {"digits", "cifar10", "folder"} <= set(registry.names("dataset"))


def test_an_unknown_name_suggests_and_lists() -> None:
    with pytest.raises(
        UserError, match=r"'alxnet' \(did you mean 'alexnet'\?\); there are: .*hog-svm"
    ):
        Registry().find("pipeline", "alxnet")


def test_a_plugin_file_is_listed_with_its_origin_and_read_without_import(workdir: Path) -> None:
    file = workdir / "my_net.py"
    file.write_text(
        '"""A net."""\nFAMILY = "learned"\nraise RuntimeError("imported")\ndef build(*, a: int = 1): ...\n'
    )
    entry = Registry([str(file)]).find("pipeline", "my-net")
    assert (entry.summary, entry.family, entry.origin) == ("A net.", "learned", str(file))
    with pytest.raises(UserError, match=r"my-net.*cannot be imported: RuntimeError: imported"):
        entry.load()


def test_a_plugin_whose_build_takes_the_root_is_a_data_set(workdir: Path) -> None:
    (workdir / "mine.py").write_text('"""Mine."""\ndef build(root, *, n: int = 3): ...\n')
    assert "mine" in Registry([str(workdir / "mine.py")]).names("dataset")


def test_one_file_named_in_several_ways_is_one_plugin_from_any_folder(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = workdir / "my_net.py"
    file.write_bytes(codecs.BOM_UTF8 + b'"""Mine."""\ndef build(): return None\n')
    registry = Registry(["my_net.py", "./my_net.py", str(file)])
    assert registry.plugins == (str(file),)
    (workdir / "below").mkdir()
    monkeypatch.chdir(workdir / "below")
    entry = Registry(registry.plugins).find("pipeline", "my-net")
    assert (entry.summary, entry.load().build()) == ("Mine.", None)


def test_a_name_clash_names_both_owners(workdir: Path) -> None:
    (workdir / "hog_svm.py").write_text('"""Another."""\ndef build(*, a=1): ...\n')
    with pytest.raises(
        UserError,
        match=r"two pipelines are called 'hog-svm': built-in .*hog_svm\.py\) and .*hog_svm\.py",
    ):
        Registry([str(workdir / "hog_svm.py")])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "no such file"),
        ("x = 1\n", "no function build"),
        ("def build(:\n", "line 1.*SyntaxError"),
    ],
)
def test_a_bad_plugin_says_what_is_wrong(workdir: Path, text: str | None, complaint: str) -> None:
    if text is not None:
        (workdir / "bad.py").write_text(text)
    with pytest.raises(UserError, match=complaint):
        Registry([str(workdir / "bad.py")])


def test_a_missing_dependency_says_what_to_install(workdir: Path) -> None:
    (workdir / "needy.py").write_text(
        '"""Needy."""\nimport no_such_library\ndef build(*, a=1): ...\n'
    )
    with pytest.raises(UserError, match="pip install no_such_library"):
        Registry([str(workdir / "needy.py")]).find("pipeline", "needy").load()


def test_the_source_hash_follows_a_pipelines_own_imports(workdir: Path) -> None:
    file = workdir / "mine.py"
    file.write_text(
        '"""A."""\nfrom pipelines.handcrafted.descriptors import hog\ndef build(*, a=1): ...\n'
    )
    first = Registry([str(file)]).find("pipeline", "mine").source_hash
    file.write_text('"""A."""\ndef build(*, a=1): ...\n')
    second = Registry([str(file)]).find("pipeline", "mine").source_hash
    assert first != second
    file.write_text('"""A."""\ndef build(*, a=2): ...\n')
    assert Registry([str(file)]).find("pipeline", "mine").source_hash not in (first, second)


@pytest.mark.parametrize(
    ("plugin", "line"),
    [
        ("mypkg.pipe", "from . import feats"),
        ("mypkg.pipe", "from mypkg.feats import x"),
        ("mypkg.pipe", "from .sub.deep import x"),
        ("alone", "import helper"),
    ],
)
def test_the_source_hash_follows_a_plugins_own_package_or_folder(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, plugin: str, line: str
) -> None:
    files = {
        name: workdir / name
        for name in (
            "mypkg/__init__.py",
            "mypkg/feats.py",
            "mypkg/sub/__init__.py",
            "mypkg/sub/deep.py",
            "helper.py",
        )
    }
    for file in files.values():
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text("x = 1\n")
    source = workdir / f"{plugin.replace('.', '/')}.py"
    source.write_text(f'"""A."""\n{line}\nimport torch\ndef build(*, a=1): ...\n')
    monkeypatch.setattr("sys.path", [str(workdir), *sys.path])
    monkeypatch.delitem(sys.modules, "mypkg", raising=False)
    entry = Registry([plugin]).entries["pipeline"][plugin.rpartition(".")[2]]
    before = entry.source_hash
    reached = {"feats": "mypkg/feats.py", "deep": "mypkg/sub/deep.py", "helper": "helper.py"}
    (named,) = [file for word, file in reached.items() if word in line]
    for name, file in files.items():
        file.write_text("x = 2\n")
        assert (entry.source_hash != before) == (name == named)
        file.write_text("x = 1\n")


def test_a_module_in_the_working_folder_is_a_plugin(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the path does not hold that folder, as under the installed command."""
    monkeypatch.setattr(
        "sys.path", [place for place in sys.path if place not in ("", str(workdir))]
    )
    (workdir / "my_mod.py").write_text(
        '"""Mine."""\nFAMILY = "x"\nimport beside_my_mod\ndef build(*, a=1): ...\n'
    )
    (workdir / "beside_my_mod.py").touch()
    assert Registry(["my_mod"]).find("pipeline", "my-mod").load().build
    (workdir / "my_pkg").mkdir()
    (workdir / "my_pkg" / "__init__.py").write_text('"""Mine."""\ndef build(*, a=1): ...\n')
    assert "my-pkg" in Registry(["my_pkg"]).names("pipeline")


def test_a_pipeline_of_an_entry_point_is_known_once_it_is_imported(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "far_off.py").write_text(
        '"""From afar."""\nFAMILY = "learned"\ndef build(*, a=1): ...\n'
    )
    monkeypatch.syspath_prepend(str(workdir))
    point = metadata.EntryPoint("far-off", "far_off", "harness.pipelines")
    monkeypatch.setattr(
        metadata, "entry_points", lambda group: [point] if group == point.group else []
    )
    entry = Registry().find("pipeline", "far-off")
    assert entry.summary == "(not read before it is used)"
    entry.load()
    assert (entry.summary, entry.family) == ("From afar.", "learned")


def test_a_folder_of_the_same_name_is_noticed(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    (workdir / "pipelines").mkdir()
    (workdir / "pipelines" / "__init__.py").touch()
    for name in [name for name in sys.modules if name.split(".")[0] == "pipelines"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(workdir))
    with pytest.raises(UserError, match=f"the name 'pipelines' is taken by {workdir}"):
        Registry().find("pipeline", "alexnet")


@pytest.mark.parametrize(
    ("line", "family"), [('FAMILY: str = "learned"', "learned"), ("FAMILY = BASE", "?"), ("", "?")]
)
def test_a_family_is_read_where_it_is_a_constant(workdir: Path, line: str, family: str) -> None:
    (workdir / "mine.py").write_text(
        f'"""Mine."""\nBASE = "learned"\n{line}\ndef build(*, a=1): ...\n'
    )
    assert Registry([str(workdir / "mine.py")]).find("pipeline", "mine").family == family


def test_a_plugin_may_import_the_files_beside_it(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = workdir / "elsewhere"
    folder.mkdir()
    (folder / "my_own_helper.py").write_text("SIZE = 3\n")
    (folder / "mine.py").write_text(
        '"""Mine."""\nimport my_own_helper\ndef build(*, a=my_own_helper.SIZE): ...\n'
    )
    entry = Registry([str(folder / "mine.py")]).find("pipeline", "mine")
    assert entry.resolve({})[1] == {"a": 3}
    (folder / "my_own_helper.py").write_text(
        "SIZE = \n"
    )  # imported by now; it is hashed all the same
    assert len(entry.source_hash) == 16


def test_a_plugin_in_a_package_that_fails_says_why(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (workdir / "failing_package").mkdir()
    (workdir / "failing_package" / "__init__.py").write_text("nowhere\n")
    (workdir / "failing_package" / "mine.py").write_text('"""Mine."""\ndef build(*, a=1): ...\n')
    with pytest.raises(
        UserError, match=r"--plugins failing_package\.mine: NameError: name 'nowhere'"
    ):
        Registry(["failing_package.mine"])
