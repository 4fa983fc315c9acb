"""The pipelines and datasets that a spec can name.

They come from the files of `pipelines/` and `harness/data/datasets/`, from the entry points of
installed packages, and from plugins. Listing them reads files as text and imports nothing; a module
is imported when it is asked for by name.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from harness.commands import harness_command
from harness.errors import UserError
from harness.render.text import brief
from harness.spec import bind, format_spec, parameters, parse_spec, suggest

Kind = Literal["pipeline", "dataset"]
ROOT = Path(__file__).parent.parent
_FOLDERS: dict[Kind, Path] = {
    "pipeline": ROOT / "pipelines",
    "dataset": ROOT / "harness" / "data" / "datasets",
}
_PACKAGES: dict[Kind, str] = {"pipeline": "pipelines", "dataset": "harness.data.datasets"}
_GROUPS: dict[Kind, str] = {"pipeline": "harness.pipelines", "dataset": "harness.datasets"}


@dataclass(frozen=True)
class Entry:
    """One pipeline or dataset, which need not be imported yet.

    Parameters
    ----------
    kind : {"pipeline", "dataset"}
    name : str
    module : str or None
        Importable name; None for a file outside any package.
    path : Path or None
        Source file; None for an entry point.
    origin : str
        "built-in", "package NAME", or the path of the plugin.
    """

    kind: Kind
    name: str
    module: str | None
    path: Path | None
    origin: str

    @property
    def plugin(self) -> Path | None:
        """The source file, unless it is built in or an entry point."""
        return None if self.origin == "built-in" else self.path

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        if self._tree is not None:
            return (ast.get_docstring(self._tree) or "(no docstring)").splitlines()[0]
        if self._file is None:
            return "(not read before it is used)"
        return f"(its file cannot be read: see {harness_command('list', '--check')})"

    @property
    def family(self) -> str:
        """The constant FAMILY of the file; "?" if there is none."""
        for node in self._tree.body if self._tree else []:
            if not isinstance(node, ast.Assign | ast.AnnAssign):
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            if names == ["FAMILY"] and isinstance(node.value, ast.Constant):
                return str(node.value.value)
        return "?"

    @property
    def _file(self) -> Path | None:
        """The source file; that of an entry point is known once it has been imported."""
        loaded = getattr(sys.modules.get(self.module or ""), "__file__", None)
        return self.path or (Path(loaded) if loaded else None)

    @property
    def _tree(self) -> ast.Module | None:
        try:
            return _parse(self._file.read_bytes()) if self._file else None
        except (OSError, SyntaxError, ValueError):
            return None

    def load(self) -> ModuleType:
        """Import the module.

        Raises
        ------
        UserError
            If that fails, or the module has no function `build`.
        """
        owner = f"{self.kind} {self.name!r} ({self.origin})"
        try:
            if self.module is None and self.path:
                module = _import_file(self.path)
            else:
                module = import_module(str(self.module))
        except Exception as error:
            raise UserError(f"{owner} cannot be imported: {_reason(error)}") from error
        if not callable(getattr(module, "build", None)):
            raise UserError(f"{owner} has no function build(*, ...)")
        return module

    def resolve(self, given: dict[str, str]) -> Resolved:
        """Check the parameters of a spec and add the defaults of the others."""
        build = self.load().build
        return Resolved(self, build, bind(self.name, build, given))

    @property
    def source_hash(self) -> str:
        """16 hex digits over this file and all that it imports, directly or not, and that is ours.

        These are the files of `pipelines/` and of the file's own package or folder.
        """
        path = self.path or Path(str(self.load().__file__))
        digest = hashlib.sha256()
        for file in sorted(_source_files(path), key=lambda f: (f.name, f.read_bytes())):
            digest.update(file.read_bytes() + b"\0")
        return digest.hexdigest()[:16]


@cache
def _parse(source: bytes) -> ast.Module:
    """Parse a file once, although its summary and its family are asked for separately."""
    return ast.parse(source)


@dataclass(frozen=True)
class Resolved:
    """A spec string that was looked up: the entry, its `build` and every parameter."""

    entry: Entry
    build: Callable[..., Any]
    values: dict[str, Any]

    @property
    def spec(self) -> str:
        """The spec string with every parameter written out."""
        return format_spec(self.entry.name, self.values)

    @property
    def label(self) -> str:
        """The name with the parameters that differ from their default."""
        defaults = {name: p.default for name, p in parameters(self.build).items()}
        changed = {name: v for name, v in self.values.items() if v != defaults[name]}
        return format_spec(self.entry.name, changed)

    def make(self, *arguments: Any) -> Any:
        """Call `build`: for a pipeline without arguments, for a dataset with the data root."""
        return self.build(*arguments, **self.values)


def open_registry(plugins: Iterable[str] = ()) -> Registry:
    """Return the registry of everything installed and of these plugins."""
    return Registry(plugins)


class Registry:
    """All pipelines and datasets.

    Parameters
    ----------
    plugins : iterable of str
        Paths of .py files or names of importable modules.

    Attributes
    ----------
    entries : dict
        By kind, then by name.
    plugins : tuple of str
        The same plugins without repeats and with absolute paths.
    """

    def __init__(self, plugins: Iterable[str] = ()) -> None:
        self.entries: dict[Kind, dict[str, Entry]] = {"pipeline": {}, "dataset": {}}
        self.plugins = tuple(dict.fromkeys(map(_absolute, plugins)))
        for kind in self.entries:
            for path in sorted(_FOLDERS[kind].glob("[!_]*.py")):
                module = f"{_PACKAGES[kind]}.{path.stem}"
                self._add(Entry(kind, _name(path), module, path, "built-in"))
            for point in metadata.entry_points(group=_GROUPS[kind]):
                owner = f"package {point.dist.name}" if point.dist else "an entry point"
                self._add(Entry(kind, point.name, point.value.partition(":")[0], None, owner))
        for plugin in self.plugins:
            self._add(_plugin_entry(plugin))

    def names(self, kind: Kind) -> list[str]:
        return sorted(self.entries[kind])

    def find(self, kind: Kind, name: str) -> Entry:
        """Return the entry of this name.

        Raises
        ------
        UserError
            If there is none, with a suggestion and the list of names.
        """
        entries = self.entries[kind]
        if name not in entries:
            close = suggest(name, entries)
            names = ", ".join(sorted(entries))
            raise UserError(f"no {kind} is called {brief(name)!r}{close}; there are: {names}")
        if kind == "pipeline" and entries[name].origin == "built-in":
            _check_not_shadowed()
        return entries[name]

    def resolve(self, kind: Kind, spec: str) -> Resolved:
        """Look up a spec string; raises UserError for an unknown name, key or value."""
        name, given = parse_spec(spec)
        return self.find(kind, name).resolve(given)

    def matches(self, recorded: str, kind: Kind, spec: str) -> bool:
        """Return whether a recorded spec means the same as this resolved one.

        A parameter that did not exist when the spec was recorded has its default.
        """
        if recorded == spec or recorded.partition(",")[0] != spec.partition(",")[0]:
            return recorded == spec
        try:
            return self.resolve(kind, recorded).spec == spec
        except UserError:  # a parameter or value that no longer exists
            return False

    def _add(self, entry: Entry) -> None:
        other = self.entries[entry.kind].get(entry.name)
        if other is not None:
            owners = (f"{e.origin} ({e.path or e.module})" for e in (other, entry))
            raise UserError(
                f"two {entry.kind}s are called {entry.name!r}: {' and '.join(owners)}; "
                "rename one of them"
            )
        self.entries[entry.kind][entry.name] = entry


def _name(path: Path) -> str:
    return path.stem.replace("_", "-")


def _absolute(plugin: str) -> str:
    """Return a plugin as it is understood from any folder: an absolute path or a module's name."""
    return str(Path(plugin).expanduser().resolve()) if plugin.endswith(".py") else plugin


