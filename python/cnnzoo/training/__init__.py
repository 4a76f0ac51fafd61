"""Training: optimisers, schedules, losses, mixing, metrics, callbacks, and the training loop."""

from __future__ import annotations

from cnnzoo.training.callbacks import (
    Callback,
    Callbacks,
    EarlyStopping,
    JsonLines,
    TensorBoard,
)
from cnnzoo.training.history import (
    EpochRow,
    History,
)
from cnnzoo.training.live import (
    LiveCurves,
)
from cnnzoo.training.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    FunctionLoss,
    Loss,
    LossLike,
    Metric,
    TorchLoss,
)
from cnnzoo.training.metrics import (
    ClassFigures,
    Confusion,
    LabelFigures,
    Metrics,
    MultiLabelMetrics,
    evaluate,
)
from cnnzoo.training.mixing import (
    Mix,
    Mixing,
)
from cnnzoo.training.mlflow import MLflow
from cnnzoo.training.optimizers import (
    LAMB,
    SGD,
    Adam,
    AdamW,
    Optimizer,
    ParameterGroup,
    RMSprop,
)
from cnnzoo.training.schedules import (
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Polynomial,
    Schedule,
    Step,
)
from cnnzoo.training.search import (
    LearningRateRow,
    LearningRateSearch,
)
from cnnzoo.training.state import (
    State,
)
from cnnzoo.training.trainer import (
    Trainer,
)
from cnnzoo.training.wandb import WandB

__all__ = [
    "LAMB",
    "SGD",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "Callback",
    "Callbacks",
    "ClassFigures",
    "Confusion",
    "Constant",
    "Cosine",
    "CrossEntropy",
    "EarlyStopping",
    "EpochRow",
    "Exponential",
    "FunctionLoss",
    "History",
    "JsonLines",
    "LabelFigures",
    "LearningRateRow",
    "LearningRateSearch",
    "LiveCurves",
    "Loss",
    "LossLike",
    "MLflow",
    "Metric",
    "Metrics",
    "Mix",
    "Mixing",
    "MultiLabelMetrics",
    "MultiStep",
    "OneCycle",
    "Optimizer",
    "ParameterGroup",
    "Polynomial",
    "RMSprop",
    "Schedule",
    "State",
    "Step",
    "TensorBoard",
    "TorchLoss",
    "Trainer",
    "WandB",
    "evaluate",
]
