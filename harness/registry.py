"""Which pipelines and datasets there are: the files of `pipelines/` and `harness/data/datasets/`, entry points, `--plugins`.

Listing reads files as text and imports nothing; a pipeline is imported when it is asked for by name.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from harness.errors import UserError
from harness.spec import bind, format_spec, parameters, parse_spec, suggest

Kind = Literal["pipeline", "dataset"]
ROOT = Path(__file__).parent.parent
_FOLDERS: dict[Kind, Path] = {
    "pipeline": ROOT / "pipelines",
    "dataset": ROOT / "harness" / "data" / "datasets",
}
_PACKAGES: dict[Kind, str] = {"pipeline": "pipelines", "dataset": "harness.data.datasets"}
_GROUPS: dict[Kind, str] = {"pipeline": "harness.pipelines", "dataset": "harness.datasets"}
_WORDS: dict[Kind, str] = {"pipeline": "pipeline", "dataset": "dataset"}


@dataclass(frozen=True)
class Entry:
    """One pipeline or dataset: where it comes from, and what can be said of it without importing it."""

    kind: Kind
    name: str
    module: str | None  # importable name, or None for a file outside any package
    path: Path | None  # its source file, where that is known without importing
    origin: str  # "built-in", "package NAME", or the plugin's path

    @property
    def _file(self) -> Path | None:
        """Of an entry point it is known once it has been imported."""
        loaded = getattr(sys.modules.get(self.module or ""), "__file__", None)
        return self.path or (Path(loaded) if loaded else None)

    @property
    def _tree(self) -> ast.Module | None:
        try:
            return ast.parse(self._file.read_bytes()) if self._file else None
        except (OSError, SyntaxError, ValueError):
            return None

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        if self._tree is None:
            return (
                "(its file cannot be read: see harness list --check)"
                if self._file
                else "(not read before it is used)"
            )
        return (ast.get_docstring(self._tree) or "(no docstring)").splitlines()[0]

    @property
    def family(self) -> str:
        """The file's FAMILY, where that is a constant."""
        for node in self._tree.body if self._tree else []:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(
                node.value, ast.Constant
            ):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if [ast.unparse(target) for target in targets] == ["FAMILY"]:
                    return str(node.value.value)
        return "?"

    def load(self) -> ModuleType:
        """Import it. Raises UserError with the reason when that fails or `build` is missing."""
        try:
            module = (
                _import_file(self.path)
                if self.module is None and self.path
                else import_module(str(self.module))
            )
        except Exception as error:
            raise UserError(
                f"{_WORDS[self.kind]} {self.name!r} ({self.origin}) cannot be imported: {_reason(error)}"
            ) from error
        if not callable(getattr(module, "build", None)):
            raise UserError(
                f"{_WORDS[self.kind]} {self.name!r} ({self.origin}) has no function build(*, ...)"
            )
        return module

    def resolve(self, given: dict[str, str]) -> Resolved:
        """Check the parameters of a spec and fill in the defaults of the others."""
        build = self.load().build
        return Resolved(self, build, bind(self.name, build, given))

    @property
    def source_hash(self) -> str:
        """16 hex digits over this file and every file that it imports, directly or not, of `pipelines/` and of its own package or folder."""
        path = self.path or Path(str(self.load().__file__))
        digest = hashlib.sha256()
        for file in sorted(_closure(path), key=lambda f: (f.name, f.read_bytes())):
            digest.update(file.read_bytes() + b"\0")
        return digest.hexdigest()[:16]


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
    """All entries. `plugins` are paths of .py files or names of importable modules; as kept, they are understood from any folder."""

    def __init__(self, plugins: Iterable[str] = ()) -> None:
        self.entries: dict[Kind, dict[str, Entry]] = {"pipeline": {}, "dataset": {}}
        self.plugins = tuple(dict.fromkeys(map(_whole_path, plugins)))
        for kind in self.entries:
            for path in sorted(_FOLDERS[kind].glob("[!_]*.py")):
                self._add(
                    Entry(kind, _name(path), f"{_PACKAGES[kind]}.{path.stem}", path, "built-in")
                )
            for point in metadata.entry_points(group=_GROUPS[kind]):
                owner = f"package {point.dist.name}" if point.dist else "an entry point"
                self._add(Entry(kind, point.name, point.value.partition(":")[0], None, owner))
        for plugin in self.plugins:
            self._add(_plugin_entry(plugin))

    def names(self, kind: Kind) -> list[str]:
        return sorted(self.entries[kind])

    def find(self, kind: Kind, name: str) -> Entry:
        """Raises UserError with a suggestion and the list for an unknown name."""
        entries = self.entries[kind]
        if name not in entries:
            word = _WORDS[kind]
            raise UserError(
                f"no {word} is called {name!r}{suggest(name, entries)}; there are: {', '.join(sorted(entries))}"
            )
        if kind == "pipeline" and entries[name].origin == "built-in":
            _check_not_shadowed()
        return entries[name]

    def resolve(self, kind: Kind, spec: str) -> Resolved:
        """Look up a spec string; raises UserError for an unknown name, key or value."""
        name, given = parse_spec(spec)
        return self.find(kind, name).resolve(given)

    def matches(self, recorded: str, kind: Kind, spec: str) -> bool:
        """Whether a recorded spec is this resolved one. A parameter that did not exist yet when it was recorded has its default."""
        if recorded == spec or recorded.partition(",")[0] != spec.partition(",")[0]:
            return recorded == spec
        try:
            now = self.resolve(kind, recorded).spec
        except UserError:  # a parameter or value that is gone
            return False
        return now == spec

    def _add(self, entry: Entry) -> None:
        other = self.entries[entry.kind].get(entry.name)
        if other is not None:
            raise UserError(
                f"two {_WORDS[entry.kind]}s are called {entry.name!r}: {other.origin} ({other.path or other.module}) and "
                f"{entry.origin} ({entry.path or entry.module}); rename one of them"
            )
        self.entries[entry.kind][entry.name] = entry


