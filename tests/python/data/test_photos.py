"""Photographs without labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cnnzoo as cz
import pictures


def test_a_folder_and_a_list_of_photographs(tmp_path: Path) -> None:
    root = pictures.folder(tmp_path / "p", classes=2, each=2)
    labelled = cz.data.ImageFolder(root)
    files = [labelled.name(index) for index in range(len(labelled))]
    model = cz.create_model("mobilenetv3_small_050", image_size=32, num_classes=3)
    known = list(cz.data.Loader(labelled, transform=model.preprocess, shuffle=False, batch_size=3))
    for source in (root, str(root), files):
        photos = cz.data.Photos(source)
        assert [photos.name(index) for index in range(len(photos))] == files
        assert all(
            np.array_equal(ours, theirs) for ours, (theirs, _) in zip(photos, labelled, strict=True)
        )
        batches = list(
            cz.data.Loader(photos, transform=model.preprocess, shuffle=False, batch_size=3)
        )
        assert all(np.array_equal(x, theirs) for x, (theirs, _) in zip(batches, known, strict=True))
    part = cz.data.Photos(root).subset([3, 1])
    assert isinstance(part, cz.data.Photos)
    assert [part.name(index) for index in range(2)] == [files[3], files[1]]


def test_what_is_no_source_of_photographs(tmp_path: Path) -> None:
    with pytest.raises(cz.DataError, match="expected a photograph in the folder, got none"):
        cz.data.Photos(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        cz.data.Photos(tmp_path / "nowhere")
    with pytest.raises(cz.ArgumentError, match="got no path"):
        cz.data.Photos([])
    with pytest.raises(cz.ArgumentError, match="expected paths, got int"):
        cz.data.Photos([3])  # type: ignore[list-item]


def test_training_wants_labels(tmp_path: Path) -> None:
    photos = cz.data.Photos(pictures.folder(tmp_path / "p", classes=1, each=1))
    model = cz.create_model("resnet20", num_classes=3)
    with pytest.raises(cz.ArgumentError, match="expected data with labels, got 1 photographs in"):
        cz.metrics.evaluate(model, cz.data.Loader(photos))  # type: ignore[arg-type]


def test_a_model_says_what_photographs_without_labels_show(tmp_path: Path) -> None:
    root = pictures.folder(tmp_path / "p", classes=2, each=2)
    photos = cz.data.Photos(root)
    model = cz.create_model("resnet20", num_classes=3)
    paths = [photos.name(index) for index in range(len(photos))]
    assert model.predict(photos) == model.predict(paths)
    assert [said.path for said in model.predict(photos, stream=True)] == paths
