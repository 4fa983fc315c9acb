"""Generated trees: what was generated is what is read, or a refusal or note says why not.

A seeded generator combines parts, classes, nesting, sub-folders, what systems leave behind,
doubled parts, unlabeled flat parts, copies, folds and links. The first thousands of trees are lists
of names; some dozens are written as folder, tar and zip.
"""

from __future__ import annotations

import random
import tarfile
import unicodedata
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.data.class_names import normalize
from harness.data.decode import is_image
from harness.data.sources import open_source
from harness.data.sources._layout import Layout, Pair, lay_out
from harness.data.sources._passed_over import passed_over_notes
from harness.errors import UserError

TREES, TREES_PER_CASE, TREES_ON_DISK = 3000, 100, 36
PARTS = (
    {"": "all"},
    {"train": "train", "test": "test"},
    {"train": "train", "val": "val"},
    {"train": "train", "valid": "val", "test": "test"},
    {"Training": "train", "Testing": "test", "Validation": "val"},
    {"seg_train": "train", "seg_test": "test"},
    {"train": "train"},
    {"trainset": "train", "testset": "test"},
)
CLASSES = (
    "cat", "dog", "emu", "train", "test", "val", "bullet-train", "images", "café", "いぬ", "0", "1",
    "New York", "a.b", "fold1", "Aves", "class 7", "ｆｕｌｌ", "straße", "_x", "001.Albatross",
)  # fmt: skip
DEBRIS = (
    "@eaDir/{f}/SYNOPHOTO_THUMB_XL.jpg", "#recycle/{f}", "$RECYCLE.BIN/{f}", "lost+found/{f}",
    "System Volume Information/{f}", ".thumbnails/{f}", "__MACOSX/._{f}", "._{f}", ".git/{f}",
    ".ipynb_checkpoints/{f}", ".Trash-1000/files/{f}", "@Recycle/{f}", ".AppleDouble/{f}",
)  # fmt: skip
SUBFOLDERS = ((), ("images",), ("day", "night"), ("s1", "s2", "s3/left"), ("", "more"))


@dataclass
class Tree:
    """A generated tree.

    Attributes
    ----------
    truth : dict of Pair
        The part and class of every labeled image.
    others : list of str
        Files that are not to be read.
    features : set of str
        What makes the tree special.
    """

    truth: dict[str, Pair] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    features: set[str] = field(default_factory=set)

    @property
    def names(self) -> list[str]:
        return sorted([*self.truth, *self.others])


def generate(seed: int) -> Tree:
    """Return the tree of a seed."""
    rng = random.Random(seed)
    tree = Tree()
    parts = rng.choice(PARTS)
    part_words = ("train", "test", "val")
    has_parts = "" not in parts
    pool = [name for name in CLASSES if has_parts or name not in part_words]
    classes = [*rng.sample(pool, rng.randint(1, 5)), "owl"]  # never the words of parts alone
    if not has_parts and len(classes) > 2 and rng.random() < 0.3:
        classes[0] = rng.choice(part_words)  # as among vehicles
        tree.features.add("class named like a part")
    top = rng.choice(["", "", "photos/", "data/photos/", "photos/photos/"])
    if has_parts and rng.random() < 0.3:
        parts = {f"{name}/{name}": part for name, part in parts.items()}
    subfolders = rng.choice(SUBFOLDERS)
    if not has_parts and "class named like a part" in tree.features and "" in subfolders:
        subfolders = ()  # a class with images beside folders of images
    for folder, part in parts.items():
        form = rng.choice(["NFC", "NFC", "NFD"])
        for name in classes:
            class_folder = unicodedata.normalize(form, "/".join(filter(None, (folder, name))))
            for inner in subfolders or ("",):
                for i in range(rng.randint(1, 3)):
                    path = "/".join(filter(None, (class_folder, inner, f"{i}.JPG")))
                    tree.truth[top + path] = (part, normalize(name))
    if len(subfolders) > 1:
        tree.features.add("sub-folders")
    add_others(tree, rng, top, list(parts), has_parts)
    return tree


