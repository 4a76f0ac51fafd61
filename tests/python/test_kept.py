"""Pickles, files and import paths of before the packages still load; kept/ has the files."""

from __future__ import annotations

import gzip
import importlib
import pickle
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import cnnzoo as cz

KEPT = Path(__file__).with_name("kept")

# The paths that users had, and what they could name there.
PATHS = {
    "callbacks": "Callback Callbacks EarlyStopping JsonLines TensorBoard",
    "cli": "main run",
    "data": "Arrays BadSample Dataset ImageFolder Loader Photos Table fashion_mnist idx",
    "data.dataset": "Arrays Dataset ImageFolder Samples",
    "data.loader": "BadSample DataWarning Loader LoaderState",
    "history": "EpochRow History",
    "hub": "Patience fetch",
    "losses": "BinaryCrossEntropy CrossEntropy FunctionLoss LossLike Metric TorchLoss as_loss",
    "metrics": "ClassFigures LabelFigures Metrics MultiLabelMetrics evaluate",
    "mixing": "Mix Mixing",
    "model": "Model Precision StepResult create_model load",
    "multilabel": "LabelFigures MultiLabelMetrics",
    "optimizers": "Adam AdamW LAMB Optimizer ParameterGroup RMSprop SGD",
    "picture": "draw_predictions",
    "prediction": "FailedPrediction Guess Prediction imagenet_labels",
    "preprocess": "Preprocess",
    "registry": "ModelInfo accepted_names constructor list_models model_info",
    "scaling": "Scaling compound_scaling published_scaling",
    "schedules": "Constant Cosine Exponential MultiStep OneCycle Polynomial Schedule Step",
    "summary": "Summary SummaryRow",
    "trainer": "State Trainer",
    "training.optimizers": "Adam AdamW LAMB Optimizer ParameterGroup RMSprop SGD",
    "transforms": "Compose Normalize Preview RandAugment Resize Transform imagenet_train",
    "weights": "LoadReport Mismatch Published published_weights",
}


@pytest.mark.parametrize("path", PATHS)
def test_paths_of_before_name_the_same_classes(path: str) -> None:
    module = importlib.import_module(f"cnnzoo.{path}")
    for name in PATHS[path].split():
        assert hasattr(module, name)
        assert getattr(cz, name, None) in {None, getattr(module, name)} or name == "load"


def test_paths_of_before_are_attributes_without_an_import_of_their_own() -> None:
    """All that importing cnnzoo used to load."""
    lazily = " ".join(sorted(set(PATHS) - {"cli", "hub", "picture"}))
    code = f"import cnnzoo as cz, operator\nfor path in {lazily!r}.split():\n    "
    code += "print(operator.attrgetter(path)(cz).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"cnnzoo.{path}" for path in lazily.split()]


def test_objects_that_were_pickled_are_the_same() -> None:
    """An object of each kind, the model with its parameters among them."""
    with gzip.open(KEPT / "objects.pickle.gz") as file:
        things = pickle.load(file)
    model, trainer = things[0], next(t for t in things if isinstance(t, cz.Trainer))
    assert type(model) is cz.Model
    assert model.labels == ("a", "b", "c")
    assert np.array_equal(model.state_dict()["fc.weight"], trainer.model.state_dict()["fc.weight"])
    assert [row.epoch for row in trainer.history] == [1, 2]
    assert trainer.schedule == cz.Cosine(warmup=1)
    info = next(t for t in things if isinstance(t, cz.ModelInfo))
    assert info.min_image_size == cz.model_info(info.name, source=info.source).min_image_size
    for thing in things:
        repr(thing)
        pickle.dumps(thing)


def test_a_run_and_a_model_that_were_written_load(tmp_path: Path) -> None:
    model = cz.load(KEPT / "model.safetensors")
    assert model.labels == ("a", "b", "c")
    shutil.copy(KEPT / "run.safetensors", tmp_path / "last.safetensors")
    x = np.linspace(0, 1, 4 * 3 * 16 * 16, dtype=np.float32).reshape(4, 3, 16, 16)
    batches = [(x, np.arange(4) % 3)] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cz.Notice)
        trainer = cz.Trainer.resume(tmp_path, batches, batches, progress=False)
    assert len(trainer.history) == 2
    assert type(trainer.optimizer) is cz.AdamW
    assert trainer.loss == cz.CrossEntropy(label_smoothing=0.1)