def _plugin_entry(plugin: str) -> Entry:
    """Read a plugin without importing it.

    Only the `build` of a dataset has a positional parameter, the data root.
    """
    module, path = _locate(plugin)
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise UserError(f"plugin {plugin}: {_reason(error)}") from error
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    build = next((node for node in functions if node.name == "build"), None)
    if build is None:
        raise UserError(f"plugin {plugin}: the file has no function build(*, ...)")
    name = _name(path.parent if path.stem == "__init__" else path)
    return Entry("dataset" if build.args.args else "pipeline", name, module, path, str(path))


def _locate(plugin: str) -> tuple[str | None, Path]:
    """Return the module, or None for a file, and the path of a plugin."""
    if plugin.endswith(".py"):
        if not Path(plugin).is_file():
            raise UserError(f"plugin {plugin}: there is no such file")
        return None, Path(plugin)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # stays, for the modules that the plugin imports later
    try:
        spec = importlib.util.find_spec(plugin)  # imports the package around it
    except (ImportError, ValueError):
        spec = None
    except Exception as error:
        raise UserError(f"plugin {plugin}: {_reason(error)}") from error
    if spec is None or spec.origin is None:
        raise UserError(f"plugin {plugin}: neither a .py file nor an importable module")
    return plugin, Path(spec.origin)