def add_others(tree: Tree, rng: random.Random, top: str, parts: list[str], has_parts: bool) -> None:
    """Add files that are not to be read, and now and then something to refuse."""
    folders = sorted({name.rpartition("/")[0] for name in tree.truth})
    if rng.random() < 0.5:
        tree.features.add("debris")
        for pattern in rng.sample(DEBRIS, rng.randint(1, 4)):
            folder = rng.choice(["", *(f"{folder}/" for folder in folders)])
            tree.others += [folder + pattern.format(f=f"{i}.jpg") for i in range(rng.randint(1, 9))]
    if rng.random() < 0.3:
        tree.features.add("other suffixes")
        tree.others += [f"{rng.choice(folders)}/{i}.heic" for i in range(3)]
    if has_parts and not any("test" in part.lower() for part in parts) and rng.random() < 0.7:
        tree.features.add("flat test")
        tree.others += [f"{top}{rng.choice(['test', 'test/test'])}/{i}.jpg" for i in range(4)]
    if rng.random() < 0.1 and has_parts and not top:
        tree.features.add("copy")
        tree.others += [f"again/{name}" for name in tree.truth]
        if rng.random() < 0.5:
            tree.features.add("differing copy")
            tree.others.append(f"again/{next(iter(tree.truth))}.png")
    elif rng.random() < 0.1 and has_parts:
        tree.features.add("folds")
        tree.truth = {f"fold{k}/{n}": pair for k in (1, 2) for n, pair in tree.truth.items()}


def read(tree: Tree) -> tuple[Layout, list[str]]:
    """Return the layout of a tree of names, and all notes on it."""
    images = [name for name in tree.names if is_image(name)]
    layout = lay_out(images, "photos")
    reported = {name for name in images if name in layout.images or layout.reports(name)}
    return layout, [*layout.notes, *passed_over_notes(tree.names, images, reported)]


def check_notes(tree: Tree, notes: list[str]) -> None:
    text = "\n".join(notes)
    if "sub-folders" in tree.features:
        assert "sub-folders of" in text
        assert "class_level=leaves" in text
    if "class named like a part" in tree.features:
        assert "is taken for a class, not for a part" in text
    if "debris" in tree.features:
        assert "are ignored, such as" in text
    if "other suffixes" in tree.features:
        assert "3 files without an image suffix are ignored (3 .heic)" in text
    if "flat test" in tree.features:
        assert "images without class folders: they have no labels" in text
    if "copy" in tree.features:
        assert "is passed over as its copy" in text


@pytest.mark.parametrize("first", range(0, TREES, TREES_PER_CASE))
def test_a_tree_is_read_as_it_was_generated_or_refused(first: int) -> None:
    for seed in range(first, first + TREES_PER_CASE):
        tree = generate(seed)
        if tree.features & {"folds", "differing copy"}:
            with pytest.raises(UserError, match=r"photos holds \d datasets.*give one of them"):
                read(tree)
            continue
        layout, notes = read(tree)
        assert layout.images == tree.truth, (seed, tree.features)
        check_notes(tree, notes)


def test_the_generator_makes_every_feature_often() -> None:
    trees = [generate(seed) for seed in range(TREES)]
    features = {feature for tree in trees for feature in tree.features}
    for feature in features:
        assert sum(feature in tree.features for tree in trees) >= 40, feature
    assert len(features) == 8
    assert sum(not tree.features for tree in trees) > 300


@pytest.mark.parametrize("seed", range(TREES_ON_DISK))
def test_a_folder_a_tar_and_a_zip_of_a_tree_are_read_alike(workdir: Path, seed: int) -> None:
    tree = generate(seed)
    root = workdir / "photos"
    for name in tree.names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    with zipfile.ZipFile(workdir / "photos.zip", "w") as archive:
        for name in tree.names:
            archive.write(root / name, f"photos/{name}")
    with tarfile.open(workdir / "photos.tar.gz", "w:gz") as packed:
        packed.add(root, arcname="photos")
    rng = random.Random(seed)
    inside = [folder for folder in root.rglob("*") if folder.is_dir()]
    folders = sorted(folder for folder in inside if is_image(f"{folder.relative_to(root)}.jpg"))
    for i in range(3):
        link = rng.choice(folders) / f"link{i}"
        link.symlink_to(rng.choice([root, link.parent, link.parent.parent, *folders]))
    readings = []
    for source in (root, workdir / "photos.zip", workdir / "photos.tar.gz"):
        if tree.features & {"folds", "differing copy"}:
            with pytest.raises(UserError, match="give one of them"):
                open_source(source)
            continue
        opened = open_source(source)
        readings.append(sorted((im.part, opened.class_names[im.label], im.read()) for im in opened))
        if source == root:
            assert "3 links to folders" in "\n".join(opened.dataset_notes)
    expected = sorted((*pair, name.encode()) for name, pair in tree.truth.items())
    assert all(reading == expected for reading in readings)
