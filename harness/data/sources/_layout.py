"""From the names of all images to the part and class of each, or a refusal that says why.

The tree is looked at as a whole before any path is judged: see _parts.py for the parts. Whatever
is passed over, joined or read in one of two possible ways is said in a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from harness.data.class_names import look_alike_notes, normalize
from harness.data.sources import PARTS, UNSPLIT, ClassLevel, part_of
from harness.data.sources._image_folders import Folder, image_folders
from harness.data.sources._parts import (
    PartsTree,
    choose_tree,
    class_top,
    find_parts,
    note_joined_parts,
    parts_in_classes,
    shown,
)
from harness.errors import UserError

MAX_DEPTH = 100  # folders; images below are passed over
PORTION = re.compile(
    r"(.*[ _-])?(k?folds?|splits?|cv|batch|part|shard|chunk|set|images?|imgs?|data)[ _-]*\d+",
    re.IGNORECASE,
)
Pair = tuple[str, str]  # part and class name


@dataclass
class Layout:
    """How the images of a tree are read.

    Attributes
    ----------
    images : dict of Pair
        By name: those that have a class.
    notes : list of str
    part_folders : dict of str
        The folders that the parts were read from, by part.
    reported_folders : list of str
        Folders whose images are not read, of which a note tells.
    """

    images: dict[str, Pair] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    part_folders: dict[str, str] = field(default_factory=dict)
    reported_folders: list[str] = field(default_factory=list)

    def reports(self, name: str) -> bool:
        """Return whether a note tells of the folder that an image lies in."""
        return any(name.startswith(f"{folder}/") for folder in self.reported_folders)


def lay_out(names: Sequence[str], path: str, class_level: ClassLevel = "top") -> Layout:
    """Decide the part and the class of every image.

    Parameters
    ----------
    names : sequence of str
        POSIX paths of images below the source.
    path : str
        The source, for messages.
    class_level : {"top", "leaves"}
        Whether what lies deeper than a class folder belongs to it, or every folder that directly
        holds images is a class.

    Raises
    ------
    UserError
        If there are several datasets, or a folder may be a part or a class.
    """
    layout = Layout()
    root = image_folders(name for name in names if name.count("/") <= MAX_DEPTH)
    trees = find_parts(root, path)
    if trees:
        tree = choose_tree(trees, names, path)
        note_joined_parts(tree, names, path)
        layout.notes += tree.notes
        layout.reported_folders += [copy.path for copy in tree.copies]
        tops = _labeled_tops(tree, layout)
        _check_covered(tree, root, path)
        _report_flat_parts(tree, root, layout)
    else:
        top = root
        while not top.is_flat and len(top.children) == 1:
            (child,) = top.children.values()
            if child.is_flat:
                break
            top = child
        if in_classes := list(parts_in_classes(top)):
            return _read_parts_in_classes(in_classes, names, layout)
        tops = [(UNSPLIT, top)]
    pairs = _class_pairs(tops, names, path, class_level, layout)
    _assign(names, pairs, layout)
    return layout


def _labeled_tops(tree: PartsTree, layout: Layout) -> list[tuple[str, Folder]]:
    """Return (part, the folder that holds its class folders) of the parts that have classes."""
    tops = []
    folders: dict[str, list[str]] = {}
    for folder, part in tree.parts:
        top = class_top(folder)
        if top.is_flat:
            _report_unlabeled(top, layout)
        else:
            tops.append((part, top))
            folders.setdefault(part, []).append(folder.path)
    for part, paths in folders.items():
        layout.part_folders[part] = " and ".join(f"{path}/" for path in paths)
    return _skip_shared_folder(tops)


def _report_unlabeled(folder: Folder, layout: Layout) -> None:
    layout.reported_folders.append(folder.path)
    layout.notes.append(
        f"{folder.path}/ holds {folder.total:,} images without class folders: they have no labels "
        "and are passed over"
    )


def _report_flat_parts(tree: PartsTree, root: Folder, layout: Layout) -> None:
    """Note the parts without classes that lie beside the tree, not in it: `plants/`, `test/`."""
    for folder in root.children.values():
        top = class_top(folder)
        is_outside = not folder.contains(tree.top.path) and folder not in tree.top.children.values()
        if is_outside and top.is_flat and folder.name.lower() in PARTS:
            _report_unlabeled(top, layout)


def _skip_shared_folder(tops: list[tuple[str, Folder]]) -> list[tuple[str, Folder]]:
    """Descend into the one folder that every part has above its classes: `train/images/cat`."""
    while all(len(top.children) == 1 for _, top in tops):
        below = [(part, next(iter(top.children.values()))) for part, top in tops]
        if len({folder.name for _, folder in below}) > 1:
            break
        if any(folder.images or len(folder.children) < 2 for _, folder in below):
            break
        tops = below
    return tops


def _check_covered(tree: PartsTree, root: Folder, path: str) -> None:
    """Raise UserError if no fewer images lie outside the folder with the parts than in them."""
    outside = root.total - tree.top.total
    if outside >= tree.total:
        raise UserError(
            f"{path}: {tree.top.path}/ holds parts, but {outside:,} of {root.total:,} images lie "
            f"outside of it; give {path}/{tree.top.path}, or move the parts beside the others"
        )


def _read_parts_in_classes(
    folders: Iterable[tuple[Folder, str, str]], names: Sequence[str], layout: Layout
) -> Layout:
    pairs = {}
    for folder, part, class_name in folders:
        pairs[folder.path] = (part, normalize(class_name))
        layout.part_folders.setdefault(part, f"{folder.name}/ of each class")
    layout.notes.append(
        "the parts lie inside the class folders: " + ", ".join(sorted(layout.part_folders.values()))
    )
    _assign(names, pairs, layout)
    return layout


def _class_pairs(
    tops: Sequence[tuple[str, Folder]],
    names: Sequence[str],
    path: str,
    class_level: ClassLevel,
    layout: Layout,
) -> dict[str, Pair]:
    """Return the part and class of every folder of images below the class folders."""
    pairs: dict[str, Pair] = {}
    class_folders: list[Folder] = []
    for part, top in tops:
        _refuse_portions(top, path)
        kept = _without_copy(top, names, path, layout)
        class_folders += kept
        for class_folder in kept:
            start = len(class_folder.path) - len(class_folder.name)
            for folder in class_folder.walk():
                if folder.images:
                    is_leaf_class = class_level == "leaves"
                    name = folder.path[start:] if is_leaf_class else class_folder.name
                    pairs[folder.path] = (part, normalize(name))
    if class_level == "top":
        layout.notes += _joined_notes(class_folders)
    if len(tops) == 1:
        layout.notes += _side_by_side_notes(class_folders, path)
    layout.notes += _doubtful_name_notes(tops)
    layout.notes += look_alike_notes({class_name for _, class_name in pairs.values()})
    return pairs


def _refuse_portions(top: Folder, path: str) -> None:
    """Raise UserError for `fold1/cat`, `fold2/cat`: the same classes in each, as in no class."""
    children = list(top.children.values())
    classes = {frozenset(child.children) for child in children}
    if len(children) < 2 or len(classes) > 1 or len(children[0].children) < 2:
        return
    if all(PORTION.fullmatch(child.name) for child in children):
        raise UserError(
            f"{path}: {shown(children)} hold the same {len(children[0].children)} folders each "
            f"and look like portions of a dataset, not like classes; give one of them, such as "
            f"{path}/{children[0].path}, or merge them"
        )


def _without_copy(top: Folder, names: Sequence[str], path: str, layout: Layout) -> list[Folder]:
    """Return the class folders without one that holds all of them again: `cat`, `dog`, `pets/cat`.

    Raises
    ------
    UserError
        If the two differ.
    """
    kept = list(top.children.values())
    for folder in kept:
        siblings = top.children.keys() - {folder.name}
        if len(siblings) < 2 or class_top(folder).children.keys() != siblings:
            continue
        inner = class_top(folder)
        relative = top.relative(names)
        beside = {name for name in relative if "/" in name and name.partition("/")[0] in siblings}
        if set(inner.relative(names)) != beside:
            raise UserError(
                f"{path}: {inner.path}/ holds the same {len(siblings)} folders as "
                f"{top.path or 'the folder'} around it, with other files; give one of the two, "
                f"such as {path}/{inner.path}, or remove one"
            )
        around = f"{top.path}/" if top.path else "the folder"
        layout.notes.append(
            f"{inner.path}/ holds the same {inner.total:,} file names as {around} around it, "
            "and is passed over as its copy"
        )
        layout.reported_folders.append(folder.path)
        return [other for other in kept if other is not folder]
    return kept


def _joined_notes(class_folders: Sequence[Folder]) -> list[str]:
    """Return a note on the sub-folders that were joined with their class."""
    branched = [folder for folder in class_folders if _branches(folder)]
    below = [inner for folder in branched for inner in folder.walk() if inner is not folder]
    joined = [folder for folder in below if folder.images]
    if not joined:
        return []
    return [
        f"{len(joined):,} sub-folders of {len(branched):,} class folders are joined with them, "
        f"such as {joined[0].path}/; class_level=leaves makes each a class of its own"
    ]


def _side_by_side_notes(class_folders: Sequence[Folder], path: str) -> list[str]:
    """Return a note on `original/cat`, `augmented/cat`, which may be datasets, not classes."""
    if not class_folders:
        return []
    first, *others = class_folders
    inner = first.children.keys()
    if len(inner) < 2 or any(folder.children.keys() != inner for folder in others):
        return []
    return [
        f"each class folder holds the same sub-folders ({shown([*inner])}): if these are the "
        f"classes, give one of the datasets, such as {path}/{first.path}"
    ]


def _branches(folder: Folder) -> bool:
    """Return whether more than one folder, from this one downward, holds images."""
    return sum(bool(below.images) for below in folder.walk()) > 1


def _doubtful_name_notes(tops: Sequence[tuple[str, Folder]]) -> list[str]:
    """Return notes on folders that are read as classes although their name says otherwise."""
    notes = []
    for _, top in tops:
        children = list(top.children.values())
        named = [child for child in children if child.name.lower() in PARTS]
        beside = [child for child in children if child not in named]
        if named and beside and len(tops) == 1:
            notes.append(
                f"{shown(named)} is taken for a class, not for a part, since {shown(beside)} "
                "beside it is no part"
            )
        is_portion = all(PORTION.fullmatch(child.name) for child in children)
        parts = {part_of(child.name) for child in children}
        if len(children) > 1 and (is_portion or (len(parts) > 1 and UNSPLIT not in parts)):
            notes.append(
                f"{shown(children)} are taken for classes, although their names are those of "
                "portions or parts: sort the images into class folders if they are not"
            )
    return notes


def _assign(names: Sequence[str], pairs: dict[str, Pair], layout: Layout) -> None:
    for name in names:
        pair = pairs.get(name.rpartition("/")[0])
        if pair is not None:
            layout.images[name] = pair
