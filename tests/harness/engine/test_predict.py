"""The most likely classes of images that belong to no dataset."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import harness
from harness import UserError
from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec


@pytest.fixture
def run_id(plugin: str) -> str:
    return harness.run("nearest-mean", "digits", plugins=[plugin], track=False).run_id


def test_images_of_any_size_get_their_five_most_likely_classes(
    run_id: str, plugin: str, workdir: Path, pictures: Callable[..., Path]
) -> None:
    folder = pictures(workdir / "mine", {"": 2, "deeper": 1}, size=(40, 60))
    (folder / "._hidden.png").write_bytes(b"what macOS leaves beside a file")
    (folder / "folder.png").mkdir()
    predictions = list(harness.predict(run_id, [folder], plugins=[plugin]))
    assert [file.relative_to(folder).as_posix() for file, _ in predictions] == [
        "0.png", "1.png", "deeper/0.png",
    ]  # fmt: skip
    for _, classes in predictions:
        names, scores = zip(*classes, strict=True)
        assert len(set(names)) == 5
        assert set(names) <= set("0123456789")
        assert list(scores) == sorted(scores, reverse=True)


def test_a_single_file_is_predicted_by_a_result(
    plugin: str, workdir: Path, pictures: Callable[..., Path]
) -> None:
    result = harness.run("nearest-mean", "digits", plugins=[plugin], track=False)
    file = pictures(workdir / "mine", {"": 1}) / "0.png"
    ((path, classes),) = harness.predict(result, [str(file)], plugins=[plugin])
    assert (path, len(classes)) == (file, 5)


def test_images_of_a_dataset_without_one_size_are_shrunk_to_the_prepared_size(
    workdir: Path, pictures: Callable[..., Path]
) -> None:
    """As where a dataset was prepared with whole images, the shorter side at most `size`."""
    from harness.data.decode import decode
    from harness.engine.predict import _prepare

    file = pictures(workdir / "mine", {"": 1}, size=(40, 60)) / "0.png"
    image = decode(file.read_bytes())
    assert _prepare(image, None, 20).shape == (3, 20, 30)
    assert _prepare(image, None, None).shape == (3, 40, 60)
    assert _prepare(image, (32, 32), 256).shape == (3, 32, 32)


def test_paths_and_runs_that_cannot_be_used_are_refused(
    run_id: str, plugin: str, workdir: Path, make_spec: Callable[..., RunSpec]
) -> None:
    (workdir / "empty").mkdir()
    (workdir / "text.png").write_text("no image")
    for path, message in {
        "nowhere.png": "there is no file or folder nowhere.png",
        "empty": "empty holds no images",
        "text.png": r"text\.png cannot be decoded",
    }.items():
        with pytest.raises(UserError, match=message):
            list(harness.predict(run_id, [path], plugins=[plugin]))
    RunStore(Path("runs")).create("other", make_spec())
    with pytest.raises(UserError, match="is not finished"):
        list(harness.predict("other", ["text.png"]))


def test_a_bad_image_does_not_end_the_others(
    run_id: str, plugin: str, workdir: Path, pictures: Callable[..., Path]
) -> None:
    folder = pictures(workdir / "mine", {"": 2})
    for i in range(3):
        (folder / f"pointer{i}.jpg").write_text("version https://git-lfs.github.com/spec/v1\n")
    paths = ["nowhere/*.jpg", folder / "pointer0.jpg", folder]
    predictions = harness.predict(run_id, paths, plugins=[plugin])
    predicted: list[str] = []
    with pytest.raises(UserError) as caught:
        predicted.extend(path.name for path, _ in predictions)
    assert predicted == ["0.png", "1.png"]
    message = str(caught.value)
    assert "no file or folder nowhere/*.jpg, and no file that fits this pattern; " in message
    assert "pointer0.jpg and 3 more cannot be decoded: it is a git-lfs pointer" in message


def test_what_was_converted_is_noted(
    run_id: str, plugin: str, workdir: Path, pictures: Callable[..., Path]
) -> None:
    folder = pictures(workdir / "mine", {"": 2})
    Image.new("RGBA", (9, 9), (255, 0, 0, 10)).save(folder / "2.png")
    notes: list[str] = []
    assert len(list(harness.predict(run_id, [folder], note=notes.append, plugins=[plugin]))) == 3
    assert notes == ["transparent pixels were laid on white: 1 image"]


def test_archives_are_searched_as_folders_are(
    run_id: str, plugin: str, workdir: Path, pictures: Callable[..., Path]
) -> None:
    folder = pictures(workdir / "mine", {"": 2, "__MACOSX": 1, "deeper": 1})
    archive = shutil.make_archive(str(workdir / "mine"), "zip", folder)
    in_folder, in_archive = (
        list(harness.predict(run_id, [path], plugins=[plugin])) for path in (folder, archive)
    )
    assert [path.relative_to(folder) for path, _ in in_folder] == [
        path.relative_to(archive) for path, _ in in_archive
    ]
    assert [classes for _, classes in in_folder] == [classes for _, classes in in_archive]
    assert len(in_folder) == 3
