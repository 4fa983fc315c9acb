"""Pipelines and datasets are found in folders, entry points and plugins."""

from __future__ import annotations

import codecs
import sys
from importlib import metadata
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.registry import Entry, Resolved, open_registry

BUILD = "def build(*, a=1): ...\n"


def write(path: Path, code: str, doc: str = "Mine.") -> str:
    """Write a module with this docstring and code and return its path."""
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(f'"""{doc}"""\n{code}')
    return str(path)


def pipeline(plugin: str, name: str) -> Entry:
    return open_registry([plugin]).find("pipeline", name)


def test_the_folders_are_the_registry() -> None:
    registry = open_registry()
    assert {"raw-linear", "hog-svm", "baseline", "alexnet"} <= set(registry.names("pipeline"))
    assert {"digits", "cifar10", "folder"} <= set(registry.names("dataset"))


def test_an_unknown_name_gets_a_suggestion_and_the_list() -> None:
    message = r"'alxnet' \(did you mean 'alexnet'\?\); there are: .*hog-svm"
    with pytest.raises(UserError, match=message):
        open_registry().find("pipeline", "alxnet")


def test_a_spec_resolves_to_all_parameters_and_a_short_label(workdir: Path) -> None:
    code = "def build(*, a: int = 1, b: str = 'x'): return a, b\n"
    registry = open_registry([write(workdir / "mine.py", code)])
    resolved = registry.resolve("pipeline", "mine,b=y")
    assert resolved.spec == "mine,a=1,b=y"
    assert resolved.label == "mine,b=y"
    assert resolved.make() == (1, "y")


def test_a_recorded_spec_matches_although_a_parameter_was_added_since(workdir: Path) -> None:
    code = "def build(*, a: int = 1, added: int = 2): ...\n"
    registry = open_registry([write(workdir / "mine.py", code)])
    now = registry.resolve("pipeline", "mine,a=3").spec
    assert registry.matches(now, "pipeline", now)
    assert registry.matches("mine,a=3", "pipeline", now)
    for other in ("mine,a=4", "mine,a=3,added=5", "mine,a=3,removed=1", "baseline,a=3"):
        assert not registry.matches(other, "pipeline", now)


# Plugins


def test_a_plugin_is_listed_with_its_origin_and_without_importing_it(workdir: Path) -> None:
    code = f'FAMILY = "learned"\nraise RuntimeError("imported")\n{BUILD}'
    file = write(workdir / "my_net.py", code, doc="A net.")
    entry = pipeline(file, "my-net")
    assert (entry.summary, entry.family, entry.origin) == ("A net.", "learned", file)
    with pytest.raises(UserError, match=r"my-net.*cannot be imported: RuntimeError: imported"):
        entry.load()


def test_a_plugin_whose_build_takes_the_data_root_is_a_dataset(workdir: Path) -> None:
    file = write(workdir / "mine.py", "def build(root, *, n: int = 3): ...\n")
    assert "mine" in open_registry([file]).names("dataset")


def test_a_file_that_is_named_in_several_ways_is_one_plugin_in_any_folder(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = workdir / "my_net.py"
    file.write_bytes(codecs.BOM_UTF8 + b'"""Mine."""\ndef build(): return None\n')
    registry = open_registry(["my_net.py", "./my_net.py", str(file)])
    assert registry.plugins == (str(file),)
    (workdir / "below").mkdir()
    monkeypatch.chdir(workdir / "below")
    entry = open_registry(registry.plugins).find("pipeline", "my-net")
    assert (entry.summary, entry.load().build()) == ("Mine.", None)


def test_a_name_clash_names_both_owners(workdir: Path) -> None:
    file = write(workdir / "hog_svm.py", BUILD)
    message = r"two pipelines are called 'hog-svm': built-in .*hog_svm\.py\) and .*hog_svm\.py"
    with pytest.raises(UserError, match=message):
        open_registry([file])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"plugin .*bad\.py: there is no such file"),
        ("x = 1\n", "no function build"),
        ("def build(:\n", "line 1.*SyntaxError"),
    ],
)
def test_a_broken_plugin_says_what_is_wrong(workdir: Path, text: str | None, message: str) -> None:
    if text is not None:
        (workdir / "bad.py").write_text(text)
    with pytest.raises(UserError, match=message):
        open_registry([str(workdir / "bad.py")])


def test_a_missing_dependency_says_what_to_install(workdir: Path) -> None:
    file = write(workdir / "needy.py", f"import no_such_library\n{BUILD}")
    with pytest.raises(UserError, match="pip install no_such_library"):
        pipeline(file, "needy").load()


