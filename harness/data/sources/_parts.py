"""Which folders of a tree are the parts train, val and test, judged with their siblings in view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.data.sources import PARTS, UNSPLIT, part_of
from harness.data.sources._image_folders import Folder
from harness.errors import UserError

LISTED = 4  # folders that a message names
FEW = 0.1  # share of a part's images up to which folders beside it do not make it a class


@dataclass
class PartsTree:
    """A folder whose children are parts.

    Attributes
    ----------
    top : Folder
    parts : list of (Folder, str)
        The child, and which part its name says.
    notes : list of str
    copies : list of Folder
        Folders that are passed over as copies of the top folder.
    """

    top: Folder
    parts: list[tuple[Folder, str]]
    notes: list[str] = field(default_factory=list)
    copies: list[Folder] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(folder.total for folder, _ in self.parts)


def shown(folders: Sequence[Folder] | Sequence[str]) -> str:
    """Return the paths of folders for a message: the first ones, and how many more."""
    paths = [folder if isinstance(folder, str) else folder.path for folder in folders]
    more = f" and {len(paths) - LISTED:,} more" if len(paths) > LISTED else ""
    return ", ".join(f"{path}/" for path in paths[:LISTED]) + more


def class_top(part: Folder) -> Folder:
    """Return the folder that holds a part's class folders: `test/test` for `test/test/cat/1.jpg`.

    A part is doubled only if its one folder says so; among class folders, `train` is a class.
    """
    while len(part.children) == 1:
        (child,) = part.children.values()
        is_doubled = child.name.lower() == part.name.lower() or (
            PARTS.get(child.name.lower(), "") == PARTS.get(part.name.lower(), UNSPLIT)
        )
        if not is_doubled:
            break
        part = child
    return part


def find_parts(root: Folder, path: str, *, strict: bool = True) -> list[PartsTree]:
    """Return the trees whose top folder has parts as children, the outermost first.

    A folder is a part only if its siblings are parts: beside `bus` and `car`, `train` is a class.
    Siblings that are no parts are tolerated beside two different parts, or if they hold few images.

    Parameters
    ----------
    root : Folder
    path : str
        The source, for messages.
    strict : bool
        False: take a folder for a class where it cannot be told.

    Raises
    ------
    UserError
        If it cannot be told whether a folder is a part or a class.
    """
    named = _named(root)
    others = [child for child in root.children.values() if child.name not in named]
    strict_below = strict and len(root.children) == 1
    inner = {child.name: find_parts(child, path, strict=strict_below) for child in others}
    doubled = {
        name: find_parts(class_top(root.children[name]), path, strict=False) for name in named
    }
    # train/ with train/ and val/ inside is a tree of its own, not a part
    nested = {name for name, trees in doubled.items() if any(_is_certain(tree) for tree in trees)}
    parts = [(root.children[name], part) for name, part in named.items() if name not in nested]
    trees = [tree for name in nested for tree in doubled[name]]
    trees += [tree for found in inner.values() for tree in found]
    if not _are_parts(parts, others, inner, path if strict else None):
        return trees
    tree = PartsTree(root, parts)
    if unusual := [folder for folder, _ in parts if folder.name.lower() not in PARTS]:
        readings = (f"{folder.path}/ as {part}" for folder, part in parts if folder in unusual)
        tree.notes.append(f"read by a word of its name: {', '.join(readings)}")
    return [tree, *trees]


def _named(top: Folder) -> dict[str, str]:
    """Return the children that name a part, with the part.

    The complete name says so; or a word of it (`seg_train`), provided that two different parts are
    named and most images lie in them: else `bullet-train` may be a class. A folder beside them that
    holds parts itself is another dataset and does not count.
    """
    by_name = {name: PARTS[name.lower()] for name in top.children if name.lower() in PARTS}
    by_word = _named_by_word(top)
    if len(by_word) == len(by_name) or len(set(by_word.values())) < 2:
        return by_name
    inside = sum(top.children[name].total for name in by_word)
    beside = sum(
        child.total
        for name, child in top.children.items()
        if name not in by_word and len(set(_named_by_word(child).values())) < 2
    )
    return by_word if inside > beside else by_name


def _named_by_word(top: Folder) -> dict[str, str]:
    return {name: part_of(name) for name in top.children if part_of(name) != UNSPLIT}


def _is_certain(tree: PartsTree) -> bool:
    """Return whether all children are parts by their complete names, and not all the same."""
    names = {folder.name.lower() for folder, _ in tree.parts}
    several = len({part for _, part in tree.parts}) > 1
    return several and names <= PARTS.keys() and len(tree.parts) == len(tree.top.children)


def _are_parts(
    parts: Sequence[tuple[Folder, str]],
    others: Sequence[Folder],
    inner: Mapping[str, Sequence[PartsTree]],
    path: str | None,
) -> bool:
    """Return whether folders that name a part are parts, beside the others."""
    labeled = [folder for folder, _ in parts if class_top(folder).children]
    if not labeled:
        return False
    if len({part for _, part in parts}) > 1 or not others:
        return True
    if any(inner.values()):  # the others hold parts themselves, so these are not classes
        return True
    inside = sum(folder.total for folder in labeled)
    if sum(folder.total for folder in others) < FEW * inside:  # pictures of a README, samples
        return True
    if path and len(others) == 1:
        (folder, _), *_ = parts
        raise UserError(
            f"{path}: {folder.path}/ may be a part or a class, since {others[0].path}/ beside it "
            f"is no part; give {_join(path, folder)} if it holds the classes, or rename it if it "
            "is one itself"
        )
    return False


def _join(path: str, folder: Folder) -> str:
    return f"{path}/{folder.path}" if folder.path else path


def choose_tree(trees: Sequence[PartsTree], names: Sequence[str], path: str) -> PartsTree:
    """Return the one tree to read.

    A tree that lies inside another one and holds the same file names is its copy.

    Raises
    ------
    UserError
        If there are several trees: folds, versions, or a copy that differs.
    """
    first, *others = trees
    for other in others:
        is_inside = first.top.contains(other.top.path)
        if not is_inside or _files(other, names) != _files(first, names):
            raise _several_trees_error(trees, path)
        first.notes.append(
            f"{other.top.path}/ holds the same {other.total:,} file names as "
            f"{first.top.path or 'the folder'} around it, and is passed over as its copy"
        )
        first.copies.append(other.top)
    return first


def _files(tree: PartsTree, names: Sequence[str]) -> set[str]:
    """Return the names of a tree's labeled images as seen from its top."""
    labeled = [folder for folder, _ in tree.parts if class_top(folder).children]
    prefixes = tuple(f"{folder.name}/" for folder in labeled)
    return {name for name in tree.top.relative(names) if name.startswith(prefixes)}