def _import_file(path: Path) -> ModuleType:
    if str(path.parent) not in sys.path:
        # It stays last, for the files beside it: installed modules of the same names come first.
        sys.path.append(str(path.parent))
    name = f"harness_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec
        assert spec.loader
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _source_files(path: Path) -> set[Path]:
    """Return `path` and our files that it imports, directly or not."""
    files: set[Path] = set()
    pending = [path]
    while pending:
        file = pending.pop()
        if file not in files:
            files.add(file)
            pending += _imported_files(file)
    return files


def _imported_files(path: Path) -> list[Path]:
    """Return our files that the import statements of a file name."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # importing the file reports this
        return []
    roots = _import_roots(path)
    files = []
    for folder, name in _imported_names(tree, path):
        root = folder or roots.get(name.partition(".")[0])
        if root:
            target = root.joinpath(*name.split("."))
            files += [target.with_suffix(".py"), target / "__init__.py"]
    return [file for file in files if file.is_file()]


def _import_roots(path: Path) -> dict[str, Path]:
    """Return the top-level names that are ours in this file, and the folder that each is in.

    These are `pipelines` and the file's own package or, outside a package, the files beside it.
    """
    root = path.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    if root != path.parent:
        names = {path.relative_to(root).parts[0]}
    elif "site-packages" in root.parts:  # everything installed is beside it
        names = set()
    else:
        names = {file.stem for file in root.iterdir()} - {"harness"}
    return {**dict.fromkeys(names, root), "pipelines": ROOT}


def _imported_names(tree: ast.Module, path: Path) -> Iterator[tuple[Path | None, str]]:
    """Yield each dotted name that is imported, and the folder that a relative one starts from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield None, alias.name
        elif isinstance(node, ast.ImportFrom):
            folder = path.parents[node.level - 1] if node.level else None
            if node.module:
                yield folder, node.module
            for alias in node.names:  # it may be a module itself
                yield folder, ".".join(filter(None, [node.module, alias.name]))


def _check_not_shadowed() -> None:
    """Refuse a folder `pipelines` that would be imported in place of ours."""
    spec = importlib.util.find_spec("pipelines")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    if folder == _FOLDERS["pipeline"]:
        return
    found = folder or (list(spec.submodule_search_locations or []) if spec else "nothing")
    raise UserError(
        f"the name 'pipelines' is taken by {found}, not {_FOLDERS['pipeline']}; "
        "rename that folder or work elsewhere"
    )


def _reason(error: BaseException) -> str:
    """Return what an import failed on: the line of a syntax error, the package to install."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; install it with: pip install {(error.name or '').split('.')[0]}"
    line = ""
    if isinstance(error, SyntaxError) and error.filename:
        line = f"{Path(error.filename).name}, line {error.lineno}: "
    return f"{line}{type(error).__name__}: {getattr(error, 'msg', None) or error}"
