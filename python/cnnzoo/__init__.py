"""The classic image-classification networks, equal to their sources.

    import cnnzoo as cz

    model = cz.create_model("tf_efficientnet_lite0", weights="default")
    print(model.predict("photo.jpg"))

Every name of `list_models()` is also a function: `cz.resnet50(num_classes=10)`.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from cnnzoo import _package

_package.refuse_both()

from cnnzoo import errors
from cnnzoo._native import Graph
from cnnzoo._threads import get_num_threads, set_num_threads
from cnnzoo.errors import (
    ArgumentError,
    CheckpointError,
    CnnzooError,
    CopyError,
    DataError,
    DeviceError,
    DivergenceError,
    GraphError,
    LogError,
    MissingPackageError,
    Notice,
    OutOfMemoryError,
    ProcessError,
    ShapeError,
    TuningError,
    UnknownModelError,
    WeightsError,
)
from cnnzoo.model import Model, StepResult, create_model, load
from cnnzoo.prediction import FailedPrediction, Guess, Prediction
from cnnzoo.preprocess import Preprocess
from cnnzoo.quantization import Quantization
from cnnzoo.weights import LoadReport, Mismatch
from cnnzoo_command import __version__

__all__ = [
    "LAMB",
    "SGD",
    "Adam",
    "AdamW",
    "ArgumentError",
    "BinaryCrossEntropy",
    "CheckpointError",
    "CnnzooError",
    "ComparedModel",
    "Comparison",
    "Constant",
    "CopyError",
    "Cosine",
    "CrossEntropy",
    "DataError",
    "DeviceError",
    "Diagram",
    "DivergenceError",
    "EpochRow",
    "Exponential",
    "FailedPrediction",
    "FunctionLoss",
    "Gradients",
    "Graph",
    "GraphError",
    "Guess",
    "History",
    "LearningRateRow",
    "LearningRateSearch",
    "LoadReport",
    "LogError",
    "Metrics",
    "Mismatch",
    "MissingPackageError",
    "Mix",
    "Mixing",
    "Model",
    "ModelInfo",
    "MultiLabelMetrics",
    "MultiStep",
    "NodeGradient",
    "Notice",
    "OneCycle",
    "OutOfMemoryError",
    "ParameterGroup",
    "Polynomial",
    "Prediction",
    "Preprocess",
    "ProcessError",
    "Profile",
    "ProfileStep",
    "Published",
    "Quantization",
    "QuantizedLayer",
    "RMSprop",
    "Scaling",
    "Schedule",
    "ShapeError",
    "Step",
    "StepResult",
    "Summary",
    "SummaryPart",
    "SummaryRow",
    "TorchLoss",
    "Trainer",
    "TunedLayer",
    "Tuning",
    "TuningError",
    "UnknownModelError",
    "WeightsError",
    "__version__",
    "analysis",
    "callbacks",
    "compare",
    "compound_scaling",
    "create_model",
    "data",
    "errors",
    "explain",
    "from_pretrained",
    "get_num_threads",
    "list_models",
    "load",
    "metrics",
    "model_info",
    "onnx",
    "published_scaling",
    "published_weights",
    "ray",
    "registry",
    "set_num_threads",
    "sklearn",
    "transforms",
]


# Modules that are imported with their first use, and those of names that are.
MODULES = frozenset({"callbacks", "data", "explain", "history", "losses", "metrics", "mixing"})
MODULES |= {"multilabel", "optimizers", "profile", "scaling", "schedules", "summary", "trainer"}
MODULES |= {"analysis", "onnx", "ray", "registry", "sklearn", "torch", "transforms", "tuning"}
HOMES = {
    "from_pretrained": "model.pretrained",
    "ComparedModel": "comparison",
    "Comparison": "comparison",
    "Diagram": "diagram",
    "Gradients": "gradients",
    "ModelInfo": "registry",
    "NodeGradient": "gradients",
    "Profile": "profile",
    "ProfileStep": "profile",
    "Published": "weights",
    "QuantizedLayer": "quantization",
    "Scaling": "scaling",
    "Summary": "summary",
    "SummaryPart": "summary",
    "SummaryRow": "summary",
    "TunedLayer": "tuning",
    "Tuning": "tuning",
    "compare": "comparison",
    "compound_scaling": "scaling",
    "list_models": "registry",
    "model_info": "registry",
    "published_scaling": "scaling",
    "published_weights": "weights",
}

if TYPE_CHECKING:
    # A stub names every model; if type checkers saw `__getattr__`, any misspelt name would pass.
    from cnnzoo import (
        analysis,
        callbacks,
        data,
        explain,
        history,  # noqa: F401
        losses,  # noqa: F401
        metrics,
        mixing,  # noqa: F401
        multilabel,  # noqa: F401
        onnx,
        optimizers,  # noqa: F401
        profile,  # noqa: F401
        ray,
        registry,
        scaling,  # noqa: F401
        schedules,  # noqa: F401
        sklearn,
        summary,  # noqa: F401
        torch,  # noqa: F401
        trainer,  # noqa: F401
        transforms,
        tuning,  # noqa: F401
    )
    from cnnzoo._constructors import *  # noqa: F403  # a stub of names alone
    from cnnzoo.comparison import ComparedModel, Comparison, compare
    from cnnzoo.diagram import Diagram
    from cnnzoo.gradients import Gradients, NodeGradient
    from cnnzoo.model.pretrained import from_pretrained
    from cnnzoo.profile import Profile, ProfileStep
    from cnnzoo.quantization import QuantizedLayer
    from cnnzoo.registry import ModelInfo, list_models, model_info
    from cnnzoo.scaling import Scaling, compound_scaling, published_scaling
    from cnnzoo.summary import Summary, SummaryPart, SummaryRow
    from cnnzoo.training import (
        LAMB,
        SGD,
        Adam,
        AdamW,
        BinaryCrossEntropy,
        Constant,
        Cosine,
        CrossEntropy,
        EpochRow,
        Exponential,
        FunctionLoss,
        History,
        LearningRateRow,
        LearningRateSearch,
        Metrics,
        Mix,
        Mixing,
        MultiLabelMetrics,
        MultiStep,
        OneCycle,
        ParameterGroup,
        Polynomial,
        RMSprop,
        Schedule,
        Step,
        TorchLoss,
        Trainer,
    )
    from cnnzoo.tuning import TunedLayer, Tuning
    from cnnzoo.weights import Published, published_weights
else:

    def __getattr__(name: str) -> registry.Constructor | ModuleType | type:
        """A name that is imported late, or the constructor of a model: `cnnzoo.resnet50`."""
        if name in MODULES:
            return importlib.import_module(f"cnnzoo.{name}")
        if name in __all__:
            home = importlib.import_module(f"cnnzoo.{HOMES.get(name, 'training')}")
            found = getattr(home, name)
        else:
            from cnnzoo import registry

            if name not in registry.accepted_names():
                message = f"module 'cnnzoo' has no attribute '{name}'"
                # With `name` and `obj`, a traceback suggests similar names.
                raise AttributeError(message, name=name, obj=sys.modules[__name__])
            found = registry.constructor(name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    from cnnzoo import registry

    # Not for `from cnnzoo import *`, which would hide PyTorch's own name.
    return sorted({*__all__, "torch", *registry.list_models()})