def _several_trees_error(trees: Sequence[PartsTree], path: str) -> UserError:
    counts = ", ".join(
        f"{tree.top.path or '.'}/ with {tree.total:,} images" for tree in trees[:LISTED]
    )
    more = f" and {len(trees) - LISTED:,} more" if len(trees) > LISTED else ""
    example = next(tree.top for tree in trees if tree.top.path)
    return UserError(
        f"{path} holds {len(trees)} datasets, each with parts of its own ({counts}{more}), which "
        f"are not joined; give one of them, such as {_join(path, example)}, or remove the others"
    )


def note_joined_parts(tree: PartsTree, names: Sequence[str], path: str) -> None:
    """Note the folders that name the same part and are joined, such as `test1` and `test2`.

    Raises
    ------
    UserError
        If they hold files of the same names, so that one may be a copy.
    """
    folders_of_part: dict[str, list[Folder]] = {}
    for folder, part in tree.parts:
        folders_of_part.setdefault(part, []).append(folder)
    for part, folders in folders_of_part.items():
        if len(folders) < 2:
            continue
        files = [set(folder.relative(names)) for folder in folders]
        counts = " and ".join(f"{folder.path}/ ({folder.total:,} images)" for folder in folders)
        if any(files[0] == other for other in files[1:]):
            raise UserError(
                f"{path}: {counts} both name the {part} part and hold the same file names; remove "
                "one if it is a copy, else give the files different names"
            )
        tree.notes.append(f"{counts} are joined: all of them name the {part} part")


def parts_in_classes(top: Folder) -> Iterator[tuple[Folder, str, str]]:
    """Yield (folder, part, class name) of `CLASS/PART/IMAGE`, if every class is laid out so."""
    named = [
        (child, PARTS.get(child.name.lower(), UNSPLIT), class_folder.name)
        for class_folder in top.children.values()
        for child in class_folder.children.values()
    ]
    is_uniform = all(
        folder.children and not folder.images and folder.name.lower() not in PARTS
        for folder in top.children.values()
    )
    are_parts = all(child.is_flat and part != UNSPLIT for child, part, _ in named)
    if is_uniform and are_parts and len({part for _, part, _ in named}) > 1:
        yield from named