def _name(path: Path) -> str:
    return path.stem.replace("_", "-")


def _whole_path(plugin: str) -> str:
    """A file with all its folders; a module as it is."""
    return str(Path(plugin).expanduser().resolve()) if plugin.endswith(".py") else plugin


def _plugin_entry(plugin: str) -> Entry:
    """A dataset's build takes the data root as its one positional parameter, a pipeline's none: that tells them apart."""
    if plugin.endswith(".py"):
        module, path = None, Path(plugin)
        if not path.is_file():
            raise UserError(f"--plugins {plugin}: there is no such file")
    else:
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(
                0, str(Path.cwd())
            )  # it stays: the module is imported later, and what it imports then
        try:
            found = importlib.util.find_spec(plugin)  # imports the package that it lies in
        except (ImportError, ValueError):
            found = None
        except Exception as error:
            raise UserError(f"--plugins {plugin}: {_reason(error)}") from error
        if found is None or found.origin is None:
            raise UserError(f"--plugins {plugin}: neither a .py file nor an importable module")
        module, path = plugin, Path(found.origin)
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise UserError(f"--plugins {plugin}: {_reason(error)}") from error
    builds = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "build"
    ]
    if not builds:
        raise UserError(f"--plugins {plugin}: the file has no function build(*, ...)")
    named = path.parent if path.stem == "__init__" else path
    return Entry(
        "dataset" if builds[0].args.args else "pipeline", _name(named), module, path, str(path)
    )


def _import_file(path: Path) -> ModuleType:
    if str(path.parent) not in sys.path:
        sys.path.append(
            str(path.parent)
        )  # for the files beside it, whenever they are imported; after all else that has their names
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


def _closure(path: Path, seen: set[Path] | None = None) -> set[Path]:
    """`path` and the files that its import statements reach: see `_imported`."""
    seen = set() if seen is None else seen
    if path not in seen:
        seen.add(path)
        for file in _imported(path):
            _closure(file, seen)
    return seen


def _imported(path: Path) -> Iterator[Path]:
    """The files of `pipelines` that this one imports, and those of its own package or, where it lies in none, of its folder."""
    base = path.parent
    while (base / "__init__.py").is_file():
        base = base.parent
    if base != path.parent:
        own = {path.relative_to(base).parts[0]}
    else:  # a file beside installed packages is no folder of its own
        own = (
            set()
            if "site-packages" in base.parts
            else {file.stem for file in base.iterdir()} - {"harness"}
        )
    roots = {**dict.fromkeys(own, base), "pipelines": ROOT}
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # of a neighbor; whoever imports it is told
        return
    for node in ast.walk(tree):
        folder = None
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            folder = path.parents[node.level - 1] if node.level else None
            module = [node.module] if node.module else []
            names = [*module, *(".".join([*module, alias.name]) for alias in node.names)]
        else:
            continue
        for name in names:
            if where := folder or roots.get(name.partition(".")[0]):
                at = where.joinpath(*name.split("."))
                yield from (
                    file for file in (at.with_suffix(".py"), at / "__init__.py") if file.is_file()
                )


def _check_not_shadowed() -> None:
    """`pipelines` is a common name: a folder of that name in the working folder would be imported in place of ours."""
    found = importlib.util.find_spec("pipelines")
    folder = Path(found.origin).parent if found and found.origin else None
    if folder != _FOLDERS["pipeline"]:
        places = folder or (list(found.submodule_search_locations or []) if found else "nothing")
        raise UserError(
            f"the name 'pipelines' is taken by {places}, not {_FOLDERS['pipeline']}; rename that folder or work elsewhere"
        )


def _reason(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; install it with: pip install {(error.name or '').split('.')[0]}"
    where = (
        f"{Path(error.filename).name}, line {error.lineno}: "
        if isinstance(error, SyntaxError) and error.filename
        else ""
    )
    return f"{where}{type(error).__name__}: {getattr(error, 'msg', None) or error}"