def test_a_module_in_the_working_folder_is_a_plugin(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The installed command starts without the working folder on its path."""
    elsewhere = [folder for folder in sys.path if folder not in ("", str(workdir))]
    monkeypatch.setattr(sys, "path", elsewhere)
    write(workdir / "my_mod.py", f"import beside_my_mod\n{BUILD}")
    (workdir / "beside_my_mod.py").touch()
    assert pipeline("my_mod", "my-mod").load().build


def test_a_package_is_a_plugin_with_the_name_of_its_folder(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    write(workdir / "my_pkg" / "__init__.py", BUILD)
    assert "my-pkg" in open_registry(["my_pkg"]).names("pipeline")


def test_a_plugin_in_a_broken_package_says_why(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    write(workdir / "failing_package" / "__init__.py", "nowhere\n")
    write(workdir / "failing_package" / "mine.py", BUILD)
    message = r"plugin failing_package\.mine: NameError: name 'nowhere'"
    with pytest.raises(UserError, match=message):
        open_registry(["failing_package.mine"])


def test_a_plugin_may_import_the_files_beside_it(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    helper = workdir / "elsewhere" / "my_own_helper.py"
    write(helper, "SIZE = 3\n")
    code = "import my_own_helper\ndef build(*, a=my_own_helper.SIZE): ...\n"
    entry = pipeline(write(workdir / "elsewhere" / "mine.py", code), "mine")
    resolved = entry.resolve({})
    assert isinstance(resolved, Resolved)
    assert resolved.values == {"a": 3}
    helper.write_text("SIZE = \n")  # already imported, so only its hash is needed
    assert len(entry.source_hash) == 16


# Entry points


def test_an_entry_point_is_described_once_it_has_been_imported(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(workdir / "far_off.py", f'FAMILY = "learned"\n{BUILD}', doc="From afar.")
    monkeypatch.syspath_prepend(str(workdir))
    point = metadata.EntryPoint("far-off", "far_off", "harness.pipelines")
    monkeypatch.setattr(
        metadata, "entry_points", lambda group: [point] if group == point.group else []
    )
    entry = open_registry().find("pipeline", "far-off")
    assert entry.summary == "(not read before it is used)"
    entry.load()
    assert (entry.summary, entry.family) == ("From afar.", "learned")


# What is read from the source


@pytest.mark.parametrize(
    ("line", "family"), [('FAMILY: str = "learned"', "learned"), ("FAMILY = BASE", "?"), ("", "?")]
)
def test_the_family_is_a_constant_of_the_file(workdir: Path, line: str, family: str) -> None:
    file = write(workdir / "mine.py", f'BASE = "learned"\n{line}\n{BUILD}')
    assert pipeline(file, "mine").family == family


def test_the_source_hash_depends_on_the_imports_from_pipelines(workdir: Path) -> None:
    file = workdir / "mine.py"
    hashes = set()
    for code in (
        f"from pipelines.handcrafted.descriptors import hog\n{BUILD}",
        BUILD,
        "def build(*, a=2): ...\n",
    ):
        hashes.add(pipeline(write(file, code), "mine").source_hash)
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("plugin", "line", "imported"),
    [
        ("mypkg.pipe", "from . import feats", "mypkg/feats.py"),
        ("mypkg.pipe", "from mypkg.feats import x", "mypkg/feats.py"),
        ("mypkg.pipe", "from .sub.deep import x", "mypkg/sub/deep.py"),
        ("alone", "import helper", "helper.py"),
    ],
)
def test_the_source_hash_depends_on_imports_from_the_plugins_own_package_or_folder(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, plugin: str, line: str, imported: str
) -> None:
    names = ("__init__.py", "feats.py", "sub/__init__.py", "sub/deep.py")
    files = [workdir / "helper.py", *(workdir / "mypkg" / name for name in names)]
    for file in files:
        write(file, "x = 1\n")
    write(workdir / f"{plugin.replace('.', '/')}.py", f"{line}\nimport torch\n{BUILD}")
    monkeypatch.setattr(sys, "path", [str(workdir), *sys.path])
    monkeypatch.delitem(sys.modules, "mypkg", raising=False)
    entry = pipeline(plugin, plugin.rpartition(".")[2])
    before = entry.source_hash
    for file in files:
        write(file, "x = 2\n")
        assert (entry.source_hash != before) == (file == workdir / imported)
        write(file, "x = 1\n")


def test_a_folder_that_shadows_pipelines_is_named(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(workdir / "pipelines" / "__init__.py", "")
    for name in [name for name in sys.modules if name.split(".")[0] == "pipelines"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(workdir))
    with pytest.raises(UserError, match=f"the name 'pipelines' is taken by {workdir}"):
        open_registry().find("pipeline", "alexnet")
