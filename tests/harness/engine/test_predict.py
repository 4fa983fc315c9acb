"""The most likely classes of images that belong to no dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
